from pathlib import Path

import numpy as np
import pydicom
import pytest

from rtpipeline.config import load_configuration
from rtpipeline.course import CourseFiles
from rtpipeline.demo.settings import PARAMETERS
from rtpipeline.radiomics_robustness import course as stage
from rtpipeline.tables.definitions.robustness import ROBUSTNESS
from rtpipeline.tables.parquet import read_parquet

pytestmark = pytest.mark.radiomics_environment

PERTURBATION = "radiomics_robustness.segmentation_perturbation"


def configuration(**keys):
    return load_configuration(overrides={"radiomics.params_file": PARAMETERS / "ct.yaml", **keys})


def rows(path: Path) -> list[dict]:
    return read_parquet(path).to_pylist()


def test_default_profile_on_a_demo_course(demo_course, resources):
    outcome = stage.run(demo_course("DEMO-003"), configuration(), resources)
    assert outcome.status == "ok"
    files = CourseFiles(resources.staging)
    values = rows(files.radiomics_robustness)
    assert list(values[0]) == [column.name for column in ROBUSTNESS.columns]
    assert {row["roi_name"] for row in values} == {"GTV", "PTV"}
    assert {row["perturbation_id"] for row in values} == {"ntcv_v-15", "ntcv_v0", "ntcv_v+15"}
    counts = {(row["roi_name"], row["volume_change"]): row["voxel_count"] for row in values}
    for roi in ("GTV", "PTV"):
        as_drawn = counts[roi, 0.0]
        assert counts[roi, 0.15] == int(np.floor(as_drawn * 1.15 + 0.5))
        assert counts[roi, -0.15] == int(np.floor(as_drawn * 0.85 + 0.5))
    volumes = {
        row["perturbation_id"]: row["value"]
        for row in values
        if row["roi_name"] == "GTV" and row["feature_name"] == "original_shape_VoxelVolume"
    }
    for change, state in ((0.0, "ntcv_v0"), (0.15, "ntcv_v+15"), (-0.15, "ntcv_v-15")):
        assert volumes[state] == pytest.approx(counts["GTV", change] * 27.0)
    ledger = rows(files.radiomics_robustness_ledger)
    assert [row["status"] for row in ledger] == ["ok"] * 6


def test_all_axes(demo_course, resources):
    keys = {
        f"{PERTURBATION}.noise_levels": [0, 10],
        f"{PERTURBATION}.max_translation_mm": 3,
        f"{PERTURBATION}.n_random_contour_realizations": 1,
        f"{PERTURBATION}.small_volume_changes": [0.0],
        f"{PERTURBATION}.apply_to_structures": ["GTV"],
    }
    outcome = stage.run(demo_course("DEMO-003"), configuration(**keys), resources)
    assert outcome.status == "ok"
    values = rows(CourseFiles(resources.staging).radiomics_robustness)
    by_state = {row["perturbation_id"]: row for row in values if row["feature_name"] == "original_firstorder_Mean"}
    assert len(by_state) == 12
    assert by_state["ntcv_t0_0_3_v0"]["translation_z_mm"] == 3.0
    assert by_state["ntcv_v0"]["value"] != by_state["ntcv_n10_v0"]["value"]
    assert abs(by_state["ntcv_v0"]["value"] - by_state["ntcv_n10_v0"]["value"]) < 2.0
    assert by_state["ntcv_t0_0_3_v0"]["value"] != by_state["ntcv_t0_0_-3_v0"]["value"]
    offsets = {row["contour_offset_mm"] for name, row in by_state.items() if "_c1" in name}
    assert len(offsets) == 3, "one draw per translation, the same at every noise level"
    assert all(0.75 <= abs(offset) <= 1.5 for offset in offsets)
    shape = {
        row["perturbation_id"]: row["value"] for row in values if row["feature_name"] == "original_shape_MeshVolume"
    }
    assert shape["ntcv_n10_c1_v0"] == shape["ntcv_c1_v0"]
    assert shape["ntcv_t0_0_3_v0"] == pytest.approx(shape["ntcv_v0"])


def test_a_translation_below_half_a_voxel_is_skipped_with_its_reason(demo_course, resources):
    keys = {f"{PERTURBATION}.max_translation_mm": 1.2, f"{PERTURBATION}.apply_to_structures": ["GTV"]}
    outcome = stage.run(demo_course("DEMO-003"), configuration(**keys), resources)
    assert outcome.status == "ok"
    ledger = rows(CourseFiles(resources.staging).radiomics_robustness_ledger)
    skipped = [row for row in ledger if row["status"] == "skipped"]
    assert len(skipped) == 6
    assert "less than half a voxel" in skipped[0]["reason"]
    states = {row["perturbation_id"] for row in rows(CourseFiles(resources.staging).radiomics_robustness)}
    assert len(states) == 3


def test_one_failed_state_leaves_the_rest(demo_course, resources):
    """A shrink by 100 % leaves nothing."""
    keys = {f"{PERTURBATION}.small_volume_changes": [-1.0, 0.0], f"{PERTURBATION}.apply_to_structures": ["GTV"]}
    outcome = stage.run(demo_course("DEMO-003"), configuration(**keys), resources)
    assert outcome.status == "partial"
    assert "GTV ntcv_v-100" in outcome.reason
    ledger = {row["perturbation_id"]: row for row in rows(CourseFiles(resources.staging).radiomics_robustness_ledger)}
    assert ledger["ntcv_v-100"]["status"] == "failed"
    assert ledger["ntcv_v0"]["status"] == "ok"


@pytest.mark.parametrize(("smallest", "as_drawn"), [(64, "ok"), (100_000, "skipped")])
def test_states_that_are_too_small_for_the_parameters_are_skipped(demo_course, resources, tmp_path, smallest, as_drawn):
    parameters = tmp_path / "ct.yaml"
    parameters.write_text(f"featureClass: {{firstorder: [Mean]}}\nsetting: {{minimumROISize: {smallest}}}\n")
    keys = {f"{PERTURBATION}.small_volume_changes": [-0.95, 0.0], f"{PERTURBATION}.apply_to_structures": ["GTV"]}
    outcome = stage.run(
        demo_course("DEMO-003"), configuration(**keys, **{"radiomics.params_file": parameters}), resources
    )
    assert outcome.status == as_drawn
    ledger = {row["perturbation_id"]: row for row in rows(CourseFiles(resources.staging).radiomics_robustness_ledger)}
    assert {name: row["status"] for name, row in ledger.items()} == {"ntcv_v-95": "skipped", "ntcv_v0": as_drawn}
    assert "minimumROISize" in ledger["ntcv_v-95"]["reason"]


def test_a_structure_without_contours_has_its_rows_in_the_ledger(demo_course, resources):
    course = demo_course("DEMO-003")
    structures = pydicom.dcmread(course.files.structure_set)
    numbers = {roi.ROIName: roi.ROINumber for roi in structures.StructureSetROISequence}
    ptv = next(c for c in structures.ROIContourSequence if c.ReferencedROINumber == numbers["PTV"])
    del ptv.ContourSequence
    structures.save_as(course.files.structure_set)
    assert stage.run(course, configuration(), resources).status == "ok"
    ledger = rows(CourseFiles(resources.staging).radiomics_robustness_ledger)
    assert [(row["roi_name"], row["status"]) for row in ledger] == [("GTV", "ok")] * 3 + [("PTV", "skipped")] * 3
    assert "no voxel" in ledger[-1]["reason"]


def test_no_matching_structure_is_skipped(demo_course, resources):
    keys = {f"{PERTURBATION}.apply_to_structures": ["CTV*"]}
    outcome = stage.run(demo_course("DEMO-003"), configuration(**keys), resources)
    assert outcome.status == "skipped"
    assert "CTV*" in outcome.reason


def test_the_same_course_gives_the_same_bytes(demo_course, resources):
    keys = {f"{PERTURBATION}.noise_levels": [10], f"{PERTURBATION}.n_random_contour_realizations": 1}
    course = demo_course("DEMO-001")
    contents = []
    for _ in range(2):
        assert stage.run(course, configuration(**keys), resources).status == "ok"
        contents.append(CourseFiles(resources.staging).radiomics_robustness.read_bytes())
    assert contents[0] == contents[1]
