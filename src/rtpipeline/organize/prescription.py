"""The prescribed dose of plans."""

from __future__ import annotations

from collections.abc import Sequence

from rtpipeline.course import Prescription
from rtpipeline.organize.patients import RtPlan


def plan_dose_gy(plan: RtPlan) -> float | None:
    """The highest prescription to a target of one plan (targets of a simultaneous boost get theirs at once)."""
    return max((target.dose_gy for target in plan.refers.prescriptions), default=None)


def prescription_of(plans: Sequence[RtPlan]) -> Prescription:
    """The prescription of the plans that a course's dose is of: their highest target doses, added.

    A total is given only if every plan has its part.
    """
    doses = [plan_dose_gy(plan) for plan in plans]
    fractions = [plan.refers.fractions_planned for plan in plans]
    known_doses = [dose for dose in doses if dose is not None]
    known_fractions = [number for number in fractions if number is not None]
    targets = tuple(target for plan in plans for target in plan.refers.prescriptions)
    complete = bool(plans) and len(known_doses) == len(plans)
    return Prescription(
        total_dose_gy=round(sum(known_doses), 6) if complete else None,
        fractions=sum(known_fractions) if plans and len(known_fractions) == len(plans) else None,
        source=" + ".join(dict.fromkeys(target.source for target in targets)) if complete else "",
        targets=targets,
    )
