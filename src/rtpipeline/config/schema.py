"""The schema of the configuration: every key, its type, its default and what it means.

The docstring below a key is its description in `configs/config.yaml` and in the reference; both are written from
here (`rtpipeline.config.reference`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from rtpipeline.config import analysis_defaults
from rtpipeline.config.robustness import RobustnessSection
from rtpipeline.config.section import Section
from rtpipeline.config.values import (
    AutomaticCount,
    Count,
    CountOrZero,
    Device,
    DoseMetrics,
    Fraction,
    NotNegative,
    Number,
    OneOrMany,
    PositiveNumber,
    SuvVariant,
    Templates,
    Texts,
    TimeLimit,
    WorkerCount,
)


class SchedulerSection(Section):
    """How much of the machine the run may use, and in which order."""

    reserved_cores: CountOrZero = 1
    """CPU cores left to the operating system; 0 is allowed."""
    parallel_courses: AutomaticCount = None
    """Courses past segmentation that are worked on at once; null: worked out from the cores."""
    dvh_threads_per_job: Count = 4
    """CPU tokens of one DVH job, clipped to the budget."""
    radiomics_threads_per_job: Count = 6
    """CPU tokens of one radiomics job, clipped to the budget."""
    robustness_threads_per_job: AutomaticCount = None
    """CPU tokens of one robustness job; null: as `radiomics_threads_per_job`."""
    qc_threads_per_job: Count = 2
    """CPU tokens of one quality-control job, clipped to the budget."""
    prioritize_short_courses: bool = True
    """Courses with few slices first; false: in the order of their names."""
    task_timeout_s: TimeLimit = None
    """Seconds that one stage of one course may take before it is killed with all of its processes and has failed; each
    stage then runs in a process of its own. null or 0: no limit beside those of inferences and structures."""


class OrganizeSection(Section):
    """How DICOM files become courses."""

    merge_criteria: Literal["same_ct_study", "frame_of_reference"] = "same_ct_study"
    """What plans of one course have in common: the study of their planning CT, or its frame of reference."""
    max_days_between_plans: CountOrZero | None = None
    """Plans further apart than this are different courses; null: 365."""
    overrides: Path | None = None
    """A YAML file in which you decide which doses (and plans) stand for a course: `PATIENT/COURSE: {doses: [UIDs]}`."""
    course_filter: Texts = ()
    """Only these: `PATIENT` or `PATIENT/COURSE`, as folders are named."""
    use_hardlinks: bool = False
    """Hard links instead of copies of the DICOM files. An edited result then changes the source file too."""
    pseudonymize: Path | None = None
    """A key file outside the output (made where it is missing): identifiers are replaced by pseudonyms everywhere."""


class PostprocessingSection(Section):
    """Cleaning of automatically segmented structures; patterns are shell patterns of names, in any case."""

    keep_largest_component: Texts = ()
    """Structures of which only the largest connected part is kept."""
    remove_islands: dict[str, NotNegative] | Texts = ()
    """Structures whose small parts are removed; or for each pattern the volume in cm3 below which a part is small, the
    first that fits, for example `{"lung*": 5, "*": 0.5}`."""
    smallest_island_cm3: NotNegative = 0.5
    """Volume in cm3 below which a part is small, where `remove_islands` has no volume of its own."""
    fill_holes: Texts = ()
    """Structures whose holes (background enclosed on all sides) are filled."""


class SegmentationSection(Section):
    """Automatic segmentation with TotalSegmentator."""

    enabled: bool = True
    """Run the stage."""
    device: Device = "gpu"
    """`gpu` (or `cuda`), `cpu` or `mps`; without a usable GPU the run says so and goes on with the CPU."""
    require_gpu: bool = False
    """Stop with an error where `device` is not usable, instead of going on with the CPU."""
    max_workers: WorkerCount = None
    """Segmentations at once (older name: `workers`); null: 1 on a GPU, on the CPU as many as budget and memory allow.
    With several GPUs, their number."""
    fast: bool = False
    """The 3 mm model instead of the 1.5 mm models: quicker, coarser."""
    roi_subset: Texts | None = None
    """Only these structures of the task `total`; null: all."""
    extra_models: Texts = ()
    """Further TotalSegmentator tasks by name, for example `body`."""
    mr: bool = True
    """Segment MR series with the task `total_mr`."""
    force_split: bool = True
    """Segment long volumes in parts, which takes less memory; ignored where the volume is too short for it."""
    nr_threads_resample: Count = 1
    """Processes that TotalSegmentator resamples with."""
    nr_threads_save: Count = 1
    """Threads that save binary masks (`binary_masks`)."""
    num_proc_preprocessing: Count = 1
    """Processes of nnU-Net's preprocessing."""
    num_proc_export: Count = 1
    """Processes of nnU-Net's export."""
    thread_limit: AutomaticCount = None
    """Threads of one segmentation process; null: the CPU tokens of its job."""
    weights: Path | None = None
    """Folder of TotalSegmentator's weights; null: TotalSegmentator's own."""
    timeout_s: TimeLimit = 3600.0
    """Time limit of one segmentation in seconds; null or 0: none."""
    allow_cpu_fallback: bool = False
    """Where the GPU's memory does not suffice even for parts of the volume, use the CPU; custom models too."""
    binary_masks: Texts = ()
    """Patterns of structures that also get a binary NIfTI of their own; `*` for all."""
    postprocessing: PostprocessingSection = PostprocessingSection()
    export_dicom_seg: bool = False
    """Also write `SEG_auto.dcm`, a DICOM segmentation object."""
    smooth_contours: bool = False
    """Draw smooth contours in `RS_auto.dcm` instead of those along the voxels' edges; tables take the voxels."""


class CustomModelsSection(Section):
    """nnU-Net models of the user's own."""

    enabled: bool = False
    """Run the stage."""
    root: Path = Path("custom_models")
    """Folder with one folder per model, each with a `custom_model.yaml`."""
    models: Texts = ()
    """Only the models of these names; empty: all that are enabled."""
    max_workers: WorkerCount = None
    """Model runs at once (older name: `workers`); null: as for `segmentation.max_workers`."""
    timeout_s: TimeLimit = 3600.0
    """Time limit of one model on one course in seconds; null or 0: none."""
    postprocessing: PostprocessingSection = PostprocessingSection()


class CroppingSection(Section):
    """Cutting the planning CT to a region of the anatomy."""

    enabled: bool = False
    """Run the stage."""
    region: Literal["pelvis", "thorax", "abdomen", "head_neck", "brain"] = "pelvis"
    """The region that is kept; its borders are found in the automatic segmentation."""
    superior_margin_cm: Number | None = None
    """Centimetres kept above the region; null: the region's default."""
    inferior_margin_cm: Number | None = None
    """Centimetres kept below the region; null: the region's default."""
    use_cropped_for_dvh: bool = False
    """Compute dose-volume histograms on cropped structures."""
    use_cropped_for_radiomics: bool = False
    """Extract radiomics from the cropped CT."""


class SelectionSection(Section):
    """Which structures go through a stage."""

    include: Texts = ("*",)
    """Shell patterns of structure names, without regard to case."""
    exclude: Texts = ()
    """Patterns of names that are left out, whatever `include` says."""
    sources: Texts = ("manual", "auto", "custom", "custom_model:*", "auto_mr:*", "seg:*")
    """Patterns of structure sources: `manual`, `auto`, `custom`, `custom_model:<name>`, `auto_mr:<MR series>`,
    `seg:<DICOM segmentation>`."""


class StructuresSection(Section):
    """Names of structures, and which of them go where."""

    names: Path | None = None
    """A YAML file of patterns and the standard name (TG-263) that each stands for."""
    priority: dict[str, Texts] = {"*": ("manual", "auto", "custom_model:*", "auto_mr:*")}
    """Which source counts where several have a structure, by patterns of names (the first that fits): for what custom
    structures are made from and for what `RS_custom.dcm` holds, for example `{"*TV*": [manual], "Heart":
    ["custom_model:cardiac", auto], "*": [manual, auto, "custom_model:*"]}`."""
    dvh: SelectionSection = SelectionSection()
    """Which structures get dose-volume histograms."""
    radiomics: SelectionSection = SelectionSection(sources=("manual", "custom", "custom_model:*"))
    """Which structures get radiomics; add `auto` to `sources` for the automatic ones (about a hundred a
    course), `seg:*` for those of DICOM segmentations."""
    robustness: SelectionSection = SelectionSection(include=("GTV*", "CTV*", "PTV*"), sources=("manual", "custom"))
    """Which structures are tested for robustness."""


class DvhSection(Section):
    """Dose-volume histograms."""

    enabled: bool = True
    """Run the stage."""
    minimum_dose_coverage_fraction: Fraction = 0.99
    """Metrics of the whole structure are withheld where the dose grid covers less of it."""
    metrics: DoseMetrics = ()
    """Further metrics, for example `[D95%, D2cc, V20Gy[cc], V95%, Dmean, gEUD(a=8), EQD2:Dmean]`: `[Gy]`, `[%]` or
    `[cc]` at the end is the unit, `V95%` refers to the prescription, `EQD2:` and `BED:` need `alpha_beta_gy`."""
    alpha_beta_gy: dict[str, PositiveNumber] = {}
    """α/β in Gy by patterns of structure names, the first that fits, for example `{"?TV*": 10, "SpinalCord*": 2, "*":
    3}`; structures that none fits have no EQD2 and BED."""


class MetadataSection(Section):
    """Case metadata."""

    enabled: bool = True
    """Run the stage."""
    include_identifiers: bool = False
    """Write direct identifiers (names, birth dates) into the tables."""


class QualityControlSection(Section):
    """Quality control."""

    enabled: bool = True
    """Run the stage."""


class RadiomicsSection(Section):
    """PyRadiomics features."""

    enabled: bool = True
    """Run the stage."""
    sequential: bool = False
    """One structure after another, without a process pool."""
    params_file: Path | None = None
    """PyRadiomics parameter file for CT; null: the packaged one."""
    mr_params_file: Path | None = None
    """PyRadiomics parameter file for MR; null: the packaged one."""
    pet_params_file: Path | None = None
    """PyRadiomics parameter file for PET; null: the packaged one."""
    suv_variants: Annotated[tuple[SuvVariant, ...], Field(min_length=1), OneOrMany] = ("body_weight",)
    """What the SUV of PET are normalised by, a row for each: `body_weight`, `lean_body_mass_james`,
    `lean_body_mass_janmahasatian`, `body_surface_area` (Du Bois)."""
    dose: bool = False
    """Also extract from the dose of the course (dosiomics)."""
    dose_params_file: Path | None = None
    """PyRadiomics parameter file for the dose; null: the packaged one."""
    filter_padding: Literal["pyradiomics", "four_sigma"] = "pyradiomics"
    """How far around a structure filters see: the parameter file's `padDistance`, or four times the largest sigma of
    the LoG, whose values then do not depend on where the image was cut."""
    thread_limit: AutomaticCount = None
    """Threads of one worker process; null: 1. The number of workers shrinks accordingly."""
    skip_rois: Texts = ("body", "couchsurface", "couchinterior", "couchexterior", "bones", "m1", "m2")
    """Structures that are never extracted."""
    min_voxels: CountOrZero = 64
    """Smaller structures are skipped."""
    max_voxels: Count = 1_500_000_000
    """Larger structures are skipped."""
    task_timeout_s: TimeLimit = 1800.0
    """Time limit of one structure in seconds; null or 0: none."""
    python: Path | None = None
    """Python interpreter of the radiomics environment; null: found by itself."""


class AnalysisSection(Section):
    """Columns of the analysis table beside those that every course has. A structure that is not named has none."""

    targets: dict[str, Texts] = dict(analysis_defaults.TARGETS)
    """Targets by the beginning of the name as drawn, and which columns of `dvh_metrics.xlsx` are given of each; where
    there are several, of the largest."""
    organs: dict[str, Texts] = dict(analysis_defaults.ORGANS)
    """Organs by their standard name (TG-263), and which columns of `dvh_metrics.xlsx` are given of each."""
    features: dict[str, Texts] = {}
    """Columns of `radiomics_ct.xlsx`, as patterns, by the beginning of a target's name or the standard name of an
    organ: `{GTV: [original_shape_MeshVolume, original_firstorder_*]}`."""
    case_metadata: Texts = ()
    """Further columns of `case_metadata.xlsx`."""


class AggregationSection(Section):
    """Cohort tables."""

    threads: AutomaticCount = None
    """Courses that are read at once; null: the CPU count."""
    strict: bool = False
    """Fail where a course is missing, instead of listing it as missing."""
    clinical: Path | None = None
    """A CSV of clinical data that is joined to the analysis table."""
    analysis: AnalysisSection = AnalysisSection()


class EnvironmentsSection(Section):
    """Names of the two conda environments."""

    main: str = "rtpipeline"
    """The environment that runs everything but radiomics."""
    radiomics: str = "rtpipeline-radiomics"
    """The environment with PyRadiomics."""


class Configuration(Section):
    """The effective configuration of a run."""

    dicom_root: Path | None = None
    """The folder with the DICOM export; usually given as `--dicom-root`."""
    output_dir: Path = Path("Output")
    """Where the results go; usually given as `--outdir`."""
    logs_dir: Path | None = None
    """Where the logs go; null: `Logs` in the output folder."""
    cores: AutomaticCount = None
    """CPU cores that the run may use; null: all that this process may use."""
    max_workers: WorkerCount = None
    """Upper limit of the worker budget (older name: `workers`); null: the cores less the reserved ones."""
    scheduler: SchedulerSection = SchedulerSection()
    organize: OrganizeSection = OrganizeSection()
    structures: StructuresSection = StructuresSection()
    segmentation: SegmentationSection = SegmentationSection()
    custom_models: CustomModelsSection = CustomModelsSection()
    custom_structures: Path | None = None
    """A YAML file of structures made of others (unions, margins, …); null: none."""
    custom_structure_templates: Templates = ()
    """Packaged custom structures: `by_region` for those of the regions that the CT shows; or by name, for every course:
    `pelvis`, `thorax`, `abdomen`, `head_neck`, `brain`."""
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
        # Escaped, because PyYAML does not read back every line break of Unicode that it writes as it is.
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=False)
