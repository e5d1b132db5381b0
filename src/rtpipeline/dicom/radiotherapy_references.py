"""What the header of a radiotherapy object says of itself and of the objects it refers to.

Attributes are those of DICOM PS3.3: RT Structure Set (A.19), RT Plan and RT Ion Plan (A.20, A.49), RT Dose (A.18),
Spatial Registration (A.39.1), Segmentation (A.51) and the RT treatment records (A.29 to A.31). Contours, beams and
pixels are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from rtpipeline.course import NamedSegment, TargetPrescription
from rtpipeline.dicom.rtrecord import SESSION_SEQUENCES
from rtpipeline.dicom.values import as_date, as_integer, as_number, as_numbers, as_text, as_uid, items

TARGET_PRESCRIPTION = "TargetPrescriptionDose"
BEAM_DOSE_TIMES_FRACTIONS = "BeamDose x NumberOfFractionsPlanned"


class _References(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlanReference(_References):
    """One item of a plan's own `ReferencedRTPlanSequence`."""

    uid: str
    relationship: str = ""
    """`RTPlanRelationship`: PRIOR, ALTERNATIVE, PREDECESSOR, VERIFIED_PLAN, CONCURRENT."""


class PlanReferences(_References):
    """RT Plan or RT Ion Plan."""

    label: str = ""
    name: str = ""
    description: str = ""
    date: str = ""
    time: str = ""
    approval_status: str = ""
    intent: str = ""
    fraction_groups: int = 0
    fractions_planned: int | None = None
    """Of the only fraction group; None where there are several, because their order of delivery is not known."""
    beam_numbers: tuple[int, ...] = ()
    """Beams (or brachy application setups) of the fraction groups that deliver dose."""
    beam_metersets: tuple[float, ...] = ()
    """BeamMeterset of every beam that has one, in the order of the file."""
    prescriptions: tuple[TargetPrescription, ...] = ()
    structure_set_uids: tuple[str, ...] = ()
    plans: tuple[PlanReference, ...] = ()
    dose_uids: tuple[str, ...] = ()
    """Doses that the plan names as its own."""


class DoseReferences(_References):
    """RT Dose."""

    summation_type: str = ""
    units: str = ""
    dose_type: str = ""
    has_grid: bool = False
    plan_uids: tuple[str, ...] = ()
    structure_set_uids: tuple[str, ...] = ()
    beam_numbers: tuple[int, ...] = ()
    """Beams (or brachy application setups) that the dose is of, where its plan reference names them."""
    fraction_group_numbers: tuple[int, ...] = ()
    box_mm: tuple[float, ...] = ()
    """Smallest and largest patient coordinates of the voxel centres: x0, y0, z0, x1, y1, z1; empty if unknown."""


class StructureSetReferences(_References):
    """RT Structure Set."""

    label: str = ""
    date: str = ""
    time: str = ""
    approval_status: str = ""
    frame_of_reference_uids: tuple[str, ...] = ()
    study_uids: tuple[str, ...] = ()
    series_uids: tuple[str, ...] = ()
    image_uids: tuple[str, ...] = ()
    """Images of the contours; read only where no series is named."""


class RegistrationReferences(_References):
    """Spatial Registration."""

    frame_of_reference_uids: tuple[str, ...] = ()
    """The object's own frame (the fixed one) first, then those that are registered with it."""
    series_uids: tuple[str, ...] = ()


class RecordReferences(_References):
    """RT treatment record."""

    plan_uids: tuple[str, ...] = ()
    date: str = ""
    fraction_numbers: tuple[int, ...] = ()


class SegmentationReferences(_References):
    """Segmentation."""

    label: str = ""
    date: str = ""
    time: str = ""
    frame_of_reference_uids: tuple[str, ...] = ()
    study_uids: tuple[str, ...] = ()
    """Always empty: a segmentation names no study but its own."""
    series_uids: tuple[str, ...] = ()
    image_uids: tuple[str, ...] = ()
    """Images that the frames were derived from; read only where no series is named."""
    segments: tuple[NamedSegment, ...] = ()
    refusal: str = ""
    """Why its segments are no structures; empty if they are."""


References = (
    PlanReferences
    | DoseReferences
    | StructureSetReferences
    | RegistrationReferences
    | RecordReferences
    | SegmentationReferences
)

REFERENCES_OF: dict[str, type[_References]] = {
    "RTPLAN": PlanReferences,
    "RTDOSE": DoseReferences,
    "RTSTRUCT": StructureSetReferences,
    "REG": RegistrationReferences,
    "RTRECORD": RecordReferences,
    "SEG": SegmentationReferences,
}
"""What is read of the objects of a modality; images have no entry."""

HEADER_KEYWORDS = (
    *("RTPlanLabel", "RTPlanName", "RTPlanDescription", "RTPlanDate", "RTPlanTime", "ApprovalStatus", "PlanIntent"),
    *("DoseReferenceSequence", "FractionGroupSequence", "ReferencedStructureSetSequence", "ReferencedRTPlanSequence"),
    *("DoseSummationType", "DoseUnits", "DoseType", "GridFrameOffsetVector"),
    "ReferencedDoseSequence",
    *("StructureSetLabel", "StructureSetDate", "StructureSetTime", "ReferencedFrameOfReferenceSequence"),
    *("RegistrationSequence", "ReferencedSeriesSequence", "StudiesContainingOtherReferencedInstancesSequence"),
    *("TreatmentDate", *SESSION_SEQUENCES),
    *("ContentLabel", "ContentTime", "SegmentationType", "SegmentSequence"),
)
"""Attributes that the functions here read from the top level of a dataset, beside the geometry of images."""


def read_references(modality: str, dataset: Dataset) -> References | None:
    """What an object of this modality refers to; None for images and for modalities that have no courses."""
    readers: dict[str, Callable[[Dataset], References]] = {
        "RTPLAN": _plan,
        "RTDOSE": _dose,
        "RTSTRUCT": _structure_set,
        "REG": _registration,
        "RTRECORD": _record,
        "SEG": _segmentation,
    }
    reader = readers.get(modality)
    return None if reader is None else reader(dataset)


def contour_image_uids(dataset: Dataset) -> tuple[str, ...]:
    """SOP Instance UIDs of the images that the contours of a structure set were drawn on, sorted."""
    contours = (contour for roi in items(dataset, "ROIContourSequence") for contour in items(roi, "ContourSequence"))
    return tuple(
        sorted({uid for contour in contours for uid in _instance_uids(contour, "ContourImageSequence") if uid})
    )


def _plan(dataset: Dataset) -> PlanReferences:
    groups = items(dataset, "FractionGroupSequence")
    return PlanReferences(
        label=as_text(dataset, "RTPlanLabel"),
        name=as_text(dataset, "RTPlanName"),
        description=as_text(dataset, "RTPlanDescription"),
        date=as_date(dataset, "RTPlanDate"),
        time=as_text(dataset, "RTPlanTime"),
        approval_status=as_text(dataset, "ApprovalStatus").upper(),
        intent=as_text(dataset, "PlanIntent").upper(),
        fraction_groups=len(groups),
        fractions_planned=as_integer(groups[0], "NumberOfFractionsPlanned") if len(groups) == 1 else None,
        beam_numbers=_treating_beams(groups),
        beam_metersets=tuple(
            meterset
            for group in groups
            for beam in items(group, "ReferencedBeamSequence")
            if (meterset := as_number(beam, "BeamMeterset")) is not None
        ),
        prescriptions=_prescriptions(dataset),
        structure_set_uids=_instance_uids(dataset, "ReferencedStructureSetSequence"),
        plans=tuple(
            PlanReference(
                uid=as_uid(item, "ReferencedSOPInstanceUID"),
                relationship=as_text(item, "RTPlanRelationship").upper(),
            )
            for item in items(dataset, "ReferencedRTPlanSequence")
        ),
        dose_uids=_instance_uids(dataset, "ReferencedDoseSequence"),
    )


def _treating_beams(groups: Sequence[Dataset]) -> tuple[int, ...]:
    """Numbers of the beams and application setups with a dose or a meterset; of all where none gives one."""
    numbers: list[int] = []
    treating: list[int] = []
    for sequence, keyword, given in (
        ("ReferencedBeamSequence", "ReferencedBeamNumber", ("BeamMeterset", "BeamDose")),
        (
            "ReferencedBrachyApplicationSetupSequence",
            "ReferencedBrachyApplicationSetupNumber",
            ("BrachyApplicationSetupDose",),
        ),
    ):
        for beam in (beam for group in groups for beam in items(group, sequence)):
            number = as_integer(beam, keyword)
            if number is None:
                continue
            numbers.append(number)
            if any(as_number(beam, one) for one in given):
                treating.append(number)
    return tuple(sorted(set(treating or numbers)))


def _prescriptions(dataset: Dataset) -> tuple[TargetPrescription, ...]:
    """Target prescriptions; where a plan has none, the planned dose of its beams, named so.

    Limits to organs at risk and maximum doses are no prescriptions. `BeamDose` is the dose of one fraction at the
    beam's dose specification point.
    """
    stated = []
    for item in items(dataset, "DoseReferenceSequence"):
        dose_gy = as_number(item, "TargetPrescriptionDose")
        if as_text(item, "DoseReferenceType").upper() != "TARGET" or not dose_gy or dose_gy <= 0:
            continue
        stated.append(
            TargetPrescription(
                description=as_text(item, "DoseReferenceDescription"),
                roi_number=as_integer(item, "ReferencedROINumber"),
                dose_gy=dose_gy,
                source=TARGET_PRESCRIPTION,
            )
        )
    if stated:
        return tuple(stated)
    planned_gy = _beam_dose_gy(dataset)
    if planned_gy is None:
        return ()
    return (TargetPrescription(dose_gy=planned_gy, source=BEAM_DOSE_TIMES_FRACTIONS),)


def _beam_dose_gy(dataset: Dataset) -> float | None:
    """Sum over fraction groups of (sum of their beams' dose × their fractions); None unless every part is there."""
    total = 0.0
    for group in items(dataset, "FractionGroupSequence"):
        fractions = as_integer(group, "NumberOfFractionsPlanned")
        doses = [as_number(beam, "BeamDose") for beam in items(group, "ReferencedBeamSequence")]
        known = [dose for dose in doses if dose is not None]
        if fractions is None or not known or len(known) < len(doses):
            return None
        total += sum(known) * fractions
    return round(total, 6) if total > 0 else None


def _dose(dataset: Dataset) -> DoseReferences:
    plans = items(dataset, "ReferencedRTPlanSequence")
    groups = [group for plan in plans for group in items(plan, "ReferencedFractionGroupSequence")]
    beams = [
        number
        for group in groups
        for sequence, keyword in (
            ("ReferencedBeamSequence", "ReferencedBeamNumber"),
            ("ReferencedBrachyApplicationSetupSequence", "ReferencedBrachyApplicationSetupNumber"),
        )
        for beam in items(group, sequence)
        if (number := as_integer(beam, keyword)) is not None
    ]
    group_numbers = [as_integer(group, "ReferencedFractionGroupNumber") for group in groups]
    return DoseReferences(
        summation_type=as_text(dataset, "DoseSummationType").upper(),
        units=as_text(dataset, "DoseUnits").upper(),
        dose_type=as_text(dataset, "DoseType").upper(),
        plan_uids=_instance_uids(dataset, "ReferencedRTPlanSequence"),
        structure_set_uids=_instance_uids(dataset, "ReferencedStructureSetSequence"),
        beam_numbers=tuple(sorted(set(beams))),
        fraction_group_numbers=tuple(sorted({number for number in group_numbers if number is not None})),
        box_mm=_box_mm(dataset),
    )


def _box_mm(dataset: Dataset) -> tuple[float, ...]:
    """Extent of a dose grid: PS3.3 C.7.6.2.1.1 in the plane, `GridFrameOffsetVector` (C.8.8.3.2) across planes."""
    origin = as_numbers(dataset, "ImagePositionPatient")
    orientation = as_numbers(dataset, "ImageOrientationPatient")
    spacing = as_numbers(dataset, "PixelSpacing")
    offsets = np.asarray(as_numbers(dataset, "GridFrameOffsetVector") or (0.0,))
    rows, columns = as_integer(dataset, "Rows"), as_integer(dataset, "Columns")
    if len(origin) != 3 or len(orientation) != 6 or len(spacing) != 2 or not rows or not columns:
        return ()
    along_row, along_column = np.asarray(orientation).reshape(2, 3)
    across = np.cross(along_row, along_column)
    depths = offsets - offsets[0]
    if abs(offsets[0]) > 1e-3 and across[2] < 0:
        depths = -depths  # absolute z coordinates, which a normal towards the feet counts down
    edges = (along_row * spacing[1] * (columns - 1), along_column * spacing[0] * (rows - 1))
    ends = [across * float(depth) for depth in (depths.min(), depths.max())]
    corners = [np.asarray(origin) + a * edges[0] + b * edges[1] + end for a in (0, 1) for b in (0, 1) for end in ends]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    return tuple(round(float(value), 3) for value in (*low, *high))


def _structure_set(dataset: Dataset) -> StructureSetReferences:
    frames = items(dataset, "ReferencedFrameOfReferenceSequence")
    studies = [study for frame in frames for study in items(frame, "RTReferencedStudySequence")]
    series = [one for study in studies for one in items(study, "RTReferencedSeriesSequence")]
    return StructureSetReferences(
        label=as_text(dataset, "StructureSetLabel"),
        date=as_date(dataset, "StructureSetDate"),
        time=as_text(dataset, "StructureSetTime"),
        approval_status=as_text(dataset, "ApprovalStatus").upper(),
        frame_of_reference_uids=_distinct(as_uid(frame, "FrameOfReferenceUID") for frame in frames),
        study_uids=_distinct(as_uid(study, "ReferencedSOPInstanceUID") for study in studies),
        series_uids=_distinct(as_uid(one, "SeriesInstanceUID") for one in series),
    )


def _registration(dataset: Dataset) -> RegistrationReferences:
    registered = (as_uid(item, "FrameOfReferenceUID") for item in items(dataset, "RegistrationSequence"))
    series = [
        *items(dataset, "ReferencedSeriesSequence"),
        *(
            one
            for study in items(dataset, "StudiesContainingOtherReferencedInstancesSequence")
            for one in items(study, "ReferencedSeriesSequence")
        ),
    ]
    return RegistrationReferences(
        frame_of_reference_uids=_distinct((as_uid(dataset, "FrameOfReferenceUID"), *registered)),
        series_uids=_distinct(as_uid(one, "SeriesInstanceUID") for one in series),
    )


def _record(dataset: Dataset) -> RecordReferences:
    sessions = [session for keyword in SESSION_SEQUENCES for session in items(dataset, keyword)]
    numbers = {as_integer(session, "CurrentFractionNumber") for session in sessions}
    return RecordReferences(
        plan_uids=_instance_uids(dataset, "ReferencedRTPlanSequence"),
        date=as_date(dataset, "TreatmentDate"),
        fraction_numbers=tuple(sorted(number for number in numbers if number is not None)),
    )


def _segmentation(dataset: Dataset) -> SegmentationReferences:
    series = _distinct(as_uid(one, "SeriesInstanceUID") for one in items(dataset, "ReferencedSeriesSequence"))
    numbered = [(as_integer(one, "SegmentNumber"), one) for one in items(dataset, "SegmentSequence")]
    return SegmentationReferences(
        label=as_text(dataset, "ContentLabel"),
        date=as_date(dataset, "ContentDate"),
        time=as_text(dataset, "ContentTime"),
        frame_of_reference_uids=_distinct([as_uid(dataset, "FrameOfReferenceUID")]),
        series_uids=series,
        image_uids=() if series else _derived_from(dataset),
        segments=tuple(
            NamedSegment(number=number, label=as_text(one, "SegmentLabel"))
            for number, one in numbered
            if number is not None
        ),
        refusal=_refusal(dataset, bool(numbered)),
    )


def _refusal(dataset: Dataset, has_segments: bool) -> str:
    """Why a segmentation is no source of structures; empty if it is."""
    if as_uid(dataset, "SOPClassUID") != SegmentationStorage:
        return "a segmentation of another kind than Segmentation Storage (surfaces, or a label map) is not read"
    if as_text(dataset, "SegmentationType").upper() != "BINARY":
        return "a segmentation that is not BINARY says how likely a voxel belongs to a segment, not whether it does"
    return "" if has_segments else "a segmentation without segments"


def _derived_from(dataset: Dataset) -> tuple[str, ...]:
    """SOP Instance UIDs of the images that the frames of a segmentation were made on (PS3.3 C.7.6.16.2.6), sorted."""
    groups = [*items(dataset, "SharedFunctionalGroupsSequence"), *items(dataset, "PerFrameFunctionalGroupsSequence")]
    derivations = (derivation for group in groups for derivation in items(group, "DerivationImageSequence"))
    return tuple(sorted({uid for one in derivations for uid in _instance_uids(one, "SourceImageSequence")}))


def _instance_uids(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    return _distinct(as_uid(item, "ReferencedSOPInstanceUID") for item in items(dataset, keyword))


def _distinct(values: Sequence[str] | Iterator[str]) -> tuple[str, ...]:
    """The values in their order, each once, without empty ones."""
    return tuple(dict.fromkeys(value for value in values if value))
