"""Equieffective doses: what a course of another fraction size would have been in fractions of 2 Gy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np

from rtpipeline.course import Course, Dose
from rtpipeline.dicom.rtdose import read_dose
from rtpipeline.dvh.curve import DoseVolumeCurve
from rtpipeline.dvh.histogram import SampledDose
from rtpipeline.imaging.grid import FloatArray, Volume
from rtpipeline.imaging.resampling import resample

LARGEST_DIFFERENCE = 0.02
"""The doses of the plans must add up to the dose of the course within this part of its maximum."""


@dataclass(frozen=True, eq=False)
class Phase:
    """A part of the course with one fraction size: its dose on the grid of the course's dose."""

    dose: Volume
    fractions: int


@dataclass(frozen=True, eq=False)
class Equieffective:
    """The curve of EQD2 of a structure.

    Attributes:
        alpha_beta_gy: that the configuration gives the structure.
        curve: None where it cannot be known.
        reason: why it cannot be known, or empty.
    """

    alpha_beta_gy: float
    curve: DoseVolumeCurve | None
    reason: str = ""


def eqd2_gy(dose_gy: FloatArray, fractions: int, alpha_beta_gy: float) -> FloatArray:
    """Equieffective dose in fractions of 2 Gy: D (D/n + α/β) / (2 + α/β).

    Linear-quadratic model without repopulation (Withers et al., Cancer 51, 1983; ICRU Report 89, 7.6).

    Args:
        dose_gy: total physical doses.
        fractions: number n of equal fractions.
        alpha_beta_gy: α/β.
    """
    return dose_gy * (dose_gy / fractions + alpha_beta_gy) / (2.0 + alpha_beta_gy)


def bed_per_eqd2(alpha_beta_gy: float) -> float:
    """Biologically effective dose D (1 + d / (α/β)) in parts of the EQD2: 1 + 2 / (α/β) (Fowler 1989)."""
    return 1.0 + 2.0 / alpha_beta_gy


class Fractionation:
    """The phases of a course, and curves of equieffective dose.

    Attributes:
        phases: empty where they are not known.
        reason: why they are not known, or empty.
    """

    def __init__(self, phases: tuple[Phase, ...], reason: str = "") -> None:
        self.phases = phases
        self.reason = reason
        self._summed: dict[float, SampledDose] = {}
        self._lock = Lock()

    def equieffective(
        self, curve: DoseVolumeCurve, alpha_beta_gy: float, measure: Callable[[SampledDose], DoseVolumeCurve]
    ) -> Equieffective:
        """The curve of EQD2 of a structure.

        Args:
            curve: of its physical dose.
            alpha_beta_gy: α/β of the structure.
            measure: gives its curve for any dose.
        """
        if not self.phases:
            return Equieffective(alpha_beta_gy, None, self.reason)
        if not curve.covered_cm3 > 0:
            return Equieffective(alpha_beta_gy, curve)
        if len(self.phases) == 1:
            return Equieffective(alpha_beta_gy, self._of_one_phase(curve, alpha_beta_gy))
        return Equieffective(alpha_beta_gy, measure(self._summed_dose(alpha_beta_gy)))

    def _of_one_phase(self, curve: DoseVolumeCurve, alpha_beta_gy: float) -> DoseVolumeCurve:
        """EQD2 grows with dose, so that every part of the volume keeps its place on the curve."""
        fractions = self.phases[0].fractions

        def converted(dose: FloatArray) -> FloatArray:
            return eqd2_gy(dose, fractions, alpha_beta_gy)

        doses = converted(curve.dose_gy)
        part = curve.volume_cm3 / curve.covered_cm3
        mean = float(doses[0] + np.sum(0.5 * (part[1:] + part[:-1]) * np.diff(doses)))
        extremes = converted(np.array([curve.minimum_gy, curve.maximum_gy]))
        return replace(curve, dose_gy=doses, minimum_gy=float(extremes[0]), maximum_gy=float(extremes[1]), mean_gy=mean)

    def _summed_dose(self, alpha_beta_gy: float) -> SampledDose:
        """EQD2 of every voxel: each phase is converted with its own fraction size, then they are added."""
        with self._lock:
            if alpha_beta_gy not in self._summed:
                total = np.zeros(self.phases[0].dose.values.shape)
                for phase in self.phases:
                    total += eqd2_gy(phase.dose.values, phase.fractions, alpha_beta_gy)
                self._summed[alpha_beta_gy] = SampledDose(Volume(self.phases[0].dose.grid, total))
            return self._summed[alpha_beta_gy]


def fractionation_of(course: Course, dose: Volume) -> Fractionation:
    """The phases of a course.

    Args:
        course: its dose decision names the plans.
        dose: of the course.

    Raises:
        DicomError: the dose of a plan cannot be read.
    """
    plans = course.description.used_plans
    if not plans:
        return Fractionation((), "it is not known which plans the dose is of")
    fractions = {plan.sop_instance_uid: plan.fractions_planned for plan in plans}
    numbers = [number for number in fractions.values() if number]
    if len(numbers) < len(plans):
        return Fractionation((), "a plan does not say how many fractions it has")
    if len(plans) == 1:
        return Fractionation((Phase(dose, numbers[0]),))
    doses, reason = _doses_of_plans(course, set(fractions))
    if reason:
        return Fractionation((), reason)
    phases = tuple(
        Phase(_added(course, doses[plan.sop_instance_uid], dose), number)
        for plan, number in zip(plans, numbers, strict=True)
    )
    difference = float(np.abs(sum(phase.dose.values for phase in phases) - dose.values).max())
    if difference > LARGEST_DIFFERENCE * float(dose.values.max()):
        return Fractionation((), f"the doses of the plans differ from the dose of the course by {difference:.2f} Gy")
    return Fractionation(phases)


def _doses_of_plans(course: Course, plans: set[str]) -> tuple[dict[str, list[Dose]], str]:
    """The doses of each plan, or why they are not known."""
    used = [dose for dose in course.description.doses if dose.used]
    single = [dose for dose in used if len(dose.referenced_plan_uids) == 1]
    if len(single) < len(used):  # a sum that the planning system made: the doses of its plans may be there too
        single = [
            dose
            for dose in course.description.doses
            if len(dose.referenced_plan_uids) == 1 and dose.summation_type == "PLAN" and dose.units.upper() == "GY"
        ]
    by_plan: dict[str, list[Dose]] = {uid: [] for uid in plans}
    for dose in single:
        by_plan.get(dose.referenced_plan_uids[0], []).append(dose)
    if not all(by_plan.values()):
        return {}, "the dose is a sum, and the doses of its plans are not all there"
    frames = {dose.frame_of_reference_uid for doses in by_plan.values() for dose in doses}
    if len(frames) > 1:
        return {}, "the plans were made on different images, and their doses cannot be added without a registration"
    return by_plan, ""


def _added(course: Course, doses: list[Dose], whole: Volume) -> Volume:
    """The doses of one plan, added on the grid of the course's dose."""
    total = np.zeros(whole.values.shape)
    for dose in doses:
        total += resample(read_dose(course.path(dose.file)), whole.grid, interpolation="linear", outside=0.0).values
    return Volume(whole.grid, total)
