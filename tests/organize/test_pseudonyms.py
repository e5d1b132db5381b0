"""Organizing with pseudonyms: nothing original is left, and nothing else changes."""

from __future__ import annotations

import datetime
import json
import logging
import stat
from pathlib import Path

import numpy as np
import openpyxl
import pydicom
import pytest
import yaml

from dicom_factory import Patient
from organized import Organize, Organized
from rtpipeline.aggregate import aggregate
from rtpipeline.config import Configuration
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtdose import read_dose
from rtpipeline.dicom.rtstruct import read_structure_set
from rtpipeline.organize.identifier_check import find_identifiers, without_identifiers
from rtpipeline.organize.translation import StoredTranslations, patients, stored_pseudonyms, translate
from rtpipeline.outcome import Outcome, StageError
from rtpipeline.tables.parquet import read_parquet

PERSON = {
    "PatientName": "Zwiebelmann^Egon",
    "PatientBirthDate": "19500312",
    "AccessionNumber": "ACC-778899",
    "InstitutionName": "Klinikum Musterstadt",
    "ReferringPhysicianName": "Quacksalber^Dr",
    "OtherPatientIDs": "ALT-556677",
}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "safe" / "study.key"


@pytest.fixture
def person(export: Path) -> Patient:
    """A patient whose every object and file says who he is: two plans with a dose each, records, and stray files."""
    person = Patient(export, "HOSP-4711")
    person.make_series(place="Zwiebelmann, Egon/ct", description="Thorax Zwiebelmann 20240105", **PERSON)
    person.make_structure_set(StructureSetLabel="EGON rs", **PERSON)
    person.make_plan("plan", prescriptions_gy=(50.0,), fractions=25, label="Zwiebelmann 1", **PERSON)
    person.make_plan("boost", prescriptions_gy=(16.0,), fractions=8, date="20240220", label="boost", **PERSON)
    person.make_dose("dose", dose_gy=50.0, **PERSON)
    person.make_dose("dose2", plans=("boost",), dose_gy=16.0, **PERSON)
    person.make_record("first", date="20240115", fraction=1, **PERSON)
    person.make_record("second", date="20240116", fraction=2, **PERSON)
    person.make_series("copy", slices=1, place="Zwiebelmann, Egon/localizer", image_type=("LOCALIZER",), **PERSON)
    (export / "letter to Zwiebelmann, Egon.txt").write_text("nothing to see here")
    (export / "again").mkdir()
    first = next((export / "Zwiebelmann, Egon" / "ct").rglob("*.dcm"))
    (export / "again" / "Zwiebelmann, 4711.dcm").write_bytes(first.read_bytes())
    return person


def found_in(made: Organized) -> set[str]:
    """Kinds of identifiers that the search finds."""
    assert made.result.pseudonyms is not None
    logs = made.cohort.folder / "Logs"
    return {finding.kind for finding in find_identifiers(made.cohort, logs, made.result.pseudonyms)}


def test_no_original_is_left(person: Patient, organized: Organize, key: Path) -> None:
    made = organized(pseudonymize=key)
    assert found_in(made) == set()
    content = b"\n".join(made.snapshot().values()) + "\n".join(made.snapshot()).encode()
    for original in ("HOSP-4711", "Zwiebelmann", "19500312", "1950-03-12", "778899", "Musterstadt", "Quacksalber"):
        assert original.encode() not in content
    assert person.uid("plan").encode() not in content


def test_search_finds_what_is_there(person: Patient, organized: Organize, key: Path) -> None:
    """The same search, in the output of a run without pseudonyms, and in single files of every kind."""
    made = organized(pseudonymize=key)
    pseudonyms = made.result.pseudonyms
    assert pseudonyms is not None
    plain = organized(out="plain")
    kinds = {finding.kind for finding in find_identifiers(plain.cohort, plain.cohort.folder, pseudonyms)}
    assert {"PatientID", "AccessionNumber", "UID", "InstitutionName", "PatientName"} <= kinds
    for name in ("note.txt", "page.html", "table.json", "plan Zwiebelmann, Egon.csv"):
        text = "for Zwiebelmann^Egon" if "Zwiebel" not in name else "nothing"
        stray = made.cohort.folder / name
        stray.write_text(text)
        outcome = without_identifiers(made.cohort, made.cohort.folder / "Logs", pseudonyms)
        assert outcome.status == "failed"
        assert name in outcome.reason
        assert "PatientName" in outcome.reason
        stray.unlink()
    assert without_identifiers(made.cohort, made.cohort.folder / "Logs", pseudonyms).status == "ok"


def test_decisions_and_numbers_are_the_same(person: Patient, organized: Organize, key: Path) -> None:
    plain, made = organized(out="plain"), organized(pseudonymize=key)
    one, other = plain.only.description, made.only.description
    assert other.kind == one.kind
    assert other.dose_decision.label == one.dose_decision.label == "plans_summed"
    assert (other.prescription.total_dose_gy, other.prescription.fractions) == (66.0, 33)
    assert [len(part) for part in (other.images, other.plans, other.doses, other.treatment_record_files)] == [
        1,
        2,
        2,
        2,
    ]
    assert (read_dose(plain.only.files.dose).values == read_dose(made.only.files.dose).values).all()
    before, after = load_image(plain.only.path("DICOM/CT")), load_image(made.only.path("DICOM/CT"))
    assert before.grid.same_as(after.grid)
    assert np.array_equal(before.values, after.values)
    kinds = sorted(kind for kind, _ in plain.unused.values())
    assert sorted(kind for kind, _ in made.unused.values()) == kinds == ["duplicate", "not_chosen", "not_dicom"]


def test_references_hold_between_the_copies(person: Patient, organized: Organize, key: Path) -> None:
    course = organized(pseudonymize=key).only
    plan = pydicom.dcmread(course.files.plan)
    contours = read_structure_set(course.files.structure_set)
    dose = pydicom.dcmread(course.files.dose)
    ct = pydicom.dcmread(next(course.path("DICOM/CT").iterdir()))
    assert plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == contours.sop_instance_uid
    assert contours.referenced_series_uids == (ct.SeriesInstanceUID,)
    assert contours.frame_of_reference_uid == ct.FrameOfReferenceUID == dose.FrameOfReferenceUID
    described = {one.sop_instance_uid for one in course.description.plans}
    assert {item.ReferencedSOPInstanceUID for item in dose.ReferencedRTPlanSequence} == described
    assert plan.SOPInstanceUID in described
    assert ct.PatientID == dose.PatientID == course.description.patient == course.description.patient_id


def test_dates_move_together(person: Patient, organized: Organize, key: Path) -> None:
    """All dates of a patient move by the same number of whole weeks, in course.json as in the copies."""
    plain, made = organized(out="plain").only, organized(pseudonymize=key).only
    shift = moved(made.description.start_date, plain.description.start_date)
    assert shift == patients(key)[0][2]
    assert shift < 0
    assert shift % 7 == 0
    pairs = zip(made.description.plans, plain.description.plans, strict=True)
    assert {moved(one.date, other.date) for one, other in pairs} == {shift}
    for name, other in zip(
        made.description.treatment_record_files, plain.description.treatment_record_files, strict=True
    ):
        dates = [
            str(pydicom.dcmread(course.path(file)).TreatmentDate) for course, file in ((made, name), (plain, other))
        ]
        assert dates[0] != dates[1]
    assert made.description.course.startswith(made.description.start_date[:7])


def moved(after: str, before: str) -> int:
    return (datetime.date.fromisoformat(after) - datetime.date.fromisoformat(before)).days


def test_second_run_changes_nothing(person: Patient, organized: Organize, key: Path) -> None:
    first = organized(pseudonymize=key)
    before = first.snapshot()
    again = organized(pseudonymize=key)
    assert not again.result.changed
    assert again.result.files_read == 0
    assert again.snapshot() == before


def test_another_place_gets_the_same_names(person: Patient, organized: Organize, key: Path) -> None:
    first, second = organized(pseudonymize=key), organized(out="elsewhere", pseudonymize=key)
    assert set(first.snapshot()) == set(second.snapshot())
    assert first.only.description == second.only.description


def test_adding_a_plan_renames_nothing(person: Patient, organized: Organize, key: Path) -> None:
    before = organized(pseudonymize=key).only.key
    person.make_plan("earlier", prescriptions_gy=(2.0,), fractions=1, date="20231205", **PERSON)
    assert organized(pseudonymize=key).only.key == before


def test_key_is_for_its_owner_only(person: Patient, organized: Organize, key: Path) -> None:
    organized(pseudonymize=key)
    for file in key.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_key_in_the_output_is_refused(person: Patient, organized: Organize, tmp_path: Path) -> None:
    inside = tmp_path / "out" / "study.key"
    with pytest.raises(StageError, match="keep it outside"):
        organized(pseudonymize=inside)
    assert not inside.exists()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with pytest.raises(StageError, match="keep it outside"):
        organized(pseudonymize=tmp_path / "link" / "study.key")


def test_output_keeps_its_key(person: Patient, organized: Organize, key: Path) -> None:
    """Another key, a lost key, no key at all, and a key for results that were made without one."""
    before = organized(pseudonymize=key).snapshot()
    other = key.with_name("other.key")
    with pytest.raises(StageError, match="there is no such key file"):
        organized(pseudonymize=other)
    organized(out="third", pseudonymize=other)
    with pytest.raises(StageError, match="another key"):
        organized(pseudonymize=other)
    with pytest.raises(StageError, match="give their key with --pseudonymize"):
        organized()
    assert organized(pseudonymize=key).snapshot() == before
    organized(out="plain")
    with pytest.raises(StageError, match="original identifiers"):
        organized(out="plain", pseudonymize=key)


def test_file_that_is_no_key_is_refused(person: Patient, organized: Organize, key: Path) -> None:
    key.parent.mkdir()
    key.write_text("patient_id,name\n1,Zwiebelmann\n")
    with pytest.raises(StageError, match="no key file"):
        organized(pseudonymize=key)


def test_translation_back(person: Patient, organized: Organize, key: Path) -> None:
    made = organized(pseudonymize=key)
    course = made.only.description
    ((pseudonym, patient_id, _),) = patients(key)
    assert (pseudonym, patient_id) == (course.patient, "HOSP-4711")
    plan = next(one for one in course.plans if one.label == "boost")
    unused = next(path for path, (kind, _) in made.unused.items() if kind == "not_dicom")
    names = [pseudonym, "HOSP-4711", plan.sop_instance_uid, person.uid("plan"), unused]
    meanings = [meaning for _, meaning in translate(key, names)]
    assert meanings[:3] == ["HOSP-4711", pseudonym, person.uid("boost")]
    assert meanings[3] in {one.sop_instance_uid for one in course.plans}
    assert meanings[4] == "letter to Zwiebelmann, Egon.txt"


def test_search_from_what_lies_beside_the_key(person: Patient, organized: Organize, key: Path) -> None:
    made = organized(pseudonymize=key)
    stored = stored_pseudonyms(key, made.cohort.folder)
    assert find_identifiers(made.cohort, made.cohort.folder, stored) == []
    plain = organized(out="plain")
    assert find_identifiers(plain.cohort, plain.cohort.folder, stored) != []


def test_unused_files_name_nobody(person: Patient, organized: Organize, key: Path) -> None:
    rows = read_parquet(organized(pseudonymize=key).cohort.table("unused_files")).to_pylist()
    text = json.dumps(rows)
    assert "Zwiebelmann" not in text
    duplicate = next(row for row in rows if row["kind"] == "duplicate")
    assert duplicate["patient_id"] == patients(key)[0][0]
    assert duplicate["sop_instance_uid"].startswith("2.25.")


def test_filter_and_decisions_go_by_pseudonyms(
    person: Patient, export: Path, organized: Organize, key: Path, tmp_path: Path
) -> None:
    other = Patient(export / "other", "HOSP-4712")
    other.make_course()
    made = organized(pseudonymize=key)
    course = next(course for course in made.courses.values() if len(course.description.plans) == 2)
    boost = next(plan.sop_instance_uid for plan in course.description.plans if plan.label == "boost")
    dose = next(one for one in course.description.doses if one.referenced_plan_uids == (boost,))
    decision = tmp_path / "courses.yaml"
    decision.write_text(yaml.safe_dump({course.key: {"doses": [dose.sop_instance_uid]}}))
    decided = organized(pseudonymize=key, overrides=decision, course_filter=(course.description.patient,))
    assert decided.only.key == course.key
    assert decided.only.description.prescription.total_dose_gy == 16.0
    assert found_in(decided) == set()


def test_decisions_by_original_names(person: Patient, organized: Organize, key: Path, tmp_path: Path) -> None:
    """The user who writes the file knows the originals: it may name courses and doses so, too."""
    original = organized(out="plain").only
    decision = tmp_path / "courses.yaml"
    decision.write_text(
        yaml.safe_dump({original.key: {"doses": [person.uid("dose2")], "plans": [person.uid("boost")]}})
    )
    decided = organized(pseudonymize=key, overrides=decision)
    text = decided.only.description
    assert (text.dose_decision.label, text.prescription.total_dose_gy) == ("override", 16.0)
    assert found_in(decided) == set()
    decision.write_text(yaml.safe_dump({original.key: {"doses": ["1.2.3.4.5.6"]}, "HOSP-4711/2020-01": {"doses": []}}))
    refused = organized(pseudonymize=key, overrides=decision)
    assert refused.only.description.dose_decision.label == "ambiguous"
    assert found_in(refused) == set()
    (warning,) = [one for one in refused.result.warnings if "there is no course" in one]
    assert "HOSP-4711" not in warning


CLINICAL = """patient_id;who;death;age;note;plan;relapse
HOSP-4711;Zwiebelmann, Egon;2025-03-01;74;seen by Quacksalber on 01.02.2024, HOSP-4711;{plan};5/11/24
HOSP-9999;Niemand, Nina;2025-01-01;60;seen by nobody;;
"""


def joined(made: Organized, clinical: Path, key: Path | None) -> tuple[Outcome, list[dict[str, object]]]:
    outcome = aggregate(
        made.result.courses,
        made.cohort,
        Configuration.model_validate({"aggregation": {"clinical": clinical}}),
        threads=1,
        logger=logging.getLogger("test"),
        translation_of=StoredTranslations(key).of,
    )
    return outcome, read_parquet(made.cohort.table("analysis_table")).to_pylist()


def test_clinical_table_of_original_identifiers_is_joined_and_names_nobody(
    person: Patient, organized: Organize, key: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = organized(pseudonymize=key)
    clinical = tmp_path / "clinical.csv"
    clinical.write_text(CLINICAL.format(plan=person.uid("plan")), encoding="utf-8")
    outcome, (row,) = joined(made, clinical, key)
    assert "clinical" not in outcome.reason
    assert row["relapse"] is None
    assert "cannot be moved are left out of relapse; write them as YYYY-MM-DD" in caplog.text
    ((pseudonym, _, days),) = patients(key)
    assert (row["patient_id"], row["clinical_matched"], row["age"]) == (pseudonym, True, 74)
    assert moved(str(row["death"]), "2025-03-01") == days
    assert row["plan"] in {plan.sop_instance_uid for plan in made.only.description.plans}
    seen = datetime.date(2024, 2, 1) + datetime.timedelta(days=days)
    assert (row["who"], row["note"]) == ("X", f"seen by X on {seen:%d.%m.%Y}, X")
    book = openpyxl.load_workbook(made.cohort.table("analysis_table", ".xlsx"))
    header, stranger = book["clinical_unmatched"].values
    assert dict(zip(header, stranger, strict=True)) == {
        "patient_id": dict(translate(key, ["HOSP-9999"]))["HOSP-9999"],
        **dict.fromkeys(("who", "death", "age", "note", "plan", "relapse")),
    }
    assert found_in(made) == set()
    content = b"\n".join(made.snapshot().values())
    for original in ("HOSP-4711", "HOSP-9999", "Zwiebelmann", "Niemand", "Quacksalber", "2025-03-01"):
        assert original.encode() not in content


def test_clinical_table_goes_by_pseudonyms_and_courses_too(
    person: Patient, organized: Organize, key: Path, tmp_path: Path
) -> None:
    plain, made = organized(out="plain").only, organized(pseudonymize=key)
    course = made.only.description
    clinical = tmp_path / "clinical.csv"
    for patient, name in ((course.patient, course.course), ("HOSP-4711", plain.description.course)):
        clinical.write_text(f"patient_id,course_id,visit\n{patient},{name},2024-02-01\n", encoding="utf-8")
        _, (row,) = joined(made, clinical, key)
        assert row["clinical_matched"]
        assert (row["visit"] == "2024-02-01") == (patient == course.patient), "who writes pseudonyms prepared the row"


def test_clinical_table_without_the_key_is_not_joined(
    person: Patient, organized: Organize, key: Path, tmp_path: Path
) -> None:
    made = organized(pseudonymize=key)
    clinical = tmp_path / "clinical.csv"
    clinical.write_text(CLINICAL.format(plan=""), encoding="utf-8")
    for missing, message in ((None, "name their key"), (key.with_name("lost.key"), "there is no such key file")):
        outcome, (row,) = joined(made, clinical, missing)
        assert outcome.status == "partial"
        assert message in outcome.reason
        assert "age" not in row
    assert found_in(made) == set()


def test_patient_without_id(export: Path, organized: Organize, key: Path) -> None:
    Patient(export, "").make_course(PatientName="Zwiebelmann^Egon")
    made = organized(pseudonymize=key)
    assert found_in(made) == set()
    assert made.only.description.patient_id == made.only.description.patient
    assert pydicom.dcmread(made.only.files.plan).PatientID == made.only.description.patient


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["LUNG1-001", "STS/STS_025", "breast-tps"])
def test_real_courses(test_data: Path, organized: Organize, key: Path, name: str) -> None:
    plain, made = organized(test_data / name, out="plain"), organized(test_data / name, pseudonymize=key)
    assert found_in(made) == set()
    for one, other in zip(plain.result.courses, made.result.courses, strict=True):
        for image, same in zip(one.description.images, other.description.images, strict=True):
            if image.instance_count > 1:
                assert np.array_equal(
                    load_image(one.path(image.folder)).values, load_image(other.path(same.folder)).values
                )
        if one.files.structure_set.exists():
            before, after = (read_structure_set(course.files.structure_set) for course in (one, other))
            assert [roi.name for roi in before.rois] == [roi.name for roi in after.rois]
