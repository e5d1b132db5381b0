"""Which doses stand for a course, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from rtpipeline.course import DoseDecision
from rtpipeline.dicom.radiotherapy_references import DoseReferences, RecordReferences
from rtpipeline.dicom.rtplan import is_ion_plan
from rtpipeline.organize.overrides import CourseOverride, example
from rtpipeline.organize.patients import Record, RtDose, RtObject, RtPlan
from rtpipeline.organize.plan_relations import PlanDose, chronological, relation
from rtpipeline.organize.same_plans import same_plans

RefersToPlans = TypeVar("RefersToPlans", DoseReferences, RecordReferences)

_OF_A_PLAN = ("PLAN", "")
_OF_SEVERAL_PLANS = ("MULTI_PLAN", "PLAN_SUM")
_NOT_TREATMENT = frozenset({"VERIFICATION", "MACHINE_QA", "SERVICE", "RESEARCH"})
"""PlanIntent (PS3.3 C.8.8.9) of plans that treat nobody."""


@dataclass(frozen=True)
class Decision:
    """The decision, the doses and plans that it uses, and what a user should know."""

    decision: DoseDecision
    doses: tuple[RtDose, ...] = ()
    plans: tuple[RtPlan, ...] = ()
    warnings: tuple[str, ...] = ()


class _AmbiguousError(Exception):
    """No choice can be made for the reason given."""


def decide(
    doses: Sequence[RtDose],
    plans: Sequence[RtPlan],
    records: Sequence[Record],
    elsewhere: Collection[str],
    *,
    course: str = "",
    override: CourseOverride | None = None,
) -> Decision:
    """Decide which doses are added to the dose of a course.

    What the user decided stands before everything. Then the dose of a whole plan stands before those of its beams; a
    sum that the planning system made stands for its plans. Of several plans, a boost or a later phase is added, a
    re-plan is left out (the first plan was the intention), and what cannot be decided stays undecided.

    Args:
        doses: the doses of the course.
        plans: the plans of the course.
        records: its treatment records.
        elsewhere: plans of the same patient's other courses.
        course: `patient/course`, for saying how the user can decide.
        override: what the user decided for this course.
    """
    if override is not None:
        return _overridden(override, doses, plans)
    copies = same_plans(plans, records)
    left_out = [f"plan {uid}: the same plan as {copies[uid]}, exported again" for uid in sorted(copies)]
    decided = _decide(
        [_of_kept_plans(dose, copies) for dose in doses],
        [plan for plan in plans if plan.uid not in copies],
        [_of_kept_plans(record, copies) for record in records],
        elsewhere,
        left_out,
        f"; to decide, write into the YAML file that organize.overrides names, with the doses that are to be added: "
        f"{example(course, sorted(dose.uid for dose in doses))}",
    )
    originals = {dose.uid: dose for dose in doses}
    return replace(decided, doses=tuple(originals[dose.uid] for dose in decided.doses))


def _of_kept_plans(one: RtObject[RefersToPlans], copies: Mapping[str, str]) -> RtObject[RefersToPlans]:
    """The object with references to plans that are copies replaced by those to the plans that stand for them."""
    if not copies.keys() & set(one.refers.plan_uids):
        return one
    uids = tuple(dict.fromkeys(copies.get(uid, uid) for uid in one.refers.plan_uids))
    return replace(one, refers=one.refers.model_copy(update={"plan_uids": uids}))


def _overridden(override: CourseOverride, doses: Sequence[RtDose], plans: Sequence[RtPlan]) -> Decision:
    """What the user decided, where it can be done."""
    known_doses, known_plans = {dose.uid: dose for dose in doses}, {plan.uid: plan for plan in plans}
    used = [known_doses[uid] for uid in dict.fromkeys(override.doses) if uid in known_doses]
    named = {uid for dose in used for uid in dose.refers.plan_uids}
    plan_uids = [plan.uid for plan in plans if plan.uid in named] if override.plans is None else override.plans
    problems = [f"dose {uid} is not in this course" for uid in override.doses if uid not in known_doses]
    problems += [f"plan {uid} is not in this course" for uid in plan_uids if uid not in known_plans]
    problems += [f"dose {dose.uid} cannot be added: {why}" for dose in used if (why := _not_a_dose(dose))]
    if len(_frames(used)) > 1:
        problems.append("its doses are of different frames of reference")
    if problems:
        reason = f"organize.overrides cannot be followed: {'; '.join(problems)}"
        left_out = [f"dose {dose.uid}: undecided" for dose in doses]
        return Decision(_decision("ambiguous", reason, (), (), left_out), warnings=(f"no dose is used: {reason}",))
    stated = [known_plans[uid] for uid in dict.fromkeys(plan_uids)]
    left_out = [f"dose {dose.uid}: left out by organize.overrides" for dose in doses if dose not in used]
    decision = _decision("override", "decided by the user in organize.overrides", used, stated, left_out)
    decided = Decision(decision, tuple(used), tuple(stated))
    return decided if override.plans is not None else _without_missing_plans(decided, plans)


def _decide(
    doses: Sequence[RtDose],
    plans: Sequence[RtPlan],
    records: Sequence[Record],
    elsewhere: Collection[str],
    left_out: list[str],
    how_to_decide: str,
) -> Decision:
    if not doses:
        used = tuple(plans) if len(plans) == 1 else ()
        reason = "no RTDOSE in the input belongs to this course"
        return Decision(_decision("no_dose", reason, (), used, left_out), plans=used)
    usable = []
    for dose in doses:
        why_not = _why_not(dose, plans, elsewhere)
        if why_not:
            left_out.append(f"dose {dose.uid}: {why_not}")
        else:
            usable.append(dose)
    try:
        candidates = _plan_doses(usable, plans, records, left_out)
        if not candidates:
            used = tuple(plans) if len(plans) == 1 else ()
            reason = "none of its doses can be used"
            return Decision(_decision("no_dose", reason, (), used, left_out), plans=used, warnings=tuple(left_out))
        decided = _combine(candidates, left_out)
        return _without_missing_plans(replace(decided, warnings=_plans_without_dose(plans, doses)), plans)
    except _AmbiguousError as error:
        explained = {sentence.split(":")[0] for sentence in left_out}
        left_out += [f"dose {dose.uid}: undecided" for dose in usable if f"dose {dose.uid}" not in explained]
        decision = _decision("ambiguous", f"{error}{how_to_decide}", (), (), left_out)
        return Decision(decision, warnings=(f"no dose is used: {error}{how_to_decide}",))


def _without_missing_plans(decided: Decision, plans: Sequence[RtPlan]) -> Decision:
    """The decision without prescription where its doses are also of plans that nobody exported."""
    named = dict.fromkeys(uid for dose in decided.doses for uid in dose.refers.plan_uids)
    missing = [uid for uid in named if uid not in {plan.uid for plan in plans}]
    if not missing:
        return decided
    warning = (
        f"the dose of the course is of plans that are not in the input ({', '.join(missing)}): what was prescribed for "
        "it is not known; organize.overrides can name its plans"
    )
    known = [uid for uid in decided.decision.used_plan_uids if uid not in missing]
    decision = decided.decision.model_copy(update={"used_plan_uids": (*known, *missing)})
    return replace(decided, decision=decision, plans=(), warnings=(*decided.warnings, warning))


def _plans_without_dose(plans: Sequence[RtPlan], doses: Sequence[RtDose]) -> tuple[str, ...]:
    """A sentence for each plan that may have been treated, but whose dose nobody exported."""
    with_dose = {uid for dose in doses for uid in frozenset(dose.refers.plan_uids) or _only_plan(plans)}
    return tuple(
        f"plan {plan.uid} ({plan.refers.label or plan.refers.name or 'without label'}) has no dose in the input; "
        "the dose of the course is without it"
        for plan in plans
        if plan.uid not in with_dose and not _treats_nobody(plan)
    )


def _decision(
    label: str, reason: str, doses: Sequence[RtDose], plans: Sequence[RtPlan], left_out: Sequence[str]
) -> DoseDecision:
    return DoseDecision(
        label=label,
        reason=reason,
        used_dose_uids=tuple(dose.uid for dose in doses),
        used_plan_uids=tuple(plan.uid for plan in plans),
        left_out=tuple(left_out),
    )


def _why_not(dose: RtDose, plans: Sequence[RtPlan], elsewhere: Collection[str]) -> str:
    """Why a dose can be no part of the course's dose, whatever the others are."""
    if problem := _not_a_dose(dose):
        return problem
    if set(dose.refers.plan_uids) & set(elsewhere):
        return "it covers plans of another course too"
    own = [plan for plan in plans if plan.uid in dose.refers.plan_uids]
    return next((why for plan in own if (why := _treats_nobody(plan))), "")


def _not_a_dose(dose: RtDose) -> str:
    """Why a dose is no grid of absorbed dose in Gy; empty if it is."""
    if not dose.refers.has_grid:
        return "it has no dose grid"
    if dose.refers.units != "GY":
        return f"its DoseUnits is {dose.refers.units or 'missing'}, not GY"
    if dose.refers.dose_type == "ERROR":
        return "its DoseType is ERROR"
    return ""


def _treats_nobody(plan: RtPlan) -> str:
    """Why a plan is not of the treatment; empty if it may be."""
    if plan.refers.intent in _NOT_TREATMENT:
        return f"the intent of its plan is {plan.refers.intent}"
    return "its plan is rejected" if plan.refers.approval_status == "REJECTED" else ""


def _plan_doses(
    doses: Sequence[RtDose], plans: Sequence[RtPlan], records: Sequence[Record], left_out: list[str]
) -> list[PlanDose]:
    """Put doses together to what stands by itself: the dose of each plan, and sums of several plans."""
    by_plans: dict[frozenset[str], list[RtDose]] = defaultdict(list)
    for dose in doses:
        by_plans[frozenset(dose.refers.plan_uids) or _only_plan(plans)].append(dose)
    found: list[PlanDose] = []
    for uids in sorted(by_plans, key=lambda uids: (-len(uids), sorted(uids))):
        of_these = tuple(plan for plan in plans if plan.uid in uids)
        covering = next((one for one in found if uids and uids < _plan_uids(one)), None)
        if covering is not None:
            left_out += [f"dose {dose.uid}: contained in the {covering.name}" for dose in by_plans[uids]]
            continue
        overlapping = [one for one in found if uids & _plan_uids(one)]
        if overlapping:
            raise _AmbiguousError("two plan sums share some of their plans")
        group = by_plans[uids]
        if not uids and len(group) > 1:
            found += [PlanDose((dose,), (), "single_dose") for dose in group]
            continue
        chosen, label = _dose_of(group, of_these, left_out)
        if chosen:
            own = [record for record in records if uids & set(record.refers.plan_uids)]
            delivered = sum(_delivered(plan.uid, own) for plan in of_these)
            first = min((record.refers.date for record in own if record.refers.date), default="")
            found.append(PlanDose(tuple(chosen), of_these, label, delivered, first))
    return found


def _plan_uids(one: PlanDose) -> frozenset[str]:
    return frozenset(uid for dose in one.doses for uid in dose.refers.plan_uids) or frozenset(
        plan.uid for plan in one.plans
    )


def _only_plan(plans: Sequence[RtPlan]) -> frozenset[str]:
    """What a dose without a plan reference is of: the only plan, where there is one."""
    return frozenset({plans[0].uid}) if len(plans) == 1 else frozenset()


def _dose_of(doses: Sequence[RtDose], plans: Sequence[RtPlan], left_out: list[str]) -> tuple[list[RtDose], str]:
    """The doses that make up the dose of one plan (or one sum of plans), and the decision's label."""
    doses = _of_one_type(doses, plans, left_out)
    several = len(doses[0].refers.plan_uids) > 1
    sums = [dose for dose in doses if dose.refers.summation_type in _OF_SEVERAL_PLANS]
    whole = sums if several and sums else [dose for dose in doses if dose.refers.summation_type in _OF_A_PLAN] or sums
    if whole:
        left_out += [
            f"dose {dose.uid}: a {dose.refers.summation_type} dose of a plan whose whole dose is there"
            for dose in doses
            if dose not in whole
        ]
        if len(whole) > 1 and _are_disjoint(whole):
            return sorted(whole, key=lambda dose: (dose.refers.box_mm, dose.uid)), "dose_grids_joined"
        chosen = _newest(whole, left_out)
        return [chosen], "plan_sum_used" if several or chosen in sums else "single_dose"
    fractions = [dose for dose in doses if dose.refers.summation_type == "FRACTION"]
    beams = [dose for dose in doses if dose.refers.summation_type in ("BEAM", "BRACHY")]
    for parts, numbers, complete, label in (
        (beams, "beam_numbers", _beam_count(plans), "beam_doses_summed"),
        (fractions, "fraction_group_numbers", _group_count(plans), "fraction_doses_summed"),
    ):
        if not parts:
            continue
        problem = _incomplete(parts, numbers, complete)
        if not problem:
            left_out += [f"dose {dose.uid}: not needed beside the others" for dose in doses if dose not in parts]
            return sorted(parts, key=lambda dose: (getattr(dose.refers, numbers), dose.uid)), label
        left_out += [f"dose {dose.uid}: {problem}" for dose in parts]
    for dose in doses:
        if dose not in fractions and dose not in beams:
            left_out.append(f"dose {dose.uid}: DoseSummationType {dose.refers.summation_type} is not of a whole plan")
    return [], ""


def _beam_count(plans: Sequence[RtPlan]) -> int:
    return len(plans[0].refers.beam_numbers) if len(plans) == 1 else 0


def _group_count(plans: Sequence[RtPlan]) -> int:
    return plans[0].refers.fraction_groups if len(plans) == 1 else 0


def _incomplete(parts: Sequence[RtDose], numbers: str, complete: int) -> str:
    """Why doses of beams (or fraction groups) do not make up the dose of their plan; empty if they do."""
    kind = parts[0].refers.summation_type
    named = [number for dose in parts for number in getattr(dose.refers, numbers)]
    if len(set(named)) < len(named):
        return f"two {kind} doses are of the same part of the plan"
    if not complete:
        return f"the plan that its {kind} doses belong to is not known, so they may be incomplete"
    present = len(named) if named else len(parts)
    if present != complete:
        return f"{kind} doses of {present} of {complete} parts of the plan"
    return ""


def _newest(doses: Sequence[RtDose], left_out: list[str]) -> RtDose:
    """Of several doses of the same plan the newest export."""
    ordered = sorted(doses, key=lambda dose: (dose.header.created, dose.uid), reverse=True)
    newest = ordered[0]
    if len(ordered) > 1 and ordered[1].header.created == newest.header.created:
        raise _AmbiguousError(f"there are several doses of one plan, none of them newer ({_uids(doses)})")
    left_out += [f"dose {dose.uid}: an older export; {newest.uid} of the same plan is newer" for dose in ordered[1:]]
    return newest


def _of_one_type(doses: Sequence[RtDose], plans: Sequence[RtPlan], left_out: list[str]) -> Sequence[RtDose]:
    """Where one plan has doses of several types, those that its prescription is meant in.

    Ions are prescribed in RBE-weighted dose, which is EFFECTIVE; photons and electrons in PHYSICAL dose, where
    EFFECTIVE is a biological model's.
    """
    types = {dose.refers.dose_type for dose in doses}
    if len(types) == 1:
        return doses
    ions = {is_ion_plan(plan.header.sop_class_uid) for plan in plans}
    wanted = "EFFECTIVE" if ions == {True} else "PHYSICAL"
    if len(ions) != 1 or wanted not in types:
        raise _AmbiguousError(f"there are doses of several types for one plan ({_uids(doses)})")
    kept = [dose for dose in doses if dose.refers.dose_type == wanted]
    left_out += [
        f"dose {dose.uid}: its DoseType is {dose.refers.dose_type or 'missing'}, and the plan has a {wanted} dose"
        for dose in doses
        if dose not in kept
    ]
    return kept


def _are_disjoint(doses: Sequence[RtDose]) -> bool:
    """Whether no two dose grids share a point."""
    boxes = [dose.refers.box_mm for dose in doses]
    return all(boxes) and all(
        any(a[axis] > b[axis + 3] or b[axis] > a[axis + 3] for axis in range(3))
        for number, a in enumerate(boxes)
        for b in boxes[:number]
    )


def _frames(doses: Sequence[RtDose]) -> set[str]:
    """The frames of reference that doses have."""
    return {dose.header.frame_of_reference_uid for dose in doses} - {""}


def _uids(doses: Sequence[RtDose]) -> str:
    return ", ".join(sorted(dose.uid for dose in doses))


def _delivered(plan_uid: str, records: Sequence[Record]) -> int:
    """Fractions of a plan that treatment records show: distinct fraction numbers, else distinct days."""
    own = [record.refers for record in records if plan_uid in record.refers.plan_uids]
    numbers = {number for record in own for number in record.fraction_numbers}
    return len(numbers) or len({record.date for record in own if record.date})


def _combine(candidates: Sequence[PlanDose], left_out: list[str]) -> Decision:
    """Add what adds to the first dose, leave out what replaces something."""
    ordered = chronological(candidates)
    kept = ordered[:1]
    reasons: list[str] = []
    decided_by: set[str] = set()
    for later in ordered[1:]:
        found = [(earlier, relation(earlier, later)) for earlier in kept]
        if instead := next(((one, it) for one, it in found if it.kind in _LEAVES_OUT), None):
            why = f"{_LEAVES_OUT[instead[1].kind]} the {instead[0].name}: {instead[1].evidence}"
            left_out += [f"dose {dose.uid}: {why}" for dose in later.doses]
            decided_by.add(instead[1].kind)
            continue
        if unclear := next(((one, it) for one, it in found if it.kind == "unclear"), None):
            raise _AmbiguousError(
                f"it is not clear whether the {later.name} adds to the {unclear[0].name} ({unclear[1].evidence})"
            )
        for earlier, it in found:
            if it.kind == "supersedes":
                left_out += [f"dose {dose.uid}: {it.evidence} ({later.name})" for dose in earlier.doses]
                decided_by.add(it.kind)
                kept.remove(earlier)
        if kept:
            reasons.append(f"the {later.name} is added to the {kept[0].name}: {dict(found)[kept[0]].evidence}")
        kept.append(later)
    if len({dose.refers.dose_type for one in kept for dose in one.doses}) > 1:
        raise _AmbiguousError("the doses of its plans are of different types (physical and effective)")
    if len(_frames([dose for one in kept for dose in one.doses])) > 1:
        raise _AmbiguousError("the doses of its plans are of different frames of reference")
    doses = [dose for one in kept for dose in one.doses]
    plans = [plan for one in kept for plan in one.plans]
    if len(kept) > 1:
        label, reason = "plans_summed", "; ".join(reasons)
    elif "replaces" in decided_by:
        label, reason = "replan_first", f"the {kept[0].name} was the first intention; re-plans are left out"
    elif decided_by:
        label, reason = "approved_plan", f"the {kept[0].name} is the one that is approved"
    else:
        label, reason = kept[0].label, _REASONS[kept[0].label]
    return Decision(_decision(label, reason, doses, plans, left_out), tuple(doses), tuple(plans))


_LEAVES_OUT = {"replaces": "a re-plan of", "not_approved": "left out for"}
"""Relations that leave out the later dose, and how a sentence says so."""

_REASONS = {
    "single_dose": "it is the only dose of the course that can be used",
    "dose_grids_joined": "the plan's dose lies in several grids that do not touch",
    "plan_sum_used": "the planning system's own sum of several plans",
    "beam_doses_summed": "the doses of all beams of the plan are added",
    "fraction_doses_summed": "the doses of all fraction groups of the plan are added",
}
