"""A table of small cohorts, each with the courses, the decision and the total dose that must come out of it.

What the table holds, besides the plain cases:
- names never decide against prescriptions: "Boost_v2" is a boost, "Prevesical" no revision, "P1" and "P2" are phases;
- plan sums of the planning system stand for their plans, MULTI_PLAN among them, and lose no plan they do not cover;
- simultaneous boosts have the highest target dose as their prescription, not the first and not the sum;
- missing prescriptions are missing, never 0; limits to organs at risk are no prescriptions;
- a lone beam dose is no dose of a plan; beams of one plan make up its dose; several grids of a plan are joined;
- what was treated years apart is no boost; what lies elsewhere in the body is no boost;
- what cannot be decided has no dose.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pydicom
import pytest

from dicom_factory import Patient
from organized import Organize
from rtpipeline.course import Course
from rtpipeline.dicom.rtdose import read_dose

RT_ION_PLAN = "1.2.840.10008.5.1.4.1.1.481.8"


class Expected(NamedTuple):
    """One course: its kind, decision, total prescription, and the largest dose in `RD.dcm` (None: no file)."""

    kind: str
    label: str
    total_gy: float | None
    maximum_gy: float | None


def plan_course(label: str, total_gy: float | None, maximum_gy: float | None = None) -> Expected:
    return Expected("plan", label, total_gy, total_gy if maximum_gy is None else maximum_gy)


UNDECIDED = Expected("plan", "ambiguous", None, None)


def images(patient: Patient) -> None:
    """CT and structure set."""
    patient.make_series()
    patient.make_structure_set()


def planned(patient: Patient, name: str, gy: float, fractions: int, date: str, label: str = "", **plan: Any) -> None:
    """A plan and its dose."""
    patient.make_plan(name, prescriptions_gy=(gy,), fractions=fractions, date=date, label=label or name, **plan)
    patient.make_dose(f"dose of {name}", plans=(name,), dose_gy=gy)


def two(first: tuple[str, float, int, str], second: tuple[str, float, int, str], **plan: Any) -> Callable[..., None]:
    """Two plans (label, Gy, fractions, date) with their doses on one CT; `plan` is of the second."""

    def build(patient: Patient) -> None:
        images(patient)
        planned(patient, "a", *first[1:], first[0])
        planned(patient, "b", *second[1:], second[0], **plan)

    return build


def reference(uid: str, relationship: str) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.ReferencedSOPInstanceUID, item.RTPlanRelationship = uid, relationship
    return item


def whole_course(patient: Patient) -> None:
    patient.make_course()


def structures_only(patient: Patient) -> None:
    images(patient)


def images_only(patient: Patient) -> None:
    patient.make_series()


def plan_without_dose(patient: Patient) -> None:
    images(patient)
    patient.make_plan()


def dose_without_plan(patient: Patient) -> None:
    images(patient)
    patient.make_dose(plans=("not exported",))


def two_courses_on_two_scans(patient: Patient) -> None:
    patient.make_course("1", date="20240110")
    patient.make_course("2", date="20240310")


def replan_on_a_new_scan(patient: Patient) -> None:
    patient.make_course("1", date="20240110", label="Lung")
    patient.make_course("2", date="20240125", label="Lung replan")


def years_apart(patient: Patient) -> None:
    images(patient)
    planned(patient, "a", 60, 30, "20220110")
    planned(patient, "b", 30, 10, "20240310")


def simultaneous_boost(patient: Patient) -> None:
    images(patient)
    patient.make_plan(prescriptions_gy=(50, 60), label="SIB")
    patient.make_dose()


def three_plans(patient: Patient) -> None:
    images(patient)
    planned(patient, "a", 46, 23, "20240110", "Pelvis")
    planned(patient, "b", 14, 7, "20240215", "Boost 1")
    planned(patient, "c", 10, 5, "20240301", "Boost 2")


def replan_then_boost(patient: Patient) -> None:
    images(patient)
    planned(patient, "a", 50, 25, "20240110", "Pelvis")
    planned(patient, "b", 50, 25, "20240201", "Pelvis")
    planned(patient, "c", 16, 8, "20240301", "Boost")


def sum_of_the_planning_system(kind: str) -> Callable[[Patient], None]:
    def build(patient: Patient) -> None:
        images(patient)
        planned(patient, "a", 50, 25, "20240110")
        planned(patient, "b", 16, 8, "20240301")
        patient.make_dose("sum", plans=("a", "b"), summation_type=kind, dose_gy=65)

    return build


def sum_that_does_not_cover_a_boost(patient: Patient) -> None:
    sum_of_the_planning_system("MULTI_PLAN")(patient)
    planned(patient, "c", 10, 5, "20240401", "boost")


def sums_that_share_a_plan(patient: Patient) -> None:
    sum_of_the_planning_system("MULTI_PLAN")(patient)
    planned(patient, "c", 10, 5, "20240401")
    patient.make_dose("other sum", plans=("b", "c"), summation_type="MULTI_PLAN", dose_gy=26)


def beams(*numbers: int) -> Callable[[Patient], None]:
    def build(patient: Patient) -> None:
        images(patient)
        patient.make_plan(beams=2)
        for number in numbers:
            patient.make_dose(f"beam {number}", summation_type="BEAM", beam=number, dose_gy=30)

    return build


def beams_and_plan(patient: Patient) -> None:
    beams(1, 2)(patient)
    patient.make_dose("whole", dose_gy=60)


def fraction_groups(patient: Patient) -> None:
    images(patient)
    groups = []
    for number in (1, 2):
        group = pydicom.Dataset()
        group.FractionGroupNumber, group.NumberOfFractionsPlanned = number, 10
        groups.append(group)
    patient.make_plan(FractionGroupSequence=groups)
    for number in (1, 2):
        group = pydicom.Dataset()
        group.ReferencedFractionGroupNumber = number
        plan = pydicom.Dataset()
        plan.ReferencedSOPInstanceUID = patient.uid("plan")
        plan.ReferencedFractionGroupSequence = [group]
        patient.make_dose(
            f"group {number}", plans=(), summation_type="FRACTION", dose_gy=30, ReferencedRTPlanSequence=[plan]
        )


def grids_that_do_not_touch(patient: Patient) -> None:
    images(patient)
    patient.make_plan()
    patient.make_dose("upper", dose_gy=60)
    patient.make_dose("lower", dose_gy=20, origin_mm=(0, 0, -90))


def grids_that_touch(patient: Patient) -> None:
    images(patient)
    patient.make_plan()
    patient.make_dose("upper", dose_gy=60)
    patient.make_dose("lower", dose_gy=20, origin_mm=(0, 0, -9))


def newer_export_of_a_dose(patient: Patient) -> None:
    images(patient)
    patient.make_plan()
    patient.make_dose("old", dose_gy=61, InstanceCreationDate="20240110")
    patient.make_dose("new", dose_gy=60, InstanceCreationDate="20240112")


def doses_none_newer(patient: Patient) -> None:
    images(patient)
    patient.make_plan()
    patient.make_dose("one", dose_gy=60)
    patient.make_dose("other", dose_gy=61)


def plan_exported_again(patient: Patient) -> None:
    images(patient)
    for name, day, gy in (("a", "20240110", 61), ("b", "20240115", 60)):
        patient.make_plan(name, label="Lung", InstanceCreationDate=day)
        patient.make_dose(f"dose of {name}", plans=(name,), dose_gy=gy, InstanceCreationDate=day)


def plan_exported_again_after_treatment(patient: Patient) -> None:
    plan_exported_again(patient)
    patient.make_record("rt", plan="a")


def physical_and_effective(patient: Patient, **plan: Any) -> None:
    images(patient)
    patient.make_plan(**plan)
    patient.make_dose("physical", dose_gy=60)
    patient.make_dose("effective", dose_gy=66, DoseType="EFFECTIVE")


def ions(patient: Patient) -> None:
    physical_and_effective(patient, SOPClassUID=RT_ION_PLAN)


def photons_and_ions(patient: Patient) -> None:
    images(patient)
    planned(patient, "a", 50, 25, "20240110")
    patient.make_plan("b", prescriptions_gy=(20,), fractions=10, date="20240301", label="boost")
    patient.make_dose("dose of b", plans=("b",), dose_gy=20, DoseType="EFFECTIVE")


def relative_dose(patient: Patient) -> None:
    images(patient)
    patient.make_plan()
    patient.make_dose(units="RELATIVE")


def verification_plan(patient: Patient) -> None:
    images(patient)
    planned(patient, "a", 60, 30, "20240110")
    planned(patient, "qa", 60, 1, "20240111", PlanIntent="VERIFICATION")


def approved_among_two(patient: Patient) -> None:
    images(patient)
    planned(patient, "a", 60, 30, "20240110", "Lung A", ApprovalStatus="UNAPPROVED")
    planned(patient, "b", 60, 30, "20240110", "Lung B")


def no_prescription(patient: Patient) -> None:
    images(patient)
    patient.make_plan(DoseReferenceSequence=[], FractionGroupSequence=[])
    patient.make_dose()


def limits_only(patient: Patient) -> None:
    images(patient)
    patient.make_plan(prescriptions_gy=(), fractions=25, beams=2)
    patient.make_dose(dose_gy=50)


def other_region(patient: Patient) -> None:
    images(patient)
    planned(patient, "a", 50, 25, "20240110")
    patient.make_plan("b", prescriptions_gy=(20,), fractions=5, date="20240110")
    patient.make_dose("far", plans=("b",), dose_gy=20, origin_mm=(0, 0, 300))


def second_phase_by_records(patient: Patient) -> None:
    two(("x", 25, 5, "20240110"), ("y", 25, 8, "20240220"))(patient)
    for number in range(5):
        patient.make_record(f"a{number}", plan="a", fraction=number + 1)
    patient.make_record("b0", plan="b", fraction=1)


def rest_of_the_fractions(patient: Patient) -> None:
    two(("x", 50, 25, "20240110"), ("y", 30, 15, "20240220"))(patient)
    for number in range(10):
        patient.make_record(f"a{number}", plan="a", fraction=number + 1)
    patient.make_record("b0", plan="b", fraction=1)


def predecessor(patient: Patient) -> None:
    link = [reference(patient.uid("a"), "PREDECESSOR")]
    two(("x", 60, 30, "20240110"), ("y", 20, 10, "20240201"), ReferencedRTPlanSequence=link)(patient)


def prior(patient: Patient) -> None:
    link = [reference(patient.uid("a"), "PRIOR")]
    two(("x", 30, 10, "20240110"), ("y", 30, 10, "20240201"), ReferencedRTPlanSequence=link)(patient)


def plan_that_names_its_dose(patient: Patient) -> None:
    images(patient)
    for name, gy in (("a", 50), ("b", 16)):
        dose = pydicom.Dataset()
        dose.ReferencedSOPInstanceUID = patient.uid(f"dose of {name}")
        patient.make_plan(name, prescriptions_gy=(gy,), label=name, ReferencedDoseSequence=[dose])
        patient.make_dose(f"dose of {name}", plans=(), dose_gy=gy)


def boost_without_dose(patient: Patient) -> None:
    images(patient)
    planned(patient, "a", 50, 25, "20240110", "Pelvis")
    patient.make_plan("b", prescriptions_gy=(16,), date="20240301", label="Boost")


def boost_in_another_frame(patient: Patient) -> None:
    images(patient)
    planned(patient, "a", 50, 25, "20240110", "Pelvis")
    patient.make_plan("b", prescriptions_gy=(16,), fractions=8, date="20240301", label="Boost")
    patient.make_dose("dose of b", plans=("b",), dose_gy=16, frame="another frame")


SCENARIOS: dict[str, tuple[Callable[[Patient], None], list[Expected]]] = {
    "a whole course": (whole_course, [plan_course("single_dose", 60)]),
    "structures only": (structures_only, [Expected("structures", "no_dose", None, None)]),
    "images only": (images_only, [Expected("images", "no_dose", None, None)]),
    "a plan without dose": (plan_without_dose, [Expected("plan", "no_dose", 60, None)]),
    "a dose without plan": (dose_without_plan, [Expected("structures", "single_dose", None, 60)]),
    "two courses on two scans": (two_courses_on_two_scans, [plan_course("single_dose", 60)] * 2),
    "a re-plan on a new scan": (replan_on_a_new_scan, [plan_course("single_dose", 60)] * 2),
    "years apart": (years_apart, [plan_course("single_dose", 60), plan_course("single_dose", 30)]),
    "simultaneous boost": (simultaneous_boost, [plan_course("single_dose", 60)]),
    "boost": (two(("Pelvis", 50, 25, "20240110"), ("Boost", 16, 8, "20240301")), [plan_course("plans_summed", 66)]),
    "Boost_v2 is a boost": (
        two(("Pelvis 50", 50, 25, "20240110"), ("Boost_v2 20", 20, 10, "20240301")),
        [plan_course("plans_summed", 70)],
    ),
    "Prevesical is no revision": (
        two(("Pelvis", 50, 25, "20240110"), ("Prevesical", 16, 8, "20240301")),
        [plan_course("plans_summed", 66)],
    ),
    "equal phases P1 and P2": (
        two(("P1", 25, 5, "20240110"), ("P2", 25, 5, "20240110")),
        [plan_course("plans_summed", 50)],
    ),
    "equal phases, planned later": (
        two(("Phase 1", 25, 5, "20240110"), ("Phase 2", 25, 5, "20240120")),
        [plan_course("plans_summed", 50)],
    ),
    "a copy, planned later": (
        two(("Lung", 60, 30, "20240110"), ("Lung copy", 60, 30, "20240201")),
        [plan_course("replan_first", 60)],
    ),
    "an adapted plan": (
        two(("Lung", 60, 30, "20240110"), ("Lung adapted", 59, 30, "20240110")),
        [plan_course("replan_first", 60)],
    ),
    "the same prescription twice on a day": (
        two(("Lung", 60, 30, "20240110"), ("Lung x", 60, 30, "20240110")),
        [UNDECIDED],
    ),
    "another fractionation": (two(("Lung", 60, 30, "20240110"), ("Lung x", 60, 20, "20240201")), [UNDECIDED]),
    "a re-plan of the rest, without records": (
        two(("Lung", 60, 30, "20240110"), ("Lung replan", 30, 15, "20240201")),
        [UNDECIDED],
    ),
    "more dose, later": (two(("Lung", 30, 10, "20240110"), ("Lung x", 60, 30, "20240201")), [UNDECIDED]),
    "three plans": (three_plans, [plan_course("plans_summed", 70)]),
    "a re-plan, then a boost": (replan_then_boost, [plan_course("plans_summed", 66)]),
    "MULTI_PLAN": (sum_of_the_planning_system("MULTI_PLAN"), [plan_course("plan_sum_used", 66, 65)]),
    "PLAN_SUM": (sum_of_the_planning_system("PLAN_SUM"), [plan_course("plan_sum_used", 66, 65)]),
    "a boost that the sum does not cover": (sum_that_does_not_cover_a_boost, [plan_course("plans_summed", 76, 75)]),
    "sums that share a plan": (sums_that_share_a_plan, [UNDECIDED]),
    "all beams of a plan": (beams(1, 2), [plan_course("beam_doses_summed", 60)]),
    "a lone beam": (beams(1), [Expected("plan", "no_dose", 60, None)]),
    "beams and plan": (beams_and_plan, [plan_course("single_dose", 60)]),
    "all fraction groups": (fraction_groups, [plan_course("fraction_doses_summed", 60)]),
    "grids that do not touch": (grids_that_do_not_touch, [plan_course("dose_grids_joined", 60)]),
    "grids that touch": (grids_that_touch, [UNDECIDED]),
    "a newer export of a dose": (newer_export_of_a_dose, [plan_course("single_dose", 60)]),
    "two doses, none newer": (doses_none_newer, [UNDECIDED]),
    "a plan exported again": (plan_exported_again, [plan_course("single_dose", 60)]),
    "a plan exported again, one of them treated": (
        plan_exported_again_after_treatment,
        [plan_course("single_dose", 60)],
    ),
    "physical and effective dose of photons": (physical_and_effective, [plan_course("single_dose", 60)]),
    "physical and effective dose of ions": (ions, [plan_course("single_dose", 60, 66)]),
    "a physical and an effective dose to add": (photons_and_ions, [UNDECIDED]),
    "relative dose": (relative_dose, [Expected("plan", "no_dose", 60, None)]),
    "a verification plan": (verification_plan, [plan_course("single_dose", 60)]),
    "one of two is approved": (approved_among_two, [plan_course("approved_plan", 60)]),
    "no prescription": (no_prescription, [plan_course("single_dose", None, 60)]),
    "limits to organs only": (limits_only, [plan_course("single_dose", 50)]),
    "another region": (other_region, [UNDECIDED]),
    "a second phase by records": (second_phase_by_records, [plan_course("plans_summed", 50)]),
    "the rest of the fractions": (rest_of_the_fractions, [plan_course("replan_first", 50)]),
    "predecessor": (predecessor, [plan_course("replan_first", 60)]),
    "prior": (prior, [plan_course("plans_summed", 60)]),
    "a plan that names its dose": (plan_that_names_its_dose, [plan_course("plans_summed", 66)]),
    "a boost without dose": (boost_without_dose, [plan_course("single_dose", 50)]),
    "a boost in another frame of reference": (boost_in_another_frame, [UNDECIDED]),
}


def found(course: Course) -> Expected:
    text = course.description
    dose = course.files.dose
    maximum_gy = round(float(read_dose(dose).values.max()), 3) if dose.is_file() else None
    return Expected(text.kind, text.dose_decision.label, text.prescription.total_dose_gy, maximum_gy)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(patient: Patient, organized: Organize, name: str) -> None:
    build, expected = SCENARIOS[name]
    build(patient)
    made = organized()
    courses = sorted(made.result.courses, key=lambda course: course.description.start_date)
    assert [found(course) for course in courses] == expected
    for course in courses:
        decision = course.description.dose_decision
        assert decision.reason
        explained = [*decision.used_dose_uids, *decision.left_out]
        for dose in course.description.doses:
            assert sum(dose.sop_instance_uid in one for one in explained) >= 1, "a dose without a word about it"
    assert made.unused == {}


def test_every_scenario_together_in_one_cohort(export: Path, organized: Organize) -> None:
    expected: list[tuple[str, Expected]] = []
    for number, (build, courses) in enumerate(SCENARIOS.values()):
        build(Patient(export / f"{number:02d}", f"P{number:02d}"))
        expected += [(f"P{number:02d}", course) for course in courses]
    courses = organized().result.courses
    assert sorted((course.description.patient_id, found(course)) for course in courses) == sorted(expected, key=str)


def test_missing_dose_of_a_plan_is_said(patient: Patient, organized: Organize) -> None:
    boost_without_dose(patient)
    warnings = organized().only.description.warnings
    assert any("(Boost) has no dose in the input" in warning for warning in warnings)
