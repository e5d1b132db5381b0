"""The courses of one patient: which images, structure sets, plans, doses and records each of them has."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rtpipeline.config import OrganizeSection
from rtpipeline.organize.duplicates import Unused
from rtpipeline.organize.homes import (
    BY_FRAME,
    BY_REGISTRATION,
    BY_STRUCTURE_SET,
    Homes,
    Place,
    find_homes,
    frames_agree,
    main_series,
)
from rtpipeline.organize.patients import (
    NOT_CHOSEN,
    Patient,
    Record,
    Registration,
    RtDose,
    RtObject,
    RtPlan,
    RtStruct,
    Segmentation,
)
from rtpipeline.organize.series import MINIMUM_SLICES, Series

UNLINKED = "unlinked"
DAYS_BETWEEN_COURSES = 365
"""Plans on the same images that are further apart than this are different courses, unless configured otherwise."""


@dataclass
class CourseDraft:
    """One course before doses are decided and files are copied.

    Attributes:
        place: the planning images' frame of reference and study.
        since: SOP Instance UID of the first plan, where plans on the same images make several courses and this is
            not the first of them; empty otherwise.
        ct: the planning CT.
        images: MR and PET series with the link that brought them here.
        links: one sentence for each link that is no explicit reference.
    """

    patient_id: str
    identity: str
    place: Place
    since: str = ""
    ct: Series | None = None
    ct_link: str = ""
    images: list[tuple[Series, str]] = field(default_factory=list)
    structure_sets: list[RtStruct] = field(default_factory=list)
    plans: list[RtPlan] = field(default_factory=list)
    doses: list[RtDose] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    registrations: list[Registration] = field(default_factory=list)
    segmentations: list[Segmentation] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    series_of: dict[str, Series] = field(default_factory=dict)

    @property
    def all_series(self) -> list[Series]:
        """The planning CT and the other images."""
        return [*([self.ct] if self.ct is not None else []), *(series for series, _ in self.images)]

    @property
    def objects(self) -> list[RtObject[Any]]:
        """Everything that is no image."""
        return [
            *self.structure_sets,
            *self.plans,
            *self.doses,
            *self.records,
            *self.registrations,
            *self.segmentations,
        ]

    @property
    def images_only(self) -> bool:
        """Whether nothing but images, registrations and segmentations is here."""
        return not (self.structure_sets or self.plans or self.doses or self.records)


def courses_of(patient: Patient, configuration: OrganizeSection) -> tuple[list[CourseDraft], list[Unused]]:
    """Form the courses of a patient.

    Returns:
        The drafts, sorted by place and first plan, and the files that none of them takes.
    """
    homes = find_homes(patient, by_study=configuration.merge_criteria == "same_ct_study")
    unused: list[Unused] = []
    drafts = {place: _draft(patient, place, homes, unused) for place in homes.known()}
    _apply_registrations(patient, homes, drafts, unused)
    days = configuration.max_days_between_plans
    divided = [
        part for draft in drafts.values() for part in _divide(draft, DAYS_BETWEEN_COURSES if days is None else days)
    ]
    courses = [draft for draft in divided if draft.all_series or draft.structure_sets or draft.plans]
    unused += _unused_of(patient, homes, courses, unused)
    return courses, unused


def _draft(patient: Patient, place: Place, homes: Homes, unused: list[Unused]) -> CourseDraft:
    def here(uid: str) -> bool:
        return place in homes.places.get(uid, ())

    draft = CourseDraft(
        patient.patient_id,
        patient.identity,
        place,
        structure_sets=[one for one in patient.structure_sets if here(one.uid)],
        plans=sorted((one for one in patient.plans if here(one.uid)), key=plan_order),
        doses=[one for one in patient.doses if here(one.uid)],
        records=[one for one in patient.records if here(one.uid)],
        segmentations=[one for one in patient.segmentations if here(one.uid)],
        series_of=homes.series_of,
    )
    series = [one for one in patient.series if here(one.uid)]
    candidates = [one for one in series if one.modality == "CT"]
    _choose_ct(draft, candidates, homes)
    for one in candidates:
        if one is not draft.ct:
            chosen = f"its planning CT is {draft.ct.label}" if draft.ct else "its structure set names another series"
            reason = f"another CT series in the frame of reference of a course; {chosen}"
            unused += [Unused(file, NOT_CHOSEN, reason) for file in one.files]
    draft.images = [
        (one, BY_STRUCTURE_SET if homes.is_named(one) else BY_FRAME) for one in series if one.modality != "CT"
    ]
    draft.links += [homes.sentences[one.uid] for one in draft.objects if one.uid in homes.sentences]
    _warn(draft, homes)
    return draft


def plan_order(plan: RtPlan) -> tuple[bool, str, str, str]:
    """Dated plans first, by date and time; then by UID."""
    return (not plan.refers.date, plan.refers.date, plan.refers.time, plan.uid)


def _choose_ct(draft: CourseDraft, candidates: Sequence[Series], homes: Homes) -> None:
    """The CT that the plans' structure sets name, else the one that any structure set names, else the largest.

    A structure set that names images which are not in the input never gets other images in their place.
    """
    of_plans = {uid for plan in draft.plans for uid in plan.refers.structure_set_uids}
    planned = [one for one in draft.structure_sets if one.uid in of_plans]
    for sets in (planned, draft.structure_sets):
        drawn_on = [homes.series_of[one.uid] for one in sets if one.uid in homes.series_of]
        cts = [one for one in candidates if any(one is series for series in drawn_on)]
        if cts:
            draft.ct, draft.ct_link = main_series(cts), BY_STRUCTURE_SET
            return
        missing = [one for one in sets if one.uid in homes.unresolved]
        if missing and candidates:
            draft.warnings.append(
                f"structure set {missing[0].uid} was drawn on images that are not in the input; "
                "other CT series of its frame of reference are not taken for them"
            )
            return
    if not candidates:
        return
    draft.ct = main_series(candidates)
    draft.ct_link = "only CT series" if len(candidates) == 1 else "largest CT series"
    if len(candidates) > 1:
        draft.links.append(
            f"no structure set names the planning CT; of {len(candidates)} CT series in this frame of reference "
            f"the one with most slices was taken: {draft.ct.label}"
        )


def _warn(draft: CourseDraft, homes: Homes) -> None:
    for series in draft.all_series:
        if series.damaged:
            names = ", ".join(file.shown_path for file in series.damaged)
            draft.warnings.append(f"{len(series.damaged)} images of {series.label} are damaged and left out: {names}")
        if series.slices < MINIMUM_SLICES:
            draft.warnings.append(f"{series.label}: too few slices for measuring images; dose and contours remain")
    if draft.ct is None and (draft.plans or draft.structure_sets) and not draft.images:
        draft.warnings.append("the planning images are not in the input, or cannot be used: no image-based results")
    for one in draft.structure_sets:
        if one.uid in homes.unresolved:
            draft.warnings.append(f"structure set {one.uid}: the images it was drawn on are not in the input")
    _warn_of_segmentations(draft, homes)
    sets = {one.uid: one for one in draft.structure_sets}
    for plan in draft.plans:
        for uid in plan.refers.structure_set_uids:
            if uid in sets and not frames_agree(plan, sets[uid]):
                draft.warnings.append(f"plan {plan.uid} and its structure set {uid} differ in frame of reference")
        if plan.refers.fraction_groups > 1:
            draft.warnings.append(
                f"plan {plan.uid} has {plan.refers.fraction_groups} fraction groups; its number of fractions is unknown"
            )


def _warn_of_segmentations(draft: CourseDraft, homes: Homes) -> None:
    for one in draft.segmentations:
        series = draft.series_of.get(one.uid)
        frames = {one.header.frame_of_reference_uid, series.header.frame_of_reference_uid if series else ""}
        if one.uid in homes.unresolved:
            draft.warnings.append(
                f"segmentation {one.uid}: the images it was made on belong to no course; it was linked by its frame of "
                "reference"
            )
        if len(frames - {""}) > 1:
            draft.warnings.append(
                f"segmentation {one.uid} and the images it was made on differ in frame of reference: it is not used on "
                "them"
            )


def _apply_registrations(
    patient: Patient, homes: Homes, drafts: dict[Place, CourseDraft], unused: list[Unused]
) -> None:
    """Give each registration to its courses, and with it the images that only the registration links to them."""
    for registration in patient.registrations:
        for place in _registered_places(registration, homes, drafts):
            drafts[place].registrations.append(registration)
            for frame in registration.refers.frame_of_reference_uids:
                for other in [one for one in drafts if one.frame == frame and one.frame != place.frame]:
                    _take_over(drafts, place, other, unused)


def _registered_places(registration: Registration, homes: Homes, drafts: dict[Place, CourseDraft]) -> tuple[Place, ...]:
    """The courses that a registration belongs to: those of its own (fixed) frame, else of the next one it names.

    Courses with more than images come first, because planning images are registered in either direction.
    """
    study = registration.header.study_instance_uid
    found = [
        tuple(place for place in homes.of_frame(frame, study) if place in drafts)
        for frame in registration.refers.frame_of_reference_uids
    ]
    found = [places for places in found if places]
    treated = [places for places in found if not all(drafts[place].images_only for place in places)]
    return next(iter(treated or found), ())


def _take_over(drafts: dict[Place, CourseDraft], place: Place, other: Place, unused: list[Unused]) -> None:
    """Move registered images, with their structure sets, to the course they are registered with.

    What has plans, doses or structure sets on a CT of its own stays a course of its own.
    """
    course, registered = drafts[place], drafts[other]
    if course.images_only or registered.plans or registered.doses:
        return
    if registered.ct is not None:
        if not registered.images_only:
            return
        reason = (
            f"a CT that is registered with a course; its planning CT is {course.ct.label if course.ct else 'missing'}"
        )
        unused += [Unused(file, NOT_CHOSEN, reason) for file in registered.ct.files]
    course.images += [(series, BY_REGISTRATION) for series, _ in registered.images]
    course.structure_sets += registered.structure_sets
    course.registrations += registered.registrations
    course.segmentations += registered.segmentations
    course.links += [f"{series.label} was linked by a registration" for series, _ in registered.images]
    course.links += registered.links
    course.warnings += registered.warnings
    del drafts[other]


def _divide(draft: CourseDraft, days: int) -> list[CourseDraft]:
    """Divide a course whose plans lie in periods more than `days` apart; images and structure sets go to each part."""
    periods: list[list[RtPlan]] = [[]]
    last: datetime.date | None = None
    for plan in draft.plans:
        date = datetime.date.fromisoformat(plan.refers.date) if plan.refers.date else None
        if date is not None and last is not None and (date - last).days > days:
            periods.append([])
        if date is None:
            periods[0].append(plan)
        else:
            periods[-1].append(plan)
            last = date
    if len(periods) == 1:
        return [draft]
    return [_part(draft, plans, number, periods, days) for number, plans in enumerate(periods)]


def _part(draft: CourseDraft, plans: list[RtPlan], number: int, periods: list[list[RtPlan]], days: int) -> CourseDraft:
    mine = {plan.uid for plan in plans}
    elsewhere = {plan.uid for period in periods for plan in period} - mine

    def here(uids: tuple[str, ...]) -> bool:
        return bool(mine & set(uids)) or (number == 0 and not elsewhere & set(uids))

    named_elsewhere = {
        uid for period in periods for plan in period if plan.uid in elsewhere for uid in plan.refers.structure_set_uids
    }
    named_here = {uid for plan in plans for uid in plan.refers.structure_set_uids}
    return replace(
        draft,
        since=plans[0].uid if number else "",
        plans=plans,
        doses=[dose for dose in draft.doses if here(dose.refers.plan_uids)],
        records=[record for record in draft.records if here(record.refers.plan_uids)],
        structure_sets=[one for one in draft.structure_sets if one.uid in named_here or one.uid not in named_elsewhere],
        links=[*draft.links, f"plans on the same images lie more than {days} days apart: each period is a course"],
        warnings=list(draft.warnings),
    )


def _unused_of(patient: Patient, homes: Homes, courses: Sequence[CourseDraft], known: Sequence[Unused]) -> list[Unused]:
    """A reason for every file that neither a course took nor an earlier step gave a reason for."""
    used = {file.path for course in courses for series in course.all_series for file in series.files}
    used |= {one.file.path for course in courses for one in course.objects}
    explained = used | {one.file.path for one in (*known, *patient.unused)}
    unused = list(patient.unused)
    for series in patient.series:
        reason = "no course takes it" if series.series_class.used else series.series_class.reason
        unused += [Unused(file, NOT_CHOSEN, reason) for file in series.files if file.path not in explained]
    orphans: tuple[tuple[Sequence[RtObject[Any]], str], ...] = (
        (patient.doses, "a dose without plan, structure set or images in the input"),
        (patient.records, "a treatment record whose plan is not in the input"),
        (patient.registrations, "a registration of frames of reference that no course has"),
        (patient.structure_sets, "a structure set that no course takes"),
        (patient.segmentations, "a segmentation of images and a frame of reference that no course has"),
        (patient.plans, "a plan that no course takes"),
    )
    for objects, reason in orphans:
        unused += [Unused(one.file, UNLINKED, reason) for one in objects if one.file.path not in explained]
    return unused
