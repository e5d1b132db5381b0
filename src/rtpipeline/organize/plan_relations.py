"""How a later plan of a course relates to an earlier one: does it add dose, or does it replace the other plan?

References, delivered fractions, geometry, prescriptions, fraction numbers and dates decide; names decide last, by
whole words, and never against the prescriptions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rtpipeline.organize.patients import RtDose, RtPlan
from rtpipeline.organize.prescription import plan_dose_gy

SAME_DOSE = 0.1
"""Prescriptions that differ by less than this part of their mean are the same."""


class Relation(NamedTuple):
    """How a later dose relates to an earlier one, and the evidence as half a sentence.

    `replaces` is a re-plan, which is left out because the first plan was the intention; `not_approved` leaves out the
    later one and `supersedes` the earlier one, because only the other is approved.
    """

    kind: Literal["adds", "replaces", "not_approved", "supersedes", "unclear"]
    evidence: str


@dataclass(frozen=True)
class PlanDose:
    """A dose that stands by itself.

    Attributes:
        doses: one, or those of single beams or fraction groups that make up the plan's dose together.
        plans: the plan, or those that the planning system summed; empty where they are not known.
        label: of the decision if this is the only dose.
        delivered: fractions of the plans that treatment records show.
        first_treated: date of the first of them, or empty.
    """

    doses: tuple[RtDose, ...]
    plans: tuple[RtPlan, ...]
    label: str
    delivered: int = 0
    first_treated: str = ""

    @property
    def name(self) -> str:
        """For sentences."""
        names = [plan.refers.label or plan.refers.name or plan.uid for plan in self.plans]
        return f"dose of plan {' + '.join(names)}" if names else f"dose {self.doses[0].uid}"

    @property
    def prescribed_gy(self) -> float | None:
        """Sum of the plans' prescriptions; None if one is not known."""
        doses = [plan_dose_gy(plan) for plan in self.plans]
        known = [dose for dose in doses if dose is not None]
        return sum(known) if known and len(known) == len(doses) else None

    @property
    def fractions(self) -> int | None:
        """Sum of the plans' fractions; None if one is not known."""
        known = [plan.refers.fractions_planned for plan in self.plans if plan.refers.fractions_planned is not None]
        return sum(known) if known and len(known) == len(self.plans) else None

    @property
    def date(self) -> str:
        """Of the earliest plan; empty if none is dated."""
        return min((plan.refers.date for plan in self.plans if plan.refers.date), default="")

    @property
    def is_approved(self) -> bool:
        """Whether every plan is approved."""
        return bool(self.plans) and all(plan.refers.approval_status == "APPROVED" for plan in self.plans)

    @property
    def words(self) -> str:
        """The plans' texts in lower case, every run of letters and digits a word."""
        texts = (f"{plan.refers.label} {plan.refers.name} {plan.refers.description}" for plan in self.plans)
        return " ".join(re.findall(r"[a-z0-9]+", " ".join(texts).lower()))


_BOOST = re.compile(r"\b(boost|bst|cd|conedown|cone down)\d*\b")
_REPLAN = re.compile(
    r"\b(replan|replans|replanned|replanning|re plan|adapt|adapted|adaptive|resim|revision|revised)\d*\b"
)
_PHASE = re.compile(r"\b(?:p|ph|phase)\s?(\d{1,2})\b")


def chronological(doses: Sequence[PlanDose]) -> list[PlanDose]:
    """By plan date (undated last), then first treatment, then higher prescription first, then UID."""

    def order(one: PlanDose) -> tuple[bool, str, bool, str, float, str]:
        treated = one.first_treated
        return (not one.date, one.date, not treated, treated, -(one.prescribed_gy or 0.0), one.doses[0].uid)

    return sorted(doses, key=order)


def relation(earlier: PlanDose, later: PlanDose) -> Relation:
    """What `later` is to `earlier`; both are of one course, `earlier` comes first in `chronological` order."""
    for rule in (_by_reference, _by_region, _by_delivery, _by_prescription):
        found = rule(earlier, later)
        if found is not None:
            return found
    return _by_name(earlier, later) or Relation("unclear", "a prescription is missing and the names do not tell")


_RELATIONSHIPS: Mapping[str, Relation] = {
    "PREDECESSOR": Relation("replaces", "it names the earlier plan as its predecessor"),
    "PRIOR": Relation("adds", "it names the earlier plan as delivered before it"),
    "CONCURRENT": Relation("adds", "it names the earlier plan as delivered concurrently"),
    "ALTERNATIVE": Relation("unclear", "it names the earlier plan as its alternative"),
}
"""RTPlanRelationship, PS3.3 C.8.8.9."""


def _by_reference(earlier: PlanDose, later: PlanDose) -> Relation | None:
    uids = {plan.uid for plan in earlier.plans}
    named = [item for plan in later.plans for item in plan.refers.plans if item.uid in uids]
    return next((_RELATIONSHIPS[item.relationship] for item in named if item.relationship in _RELATIONSHIPS), None)


def _by_region(earlier: PlanDose, later: PlanDose) -> Relation | None:
    """Doses of separate regions are not one prescription."""
    for one in earlier.doses:
        for other in later.doses:
            a, b = one.refers.box_mm, other.refers.box_mm
            if not a or not b or all(a[axis] <= b[axis + 3] and b[axis] <= a[axis + 3] for axis in range(3)):
                return None
    return Relation("unclear", "their dose grids do not overlap, so they treat separate regions")


def _by_delivery(earlier: PlanDose, later: PlanDose) -> Relation | None:
    """A plan that was finished is not replaced; one whose remaining fractions another plan has, is.

    Records that show neither may be incomplete, and prove nothing.
    """
    if not earlier.delivered or not later.delivered or earlier.fractions is None:
        return None
    if earlier.delivered >= earlier.fractions:
        return Relation("adds", "treatment records show the earlier plan complete before it")
    if later.fractions == earlier.fractions - earlier.delivered:
        return Relation(
            "replaces",
            f"it has the fractions that remained after {earlier.delivered} of {earlier.fractions} were delivered",
        )
    return None


def _by_prescription(earlier: PlanDose, later: PlanDose) -> Relation | None:
    first_gy, second_gy = earlier.prescribed_gy, later.prescribed_gy
    if first_gy is None or second_gy is None:
        return None
    doses = f"{second_gy:g} Gy after {first_gy:g} Gy"
    named = _by_name(earlier, later)
    if abs(first_gy - second_gy) / ((first_gy + second_gy) / 2) < SAME_DOSE:
        return _same_prescription(earlier, later, doses, named)
    if named is not None and named.kind == "replaces":
        return Relation("unclear", f"{doses}, but its name says that it is a re-plan")
    if named is not None:
        return Relation("adds", f"{doses}, and {named.evidence}")
    if second_gy > first_gy:
        return Relation("unclear", f"{doses}: a higher prescription, planned later")
    if not _share_structure_set(earlier, later):
        return Relation("unclear", f"{doses}, but on another structure set")
    return Relation("adds", f"{doses}: a smaller prescription in the same frame of reference and structure set")


def _same_prescription(earlier: PlanDose, later: PlanDose, doses: str, named: Relation | None) -> Relation:
    if named is not None:
        return Relation(named.kind, f"{doses}, and {named.evidence}")
    if earlier.is_approved and not later.is_approved:
        return Relation("not_approved", f"{doses}: the same prescription, and only the other plan is approved")
    if later.is_approved and not earlier.is_approved:
        return Relation("supersedes", f"{doses}: the same prescription, and only this plan is approved")
    if earlier.fractions is not None and later.fractions is not None and earlier.fractions != later.fractions:
        return Relation("unclear", f"{doses}, in {later.fractions} and {earlier.fractions} fractions")
    if earlier.date and later.date and later.date > earlier.date:
        return Relation("replaces", f"{doses}: the same prescription again, planned later ({later.date})")
    return Relation("unclear", f"{doses}: the same prescription, not planned later")


def _share_structure_set(earlier: PlanDose, later: PlanDose) -> bool:
    first = {uid for plan in earlier.plans for uid in plan.refers.structure_set_uids}
    second = {uid for plan in later.plans for uid in plan.refers.structure_set_uids}
    return not first or not second or bool(first & second)


def _by_name(earlier: PlanDose, later: PlanDose) -> Relation | None:
    if _REPLAN.search(later.words):
        return Relation("replaces", "its name says that it is a re-plan")
    if _BOOST.search(later.words) or _BOOST.search(earlier.words):
        return Relation("adds", "a name says boost")
    first, second = _PHASE.search(earlier.words), _PHASE.search(later.words)
    if first is not None and second is not None and first[1] != second[1]:
        return Relation("adds", f"the names say phases {first[1]} and {second[1]}")
    return None
