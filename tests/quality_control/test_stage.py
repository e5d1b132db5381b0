"""Quality control: each fault gives its own row, and a course that lacks something does not pass."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pydicom
import pytest

from dicom_factory import Patient
from rtpipeline import dvh, quality_control
from rtpipeline.config import Configuration
from rtpipeline.course import Course, CourseFiles, DoseDecision, Prescription
from rtpipeline.demo.cohort import write_demo_cohort
from rtpipeline.dicom.image_series import load_image
from rtpipeline.imaging.grid import Volume
from rtpipeline.imaging.nifti import write_nifti
from rtpipeline.structures import course_structures
from rtpipeline.tables.parquet import read_parquet
from stage_runs import organized_courses, run_stage

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Course]:
    export = tmp_path_factory.mktemp("export")
    write_demo_cohort(export)
    return organized_courses(export, tmp_path_factory.mktemp("out"))


@pytest.fixture
def copy_of(demo: dict[str, Course], tmp_path: Path) -> Any:
    """A course of the synthetic cohort to be damaged."""

    def copy(patient: str) -> Course:
        folder = tmp_path / patient
        shutil.copytree(demo[patient].files.folder, folder)
        return Course(CourseFiles(folder), demo[patient].description)

    return copy


def checks(course: Course, *, with_dvh: bool = True) -> Rows:
    if with_dvh:
        run_stage(dvh.run, course)
    assert run_stage(quality_control.run, course).status == "ok"
    return read_parquet(course.files.quality_control).to_pylist()


def status(rows: Rows, check: str) -> str:
    """The status of a check that has one row."""
    (row,) = (row for row in rows if row["check"] == check)
    return str(row["status"])


def test_a_whole_course_passes_what_it_should(copy_of: Any) -> None:
    rows = checks(copy_of("DEMO-001"))
    assert [row for row in rows if row["status"] == "FAIL"] == []
    passed = (
        "ct_geometry ct_slice_gaps ct_slice_thickness ct_orientation frame_of_reference dose_references_plan "
        "plan_references_structure_set structure_set_references_ct dose_units dose_present dvh_present dvh_plausible "
        "target_covered_by_dose target_mean_dose prescription_fraction_dose"
    )
    for check in passed.split():
        assert status(rows, check) == "PASS", check


@pytest.mark.parametrize("patient", ["DEMO-003", "DEMO-005"])
def test_a_course_without_dose_does_not_pass(copy_of: Any, patient: str) -> None:
    rows = checks(copy_of(patient))
    assert status(rows, "dose_present") == "WARNING"
    assert status(rows, "plan_present") == "WARNING"
    assert status(rows, "overall") == "WARNING"
    assert status(rows, "dvh_plausible") == "NOT_APPLICABLE"


def test_of_several_plans_none_counts_while_it_is_undecided_which(copy_of: Any) -> None:
    course = copy_of("DEMO-001")
    (plan,) = course.description.plans
    other = plan.model_copy(update={"sop_instance_uid": "1.2.3", "referenced_structure_set_uid": ""})
    undecided = {
        "plans": (plan, other),
        "doses": tuple(dose.model_copy(update={"used": False}) for dose in course.description.doses),
        "dose_decision": DoseDecision(label="ambiguous"),
        "prescription": Prescription(),
    }
    rows = checks(Course(course.files, course.description.model_copy(update=undecided)), with_dvh=False)
    assert status(rows, "plan_references_structure_set") == "NOT_APPLICABLE"
    (row,) = (row for row in rows if row["check"] == "prescription_present")
    assert (row["status"], row["message"]) == ("WARNING", "it is not known which plans count")


def test_a_planned_course_that_lost_its_dose_fails(copy_of: Any) -> None:
    course = copy_of("DEMO-001")
    course.files.dose.unlink()
    rows = checks(course)
    assert status(rows, "dose_present") == "FAIL"
    assert status(rows, "overall") == "FAIL"


def test_a_dose_without_dvh_tables_fails(copy_of: Any) -> None:
    assert status(checks(copy_of("DEMO-001"), with_dvh=False), "dvh_present") == "FAIL"


def test_a_missing_slice_fails(copy_of: Any) -> None:
    course = copy_of("DEMO-001")
    slices = sorted(course.path("DICOM/CT").iterdir())
    by_height = sorted(slices, key=lambda path: float(pydicom.dcmread(path).ImagePositionPatient[2]))
    by_height[len(by_height) // 2].unlink()
    rows = checks(course)
    assert status(rows, "ct_slice_gaps") == "FAIL"
    assert status(rows, "overall") == "FAIL"


def test_a_slice_drawn_twice_is_told(copy_of: Any) -> None:
    course = copy_of("DEMO-001")
    first = sorted(course.path("DICOM/CT").iterdir())[0]
    shutil.copy(first, first.with_name("copy.dcm"))
    rows = checks(course)
    assert status(rows, "ct_duplicate_slices") == "WARNING"


def test_images_that_are_no_stack_fail(copy_of: Any) -> None:
    course = copy_of("DEMO-001")
    path = sorted(course.path("DICOM/CT").iterdir())[0]
    dataset = pydicom.dcmread(path)
    dataset.PixelSpacing = [9.0, 9.0]
    dataset.save_as(path)
    rows = checks(course, with_dvh=False)
    (row,) = (row for row in rows if row["check"] == "ct_geometry")
    assert row["status"] == "FAIL"
    assert path.name in row["message"]
    assert str(course.files.folder) not in row["message"]


def test_frames_of_reference_that_differ_fail(copy_of: Any) -> None:
    course = copy_of("DEMO-001")
    doses = tuple(dose.model_copy(update={"frame_of_reference_uid": "1.2.3"}) for dose in course.description.doses)
    elsewhere = Course(course.files, course.description.model_copy(update={"doses": doses}))
    rows = checks(elsewhere, with_dvh=False)
    assert status(rows, "frame_of_reference") == "FAIL"


def test_attributes_of_doses_are_checked(copy_of: Any) -> None:
    course = copy_of("DEMO-001")
    changed = {"units": "RELATIVE", "dose_type": "EFFECTIVE", "summation_type": "FRACTION", "referenced_plan_uids": ()}
    doses = tuple(dose.model_copy(update=changed) for dose in course.description.doses)
    rows = checks(Course(course.files, course.description.model_copy(update={"doses": doses})), with_dvh=False)
    assert status(rows, "dose_units") == "FAIL"
    assert status(rows, "dose_type") == "WARNING"
    assert status(rows, "dose_summation_type") == "WARNING"
    assert status(rows, "dose_references_plan") == "WARNING"


def test_a_target_whose_dose_does_not_fit_the_prescription(copy_of: Any) -> None:
    course = copy_of("DEMO-001")
    prescription = course.description.prescription.model_copy(update={"total_dose_gy": 20.0, "targets": ()})
    plans = tuple(plan.model_copy(update={"prescriptions": ()}) for plan in course.description.plans)
    changed = course.description.model_copy(update={"prescription": prescription, "plans": plans})
    rows = checks(Course(course.files, changed))
    found = [row for row in rows if row["check"] == "target_mean_dose"]
    assert {row["subject"] for row in found} == {"manual: GTV", "manual: PTV"}
    assert {row["status"] for row in found} == {"FAIL"}
    assert all(row["value"] > 2.5 for row in found)


def test_impossible_prescriptions_are_told(copy_of: Any) -> None:
    course = copy_of("DEMO-001")
    prescription = course.description.prescription.model_copy(update={"total_dose_gy": 120.0, "fractions": 1})
    rows = checks(Course(course.files, course.description.model_copy(update={"prescription": prescription})))
    assert status(rows, "prescription_total") == "WARNING"
    assert status(rows, "prescription_fraction_dose") == "WARNING"


def test_a_structure_that_is_cut_off_names_the_sides(copy_of: Any) -> None:
    rows = checks(copy_of("DEMO-001"), with_dvh=False)
    (row,) = (row for row in rows if row["check"] == "structure_at_image_edge")
    assert row["subject"] == "manual: Spinal Cord"
    assert "inferior, superior" in row["message"]


def test_an_unreadable_structure_set_fails_and_the_rest_is_checked(copy_of: Any) -> None:
    course = copy_of("DEMO-001")
    course.files.structure_set.write_bytes(b"no structure set")
    rows = checks(course, with_dvh=False)
    assert status(rows, "structures_readable") == "FAIL"
    assert status(rows, "ct_geometry") == "PASS"


def test_a_segmentation_is_compared_with_what_was_drawn(copy_of: Any) -> None:
    """The drawn heart, shifted by one voxel along x, as an automatic one: volumes equal, Dice counted by hand."""
    course: Course = copy_of("DEMO-001")
    image = load_image(course.path("DICOM/CT"))
    heart = next(s for s in course_structures(course, Configuration()) if s.roi_name == "Heart")
    drawn = heart.mask(image.grid).on(image.grid)
    shifted = np.roll(drawn, 1, axis=2)
    segmentation = course.files.segmentation("CT", "total")
    segmentation.parent.mkdir(parents=True)
    write_nifti(segmentation, Volume(image.grid, shifted.astype(np.uint8)))
    label_map = {"task": "total", "labels": {"1": "heart"}, "voxel_counts": {"1": int(shifted.sum())}}
    course.files.label_map(segmentation).write_text(json.dumps(label_map))
    rows = checks(course)
    assert status(rows, "segmentation_present") == "PASS"
    assert status(rows, "segmentation_geometry") == "PASS"
    (row,) = read_parquet(course.files.structure_comparison).to_pylist()
    assert (row["standard_name"], row["source_a"], row["source_b"]) == ("Heart", "manual", "auto")
    assert row["dice"] == pytest.approx(2 * (drawn & shifted).sum() / (2 * drawn.sum()))
    assert row["volume_difference_percent"] == pytest.approx(0.0)
    step_mm = image.grid.pixel_spacing_mm[0]
    assert row["centroid_distance_mm"] == pytest.approx(step_mm)
    assert row["hausdorff_95_mm"] == pytest.approx(step_mm)
    assert 0.0 < row["mean_surface_distance_mm"] < step_mm
    within = [row[f"surface_dice_{limit}mm"] for limit in (1, 2, 3)]
    assert within == [1.0 if limit >= step_mm else pytest.approx(within[0], abs=0.5) for limit in (1, 2, 3)]
    assert within == sorted(within)
    assert row["added_path_length_mm"] > 0.0
    dose = {
        (metric["metric"], metric["unit"]): metric
        for metric in read_parquet(course.files.structure_comparison_dose).to_pylist()
    }
    values = {
        source: {
            (metric["metric"], metric["unit"] or ""): metric["value"]
            for metric in read_parquet(course.files.dvh_metrics).to_pylist()
            if metric["segmentation_source"] == source and metric["standard_name"] == "Heart"
        }
        for source in ("manual", "auto")
    }
    assert len(dose) > 10
    for key, metric in dose.items():
        assert metric["difference"] == pytest.approx(values["auto"][key] - values["manual"][key])


def test_a_segmentation_on_other_voxels_fails(copy_of: Any) -> None:
    course: Course = copy_of("DEMO-001")
    grid = load_image(course.path("DICOM/CT")).grid
    smaller = grid.crop(slice(0, grid.planes), slice(0, grid.rows), slice(0, grid.columns - 1))
    segmentation = course.files.segmentation("CT", "total")
    segmentation.parent.mkdir(parents=True)
    values = np.zeros(smaller.shape, np.uint8)
    values[5:8, 20:30, 20:30] = 1
    write_nifti(segmentation, Volume(smaller, values))
    course.files.label_map(segmentation).write_text('{"labels": {"1": "heart"}}')
    assert status(checks(course, with_dvh=False), "segmentation_geometry") == "FAIL"


def test_too_few_images_fail(tmp_path: Path) -> None:
    Patient(tmp_path / "export").make_course()
    (course,) = organized_courses(tmp_path / "export", tmp_path / "out").values()
    rows = checks(course)
    assert status(rows, "ct_slice_count") == "FAIL"


def test_table_json_and_workbook_say_the_same(copy_of: Any) -> None:
    course = copy_of("DEMO-001")
    rows = checks(course)
    account = json.loads(course.files.quality_control_json.read_text(encoding="utf-8"))
    assert account["overall_status"] == status(rows, "overall")
    assert len(account["checks"]) == len(rows)
    sheet = openpyxl.load_workbook(CourseFiles.workbook(course.files.quality_control))["qc_reports"]
    header, *shown = sheet.values
    assert len(shown) == len(rows)
    assert {row[header.index("check")] for row in shown} == {row["check"] for row in rows}


@pytest.mark.real_data
def test_a_real_course(test_data: Path, tmp_path: Path) -> None:
    (course,) = organized_courses(test_data / "LUNG1-001", tmp_path).values()
    rows = checks(course)
    assert [row for row in rows if row["status"] == "FAIL"] == []
    warned = {(row["check"], row["subject"]) for row in rows if row["status"] == "WARNING"}
    assert warned == {
        ("overall", None),
        *(("structure_covered_by_dose", f"manual: {name}") for name in ("Spinal-Cord", "Lung-Left", "Lung-Right")),
    }
    assert status(rows, "target_mean_dose") == "PASS"
    assert status(rows, "contour_volume") == "PASS"
