"""What a user decides stands before every rule, and a wrong decision is refused for its course alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from dicom_factory import Patient
from organized import Organize
from rtpipeline.dicom.rtdose import read_dose
from rtpipeline.outcome import StageError


@pytest.fixture
def undecided(patient: Patient) -> Patient:
    """Two plans of 60 Gy that nothing tells apart, and one of 10 Gy."""
    patient.make_series()
    patient.make_structure_set()
    for name, gy in (("a", 60), ("b", 60), ("c", 10)):
        patient.make_plan(name, prescriptions_gy=(gy,))
        patient.make_dose(f"dose of {name}", plans=(name,), dose_gy=gy)
    return patient


def write(folder: Path, content: object) -> Path:
    path = folder / "courses.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def test_the_warning_says_exactly_what_to_write(tmp_path: Path, undecided: Patient, organized: Organize) -> None:
    course = organized().only
    assert course.description.dose_decision.label == "ambiguous"
    (warning,) = [one for one in course.description.warnings if "organize.overrides" in one]
    line = re.search(r'"P1/.*', warning)
    assert line is not None
    assert yaml.safe_load(line[0]) == {
        course.key: {"doses": sorted(undecided.uid(f"dose of {name}") for name in "abc")}
    }
    decided = organized(overrides=write(tmp_path, line[0])).only
    assert decided.description.dose_decision.label == "override"
    assert read_dose(decided.files.dose).values.max() == pytest.approx(130)
    assert decided.description.prescription.total_dose_gy == 130


def test_some_doses_and_their_plans(tmp_path: Path, undecided: Patient, organized: Organize) -> None:
    key = organized().only.key
    uids = [undecided.uid("dose of b"), undecided.uid("dose of c")]
    course = organized(overrides=write(tmp_path, {key: {"doses": uids}})).only
    decision = course.description.dose_decision
    assert decision.used_dose_uids == tuple(uids)
    assert set(decision.used_plan_uids) == {undecided.uid("b"), undecided.uid("c")}
    assert [undecided.uid("dose of a") in one for one in decision.left_out] == [True]
    assert read_dose(course.files.dose).values.max() == pytest.approx(70)


def test_plans_that_the_doses_do_not_name(tmp_path: Path, undecided: Patient, organized: Organize) -> None:
    key = organized().only.key
    own = {"doses": [undecided.uid("dose of a")], "plans": [undecided.uid("c")]}
    text = organized(overrides=write(tmp_path, {key: own})).only.description
    assert text.prescription.total_dose_gy == 10


def test_no_dose_at_all(tmp_path: Path, undecided: Patient, organized: Organize) -> None:
    key = organized().only.key
    course = organized(overrides=write(tmp_path, {key: {"doses": []}})).only
    assert course.description.dose_decision.label == "override"
    assert not course.files.dose.exists()


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ({"doses": ["1.2.3"]}, "dose 1.2.3 is not in this course"),
        ({"doses": [], "plans": ["1.2.3"]}, "plan 1.2.3 is not in this course"),
    ],
)
def test_what_is_not_in_the_course_leaves_it_undecided(
    tmp_path: Path, undecided: Patient, organized: Organize, override: dict[str, list[str]], reason: str
) -> None:
    key = organized().only.key
    course = organized(overrides=write(tmp_path, {key: override})).only
    assert course.description.dose_decision.label == "ambiguous"
    assert reason in course.description.dose_decision.reason
    assert not course.files.dose.exists()


def test_relative_dose_is_refused_even_where_the_user_wants_it(
    tmp_path: Path, patient: Patient, organized: Organize
) -> None:
    patient.make_course()
    patient.make_dose(units="RELATIVE")
    key = organized().only.key
    course = organized(overrides=write(tmp_path, {key: {"doses": [patient.uid("dose")]}})).only
    assert course.description.dose_decision.label == "ambiguous"
    assert "RELATIVE" in course.description.dose_decision.reason
    assert not course.files.dose.exists()


def test_course_that_does_not_exist_is_said(tmp_path: Path, undecided: Patient, organized: Organize) -> None:
    made = organized(overrides=write(tmp_path, {"P1/elsewhere": {"doses": []}}))
    assert made.only.description.dose_decision.label == "ambiguous"
    assert any("there is no course P1/elsewhere" in warning for warning in made.result.warnings)


@pytest.mark.parametrize(
    "content",
    ["a: [", "- P1", "P1/x: {dose: []}", "P1/x: {doses: 1.2}", "P1/x: {doses: [1.2]}", "P1/x:", "\x00"],
)
def test_file_that_is_wrong_is_named_with_the_place(
    tmp_path: Path, patient: Patient, organized: Organize, content: str
) -> None:
    patient.make_series()
    with pytest.raises(StageError, match=r"organize\.overrides: .*courses\.yaml"):
        organized(overrides=write(tmp_path, content))


def test_file_that_is_missing(tmp_path: Path, patient: Patient, organized: Organize) -> None:
    patient.make_series()
    with pytest.raises(StageError, match="cannot be read"):
        organized(overrides=tmp_path / "missing.yaml")


def test_empty_file_decides_nothing(tmp_path: Path, undecided: Patient, organized: Organize) -> None:
    assert organized(overrides=write(tmp_path, "")).only.description.dose_decision.label == "ambiguous"
