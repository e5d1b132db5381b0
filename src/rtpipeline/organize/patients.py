"""The objects of one patient, by kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from rtpipeline.dicom.headers import IMAGE_MODALITIES, Header
from rtpipeline.dicom.radiotherapy_references import (
    DoseReferences,
    PlanReferences,
    RecordReferences,
    RegistrationReferences,
    SegmentationReferences,
    StructureSetReferences,
)
from rtpipeline.organize.duplicates import Unused
from rtpipeline.organize.index import IndexedFile
from rtpipeline.organize.series import Series, header_of, image_series
from rtpipeline.organize.series_classes import classified

UNSUPPORTED = "unsupported"
NOT_CHOSEN = "not_chosen"

Refs = TypeVar(
    "Refs",
    PlanReferences,
    DoseReferences,
    StructureSetReferences,
    RegistrationReferences,
    RecordReferences,
    SegmentationReferences,
)


@dataclass(frozen=True)
class RtObject(Generic[Refs]):
    """A radiotherapy object: its file, and what it refers to."""

    file: IndexedFile
    refers: Refs

    @property
    def header(self) -> Header:
        """Its header."""
        return header_of(self.file)

    @property
    def uid(self) -> str:
        """Its SOP Instance UID."""
        return self.header.sop_instance_uid


RtPlan = RtObject[PlanReferences]
RtDose = RtObject[DoseReferences]
RtStruct = RtObject[StructureSetReferences]
Registration = RtObject[RegistrationReferences]
Record = RtObject[RecordReferences]
Segmentation = RtObject[SegmentationReferences]


@dataclass(frozen=True)
class Patient:
    """Everything of one patient that can be used, each kind sorted by SOP Instance UID (series by series UID).

    Attributes:
        patient_id: as in the files.
        identity: what stands for the patient where the PatientID is empty.
        unused: whole files that are of no kind that organizing knows.
    """

    patient_id: str
    identity: str
    series: tuple[Series, ...]
    structure_sets: tuple[RtStruct, ...]
    plans: tuple[RtPlan, ...]
    doses: tuple[RtDose, ...]
    registrations: tuple[Registration, ...]
    records: tuple[Record, ...]
    segmentations: tuple[Segmentation, ...]
    unused: tuple[Unused, ...]


def patients_of(files: Sequence[IndexedFile], damaged: Sequence[IndexedFile]) -> list[Patient]:
    """Sort whole files by patient, and those of each patient by kind.

    Files without PatientID belong together when they share a study or a frame of reference.
    """
    nameless = _Components()
    for file in files:
        header = header_of(file)
        if not header.patient_id:
            nameless.join(_identifiers(header))
    groups: dict[tuple[str, str], list[IndexedFile]] = defaultdict(list)
    for file in files:
        header = header_of(file)
        identity = "" if header.patient_id else nameless.representative(_identifiers(header)[0])
        groups[header.patient_id, identity].append(file)
    cut: dict[str, list[IndexedFile]] = defaultdict(list)
    for file in damaged:
        if file.header is not None:
            cut[file.header.patient_id].append(file)
    return [_patient(*key, groups[key], cut[key[0]]) for key in sorted(groups)]


def _patient(patient_id: str, identity: str, files: list[IndexedFile], damaged: list[IndexedFile]) -> Patient:
    files = sorted(files, key=lambda file: header_of(file).sop_instance_uid)
    structure_sets = _objects(files, StructureSetReferences)
    plans = _objects(files, PlanReferences)
    doses = tuple(_with_its_plans(dose, plans) for dose in _objects(files, DoseReferences))
    series = classified(
        image_series(files, damaged),
        [(one.refers.series_uids, one.refers.image_uids) for one in structure_sets],
        _treated_frames(structure_sets, [*plans, *doses]),
    )
    unused = [Unused(left.file, NOT_CHOSEN, left.reason) for one in series for left in one.left_out]
    for file in files:
        header = header_of(file)
        if header.modality in IMAGE_MODALITIES:
            if not header.series_instance_uid:
                unused.append(Unused(file, UNSUPPORTED, "an image without SeriesInstanceUID"))
        elif isinstance(header.references, SegmentationReferences):
            if header.references.refusal:
                unused.append(Unused(file, UNSUPPORTED, header.references.refusal))
        elif header.references is None:
            name = f"modality {header.modality}" if header.modality else "an object without modality"
            unused.append(Unused(file, UNSUPPORTED, f"{name} has no part in a course"))
    return Patient(
        patient_id=patient_id,
        identity=identity,
        series=tuple(series),
        structure_sets=structure_sets,
        plans=plans,
        doses=doses,
        registrations=_objects(files, RegistrationReferences),
        records=_objects(files, RecordReferences),
        segmentations=tuple(one for one in _objects(files, SegmentationReferences) if not one.refers.refusal),
        unused=tuple(unused),
    )


def _objects(files: Iterable[IndexedFile], kind: type[Refs]) -> tuple[RtObject[Refs], ...]:
    return tuple(
        RtObject(file, references) for file in files if isinstance(references := header_of(file).references, kind)
    )


def _with_its_plans(dose: RtDose, plans: Sequence[RtPlan]) -> RtDose:
    """A dose that names no plan, but that plans name as theirs, is of these plans."""
    naming = tuple(plan.uid for plan in plans if dose.uid in plan.refers.dose_uids)
    if dose.refers.plan_uids or not naming:
        return dose
    return replace(dose, refers=dose.refers.model_copy(update={"plan_uids": naming}))


def _treated_frames(structure_sets: Sequence[RtStruct], others: Sequence[RtPlan | RtDose]) -> set[str]:
    """Frames of reference that structure sets, plans and doses have."""
    frames = {frame for one in structure_sets for frame in one.refers.frame_of_reference_uids}
    return frames | {one.header.frame_of_reference_uid for one in others}


def _identifiers(header: Header) -> list[str]:
    known = [uid for uid in (header.study_instance_uid, header.frame_of_reference_uid) if uid]
    return known or [header.sop_instance_uid]


class _Components:
    """Which identifiers belong together; the smallest of them stands for all."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def representative(self, one: str) -> str:
        parent = self._parents.setdefault(one, one)
        while parent != (above := self._parents[parent]):
            parent = above
        return parent

    def join(self, several: Sequence[str]) -> None:
        roots = sorted({self.representative(one) for one in several})
        for root in roots[1:]:
            self._parents[root] = roots[0]
