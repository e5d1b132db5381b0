"""What an RT Plan or RT Ion Plan says of how it treats: beams, machines, energies, angles, isocentres, metersets.

Attributes are those of DICOM PS3.3 C.8.8.3 (RT General Plan), C.8.8.13 (RT Fraction Scheme), C.8.8.14 (RT Beams),
C.8.8.15 (RT Brachy Application Setups) and C.8.8.25 (RT Ion Beams).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import RTIonPlanStorage, RTPlanStorage

from rtpipeline.dicom.reading import read_dataset
from rtpipeline.dicom.values import as_date, as_integer, as_number, as_numbers, as_text, as_uid, items, quietly

PLAN_CLASSES = (RTPlanStorage, RTIonPlanStorage)
STAFF = ("PhysiciansOfRecord", "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "ReviewerName")
NOT_TREATING = ("SETUP", "OPEN_PORTFILM", "TRMT_PORTFILM")
"""Values of TreatmentDeliveryType, in plans and records, of beams that make images."""


def is_ion_plan(sop_class_uid: str) -> bool:
    """Whether a plan of this SOP class is an RT Ion Plan, whose dose is meant RBE-weighted."""
    return sop_class_uid == RTIonPlanStorage


@dataclass(frozen=True)
class PlanBeam:
    """One beam of a plan.

    Attributes:
        number: BeamNumber.
        name: BeamName.
        beam_type: BeamType: STATIC or DYNAMIC.
        radiation_type: RadiationType: PHOTON, ELECTRON, PROTON, …
        delivery_type: TreatmentDeliveryType: TREATMENT, SETUP, …
        machine: TreatmentMachineName.
        energies: distinct NominalBeamEnergy of its control points, in their order; MV, MeV or MeV per nucleon.
        control_points: number of control points.
        gantry_angles_deg: gantry angle of each control point that gives one.
        is_arc: whether the gantry rotates while the beam is on.
        is_modulated: whether jaws or leaves move while the beam is on.
        collimator_angles_deg: distinct BeamLimitingDeviceAngle values.
        couch_angles_deg: distinct PatientSupportAngle values.
        isocentres_mm: distinct IsocenterPosition values, patient coordinates.
        meterset: BeamMeterset of its fraction group; None where it is not given.
        meterset_unit: PrimaryDosimeterUnit: MU, MINUTE or NP.
        dose_rates: distinct DoseRateSet values.
    """

    number: int | None
    name: str
    beam_type: str
    radiation_type: str
    delivery_type: str
    machine: str
    energies: tuple[float, ...]
    control_points: int
    gantry_angles_deg: tuple[float, ...]
    is_arc: bool
    is_modulated: bool
    collimator_angles_deg: tuple[float, ...]
    couch_angles_deg: tuple[float, ...]
    isocentres_mm: tuple[tuple[float, ...], ...]
    meterset: float | None
    meterset_unit: str
    dose_rates: tuple[float, ...]

    @property
    def treats(self) -> bool:
        """Whether it is a treatment beam, not one that makes an image for set-up."""
        return self.delivery_type not in NOT_TREATING


@dataclass(frozen=True)
class DoseReference:
    """One aim or limit of a plan (C.8.8.10, RT Prescription); doses in Gy, None where they are not given.

    Attributes:
        number: DoseReferenceNumber.
        kind: DoseReferenceType: TARGET or ORGAN_AT_RISK.
        structure_type: DoseReferenceStructureType: POINT, VOLUME, COORDINATES or SITE.
        description: DoseReferenceDescription.
        roi_number: ReferencedROINumber, in the plan's structure set.
        target_prescription_gy: TargetPrescriptionDose.
        target_minimum_gy: TargetMinimumDose.
        target_maximum_gy: TargetMaximumDose.
        delivery_maximum_gy: DeliveryMaximumDose.
        organ_maximum_gy: OrganAtRiskMaximumDose.
    """

    number: int | None
    kind: str
    structure_type: str
    description: str
    roi_number: int | None
    target_prescription_gy: float | None
    target_minimum_gy: float | None
    target_maximum_gy: float | None
    delivery_maximum_gy: float | None
    organ_maximum_gy: float | None


@dataclass(frozen=True)
class PlanContent:
    """What a plan says.

    Attributes:
        sop_instance_uid: SOPInstanceUID.
        label: RTPlanLabel.
        name: RTPlanName.
        date: RTPlanDate, `YYYY-MM-DD`.
        time: RTPlanTime, as written.
        intent: PlanIntent.
        approval_status: ApprovalStatus.
        review_date: ReviewDate, `YYYY-MM-DD`.
        review_time: ReviewTime, as written.
        staff: names of members of staff by keyword, those that are given; direct identifiers.
        planning_system: ManufacturerModelName.
        frame_of_reference_uid: FrameOfReferenceUID.
        structure_set_uid: SOP Instance UID of the first referenced structure set.
        dose_references: aims and limits, in the order of the plan.
        fractions_planned: NumberOfFractionsPlanned of each fraction group that gives it.
        beams: in the order of the plan; those of an ion plan too.
        brachy_setups: number of brachy application setups.
    """

    sop_instance_uid: str
    label: str
    name: str
    date: str
    time: str
    intent: str
    approval_status: str
    review_date: str
    review_time: str
    staff: Mapping[str, str]
    planning_system: str
    frame_of_reference_uid: str
    structure_set_uid: str
    dose_references: tuple[DoseReference, ...]
    fractions_planned: tuple[int, ...]
    beams: tuple[PlanBeam, ...]
    brachy_setups: int

    @property
    def treatment_beams(self) -> tuple[PlanBeam, ...]:
        """The beams that treat."""
        return tuple(beam for beam in self.beams if beam.treats)

    @property
    def technique(self) -> str:
        """The technique, inferred from what moves: nothing in a plan names it.

        `brachytherapy`; `ion` (any beam of ions); `VMAT` (an arc in which leaves move); `arc`; `IMRT` (leaves move
        while the gantry stands); `static`; joined by `+` where beams differ; empty without beams.
        """
        if not self.treatment_beams:
            return "brachytherapy" if self.brachy_setups else ""
        return "+".join(sorted({_technique(beam) for beam in self.treatment_beams}))


def read_plan(path: Path) -> PlanContent:
    """Read an RT Plan or RT Ion Plan.

    Raises:
        DicomError: the file cannot be read, or is something else.
    """
    dataset = read_dataset(path, kind="an RT Plan", classes=PLAN_CLASSES)
    with quietly():
        return _content(dataset)


def _content(dataset: Dataset) -> PlanContent:
    groups = items(dataset, "FractionGroupSequence")
    metersets = {
        as_integer(beam, "ReferencedBeamNumber"): as_number(beam, "BeamMeterset")
        for group in groups
        for beam in items(group, "ReferencedBeamSequence")
    }
    fractions = (as_integer(group, "NumberOfFractionsPlanned") for group in groups)
    beams = [*items(dataset, "BeamSequence"), *items(dataset, "IonBeamSequence")]
    structure_sets = items(dataset, "ReferencedStructureSetSequence")
    return PlanContent(
        sop_instance_uid=as_uid(dataset, "SOPInstanceUID"),
        label=as_text(dataset, "RTPlanLabel"),
        name=as_text(dataset, "RTPlanName"),
        date=as_date(dataset, "RTPlanDate"),
        time=as_text(dataset, "RTPlanTime"),
        intent=as_text(dataset, "PlanIntent").upper(),
        approval_status=as_text(dataset, "ApprovalStatus").upper(),
        review_date=as_date(dataset, "ReviewDate"),
        review_time=as_text(dataset, "ReviewTime"),
        staff={keyword: name for keyword in STAFF if (name := as_text(dataset, keyword))},
        planning_system=as_text(dataset, "ManufacturerModelName"),
        frame_of_reference_uid=as_uid(dataset, "FrameOfReferenceUID"),
        structure_set_uid=as_uid(structure_sets[0], "ReferencedSOPInstanceUID") if structure_sets else "",
        dose_references=tuple(_dose_reference(item) for item in items(dataset, "DoseReferenceSequence")),
        fractions_planned=tuple(number for number in fractions if number is not None),
        beams=tuple(_beam(beam, metersets) for beam in beams),
        brachy_setups=len(items(dataset, "ApplicationSetupSequence")),
    )


def _dose_reference(item: Dataset) -> DoseReference:
    return DoseReference(
        number=as_integer(item, "DoseReferenceNumber"),
        kind=as_text(item, "DoseReferenceType").upper(),
        structure_type=as_text(item, "DoseReferenceStructureType").upper(),
        description=as_text(item, "DoseReferenceDescription"),
        roi_number=as_integer(item, "ReferencedROINumber"),
        target_prescription_gy=as_number(item, "TargetPrescriptionDose"),
        target_minimum_gy=as_number(item, "TargetMinimumDose"),
        target_maximum_gy=as_number(item, "TargetMaximumDose"),
        delivery_maximum_gy=as_number(item, "DeliveryMaximumDose"),
        organ_maximum_gy=as_number(item, "OrganAtRiskMaximumDose"),
    )


def _beam(beam: Dataset, metersets: dict[int | None, float | None]) -> PlanBeam:
    points = [*items(beam, "ControlPointSequence"), *items(beam, "IonControlPointSequence")]
    number = as_integer(beam, "BeamNumber")
    angles = [angle for point in points if (angle := as_number(point, "GantryAngle")) is not None]
    return PlanBeam(
        number=number,
        name=as_text(beam, "BeamName"),
        beam_type=as_text(beam, "BeamType").upper(),
        radiation_type=as_text(beam, "RadiationType").upper(),
        delivery_type=as_text(beam, "TreatmentDeliveryType").upper(),
        machine=as_text(beam, "TreatmentMachineName"),
        energies=_distinct(points, "NominalBeamEnergy"),
        control_points=len(points),
        gantry_angles_deg=tuple(angles),
        is_arc=_rotates(points, angles),
        is_modulated=_limiting_device_moves(points),
        collimator_angles_deg=_distinct(points, "BeamLimitingDeviceAngle"),
        couch_angles_deg=_distinct(points, "PatientSupportAngle"),
        isocentres_mm=tuple(
            dict.fromkeys(position for point in points if len(position := as_numbers(point, "IsocenterPosition")) == 3)
        ),
        meterset=metersets.get(number) if number is not None else None,
        meterset_unit=as_text(beam, "PrimaryDosimeterUnit").upper(),
        dose_rates=_distinct(points, "DoseRateSet"),
    )


def _distinct(points: list[Dataset], keyword: str) -> tuple[float, ...]:
    """Distinct values in the order in which they first appear; an absent one means `as before`."""
    values = (as_number(point, keyword) for point in points)
    return tuple(dict.fromkeys(round(value, 4) for value in values if value is not None))


def _rotates(points: list[Dataset], angles: list[float]) -> bool:
    directions = {as_text(point, "GantryRotationDirection").upper() for point in points}
    return bool(directions & {"CW", "CC"}) and len(set(angles)) > 1


def _limiting_device_moves(points: list[Dataset]) -> bool:
    """Whether the positions of any jaw or leaf pair differ between control points."""
    seen: dict[str, tuple[float, ...]] = {}
    for point in points:
        for device in items(point, "BeamLimitingDevicePositionSequence"):
            kind = as_text(device, "RTBeamLimitingDeviceType")
            positions = as_numbers(device, "LeafJawPositions")
            if seen.setdefault(kind, positions) != positions:
                return True
    return False


def _technique(beam: PlanBeam) -> str:
    if beam.radiation_type in ("PROTON", "ION"):
        return "ion"
    if beam.is_arc:
        return "VMAT" if beam.is_modulated else "arc"
    return "IMRT" if beam.is_modulated else "static"
