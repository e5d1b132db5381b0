"""What `course.json` says of a course, and which input file becomes which file of the course."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rtpipeline.course import (
    CT_KEY,
    CourseDescription,
    CourseFiles,
    Dose,
    DoseDecision,
    ImageSeries,
    Plan,
    Prescription,
    SegmentationObject,
    StructureSet,
)
from rtpipeline.organize.dose_decision import Decision, decide
from rtpipeline.organize.duplicates import OTHER_CONTENTS
from rtpipeline.organize.grouping import CourseDraft
from rtpipeline.organize.index import IndexedFile
from rtpipeline.organize.names import course_folder, digest, patient_folder
from rtpipeline.organize.overrides import CourseOverride
from rtpipeline.organize.patients import RtDose, RtObject, RtPlan, RtStruct, Segmentation
from rtpipeline.organize.prescription import plan_dose_gy, prescription_of
from rtpipeline.organize.series import Series, header_of

_NAMES = CourseFiles(Path())


@dataclass(frozen=True)
class CoursePlan:
    """A course as it is to be written.

    Attributes:
        description: the content of `course.json`.
        files: the input file of each file of the course, by its path relative to the course folder.
        summed: the doses that `RD.dcm` is the sum of; empty where it is a copy, or absent.
    """

    description: CourseDescription
    files: Mapping[str, IndexedFile]
    summed: tuple[RtDose, ...]

    @property
    def key(self) -> str:
        """`<patient>/<course>`."""
        return f"{self.description.patient}/{self.description.course}"

    @property
    def slice_count(self) -> int:
        """Slices of the planning CT, else of the largest image series."""
        counts = [image.instance_count for image in self.description.images]
        ct = self.description.planning_ct
        return ct.instance_count if ct is not None else max(counts, default=0)


def plan_course(
    draft: CourseDraft,
    elsewhere: frozenset[str],
    known_names: Mapping[tuple[str, str], str],
    overrides: Mapping[str, CourseOverride],
) -> CoursePlan:
    """Decide the doses of a course, and lay down its description and files.

    Args:
        draft: what belongs to the course.
        elsewhere: SOP Instance UIDs of plans of the patient's other courses.
        known_names: names that courses got in earlier runs, by (patient folder, digest); they are kept, so that a
            plan that is added later, with an earlier date, does not rename a course.
        overrides: what the user decided about doses, by `patient/course`.
    """
    patient = patient_folder(draft.patient_id, draft.identity)
    start = _start_date(draft)
    since = (draft.since,) if draft.since else ()
    name = course_folder(start, draft.patient_id or draft.identity, *draft.place, *since)
    name = known_names.get((patient, name.rsplit("_", 1)[1]), name)
    key = f"{patient}/{name}"
    decided = decide(draft.doses, draft.plans, draft.records, elsewhere, course=key, override=overrides.get(key))
    plan = _main_plan(draft, decided)
    primary = _primary_structure_set(draft, plan)
    files: dict[str, IndexedFile] = {}
    images = tuple(_image(series, link, files) for series, link in _linked_series(draft))
    keys = {image.series_instance_uid: image.key for image in images}
    description = CourseDescription(
        patient=patient,
        course=name,
        patient_id=draft.patient_id,
        kind="plan" if draft.plans else "structures" if draft.structure_sets else "images",
        start_date=start,
        frame_of_reference_uid=_frame_uid(draft),
        images=images,
        structure_sets=tuple(_structure_set(one, one is primary, draft, keys, files) for one in draft.structure_sets),
        segmentations=tuple(_segmentation(one, draft, keys, files) for one in draft.segmentations),
        plans=tuple(_plan(one, files) for one in draft.plans),
        doses=tuple(_dose(one, one in decided.doses, files) for one in draft.doses),
        treatment_record_files=tuple(_add(one, "RTRECORD", "RT", files) for one in draft.records),
        registration_files=tuple(_add(one, "REG", "REG", files) for one in draft.registrations),
        dose_decision=decided.decision,
        prescription=prescription_of(decided.plans),
        links=tuple(dict.fromkeys(draft.links)),
        warnings=tuple(dict.fromkeys((*draft.warnings, *decided.warnings))),
    )
    _add_root_files(files, primary, plan, decided.doses)
    return CoursePlan(description, dict(sorted(files.items())), decided.doses if len(decided.doses) > 1 else ())


def without_dose(plan: CoursePlan, reason: str) -> CoursePlan:
    """The course with its doses undecided, for a reason that was found when they were to be added."""
    description = plan.description
    undecided = DoseDecision(
        label="ambiguous",
        reason=f"{reason}; take the dose that is wrong out of the input, or leave it out in organize.overrides",
        left_out=(
            *description.dose_decision.left_out,
            *(f"dose {uid}: undecided" for uid in description.dose_decision.used_dose_uids),
        ),
    )
    changed = {
        "dose_decision": undecided,
        "prescription": Prescription(),
        "doses": tuple(dose.model_copy(update={"used": False}) for dose in description.doses),
        "warnings": (*description.warnings, f"no dose is used: {undecided.reason}"),
    }
    return replace(plan, description=description.model_copy(update=changed), summed=())


def with_other_contents(plan: CoursePlan, others: Mapping[str, Sequence[IndexedFile]]) -> CoursePlan:
    """The course with files kept apart that have the SOP Instance UID of one of its objects and another content.

    Args:
        plan: the course.
        others: these files by the path of the file that is used.
    """
    apart: dict[str, IndexedFile] = {}
    warnings = []
    used = {file.path: file for file in plan.files.values() if file.path in others}
    for file in sorted(used.values(), key=lambda file: header_of(file).sop_instance_uid):
        header = header_of(file)
        for other in others[file.path]:
            name = f"{header.modality}_{digest(header.sop_instance_uid, length=16)}_{other.digest[:16]}.dcm"
            apart[f"{OTHER_CONTENTS}/{name}"] = other
        warnings.append(
            f"{header.modality} {header.sop_instance_uid}: the input has {len(others[file.path])} other contents "
            f"under this SOP Instance UID; they are kept apart in {OTHER_CONTENTS}"
        )
    if not apart:
        return plan
    described = plan.description.model_copy(update={"warnings": (*plan.description.warnings, *warnings)})
    return replace(plan, description=described, files=dict(sorted(({**plan.files, **apart}).items())))


def _start_date(draft: CourseDraft) -> str:
    """Of the first plan, else of the planning CT, else of the other images; empty if nothing is dated."""
    plans = [plan.refers.date for plan in draft.plans if plan.refers.date]
    images = [series.date for series in draft.all_series if series.date]
    planning = [draft.ct.date] if draft.ct is not None and draft.ct.date else []
    return min(plans or planning or images, default="")


def _frame_uid(draft: CourseDraft) -> str:
    """The frame of reference; empty where the place is named after an object that has none."""
    return "" if " " in draft.place.frame else draft.place.frame


def _linked_series(draft: CourseDraft) -> list[tuple[Series, str]]:
    ct = [(draft.ct, draft.ct_link)] if draft.ct is not None else []
    return [*ct, *sorted(draft.images, key=lambda image: (image[0].modality, image[0].uid))]


def _image(series: Series, link: str, files: dict[str, IndexedFile]) -> ImageSeries:
    header = series.header
    if series.modality == CT_KEY:
        key, folder = CT_KEY, "DICOM/CT"
    else:
        key = f"{series.modality}_{digest(series.uid)}"
        folder = f"DICOM/{series.modality}/{key}"
    for number, file in enumerate(series.files, start=1):
        files[f"{folder}/{series.modality}_{number:04d}.dcm"] = file
    return ImageSeries.model_validate(
        {
            "key": key,
            "modality": series.modality,
            "folder": folder,
            "series_instance_uid": series.uid,
            "study_instance_uid": series.study_uid,
            "frame_of_reference_uid": header.frame_of_reference_uid,
            "series_description": header.series_description,
            "date": series.date,
            "instance_count": len(series.files),
            "series_class": series.series_class.kind,
            "class_reason": series.series_class.reason,
            "link": link,
        }
    )


def _structure_set(
    one: RtStruct, primary: bool, draft: CourseDraft, keys: Mapping[str, str], files: dict[str, IndexedFile]
) -> StructureSet:
    series = draft.series_of.get(one.uid)
    frames = one.refers.frame_of_reference_uids or (one.header.frame_of_reference_uid,)
    return StructureSet(
        file=_add(one, "RTSTRUCT", "RS", files),
        sop_instance_uid=one.uid,
        label=one.refers.label,
        date=one.refers.date,
        image_key=keys.get(series.uid, "") if series is not None else "",
        frame_of_reference_uid=draft.place.frame if draft.place.frame in frames else frames[0],
        primary=primary,
    )


def _segmentation(
    one: Segmentation, draft: CourseDraft, keys: Mapping[str, str], files: dict[str, IndexedFile]
) -> SegmentationObject:
    series = draft.series_of.get(one.uid)
    return SegmentationObject(
        file=_add(one, "SEG", "SEG", files),
        sop_instance_uid=one.uid,
        label=one.refers.label,
        series_description=one.header.series_description,
        date=one.refers.date,
        image_key=keys.get(series.uid, "") if series is not None else "",
        frame_of_reference_uid=one.header.frame_of_reference_uid,
        segments=one.refers.segments,
    )


def _plan(one: RtPlan, files: dict[str, IndexedFile]) -> Plan:
    refers = one.refers
    return Plan(
        file=_add(one, "RTPLAN", "RP", files),
        sop_instance_uid=one.uid,
        label=refers.label,
        name=refers.name,
        date=refers.date,
        approval_status=refers.approval_status,
        intent=refers.intent,
        fractions_planned=refers.fractions_planned,
        prescriptions=refers.prescriptions,
        referenced_structure_set_uid=next(iter(refers.structure_set_uids), ""),
    )


def _dose(one: RtDose, used: bool, files: dict[str, IndexedFile]) -> Dose:
    return Dose(
        file=_add(one, "RTDOSE", "RD", files),
        sop_instance_uid=one.uid,
        summation_type=one.refers.summation_type,
        units=one.refers.units,
        dose_type=one.refers.dose_type,
        referenced_plan_uids=one.refers.plan_uids,
        frame_of_reference_uid=one.header.frame_of_reference_uid,
        used=used,
    )


def _add(one: RtObject[Any], folder: str, prefix: str, files: dict[str, IndexedFile]) -> str:
    target = f"DICOM/{folder}/{prefix}_{digest(one.uid, length=16)}.dcm"
    files[target] = one.file
    return target


def _main_plan(draft: CourseDraft, decided: Decision) -> RtPlan | None:
    """Of the plans whose dose is used the one with the highest prescription; else the earliest dated plan."""
    if decided.plans:
        return max(decided.plans, key=lambda plan: plan_dose_gy(plan) or 0.0)  # the first of equal ones
    return draft.plans[0] if draft.plans else None


def _primary_structure_set(draft: CourseDraft, plan: RtPlan | None) -> RtStruct | None:
    """The structure set that the plan names, else the newest on the planning images, else the newest."""
    named = plan.refers.structure_set_uids if plan is not None else ()
    of_plan = [one for uid in named for one in draft.structure_sets if one.uid == uid]
    if of_plan:
        return of_plan[0]
    on_ct = [one for one in draft.structure_sets if draft.ct is not None and draft.series_of.get(one.uid) is draft.ct]
    return max(
        on_ct or draft.structure_sets,
        key=lambda one: (one.refers.date, one.refers.time, one.header.created, one.uid),
        default=None,
    )


def _add_root_files(
    files: dict[str, IndexedFile], primary: RtStruct | None, plan: RtPlan | None, doses: Sequence[RtDose]
) -> None:
    if primary is not None:
        files[_NAMES.structure_set.name] = primary.file
    if plan is not None:
        files[_NAMES.plan.name] = plan.file
    if len(doses) == 1:
        files[_NAMES.dose.name] = doses[0].file
