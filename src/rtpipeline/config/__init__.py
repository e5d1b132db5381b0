"""One typed schema for the whole configuration: defaults < YAML < `RTPIPELINE_*` variables < flags the user typed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

ENVIRONMENT_PREFIX = "RTPIPELINE_"


class ConfigurationError(Exception):
    """The configuration cannot be used; the message names the key, its line where there is one, and a remedy."""


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _automatic(value: Any) -> Any:
    """`auto` and an empty string mean null (as older configuration files have it)."""
    return None if isinstance(value, str) and value.strip().lower() in ("", "auto") else value


def _device(value: Any) -> Any:
    """`cuda` is another word for `gpu`, in any case."""
    if isinstance(value, str):
        token = value.strip().lower()
        return {"cuda": "gpu"}.get(token, token)
    return value


Count = Annotated[int, Field(ge=1)]
AutomaticCount = Annotated[Count | None, BeforeValidator(_automatic)]
Device = Annotated[Literal["gpu", "cpu", "mps"], BeforeValidator(_device)]


def _workers_alias(default: None = None) -> Any:
    """`max_workers`, or its older name `workers`; `max_workers` wins where both are given."""
    return Field(default, validation_alias=AliasChoices("max_workers", "workers"))


class SchedulerSection(Section):
    """How much of the machine the run may use, and in which order."""

    reserved_cores: Annotated[int, Field(ge=0)] = 1
    parallel_courses: AutomaticCount = None
    dvh_threads_per_job: Count = 4
    radiomics_threads_per_job: Count = 6
    robustness_threads_per_job: AutomaticCount = None
    qc_threads_per_job: Count = 2
    prioritize_short_courses: bool = True


class OrganizeSection(Section):
    """How DICOM files become courses."""

    merge_criteria: Literal["same_ct_study", "frame_of_reference"] = "same_ct_study"
    max_days_between_plans: Annotated[int, Field(ge=0)] | None = None
    course_filter: tuple[str, ...] = ()
    use_hardlinks: bool = False


class SegmentationSection(Section):
    """TotalSegmentator."""

    enabled: bool = True
    device: Device = "gpu"
    require_gpu: bool = False
    max_workers: AutomaticCount = _workers_alias()
    fast: bool = False
    roi_subset: tuple[str, ...] | None = None
    extra_models: tuple[str, ...] = ()
    mr: bool = True
    force_split: bool = True
    nr_threads_resample: Count = 1
    nr_threads_save: Count = 1
    num_proc_preprocessing: Count = 1
    num_proc_export: Count = 1
    thread_limit: AutomaticCount = None
    weights: Path | None = None
    timeout_s: Annotated[float, Field(gt=0)] | None = 3600.0
    export_dicom_seg: bool = False


class CustomModelsSection(Section):
    """nnU-Net models of the user's own."""

    enabled: bool = False
    root: Path = Path("custom_models")
    models: tuple[str, ...] = ()
    max_workers: AutomaticCount = _workers_alias()
    timeout_s: Annotated[float, Field(gt=0)] | None = 3600.0


class CroppingSection(Section):
    """Cutting the CT to a region of the anatomy."""

    enabled: bool = False
    region: Literal["pelvis", "thorax", "abdomen", "head_neck", "brain"] = "pelvis"
    superior_margin_cm: float | None = None
    inferior_margin_cm: float | None = None
    use_cropped_for_dvh: bool = False
    use_cropped_for_radiomics: bool = False


class SelectionSection(Section):
    """Which structures go through a stage: shell patterns on names, without regard to case, and sources."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    sources: tuple[str, ...] = ("manual", "auto", "custom", "custom_model:*")


class StructuresSection(Section):
    """Names of structures, and which of them go where."""

    names: Path | None = None
    """YAML of patterns → standard name."""
    dvh: SelectionSection = SelectionSection()
    radiomics: SelectionSection = SelectionSection(sources=("manual", "custom", "custom_model:*"))
    robustness: SelectionSection = SelectionSection(include=("GTV*", "CTV*", "PTV*"), sources=("manual", "custom"))


class DvhSection(Section):
    """Dose-volume histograms."""

    enabled: bool = True
    minimum_dose_coverage_fraction: Annotated[float, Field(ge=0, le=1)] = 0.99
    """Metrics of the whole structure are withheld where the dose grid covers less of it."""


class MetadataSection(Section):
    """Case metadata."""

    enabled: bool = True
    include_identifiers: bool = False


class QualityControlSection(Section):
    """Quality control."""

    enabled: bool = True


class RadiomicsSection(Section):
    """PyRadiomics features."""

    enabled: bool = True
    sequential: bool = False
    params_file: Path | None = None
    mr_params_file: Path | None = None
    pet_params_file: Path | None = None
    thread_limit: AutomaticCount = None
    skip_rois: tuple[str, ...] = ("body", "couchsurface", "couchinterior", "couchexterior", "bones", "m1", "m2")
    min_voxels: Annotated[int, Field(ge=0)] = 64
    max_voxels: Annotated[int, Field(ge=1)] = 1_500_000_000
    task_timeout_s: Annotated[float, Field(gt=0)] | None = 1800.0
    python: Path | None = None
    """Interpreter of the radiomics environment; found by itself when null."""


class SegmentationPerturbationSection(Section):
    """The NTCV axes; a key that is set overrides the profile's."""

    profile: Literal["volume", "mild", "standard", "aggressive"] = Field(
        "volume", validation_alias=AliasChoices("profile", "intensity")
    )
    small_volume_changes: tuple[float, ...] = (-0.15, 0.0, 0.15)
    large_volume_changes: tuple[float, ...] | None = None
    max_translation_mm: Annotated[float, Field(ge=0)] | None = None
    n_random_contour_realizations: Annotated[int, Field(ge=0)] | None = None
    contour_randomization_mm: Annotated[float, Field(ge=0)] | None = None
    noise_levels: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    apply_to_structures: tuple[str, ...] | None = None


class IccSection(Section):
    """Intraclass correlation."""

    implementation: Literal["vectorised", "pingouin"] = "vectorised"
    icc_type: Literal["ICC1", "ICC2", "ICC3"] = "ICC3"
    ci: bool = True


class EnabledSection(Section):
    """A switch."""

    enabled: bool = True


class RobustnessMetricsSection(Section):
    """What is computed over the perturbation states."""

    icc: IccSection = IccSection()
    cov: EnabledSection = EnabledSection()
    qcd: EnabledSection = EnabledSection()


class IccThresholdSection(Section):
    """Lower confidence bounds."""

    robust: float = 0.90
    acceptable: float = 0.75


class CovThresholdSection(Section):
    """Coefficients of variation in percent."""

    robust_pct: float = 10.0
    acceptable_pct: float = 20.0


class RobustnessThresholdsSection(Section):
    """From which value on a feature is called robust or acceptable."""

    icc: IccThresholdSection = IccThresholdSection()
    cov: CovThresholdSection = CovThresholdSection()


class RobustnessSection(Section):
    """Robustness of every feature under perturbation."""

    enabled: bool = True
    modes: tuple[Literal["segmentation_perturbation"], ...] = ("segmentation_perturbation",)
    base_seed: int = 42
    segmentation_perturbation: SegmentationPerturbationSection = SegmentationPerturbationSection()
    metrics: RobustnessMetricsSection = RobustnessMetricsSection()
    thresholds: RobustnessThresholdsSection = RobustnessThresholdsSection()


class AggregationSection(Section):
    """Cohort tables."""

    threads: AutomaticCount = None
    strict: bool = False
    clinical: Path | None = None


class EnvironmentsSection(Section):
    """Names of the two conda environments."""

    main: str = "rtpipeline"
    radiomics: str = "rtpipeline-radiomics"


class Configuration(Section):
    """The effective configuration of a run."""

    dicom_root: Path | None = None
    output_dir: Path = Path("Output")
    logs_dir: Path | None = None
    cores: AutomaticCount = None
    max_workers: AutomaticCount = _workers_alias()
    scheduler: SchedulerSection = SchedulerSection()
    organize: OrganizeSection = OrganizeSection()
    structures: StructuresSection = StructuresSection()
    segmentation: SegmentationSection = SegmentationSection()
    custom_models: CustomModelsSection = CustomModelsSection()
    custom_structures: Path | None = None
    ct_cropping: CroppingSection = CroppingSection()
    dvh: DvhSection = DvhSection()
    metadata: MetadataSection = MetadataSection()
    qc: QualityControlSection = QualityControlSection()
    radiomics: RadiomicsSection = RadiomicsSection()
    radiomics_robustness: RobustnessSection = RobustnessSection()
    aggregation: AggregationSection = AggregationSection()
    environments: EnvironmentsSection = EnvironmentsSection()

    def value(self, dotted: str) -> Any:
        """The value (or section) at a dotted key, for example `segmentation.device`."""
        current: Any = self
        for part in dotted.split("."):
            current = getattr(current, part)
        return current

    @property
    def logs(self) -> Path:
        """The log folder: `logs_dir`, else `Logs` beside the results."""
        return self.logs_dir or self.output_dir / "Logs"

    def as_yaml(self) -> str:
        """The whole configuration as YAML that loads again."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_configuration(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Configuration:
    """Put the configuration together.

    Args:
        file: a YAML file, or None for the defaults.
        environment: variables; those named `RTPIPELINE_<SECTION>_<KEY>` override the file.
        overrides: values of flags the user typed, by dotted key; they override everything.

    Raises:
        ConfigurationError: the file cannot be read, a key is unknown, or a value has the wrong type.
    """
    values, lines = _read_yaml(file) if file is not None else ({}, {})
    for variable, key in environment_keys().items():
        if environment and variable in environment:
            _set(values, key, yaml.safe_load(environment[variable]))
    for key, value in (overrides or {}).items():
        _set(values, key, value)
    try:
        return Configuration.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, file, lines)) from error


def keys(model: type[BaseModel] = Configuration, prefix: str = "") -> Iterator[str]:
    """Every dotted key of the schema, in its order."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def environment_keys() -> dict[str, str]:
    """Environment variable → dotted key, for every key of the schema."""
    return {ENVIRONMENT_PREFIX + key.replace(".", "_").upper(): key for key in keys()}


def _read_yaml(file: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The content of a YAML file, and the line of each of its dotted keys."""
    try:
        text = file.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{file}: cannot be read as YAML: {error}") from error
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise ConfigurationError(f"{file}: expected keys and values, found {type(values).__name__}")
    return values, dict(_key_lines(node, ""))


def _key_lines(node: yaml.Node, prefix: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            yield f"{prefix}{key_node.value}", key_node.start_mark.line + 1
            yield from _key_lines(value_node, f"{prefix}{key_node.value}.")


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, last = dotted.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigurationError(f"{dotted}: {section} is not a section")
    if last == "max_workers":
        values.pop("workers", None)
    values[last] = value


def _explain(error: ValidationError, file: Path | None, lines: Mapping[str, int]) -> str:
    known = list(keys())
    messages = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"] if not isinstance(part, int))
        where = f"{file}, line {lines[key]}: " if file is not None and key in lines else ""
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            messages.append(f"{where}unknown key {key}{hint}")
        else:
            messages.append(f"{where}{key}: {problem['msg']} (found {problem['input']!r})")
    return "\n".join(messages)
