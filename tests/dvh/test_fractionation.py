"""Equieffective doses against the linear-quadratic model by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_factory import Patient
from rtpipeline.course import Course, CourseDescription, CourseFiles, Dose, DoseDecision, Plan
from rtpipeline.dicom.rtdose import write_dose
from rtpipeline.dvh.curve import DoseVolumeCurve
from rtpipeline.dvh.fractionation import Fractionation, Phase, bed_per_eqd2, eqd2_gy, fractionation_of
from rtpipeline.dvh.histogram import SampledDose
from rtpipeline.dvh.refinement import curve_of_mask
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask

GRID = Grid.uniform((0, 0, 0), (2.0, 2.0, 2.0), (6, 5, 4))


def even(dose_gy: float) -> Volume:
    return Volume(GRID, np.full(GRID.shape, dose_gy))


@pytest.mark.parametrize(
    ("dose", "fractions", "alpha_beta", "eqd2"),
    [
        (60.0, 30, 10.0, 60.0),
        (40.0, 15, 3.0, 40 * (40 / 15 + 3) / 5),
        (34.0, 1, 10.0, 34 * 44 / 12),
        (0.0, 5, 2.0, 0.0),
    ],
)
def test_equieffective_dose(dose: float, fractions: int, alpha_beta: float, eqd2: float) -> None:
    assert eqd2_gy(np.array(dose), fractions, alpha_beta) == pytest.approx(eqd2)
    bed = dose * (1 + dose / fractions / alpha_beta)
    assert eqd2 * bed_per_eqd2(alpha_beta) == pytest.approx(bed)


def test_one_phase_converts_the_curve() -> None:
    """Doses spread evenly over 0 to 60 Gy in 20 fractions: mean EQD2 = (60²/3/20 + 3 · 30) / 5."""
    rungs = np.linspace(0.0, 60.0, 6001)
    curve = DoseVolumeCurve(rungs, 10.0 - rungs / 6, 10.0, 1.0, 0.0, 60.0, 30.0)
    fractionation = Fractionation((Phase(even(1.0), 20),))
    found = fractionation.equieffective(curve, 3.0, lambda dose: pytest.fail("needs no other dose")).curve
    assert found is not None
    assert found.mean_gy == pytest.approx((60**2 / 3 / 20 + 3 * 30) / 5, rel=1e-6)
    assert found.dose_at(5.0) == pytest.approx(30 * (30 / 20 + 3) / 5, rel=1e-6)
    assert found.maximum_gy == pytest.approx(60 * (3 + 3) / 5)


def test_phases_are_converted_before_they_are_added() -> None:
    """40 Gy in 20 fractions and 15 Gy in 3: not what 55 Gy in 23 fractions would be."""
    fractionation = Fractionation((Phase(even(40.0), 20), Phase(even(15.0), 3)))
    mask = Mask(GRID.crop(slice(1, 3), slice(1, 4), slice(1, 5)), np.ones((2, 3, 4), dtype=bool))
    physical = curve_of_mask(mask, SampledDose(even(55.0)))
    found = fractionation.equieffective(physical, 3.0, lambda dose: curve_of_mask(mask, dose)).curve
    assert found is not None
    expected = 40 * (2 + 3) / 5 + 15 * (5 + 3) / 5
    assert found.mean_gy == pytest.approx(expected)
    assert found.dose_at(0.5 * found.covered_cm3) == pytest.approx(expected, abs=1e-3)
    assert abs(float(eqd2_gy(np.array(55.0), 23, 3.0)) - expected) > 2.0


def course_of(folder: Path, doses: tuple[Dose, ...], fractions: tuple[int | None, ...]) -> Course:
    plans = tuple(
        Plan(file=f"RP{i}.dcm", sop_instance_uid=f"plan{i}", fractions_planned=number)
        for i, number in enumerate(fractions)
    )
    decision = DoseDecision(label="plans_summed", used_plan_uids=tuple(plan.sop_instance_uid for plan in plans))
    description = CourseDescription(
        patient="P", course="C", patient_id="P", kind="plan", plans=plans, doses=doses, dose_decision=decision
    )
    return Course(CourseFiles(folder), description)


def dose_of(number: int, plans: tuple[str, ...], *, used: bool, frame: str = "1.2") -> Dose:
    return Dose(
        file=f"RD{number}.dcm",
        sop_instance_uid=f"dose{number}",
        summation_type="PLAN" if len(plans) == 1 else "MULTI_PLAN",
        units="GY",
        referenced_plan_uids=plans,
        frame_of_reference_uid=frame,
        used=used,
    )


@pytest.fixture
def folder(tmp_path: Path, dose_file: Path) -> Path:
    for number, value in enumerate((40.0, 15.0, 55.0)):
        write_dose(
            tmp_path / f"RD{number}.dcm",
            even(value),
            like=dose_file,
            summation_type="PLAN",
            referenced_plan_uids=("1.2.3",),
            source_dose_uids=(),
            entropy=str(number),
        )
    return tmp_path


@pytest.fixture
def dose_file(tmp_path: Path) -> Path:
    patient = Patient(tmp_path / "export", "P")
    patient.make_series()
    patient.make_structure_set()
    patient.make_plan()
    patient.make_dose()
    paths = [path for path in (tmp_path / "export").rglob("*") if path.is_file()]
    return next(path for path in paths if pydicom.dcmread(path).Modality == "RTDOSE")


BOTH = (dose_of(0, ("plan0",), used=True), dose_of(1, ("plan1",), used=True))


def test_the_phases_of_a_course_are_its_plans(folder: Path) -> None:
    found = fractionation_of(course_of(folder, BOTH, (20, 3)), even(55.0))
    assert [phase.fractions for phase in found.phases] == [20, 3]
    assert [phase.dose.values.mean() for phase in found.phases] == pytest.approx([40.0, 15.0])


def test_a_sum_of_the_planning_system_is_taken_apart_where_its_plans_have_doses(folder: Path) -> None:
    left_out = tuple(dose.model_copy(update={"used": False}) for dose in BOTH)
    whole = dose_of(2, ("plan0", "plan1"), used=True)
    assert len(fractionation_of(course_of(folder, (whole, *left_out), (20, 3)), even(55.0)).phases) == 2
    alone = fractionation_of(course_of(folder, (whole,), (20, 3)), even(55.0))
    assert "not all there" in alone.reason


@pytest.mark.parametrize(
    ("doses", "fractions", "total", "reason"),
    [
        (BOTH, (20, None), 55.0, "how many fractions"),
        ((BOTH[0], dose_of(1, ("plan1",), used=True, frame="9.9")), (20, 3), 55.0, "registration"),
        (BOTH, (20, 3), 70.0, "differ from the dose of the course"),
    ],
)
def test_phases_that_are_not_known_say_why(
    folder: Path, doses: tuple[Dose, ...], fractions: tuple[int | None, ...], total: float, reason: str
) -> None:
    found = fractionation_of(course_of(folder, doses, fractions), even(total))
    assert found.phases == ()
    assert reason in found.reason
