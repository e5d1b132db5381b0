"""Which doses stand for a course, and their sum.

What must hold:
- the dose of a plan stands before those of its beams; a lone beam's dose is refused; beams of a whole plan make it up;
- limits to organs at risk are no prescription; the highest target dose is; a sum's total comes from the plans it uses;
- no used plan never means all plans: then the earliest dated plan is the course's, undated ones last;
- fractions of two a day are counted each; outside its grid a dose is zero; grids may be oblique.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
import pytest

from dicom_factory import Patient
from organized import Organize
from rtpipeline.course import Course
from rtpipeline.dicom.rtdose import read_dose
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.organize.dose_sum import sum_of, union_grid


def add(patient: Patient, name: str, gy: float, fractions: int, date: str, *, dose: bool = True, **plan: Any) -> None:
    """A plan and its dose."""
    patient.make_plan(name, prescriptions_gy=(gy,), fractions=fractions, date=date, **plan)
    if dose:
        patient.make_dose(f"dose of {name}", plans=(name,), dose_gy=gy)


@pytest.fixture
def base(patient: Patient) -> Patient:
    """CT and structure set."""
    patient.make_series()
    patient.make_structure_set()
    return patient


def maximum_gy(course: Course) -> float:
    return float(read_dose(course.files.dose).values.max())


TWO_PLANS = [
    # first plan, second plan (label, Gy, fractions, date), decision, total
    (("Pelvis", 50, 25, "20240110"), ("Boost", 16, 8, "20240301"), "plans_summed", 66),
    (("Pelvis 50", 50, 25, "20240110"), ("Boost_v2 20", 20, 10, "20240301"), "plans_summed", 70),
    (("Pelvis", 50, 25, "20240110"), ("Prevesical", 16, 8, "20240301"), "plans_summed", 66),
    (("Pelvis", 50, 25, "20240110"), ("plan B", 16, 8, "20240110"), "plans_summed", 66),
    (("P1", 25, 5, "20240110"), ("P2", 25, 5, "20240110"), "plans_summed", 50),
    (("P1", 25, 5, "20240110"), ("P2", 25, 5, "20240120"), "plans_summed", 50),
    (("Phase 1", 25, 5, "20240110"), ("Phase 2", 24, 12, "20240120"), "plans_summed", 49),
    (("Lung", 60, 30, "20240110"), ("Lung copy", 60, 30, "20240201"), "replan_first", 60),
    (("Lung", 60, 30, "20240110"), ("Lung_replan", 60, 30, "20240201"), "replan_first", 60),
    (("Lung", 60, 30, "20240110"), ("Lung adapted", 59, 30, "20240110"), "replan_first", 60),
    (("Lung", 60, 30, "20240110"), ("Lung x", 60, 30, "20240110"), "ambiguous", None),
    (("Lung", 60, 30, "20240110"), ("Lung x", 60, 20, "20240201"), "ambiguous", None),
    (("Lung", 60, 30, "20240110"), ("Lung replan", 30, 15, "20240201"), "ambiguous", None),
    (("Lung", 30, 10, "20240110"), ("Lung x", 60, 30, "20240201"), "ambiguous", None),
]


@pytest.mark.parametrize(("first", "second", "label", "total"), TWO_PLANS)
def test_two_plans(
    base: Patient, organized: Organize, first: tuple, second: tuple, label: str, total: float | None
) -> None:
    for name, (text, gy, fractions, date) in (("a", first), ("b", second)):
        add(base, name, gy, fractions, date, label=text)
    course = organized().only
    text = course.description
    assert (text.dose_decision.label, text.prescription.total_dose_gy) == (label, total)
    assert course.files.dose.is_file() == (total is not None)
    if total is None:
        assert any("to decide" in warning for warning in text.warnings)
        assert not any(dose.used for dose in text.doses)
    else:
        assert maximum_gy(course) == pytest.approx(total)
        assert len(text.dose_decision.left_out) + len(text.dose_decision.used_dose_uids) == 2


def test_smaller_prescription_on_another_structure_set_is_ambiguous(base: Patient, organized: Organize) -> None:
    base.make_structure_set("rs2", date="20240301")
    add(base, "a", 50, 25, "20240110")
    add(base, "b", 16, 8, "20240301", structure_set="rs2")
    assert organized().only.description.dose_decision.label == "ambiguous"


@pytest.mark.parametrize("registered", [False, True])
def test_a_replan_on_another_ct_is_never_added(base: Patient, organized: Organize, registered: bool) -> None:
    """Coordinates of another frame of reference mean nothing here, and a registration says nothing of deformation."""
    base.make_series("ct2", frame="later", date="20240301")
    base.make_structure_set("rs2", series=("ct2",), frame="later", date="20240301")
    add(base, "a", 50, 25, "20240110")
    add(base, "b", 20, 10, "20240302", structure_set="rs2", frame="later", dose=False)
    base.make_dose("dose of b", plans=("b",), dose_gy=20, frame="later")
    if registered:
        base.make_registration("reg", fixed="frame", moving="later")
    courses = organized().result.courses
    assert sorted(maximum_gy(course) for course in courses) == pytest.approx([20, 50])
    assert {course.description.dose_decision.label for course in courses} == {"single_dose"}


def test_doses_of_two_frames_of_reference_are_never_added(base: Patient, organized: Organize) -> None:
    add(base, "a", 50, 25, "20240110")
    add(base, "b", 16, 8, "20240301", dose=False)
    base.make_dose("dose of b", plans=("b",), dose_gy=16, frame="elsewhere")
    for course in organized().result.courses:
        decision = course.description.dose_decision
        assert len(decision.used_dose_uids) <= 1
        assert "plans_summed" not in decision.label


def test_regions_that_do_not_overlap_are_ambiguous(base: Patient, organized: Organize) -> None:
    add(base, "a", 50, 25, "20240110")
    add(base, "b", 20, 5, "20240110", dose=False)
    base.make_dose("far", plans=("b",), dose_gy=20, origin_mm=(0, 0, 300))
    decision = organized().only.description.dose_decision
    assert decision.label == "ambiguous"
    assert "do not overlap" in decision.reason


@pytest.mark.parametrize(
    ("delivered", "label", "total"),
    [(25, "plans_summed", 75), (10, "replan_first", 50), (7, "ambiguous", None), (0, "ambiguous", None)],
)
def test_treatment_records_tell_a_phase_from_a_replan(
    base: Patient, organized: Organize, delivered: int, label: str, total: float | None
) -> None:
    add(base, "a", 50, 25, "20240110", label="x")
    add(base, "b", 25, 15, "20240220", label="y", structure_set="rs2")
    base.make_structure_set("rs2", date="20240219")
    for number in range(delivered):
        base.make_record(f"a{number}", plan="a", fraction=number + 1)
    base.make_record("b0", plan="b", fraction=1)
    text = organized().only.description
    assert (text.dose_decision.label, text.prescription.total_dose_gy) == (label, total)


def test_two_fractions_a_day_are_two_fractions(base: Patient, organized: Organize) -> None:
    add(base, "a", 30, 20, "20240110", label="x")
    add(base, "b", 30, 20, "20240110", label="y")
    for number in range(20):
        base.make_record(f"a{number}", plan="a", fraction=number + 1, date=f"202401{15 + number // 2}")
    base.make_record("b0", plan="b", fraction=1, date="20240129")
    assert organized().only.description.dose_decision.label == "plans_summed"


def test_plan_relationship_decides_before_prescriptions(base: Patient, organized: Organize) -> None:
    add(base, "a", 60, 30, "20240110")
    reference = pydicom.Dataset()
    reference.ReferencedSOPInstanceUID = base.uid("a")
    reference.RTPlanRelationship = "PREDECESSOR"
    add(base, "b", 20, 10, "20240201", ReferencedRTPlanSequence=[reference])
    text = organized().only.description
    assert (text.dose_decision.label, text.prescription.total_dose_gy) == ("replan_first", 60)


def test_replan_of_a_boosted_course_keeps_the_boost(base: Patient, organized: Organize) -> None:
    add(base, "a", 50, 25, "20240110", label="Pelvis")
    add(base, "b", 16, 8, "20240301", label="Boost")
    add(base, "c", 50, 25, "20240201", label="Pelvis")
    text = organized().only.description
    assert (text.dose_decision.label, text.prescription.total_dose_gy) == ("plans_summed", 66)
    assert [base.uid("dose of c") in sentence for sentence in text.dose_decision.left_out] == [True]


def test_dose_of_the_plan_stands_before_those_of_its_beams(base: Patient, organized: Organize) -> None:
    base.make_plan()
    base.make_dose("a beam", summation_type="BEAM", beam=1, dose_gy=30)
    base.make_dose("the plan", dose_gy=60)
    course = organized().only
    assert course.description.dose_decision.used_dose_uids == (base.uid("the plan"),)
    assert maximum_gy(course) == pytest.approx(60)


def test_beam_doses_of_a_whole_plan_are_added(base: Patient, organized: Organize) -> None:
    base.make_plan(beams=2)
    for beam in (1, 2):
        base.make_dose(f"beam {beam}", summation_type="BEAM", beam=beam, dose_gy=30)
    course = organized().only
    assert course.description.dose_decision.label == "beam_doses_summed"
    assert maximum_gy(course) == pytest.approx(60)
    dataset = pydicom.dcmread(course.files.dose)
    assert dataset.DoseSummationType == "PLAN"
    assert [item.ReferencedSOPInstanceUID for item in dataset.ReferencedRTPlanSequence] == [base.uid("plan")]


def test_a_lone_beam_dose_is_no_dose_of_a_plan(base: Patient, organized: Organize) -> None:
    base.make_plan(beams=2)
    base.make_dose("beam 1", summation_type="BEAM", beam=1, dose_gy=30)
    course = organized().only
    assert course.description.dose_decision.label == "no_dose"
    assert "1 of 2 parts" in course.description.dose_decision.left_out[0]
    assert not course.files.dose.exists()


@pytest.mark.parametrize("summation_type", ["MULTI_PLAN", "PLAN_SUM", "PLAN"])
def test_a_sum_of_the_planning_system_is_used(base: Patient, organized: Organize, summation_type: str) -> None:
    add(base, "a", 50, 25, "20240110")
    add(base, "b", 16, 8, "20240301")
    base.make_dose("sum", plans=("a", "b"), summation_type=summation_type, dose_gy=64)
    course = organized().only
    text = course.description
    assert (text.dose_decision.label, text.prescription.total_dose_gy) == ("plan_sum_used", 66)
    assert maximum_gy(course) == pytest.approx(64)
    assert len(text.dose_decision.left_out) == 2


def test_a_plan_that_the_sum_does_not_cover_is_not_lost(base: Patient, organized: Organize) -> None:
    add(base, "a", 50, 25, "20240110")
    add(base, "b", 16, 8, "20240301")
    add(base, "c", 10, 5, "20240401", label="boost 2")
    base.make_dose("sum", plans=("a", "b"), summation_type="MULTI_PLAN", dose_gy=66)
    course = organized().only
    assert course.description.dose_decision.label == "plans_summed"
    assert course.description.prescription.total_dose_gy == 76
    assert maximum_gy(course) == pytest.approx(76)


@pytest.mark.parametrize(
    "attributes",
    [{"units": "RELATIVE"}, {"DoseType": "ERROR"}, {"PixelData": None}],
    ids=["relative units", "error dose", "no grid"],
)
def test_doses_that_are_none(base: Patient, organized: Organize, attributes: dict[str, Any]) -> None:
    base.make_plan()
    path = base.make_dose(**{key: value for key, value in attributes.items() if value is not None})
    if "PixelData" in attributes:
        dataset = pydicom.dcmread(path)
        del dataset.PixelData
        dataset.save_as(path)
    course = organized().only
    assert course.description.dose_decision.label == "no_dose"
    assert len(course.description.dose_decision.left_out) == 1
    assert not course.files.dose.exists()
    assert course.description.prescription.total_dose_gy == 60


@pytest.mark.parametrize("plan", [{"PlanIntent": "VERIFICATION"}, {"ApprovalStatus": "REJECTED"}])
def test_plans_that_treat_nobody(base: Patient, organized: Organize, plan: dict[str, str]) -> None:
    add(base, "a", 60, 30, "20240110")
    add(base, "qa", 60, 1, "20240111", **plan)
    decision = organized().only.description.dose_decision
    assert (decision.label, decision.used_plan_uids) == ("single_dose", (base.uid("a"),))


def test_newest_export_of_a_dose(base: Patient, organized: Organize) -> None:
    base.make_plan()
    base.make_dose("old", dose_gy=60, InstanceCreationDate="20240110", InstanceCreationTime="1200")
    base.make_dose("new", dose_gy=61, InstanceCreationDate="20240112", InstanceCreationTime="0900")
    course = organized().only
    assert course.description.dose_decision.used_dose_uids == (base.uid("new"),)
    assert maximum_gy(course) == pytest.approx(61)


def test_two_doses_of_one_plan_without_dates_are_ambiguous(base: Patient, organized: Organize) -> None:
    base.make_plan()
    base.make_dose("one", dose_gy=60)
    base.make_dose("other", dose_gy=61)
    assert organized().only.description.dose_decision.label == "ambiguous"


def test_highest_target_of_a_simultaneous_boost_is_the_prescription(base: Patient, organized: Organize) -> None:
    base.make_plan(prescriptions_gy=(50, 60))
    base.make_dose()
    prescription = organized().only.description.prescription
    assert prescription.total_dose_gy == 60
    assert [target.dose_gy for target in prescription.targets] == [50, 60]


def test_limits_to_organs_are_no_prescription(base: Patient, organized: Organize) -> None:
    base.make_plan(prescriptions_gy=(), fractions=25, beams=2)
    base.make_dose()
    prescription = organized().only.description.prescription
    assert (prescription.total_dose_gy, prescription.source) == (50, "BeamDose x NumberOfFractionsPlanned")


def test_missing_prescription_stays_missing(base: Patient, organized: Organize) -> None:
    base.make_plan(DoseReferenceSequence=[], FractionGroupSequence=[])
    base.make_dose()
    prescription = organized().only.description.prescription
    assert (prescription.total_dose_gy, prescription.fractions, prescription.source) == (None, None, "")


def test_main_plan_is_the_one_with_the_highest_prescription(base: Patient, organized: Organize) -> None:
    add(base, "a", 16, 8, "20240110", label="boost")
    add(base, "b", 50, 25, "20240110", label="pelvis")
    course = organized().only
    assert pydicom.dcmread(course.files.plan).SOPInstanceUID == base.uid("b")


def test_without_a_used_plan_the_earliest_dated_one(base: Patient, organized: Organize) -> None:
    for name, date in (("undated", ""), ("late", "20240301"), ("early", "20240110")):
        base.make_plan(name, date=date)
    course = organized().only
    assert pydicom.dcmread(course.files.plan).SOPInstanceUID == base.uid("early")
    assert course.description.prescription.total_dose_gy is None


def test_sum_covers_both_grids_and_absolute_offsets(base: Patient, organized: Organize) -> None:
    add(base, "a", 50, 25, "20240110", dose=False)
    add(base, "b", 16, 8, "20240301", dose=False)
    base.make_dose("wide", plans=("a",), dose_gy=50, size=(8, 8, 8))
    base.make_dose(
        "fine",
        plans=("b",),
        dose_gy=16,
        origin_mm=(2, 2, 6),
        spacing_mm=(1, 1, 1.5),
        size=(5, 5, 5),
        offsets_mm=(6, 7.5, 9, 10.5, 12),
    )
    total = read_dose(organized().only.files.dose)
    assert total.grid.spacing_mm == pytest.approx((1, 1, 1.5))
    assert np.allclose(total.grid.origin_mm, 0)
    assert total.grid.shape == (15, 15, 15)
    assert total.values.max() == pytest.approx(66)
    assert total.values[0, 0, 0] == pytest.approx(50)
    assert total.values[-1, -1, -1] == pytest.approx(50)
    assert np.count_nonzero(np.isclose(total.values, 66)) == 5**3


def test_sum_is_a_valid_dose_that_names_its_parts_with_a_uid_that_stays(base: Patient, organized: Organize) -> None:
    add(base, "a", 50, 25, "20240110")
    add(base, "b", 16, 8, "20240301")
    first, second = organized().only.files.dose, organized(out="again").only.files.dose
    assert first.read_bytes() == second.read_bytes()
    dataset = pydicom.dcmread(first)
    assert (dataset.DoseSummationType, dataset.DoseUnits) == ("MULTI_PLAN", "GY")
    assert [one.ReferencedSOPInstanceUID for one in dataset.ReferencedRTPlanSequence] == [base.uid("a"), base.uid("b")]
    assert dataset.SOPInstanceUID not in {base.uid("dose of a"), base.uid("dose of b")}
    assert dataset.FrameOfReferenceUID == base.uid("frame")


def ramp(grid: Grid) -> Volume:
    """A dose that trilinear interpolation reproduces exactly: linear in patient coordinates."""
    index = np.stack(np.meshgrid(*(np.arange(size) for size in grid.shape), indexing="ij"), axis=-1)[..., ::-1]
    world = grid.index_to_world(index.astype(float))
    return Volume(grid, 20 + world @ np.array([0.1, -0.2, 0.05]))


def test_two_identical_doses_are_exactly_twice_one() -> None:
    grid = Grid.uniform((-10.5, 3.25, 7), (2.5, 2.5, 3), (7, 6, 5))
    values = np.random.default_rng(1).random(grid.shape)
    total = sum_of([Volume(grid, values), Volume(grid, values)])
    assert np.array_equal(total.values, 2 * values)
    assert total.grid is grid


def test_shifted_lattice_is_added_without_interpolation() -> None:
    first = Grid.uniform((0, 0, 0), (2, 2, 3), (5, 5, 5))
    second = Grid.uniform((-4, 2, 9), (2, 2, 3), (5, 5, 5))
    rng = np.random.default_rng(2)
    one, other = Volume(first, rng.random(first.shape)), Volume(second, rng.random(second.shape))
    total = sum_of([one, other])
    assert total.grid.shape == (8, 6, 7)
    expected = np.zeros(total.grid.shape)
    expected[0:5, 0:5, 2:7] += one.values
    expected[3:8, 1:6, 0:5] += other.values
    np.testing.assert_allclose(total.values, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_oblique_and_turned_grids_add_in_patient_coordinates(axes: tuple[int, int, int]) -> None:
    oblique = np.array([[0.8, -0.36, 0.48], [0.6, 0.48, -0.64], [0.0, 0.8, 0.6]])[:, axes]
    first = Grid.uniform((0, 0, 0), (2, 2, 2), (12, 12, 12))
    second = Grid.uniform((8, 6, 6), (1.5, 2, 3), (4, 4, 4), oblique)
    total = sum_of([ramp(first), ramp(second)])
    one = ramp(total.grid).values
    twice, once = np.isclose(total.values, 2 * one), np.isclose(total.values, one)
    assert np.count_nonzero(twice) > 20
    inside_first = np.all(
        (first.world_to_index(world_of(total.grid)) >= -1e-9) & (first.world_to_index(world_of(total.grid)) <= 11), -1
    )
    inside_second = np.all(
        (second.world_to_index(world_of(total.grid)) > 1e-3) & (second.world_to_index(world_of(total.grid)) < 2.999), -1
    )
    assert twice[inside_first & inside_second].all()
    assert (once | twice)[inside_first].all()


def world_of(grid: Grid) -> np.ndarray:
    index = np.stack(np.meshgrid(*(np.arange(size) for size in grid.shape), indexing="ij"), axis=-1)[..., ::-1]
    return grid.index_to_world(index.astype(float))


def test_union_contains_every_grid() -> None:
    grids = [
        Grid.uniform((0, 0, 0), (2, 2, 3), (5, 5, 5)),
        Grid.uniform((-3.3, 1.1, 20), (1, 1, 2.5), (9, 3, 4)),
    ]
    union = union_grid(grids)
    assert union.spacing_mm == pytest.approx((1, 1, 2.5))
    for grid in grids:
        corners = grid.index_to_world(np.array([[0, 0, 0], [grid.columns - 1, grid.rows - 1, grid.planes - 1]], float))
        index = union.world_to_index(corners)
        assert index.min() >= -1e-3
        assert np.all(index.max(axis=0) <= np.array([union.columns, union.rows, union.planes]) - 1 + 1e-3)
