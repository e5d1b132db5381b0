"""The metadata stage: values as they stand in the files, empty where they do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from dicom_factory import Patient
from rtpipeline import metadata
from rtpipeline.course import Course, CourseFiles
from rtpipeline.demo.cohort import write_demo_cohort
from rtpipeline.metadata.case import age_in_years
from rtpipeline.tables.parquet import read_parquet
from stage_runs import organized_courses, run_stage

LUNG1_001 = {
    "patient_sex": "M",
    "patient_age_at_plan_years": 83.0,
    "patient_weight_kg": 72.0,
    "patient_height_m": None,
    "patient_bmi": None,
    "patient_name": None,
    "plan_count": 1,
    "plan_label": "LungIMRT",
    "plan_name": "Lung 7F",
    "plan_date": "2008-09-18",
    "plan_intent": None,
    "plan_approval_status": "APPROVED",
    "technique_inferred": "static",
    "radiation_types": "PHOTON",
    "beam_energies": "6",
    "treatment_machines": "LINAC",
    "beams_count": 7,
    "arcs_count": 0,
    "isocentres_mm": "81.13 -201.34 -456.39",
    "total_meterset": 700.0,
    "total_prescription_gy": 60.0,
    "prescription_source": "TargetPrescriptionDose",
    "planned_fractions": 30,
    "delivered_fractions": None,
    "treatment_records_count": 0,
    "dose_decision": "single_dose",
    "dose_summation_type": "PLAN",
    "dose_units": "GY",
    "dose_grid_columns": 154,
    "dose_grid_rows": 126,
    "dose_grid_planes": 34,
    "dose_grid_spacing_z_mm": 3.0,
    "ct_manufacturer": "SIEMENS",
    "ct_model": "Biograph 40",
    "ct_institution": None,
    "ct_protocol": "RCCTPET_THORAX_CONTRAST_dag0",
    "ct_body_part": "LUNG",
    "ct_patient_position": "HFS",
    "ct_kvp": 120.0,
    "ct_tube_current_ma": 80.0,
    "ct_exposure_mas": 400.0,
    "ct_exposure_time_ms": 361.0,
    "ct_rotation_time_s": None,
    "ct_pitch_factor": None,
    "ct_convolution_kernel": "B19f",
    "ct_slice_thickness_mm": 3.0,
    "ct_slice_increment_mm": 3.0,
    "ct_slices": 134,
    "ct_rows": 512,
    "ct_columns": 512,
    "ct_pixel_spacing_x_mm": 0.9765625,
    "ct_field_of_view_mm": 500.0,
    "ct_contrast_agent": None,
    "roi_count": 4,
    "gtv_count": 1,
    "ptv_count": 0,
    "roi_names": "GTV-1; Spinal-Cord; Lung-Left; Lung-Right",
    "mr_series_count": 0,
}
"""Read by hand from the DICOM headers."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Course]:
    export = tmp_path_factory.mktemp("export")
    write_demo_cohort(export)
    return organized_courses(export, tmp_path_factory.mktemp("out"))


def row_of(course: Course, staging: Path, **sections: Any) -> dict[str, Any]:
    assert run_stage(metadata.run, course, staging=staging, **sections).status == "ok"
    (row,) = read_parquet(CourseFiles(staging).case_metadata_table).to_pylist()
    return row


@pytest.mark.real_data
def test_a_real_course_has_what_its_headers_say(test_data: Path, tmp_path: Path) -> None:
    (course,) = organized_courses(test_data / "LUNG1-001", tmp_path / "out").values()
    row = row_of(course, tmp_path / "staging")
    assert {name: row[name] for name in LUNG1_001} == LUNG1_001
    assert row["dose_maximum_gy"] == pytest.approx(78.2, abs=0.05)
    account = json.loads((tmp_path / "staging" / "metadata" / "case_metadata.json").read_text(encoding="utf-8"))
    assert len(account["plans"][0]["beams"]) == 7
    assert account["structures"][0]["contours"] == 21
    assert account["course"]["prescription"]["total_dose_gy"] == 60.0


def test_fractions_delivered_twice_a_day(demo: dict[str, Course], tmp_path: Path) -> None:
    row = row_of(demo["DEMO-001"], tmp_path)
    assert (row["planned_fractions"], row["delivered_fractions"], row["treatment_records_count"]) == (20, 20, 20)
    assert (row["first_treatment_date"], row["last_treatment_date"]) == ("2024-01-15", "2024-02-08")
    assert (row["treatment_days"], row["most_fractions_per_day"]) == (25, 2)
    fractions = read_parquet(CourseFiles(tmp_path).fractions).to_pylist()
    assert [fraction["fraction_number"] for fraction in fractions] == list(range(1, 21))


def test_a_boost_adds_its_plan(demo: dict[str, Course], tmp_path: Path) -> None:
    row = row_of(demo["DEMO-002"], tmp_path)
    assert row["plan_label"] == "Phase1_50Gy; Boost_16Gy"
    assert (row["plans_used_count"], row["beams_count"]) == (2, 4)
    assert (row["total_prescription_gy"], row["planned_fractions"], row["delivered_fractions"]) == (66.0, 33, 33)


def test_a_course_without_plan_has_no_invented_values(demo: dict[str, Course], tmp_path: Path) -> None:
    row = row_of(demo["DEMO-003"], tmp_path)
    for name in ("plan_label", "total_prescription_gy", "planned_fractions", "beams_count", "dose_maximum_gy"):
        assert row[name] is None, name
    assert (row["plan_count"], row["dose_count"], row["treatment_records_count"]) == (0, 0, 0)
    assert row["roi_count"] > 0


def test_identifiers_only_when_asked_for(tmp_path: Path) -> None:
    patient = Patient(tmp_path / "export")
    patient.make_course()
    patient.make_plan(ReviewerName="Doctor^Who", PatientBirthDate="19500110")
    (course,) = organized_courses(tmp_path / "export", tmp_path / "out").values()
    row = row_of(course, tmp_path / "without")
    assert (row["patient_name"], row["patient_birth_date"], row["staff"]) == (None, None, None)
    assert row["patient_age_at_plan_years"] == 74.0
    for path in (tmp_path / "without").rglob("*"):
        if path.is_file():
            content = path.read_bytes() if path.suffix == ".json" else b""
            assert b"Test^Patient" not in content
            assert b"Who" not in content
            assert b"1950-01-10" not in content
    row = row_of(course, tmp_path / "with", metadata={"include_identifiers": True})
    assert (row["patient_name"], row["patient_birth_date"]) == ("Test^Patient", "1950-01-10")
    assert row["staff"] == "ReviewerName: Doctor^Who"


def test_zero_weight_and_height_are_unknown(tmp_path: Path) -> None:
    patient = Patient(tmp_path / "export")
    patient.make_course()
    patient.make_series(PatientWeight=0, PatientSize=0)
    (course,) = organized_courses(tmp_path / "export", tmp_path / "out").values()
    row = row_of(course, tmp_path / "staging")
    assert (row["patient_weight_kg"], row["patient_height_m"], row["patient_bmi"]) == (None, None, None)


def test_a_damaged_file_is_named_and_the_rest_is_there(demo: dict[str, Course], tmp_path: Path) -> None:
    original = demo["DEMO-001"]
    folder = tmp_path / "course"
    for source in original.files.folder.rglob("*"):
        if source.is_file():
            target = folder / source.relative_to(original.files.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    record = original.description.treatment_record_files[3]
    (folder / record).write_bytes(b"this was a treatment record once")
    outcome = run_stage(metadata.run, Course(CourseFiles(folder), original.description))
    assert outcome.status == "partial"
    (row,) = read_parquet(CourseFiles(folder).case_metadata_table).to_pylist()
    assert row["delivered_fractions"] == 19
    assert record in row["warnings"]
    assert str(tmp_path) not in row["warnings"]


def test_the_workbook_has_both_tables(demo: dict[str, Course], tmp_path: Path) -> None:
    row_of(demo["DEMO-001"], tmp_path)
    book = openpyxl.load_workbook(CourseFiles.workbook(CourseFiles(tmp_path).case_metadata_table))
    assert book.sheetnames == ["case_metadata", "fractions"]
    header, values = book["case_metadata"].values
    assert dict(zip(header, values, strict=True))["plan_label"] == "Lung60"
    assert book["fractions"].max_row == 21


def test_the_same_course_gives_the_same_bytes(demo: dict[str, Course], tmp_path: Path) -> None:
    for name in ("one", "two"):
        row_of(demo["DEMO-002"], tmp_path / name)
    for path in (tmp_path / "one").rglob("*.*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path


@pytest.mark.parametrize(
    ("born", "on", "years"),
    [
        ("1950-06-15", "2010-06-15", 60),
        ("1950-06-15", "2010-06-14", 59),
        ("1952-02-29", "2011-02-28", 58),
        ("", "2010-01-01", None),
        ("2020-01-01", "2010-01-01", None),
    ],
)
def test_age_counts_completed_years(born: str, on: str, years: int | None) -> None:
    assert age_in_years(born, on) == years
