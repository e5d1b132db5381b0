"""Plans that were exported again under another SOP Instance UID."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

from rtpipeline.organize.patients import Record, RtPlan


def same_plans(plans: Sequence[RtPlan], records: Sequence[Record]) -> Mapping[str, str]:
    """SOP Instance UIDs of plans that are another plan exported again, and that of the one that stands for them.

    Plans are one if label, name, date and time, prescriptions, fractions, beams and metersets are all the same; a plan
    without label, date or anything planned is never another's copy. Of these the one that treatment records name
    stands for all, then the newest export, then that with the lowest UID.
    """
    treated = {uid for record in records for uid in record.refers.plan_uids}
    groups: dict[Hashable, list[RtPlan]] = defaultdict(list)
    for plan in plans:
        refers = plan.refers
        if refers.label and refers.date and refers.beam_numbers and refers.prescriptions:
            groups[_content(plan)].append(plan)
    copies: dict[str, str] = {}
    for same in groups.values():
        ordered = sorted(same, key=lambda plan: plan.uid)
        chosen = max(ordered, key=lambda plan: (plan.uid in treated, plan.header.created))
        copies |= {plan.uid: chosen.uid for plan in same if plan is not chosen}
    return copies


def _content(plan: RtPlan) -> Hashable:
    refers = plan.refers
    return (
        *(plan.header.sop_class_uid, plan.header.frame_of_reference_uid),
        *(refers.label, refers.name, refers.description, refers.date, refers.time, refers.intent),
        *(refers.prescriptions, refers.fraction_groups, refers.fractions_planned),
        *(refers.beam_numbers, refers.beam_metersets),
    )
