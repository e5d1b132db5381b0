"""The configuration: defaults, precedence, clear errors, and the shipped files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rtpipeline.config import (
    Configuration,
    ConfigurationError,
    environment_keys,
    keys,
    load_configuration,
    reference,
    typed_value,
)
from rtpipeline.config.loading import RETIRED_VARIABLES
from rtpipeline.custom_structures import load_custom_structures
from rtpipeline.inference.model_description import CustomModelError, read_model_file
from rtpipeline.organize.overrides import read_overrides
from rtpipeline.outcome import StageError
from rtpipeline.structures.name_mapping import load_rules

PROJECT = Path(__file__).parents[1]
CONFIGS = PROJECT / "configs"


@pytest.fixture
def yaml_file(tmp_path: Path):
    def write(text: str) -> Path:
        file = tmp_path / "config.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def error_of(file: Path | None = None, **sources) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(file, **sources)
    return str(caught.value)


def test_published_defaults() -> None:
    configuration = load_configuration()
    expected = {
        "scheduler.reserved_cores": 1,
        "scheduler.parallel_courses": None,
        "scheduler.dvh_threads_per_job": 4,
        "scheduler.radiomics_threads_per_job": 6,
        "scheduler.qc_threads_per_job": 2,
        "scheduler.prioritize_short_courses": True,
        "max_workers": None,
        "segmentation.device": "gpu",
        "segmentation.force_split": True,
        "segmentation.nr_threads_resample": 1,
        "segmentation.nr_threads_save": 1,
        "segmentation.num_proc_preprocessing": 1,
        "segmentation.num_proc_export": 1,
        "segmentation.thread_limit": None,
        "radiomics.thread_limit": None,
        "radiomics.min_voxels": 64,
        "radiomics_robustness.segmentation_perturbation.profile": "volume",
        "radiomics_robustness.segmentation_perturbation.small_volume_changes": (-0.15, 0.0, 0.15),
        "aggregation.threads": None,
    }
    assert {key: configuration.value(key) for key in expected} == expected


def test_flag_over_variable_over_file_over_default(yaml_file) -> None:
    file = yaml_file("scheduler: {qc_threads_per_job: 3, dvh_threads_per_job: 5, radiomics_threads_per_job: 7}")
    environment = {
        "RTPIPELINE_SCHEDULER_QC_THREADS_PER_JOB": "4",
        "RTPIPELINE_SCHEDULER_DVH_THREADS_PER_JOB": "6",
    }
    scheduler = load_configuration(file, environment, {"scheduler.qc_threads_per_job": 9}).scheduler
    assert scheduler.qc_threads_per_job == 9
    assert scheduler.dvh_threads_per_job == 6
    assert scheduler.radiomics_threads_per_job == 7
    assert scheduler.reserved_cores == 1


def test_unknown_key_names_key_line_and_nearest_key(yaml_file) -> None:
    file = yaml_file("max_workers: 2\nsegmentation:\n  fast: true\n  devise: cpu\n")
    assert error_of(file) == (f"{file}, line 4: unknown key segmentation.devise; did you mean segmentation.device?")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("segmentaton: {fast: true}", "did you mean segmentation?"),
        ("prioritize_short_courses: true", "did you mean scheduler.prioritize_short_courses?"),
        ("segmentation: {force: true}", "--force segmentation"),
        ("container_mode: false", "of an older version"),
    ],
)
def test_unknown_key_says_what_to_write_instead(yaml_file, text: str, expected: str) -> None:
    assert expected in error_of(yaml_file(text))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("max_workers: many", "max_workers"),
        ("max_workers: 0", "max_workers"),
        ("max_workers: true", "max_workers"),
        ("max_workers: 2.5", "max_workers"),
        ("dicom_root: 7", "dicom_root"),
        ("scheduler: 3", "scheduler"),
        ("segmentation: {device: tpu}", "segmentation.device"),
        ("segmentation: {fast: sometimes}", "segmentation.fast"),
        ("radiomics: {min_voxels: -1}", "radiomics.min_voxels"),
        ("dvh: {minimum_dose_coverage_fraction: .nan}", "dvh.minimum_dose_coverage_fraction"),
        ("organize: {course_filter: [12]}", "organize.course_filter"),
    ],
)
def test_wrong_value_names_key_and_line(yaml_file, text: str, key: str) -> None:
    assert f"line 1: {key}: " in error_of(yaml_file(text))


def test_all_errors_at_once(yaml_file) -> None:
    assert len(error_of(yaml_file("max_workers: x\ncores: y\nunheard_of: 1\n")).splitlines()) == 3


def test_error_names_its_source() -> None:
    assert "environment variable RTPIPELINE_CORES" in error_of(environment={"RTPIPELINE_CORES": "some"})
    assert "command line: cores" in error_of(overrides={"cores": "some"})


@pytest.mark.parametrize("text", ["[1, 2]", "a: [1", "cores: 1\ncores: 2\n"])
def test_unusable_file(yaml_file, text: str) -> None:
    file = yaml_file(text)
    assert str(file) in error_of(file)


def test_missing_file(tmp_path: Path) -> None:
    assert "nowhere.yaml" in error_of(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("text", ["", "# nothing\n", "segmentation:\n", "segmentation:\n  # device: cpu\n"])
def test_empty_file_and_empty_section_mean_defaults(yaml_file, text: str) -> None:
    assert load_configuration(yaml_file(text)) == Configuration()


@pytest.mark.parametrize("section", ["", "segmentation.", "custom_models."])
def test_workers_is_another_name_of_max_workers(section: str) -> None:
    assert load_configuration(overrides={f"{section}workers": 2}).value(f"{section}max_workers") == 2
    both = load_configuration(overrides={f"{section}workers": 2, f"{section}max_workers": 3})
    assert both.value(f"{section}max_workers") == 3


def test_an_older_name_is_said_to_be_one(yaml_file, caplog: pytest.LogCaptureFixture) -> None:
    file = yaml_file("max_workers: 2\nsegmentation:\n  workers: 2\n")
    assert load_configuration(file).segmentation.max_workers == 2
    (notice,) = caplog.messages
    assert (
        notice == f"{file}, line 3: segmentation.workers is an older name of segmentation.max_workers; it still works"
    )


def test_a_variable_of_an_older_version_names_its_successor() -> None:
    with pytest.raises(ConfigurationError, match="use RTPIPELINE_ENVIRONMENTS_RADIOMICS"):
        load_configuration(environment={"RTPIPELINE_RADIOMICS_ENV": "x"})
    for advice in RETIRED_VARIABLES.values():
        if advice.startswith("use "):
            assert advice.removeprefix("use ") in environment_keys()


def test_intensity_is_another_name_of_profile() -> None:
    key = "radiomics_robustness.segmentation_perturbation"
    assert load_configuration(overrides={f"{key}.intensity": "standard"}).value(f"{key}.profile") == "standard"


@pytest.mark.parametrize("word", ["cuda", "CUDA", "gpu", " GPU "])
def test_cuda_means_gpu(word: str) -> None:
    assert load_configuration(overrides={"segmentation.device": word}).segmentation.device == "gpu"


@pytest.mark.parametrize("word", ["auto", "", "null", None])
def test_automatic_counts(word: str | None) -> None:
    value = None if word is None else typed_value(word)
    assert load_configuration(overrides={"aggregation.threads": value}).aggregation.threads is None


def test_text_typed_by_the_user_is_read_as_the_schema_expects() -> None:
    environment = {
        "RTPIPELINE_ORGANIZE_COURSE_FILTER": "000123",
        "RTPIPELINE_RADIOMICS_SEQUENTIAL": "1",
        "RTPIPELINE_MAX_WORKERS": "8",
        "RTPIPELINE_RADIOMICS_ROBUSTNESS_SEGMENTATION_PERTURBATION_NOISE_LEVELS": "[0, 10]",
        "RTPIPELINE_CUSTOM_STRUCTURES": "null",
    }
    configuration = load_configuration(environment=environment)
    assert configuration.organize.course_filter == ("000123",)
    assert configuration.radiomics.sequential is True
    assert configuration.max_workers == 8
    assert configuration.radiomics_robustness.segmentation_perturbation.noise_levels == (0.0, 10.0)
    assert configuration.custom_structures is None


def test_unknown_variable_names_the_nearest() -> None:
    message = error_of(environment={"RTPIPELINE_SEGMENTATION_DEVISE": "cpu"})
    assert "did you mean RTPIPELINE_SEGMENTATION_DEVICE?" in message
    assert load_configuration(environment={"PATH": "/bin", "RTPIPELINE_TEST_DATA": "/data"}) == Configuration()


def test_every_key_has_a_variable_of_its_own() -> None:
    assert len(environment_keys()) == len(list(keys()))


@settings(deadline=None)
@example(workers=1, device="cpu", names=["null", "\x8585", "\u2028a", "\x9b\x0e", "yes", "012", " "])
@given(
    workers=st.integers(1, 64),
    device=st.sampled_from(["gpu", "cpu", "mps"]),
    names=st.lists(st.text(min_size=1, max_size=20)),
)
def test_effective_configuration_loads_again(tmp_path_factory, workers: int, device: str, names: list[str]) -> None:
    overrides = {"max_workers": workers, "segmentation.device": device, "radiomics.skip_rois": names}
    configuration = load_configuration(overrides=overrides)
    file = tmp_path_factory.mktemp("effective") / "config.yaml"
    file.write_text(configuration.as_yaml(), encoding="utf-8")
    assert load_configuration(file) == configuration


def test_shipped_file_is_the_defaults_with_every_key() -> None:
    shipped = load_configuration(CONFIGS / "config.yaml")
    assert shipped == load_configuration(overrides=reference.SHIPPED_VALUES)
    assert reference.SHIPPED_VALUES == {"radiomics.thread_limit": 4}
    given_values = yaml.safe_load((CONFIGS / "config.yaml").read_text(encoding="utf-8"))
    for key in keys():
        value = given_values
        for part in key.split("."):
            assert part in value, key
            value = value[part]


def test_shipped_files_are_in_step_with_the_schema() -> None:
    remedy = "run: python -m rtpipeline.config.reference ."
    assert (CONFIGS / "config.yaml").read_text(encoding="utf-8") == reference.commented_yaml(), remedy
    page = PROJECT / "docs" / "reference" / "configuration.md"
    assert page.read_text(encoding="utf-8") == reference.markdown(), remedy


def test_every_key_is_described() -> None:
    rows = [line for line in reference.markdown().splitlines() if line.startswith("| `")]
    assert len(rows) == len(list(keys()))
    assert not [row for row in rows if row.endswith("|  |")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("single_gpu", {"max_workers": None, "segmentation.device": "gpu", "segmentation.max_workers": None}),
        ("multi_gpu", {"max_workers": 24, "segmentation.max_workers": 2, "custom_models.max_workers": 2}),
        ("cpu_only", {"max_workers": 8, "segmentation.device": "cpu", "segmentation.max_workers": None}),
        ("container", {"segmentation.weights": Path("/weights"), "radiomics_robustness.enabled": True}),
    ],
)
def test_example_files_load(name: str, expected: dict) -> None:
    configuration = load_configuration(CONFIGS / f"{name}.yaml")
    assert {key: configuration.value(key) for key in expected} == expected


def test_example_of_custom_structures_loads() -> None:
    entries = load_custom_structures(CONFIGS / "custom_structures.yaml").entries
    assert {entry.name: entry.operation for entry in entries}["Lungs"] == "union"
    assert {entry.name: entry.margin for entry in entries}["SpinalCord_PRV05"] == 5


@pytest.mark.parametrize(
    ("read", "refusal"),
    [
        (load_configuration, ConfigurationError),
        (load_custom_structures, StageError),
        (read_model_file, CustomModelError),
        (load_rules, StageError),
        (read_overrides, StageError),
    ],
    ids=["configuration", "custom structures", "custom model", "names", "overrides"],
)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Heart: Cor\nLung: Lungs\nHeart: Heart\n", "given twice"),
        ("a:\n- {name: A, margin: 3, margin: 5}\n", "given twice"),
        ("a: " + "[" * 20_000, "nested too deeply"),
    ],
    ids=["a key", "a key in a list", "depth"],
)
def test_files_that_say_two_things_at_once_are_refused(
    read: Callable[[Path], object], refusal: type[Exception], text: str, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "custom_model.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(refusal, match=reason):
        read(file)


def test_values_without_end_are_texts() -> None:
    assert typed_value("[" * 20_000) == "[" * 20_000
