"""The metadata stage: values as they stand in the files, empty where they do not."""

from __future__ import annotations

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


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Course]:
    export = tmp_path_factory.mktemp("export")
    write_demo_cohort(export)
    return organized_courses(export, tmp_path_factory.mktemp("out"))


def row_of(course: Course, staging: Path, **sections: Any) -> dict[str, Any]:
    assert run_stage(metadata.run, course, staging=staging, **sections).status == "ok"
    (row,) = read_parquet(CourseFiles(staging).case_metadata_table).to_pylist()
    return row


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


def test_a_resumed_run_gives_the_bytes_of_a_first_one(tmp_path: Path) -> None:
    """Killed between files, organized again, and organized once more: the tables are those of one run."""
    write_demo_cohort(tmp_path / "export")
    tables: dict[str, list[bytes]] = {}
    for out in ("first", "resumed"):
        courses = organized_courses(tmp_path / "export", tmp_path / out)
        if out == "resumed":
            course = courses["DEMO-002"]
            for path in (course.files.state("organize"), course.files.dose, course.path("DICOM/CT/CT_0002.dcm")):
                path.unlink()
            organized_courses(tmp_path / "export", tmp_path / out)
            courses = organized_courses(tmp_path / "export", tmp_path / out)
        for patient, course in courses.items():
            row_of(course, tmp_path / "staging" / out / patient)
        written = sorted((tmp_path / "staging" / out).rglob("metadata/*"))
        tables[out] = [path.read_bytes() for path in written if path.is_file()]
    assert len(tables["first"]) > 9
    assert tables["first"] == tables["resumed"]


def test_plans_of_an_undecided_dose_are_not_added_up(tmp_path: Path) -> None:
    """Without a used plan, columns of plans are empty; they are never those of all plans."""
    patient = Patient(tmp_path / "export")
    patient.make_course()
    patient.make_plan("other")
    patient.make_dose("other dose", plans=("other",))
    (course,) = organized_courses(tmp_path / "export", tmp_path / "out").values()
    row = row_of(course, tmp_path / "staging")
    assert (row["dose_decision"], row["plan_count"], row["plans_used_count"]) == ("ambiguous", 2, 0)
    assert row["dose_decision_reason"]
    for name in ("plan_label", "beams_count", "total_meterset", "total_prescription_gy", "planned_fractions"):
        assert row[name] is None, name


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
