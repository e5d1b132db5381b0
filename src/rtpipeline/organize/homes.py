"""Which course each object of a patient belongs to: explicit references first, weaker links only where there are none.

A course is known by its place: the frame of reference of its planning images and, where courses of one frame are kept
apart by study, the study of these images.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rtpipeline.organize.patients import Patient, Record, RtDose, RtPlan, RtStruct, Segmentation
from rtpipeline.organize.series import Series, header_of

BY_STRUCTURE_SET = "structure set reference"
BY_FRAME = "frame of reference"
BY_REGISTRATION = "registration"


class Place(NamedTuple):
    """What defines a course for good."""

    frame: str
    study: str


@dataclass
class Homes:
    """Where the objects of a patient belong, and why.

    Attributes:
        places: of every series and object, by its UID; empty where it has none.
        series_of: the image series that each structure set or segmentation was drawn on, by UIDs; absent where it is
            not known.
        unresolved: structure sets and segmentations that name image series, none of which is in the input.
        named: series that a structure set names, by the UID of the structure set.
        sentences: links that are not explicit references, by the UID of the object.
    """

    by_study: bool
    places: dict[str, tuple[Place, ...]] = field(default_factory=dict)
    series_of: dict[str, Series] = field(default_factory=dict)
    unresolved: set[str] = field(default_factory=set)
    named: dict[str, list[Series]] = field(default_factory=dict)
    sentences: dict[str, str] = field(default_factory=dict)

    def is_named(self, series: Series) -> bool:
        """Whether a structure set names a series."""
        return any(one is series for named in self.named.values() for one in named)

    def place(self, frame: str, study: str) -> Place:
        """The place of planning images of this frame and study."""
        return Place(frame, study if self.by_study else "")

    def known(self) -> list[Place]:
        """All places that an object has, sorted."""
        return sorted({place for places in self.places.values() for place in places})

    def of_frame(self, frame: str, study: str) -> tuple[Place, ...]:
        """Known places of a frame: those of the study if there are any, else all."""
        same = [place for place in self.known() if frame and place.frame == frame]
        return tuple([place for place in same if place.study == study] or same)

    def of_study(self, study: str) -> tuple[Place, ...]:
        """The only known place of a study (of the patient, where studies are not kept apart); empty if not one."""
        same = [place for place in self.known() if not self.by_study or place.study == study]
        return tuple(same) if len(same) == 1 else ()


def find_homes(patient: Patient, *, by_study: bool) -> Homes:
    """Give every object of a patient its place.

    Args:
        patient: the objects.
        by_study: whether planning images of one frame of reference but different studies make different courses.
    """
    homes = Homes(by_study)
    homes.named = _resolve(patient.structure_sets, patient.series, homes)
    _place_series(patient, homes)
    for structure_set in patient.structure_sets:
        homes.places[structure_set.uid] = _place_structure_set(structure_set, patient, homes)
    _place_further_images(patient, homes)
    sets = {one.uid: one for one in patient.structure_sets}
    for plan in patient.plans:
        homes.places[plan.uid] = _place_plan(plan, patient, sets, homes)
    for dose in patient.doses:
        homes.places[dose.uid] = _place_dose(dose, patient.plans, homes)
    for record in patient.records:
        homes.places[record.uid] = _place_record(record, patient.plans, homes)
    _resolve(patient.segmentations, [one for one in patient.series if homes.places.get(one.uid)], homes)
    for segmentation in patient.segmentations:
        homes.places[segmentation.uid] = _place_drawn(segmentation, "segmentation", patient, homes)
    return homes


def _resolve(
    objects: Sequence[RtStruct] | Sequence[Segmentation], candidates: Sequence[Series], homes: Homes
) -> dict[str, list[Series]]:
    """Find the series that structures were drawn on: by series UID, else by the images of their contours or frames.

    Returns:
        All series that an object names, by its UID.
    """
    all_named: dict[str, list[Series]] = {}
    by_uid = {series.uid: series for series in candidates}
    wanted = {uid for one in objects for uid in one.refers.image_uids}
    by_image = (
        {
            uid: series
            for series in candidates
            for file in series.files
            if (uid := header_of(file).sop_instance_uid) in wanted
        }
        if wanted
        else {}
    )
    for one in objects:
        named = [by_uid[uid] for uid in one.refers.series_uids if uid in by_uid]
        named += [by_image[uid] for uid in one.refers.image_uids if uid in by_image]
        if named:
            homes.series_of[one.uid] = main_series(named)
            all_named[one.uid] = named
        elif one.refers.series_uids or one.refers.image_uids:
            homes.unresolved.add(one.uid)
    return all_named


def main_series(candidates: Iterable[Series]) -> Series:
    """CT before other images, then most slices, then lowest UID."""
    return min(candidates, key=lambda series: (series.modality != "CT", -series.slices, series.uid))


def _place_series(patient: Patient, homes: Homes) -> None:
    """CT series stand for themselves; MR and PET belong to the CT of their frame of reference, if there is one."""
    usable = [series for series in patient.series if series.series_class.used]
    for series in usable:
        if series.modality == "CT":
            homes.places[series.uid] = (homes.place(series.frame, series.study_uid),)
    with_ct = set(homes.known())
    others: dict[str, tuple[Place, ...]] = {}
    for series in usable:
        if series.modality != "CT":
            same = [place for place in sorted(with_ct) if place.frame == series.frame]
            near = [place for place in same if place.study == series.study_uid]
            others[series.uid] = tuple(near or same) or (homes.place(series.frame, series.study_uid),)
    homes.places |= others


def _place_further_images(patient: Patient, homes: Homes) -> None:
    """MR and PET of another frame of reference that a structure set names beside its main images go with it."""
    ct_frames = {series.frame for series in patient.series if series.modality == "CT" and series.uid in homes.places}
    for one in patient.structure_sets:
        for series in homes.named.get(one.uid, ()):
            if series.modality != "CT" and series.frame not in ct_frames:
                homes.places[series.uid] = homes.places[one.uid]


def _place_structure_set(one: RtStruct, patient: Patient, homes: Homes) -> tuple[Place, ...]:
    """As `_place_drawn`; a structure set that belongs nowhere has a place of its own."""
    if found := _place_drawn(one, "structure set", patient, homes):
        return found
    frame = next((frame for frame in _frames_of(one) if frame), f"structure set {one.uid}")
    return (homes.place(frame, _study_of(one)),)


def _frames_of(one: RtStruct | Segmentation) -> tuple[str, ...]:
    return one.refers.frame_of_reference_uids or (one.header.frame_of_reference_uid,)


def _study_of(one: RtStruct | Segmentation) -> str:
    return next(iter(one.refers.study_uids), one.header.study_instance_uid)


def _place_drawn(one: RtStruct | Segmentation, kind: str, patient: Patient, homes: Homes) -> tuple[Place, ...]:
    """Where drawn structures belong: with their images, else by frame of reference, else by study; empty if nowhere."""
    if one.uid in homes.series_of:
        return homes.places[homes.series_of[one.uid].uid]
    frames, study = _frames_of(one), _study_of(one)
    for frame in frames:
        if places := homes.of_frame(frame, study):
            if one.uid not in homes.unresolved:
                homes.sentences[one.uid] = f"{kind} {one.uid} names no images; it was linked by its frame of reference"
                homes.series_of |= _image_of_place(one, places, patient, homes)
            return places
    if any(frames):
        return ()
    if (places := homes.of_study(study)) and one.uid not in homes.unresolved:
        homes.sentences[one.uid] = (
            f"{kind} {one.uid} names neither images nor a frame of reference; it was linked by its study"
        )
        homes.series_of |= _image_of_place(one, places, patient, homes)
        return places
    return ()


def _image_of_place(
    one: RtStruct | Segmentation, places: Sequence[Place], patient: Patient, homes: Homes
) -> dict[str, Series]:
    candidates = [series for series in patient.series if set(places) & set(homes.places.get(series.uid, ()))]
    return {one.uid: main_series(candidates)} if candidates else {}


def _place_plan(plan: RtPlan, patient: Patient, sets: dict[str, RtStruct], homes: Homes) -> tuple[Place, ...]:
    frame, study = plan.header.frame_of_reference_uid, plan.header.study_instance_uid
    for uid in plan.refers.structure_set_uids:
        if uid in sets:
            if frames_agree(plan, sets[uid]):
                return homes.places[uid][:1]
            homes.sentences[plan.uid] = (
                f"plan {plan.uid} names structure set {uid}, which is of another frame of reference: not linked"
            )
    places, how = _fallback(plan, plan.refers.date, _dated_images(patient, homes), homes)
    if not places:
        return (homes.place(frame or f"plan {plan.uid}", study),)
    missing = "a structure set that is not in the input" if plan.refers.structure_set_uids else "no structure set"
    homes.sentences.setdefault(plan.uid, f"plan {plan.uid} names {missing}; it was linked by its {how}")
    return places


def _dated_images(patient: Patient, homes: Homes) -> list[tuple[str, Place]]:
    """Dates and places of the patient's image series and structure sets."""
    dated = [(one.date, one.uid) for one in patient.series]
    dated += [(one.refers.date, one.uid) for one in patient.structure_sets]
    return [(date, place) for date, uid in dated for place in homes.places.get(uid, ())]


def _dated_plans(plans: Sequence[RtPlan], homes: Homes) -> list[tuple[str, Place]]:
    return [(plan.refers.date, place) for plan in plans for place in homes.places[plan.uid]]


def _fallback(
    one: RtPlan | RtDose, date: str, dated: Sequence[tuple[str, Place]], homes: Homes
) -> tuple[tuple[Place, ...], str]:
    """Where an object belongs whose references are missing, and what tells; no place where nothing does.

    An object that has a frame of reference is never put to another one.

    Args:
        one: the object.
        date: its date, `YYYY-MM-DD` or empty.
        dated: what its patient has, by date: the last on or before the object's date tells.
        homes: what has a place already.
    """
    frame, study = one.header.frame_of_reference_uid, one.header.study_instance_uid
    found = homes.of_frame(frame, study)
    if len(found) > 1:
        last = _last_place(date, [(when, place) for when, place in dated if place in found])
        first = f"frame of reference, to the first of its {len(found)} courses"
        return (last, "frame of reference and date") if last else (found[:1], first)
    if found or frame:
        return found, "frame of reference"
    if places := homes.of_study(study):
        return places, "study"
    return _last_place(date, dated), "patient and date"


def _last_place(date: str, dated: Sequence[tuple[str, Place]]) -> tuple[Place, ...]:
    """The only place of what was last dated on or before a date; empty if there is none or more than one."""
    before = [(when, place) for when, place in dated if "" < when <= date]
    latest = max((when for when, _ in before), default="")
    places = {place for when, place in before if when == latest}
    return tuple(places) if len(places) == 1 else ()


def frames_agree(plan: RtPlan, structure_set: RtStruct) -> bool:
    """Whether a plan and a structure set can be of one frame of reference; unknown ones can."""
    frame = plan.header.frame_of_reference_uid
    frames = structure_set.refers.frame_of_reference_uids
    return not frame or not frames or frame in frames


def _place_dose(dose: RtDose, plans: Sequence[RtPlan], homes: Homes) -> tuple[Place, ...]:
    known = {plan.uid for plan in plans}
    places = [place for uid in dose.refers.plan_uids if uid in known for place in homes.places[uid]]
    if places:
        return tuple(dict.fromkeys(places))
    why = "its plan is not in the input" if dose.refers.plan_uids else "it names no plan"
    for uid in dose.refers.structure_set_uids:
        if found := homes.places.get(uid, ())[:1]:
            homes.sentences[dose.uid] = f"dose {dose.uid}: {why}; linked by its structure set"
            return found
    found, how = _fallback(dose, _made_on(dose), _dated_plans(plans, homes), homes)
    if found:
        homes.sentences[dose.uid] = f"dose {dose.uid}: {why}; linked by its {how}"
    return found


def _made_on(dose: RtDose) -> str:
    """The date that a dose was written; else that of its series or study, which may be older than its plan."""
    created = dose.header.created[:8]
    return f"{created[:4]}-{created[4:6]}-{created[6:]}" if re.fullmatch(r"\d{8}", created) else dose.header.date


def _place_record(record: Record, plans: Sequence[RtPlan], homes: Homes) -> tuple[Place, ...]:
    places = [place for uid in record.refers.plan_uids for place in homes.places.get(uid, ())]
    if places:
        return tuple(dict.fromkeys(places))
    if record.refers.plan_uids:
        return ()
    with_plans = sorted({place for plan in plans for place in homes.places[plan.uid]})
    if len(with_plans) == 1:
        homes.sentences[record.uid] = f"treatment record {record.uid} names no plan; it was linked by its patient"
        return tuple(with_plans)
    found = _last_place(record.refers.date, _dated_plans(plans, homes))
    if found:
        homes.sentences[record.uid] = (
            f"treatment record {record.uid} names no plan; it was linked by its patient and date (last plan)"
        )
    return found
