"""The dose that was prescribed to a structure, and from where it is known."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rtpipeline.course import Course, Plan, TargetPrescription
from rtpipeline.structures import Structure

LEVEL_TOLERANCE = 0.005
"""A number in a name is a prescribed dose where they differ by less than this part."""


@dataclass(frozen=True)
class Prescribed:
    """A prescribed dose.

    Attributes:
        dose_gy: of the whole course.
        source: the attributes of the plans that it was read from, and how it belongs to the structure.
    """

    dose_gy: float
    source: str


def prescribed_to(structure: Structure, course: Course) -> Prescribed | None:
    """The dose that relative metrics of a structure refer to; None where no plan states one.

    A target has the prescription of a plan that refers to its ROI number; else, where one plan has several levels,
    the level that its name says (`PTV_54`, `ptv 54Gy`, `PTV5400`); else, as every other structure, the highest level
    of each plan, added.
    """
    plans = course.description.used_plans
    if structure.is_target:
        own = _of_its_number(structure, plans) or _of_its_name(structure, plans)
        if own is not None:
            return own
    whole = course.description.prescription
    return Prescribed(whole.total_dose_gy, whole.source) if whole.total_dose_gy else None


def _of_its_number(structure: Structure, plans: tuple[Plan, ...]) -> Prescribed | None:
    """The prescriptions that refer to the ROI, added over the plans; None where a plan has none for it."""
    if structure.source != "manual" or not plans:
        return None
    found: list[TargetPrescription] = []
    for plan in plans:
        own = [target for target in plan.prescriptions if target.roi_number == structure.roi_number]
        if not own:
            return None
        found.append(max(own, key=lambda target: target.dose_gy))
    sources = " + ".join(dict.fromkeys(target.source for target in found))
    return Prescribed(round(sum(target.dose_gy for target in found), 6), f"{sources} of this ROI")


def _of_its_name(structure: Structure, plans: tuple[Plan, ...]) -> Prescribed | None:
    """The only level of the only plan that a number in the name agrees with."""
    if len(plans) != 1:
        return None
    numbers = [float(text.replace(",", ".")) for text in re.findall(r"\d+(?:[.,]\d+)?", structure.roi_name)]
    levels = {target.dose_gy: target for target in plans[0].prescriptions}
    fitting = [
        target
        for dose, target in levels.items()
        if any(abs(number / unit - dose) <= LEVEL_TOLERANCE * dose for number in numbers for unit in (1.0, 100.0))
    ]
    if len(fitting) != 1:
        return None
    return Prescribed(fitting[0].dose_gy, f"{fitting[0].source}, the level in the name")
