"""RTSTRUCT, RTPLAN, RTDOSE and RTRECORD objects of the synthetic cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    RTBeamsTreatmentRecordStorage,
    RTDoseStorage,
    RTPlanStorage,
    RTStructureSetStorage,
)

from rtpipeline.demo.dicom_objects import TIME, Study, new_object
from rtpipeline.demo.shapes import Ellipsoid
from rtpipeline.imaging.grid import Volume

GANTRY_ANGLES_DEG = (0.0, 180.0)
BEAM_METERSET_MU = 110.0
_FRAME_INCREMENT_POINTER = Tag("GridFrameOffsetVector")


@dataclass(frozen=True)
class DrawnRoi:
    """A structure to draw: its name, its RTROIInterpretedType (may be empty), and its shape."""

    name: str
    interpreted_type: str
    shape: Ellipsoid


@dataclass(frozen=True)
class Fraction:
    """One delivered fraction: its number, `YYYYMMDD` and `HHMMSS`."""

    number: int
    date: str
    time: str


def structure_set(
    study: Study, label: str, images: Sequence[Dataset], rois: Sequence[DrawnRoi], planes_mm: Sequence[float]
) -> Dataset:
    """Contours of `rois` on the axial planes `planes_mm` of `images` (one per plane, same order)."""
    result = new_object(study, RTStructureSetStorage, "RTSTRUCT", label, "1")
    result.StructureSetLabel = label[:16]
    result.StructureSetDate = study.date
    result.StructureSetTime = TIME
    result.ReferencedFrameOfReferenceSequence = [_referenced_frame(images)]
    result.StructureSetROISequence = []
    result.ROIContourSequence = []
    result.RTROIObservationsSequence = []
    for number, roi in enumerate(rois, start=1):
        result.StructureSetROISequence.append(_roi_definition(number, roi, images[0].FrameOfReferenceUID))
        result.ROIContourSequence.append(_roi_contours(number, roi, images, planes_mm))
        observation = Dataset()
        observation.ObservationNumber = number
        observation.ReferencedROINumber = number
        observation.RTROIInterpretedType = roi.interpreted_type
        observation.ROIInterpreter = ""
        result.RTROIObservationsSequence.append(observation)
    result.ApprovalStatus = "UNAPPROVED"
    return result


def plan(
    study: Study,
    label: str,
    structures: Dataset,
    target_name: str,
    target: Ellipsoid,
    *,
    prescription_gy: float,
    fractions: int,
    date: str,
) -> Dataset:
    """Two opposed photon beams and a set-up field; `prescription_gy` in all `fractions` to `target_name`."""
    result = new_object(study, RTPlanStorage, "RTPLAN", label, "1")
    result.RTPlanLabel = label[:16]
    result.RTPlanName = label
    result.RTPlanDate = date
    result.RTPlanTime = TIME
    result.RTPlanGeometry = "PATIENT"
    result.PlanIntent = "CURATIVE"
    result.ApprovalStatus = "APPROVED"
    result.ReviewDate = date
    result.ReviewTime = TIME
    result.ReviewerName = ""
    result.ReferencedStructureSetSequence = [_reference(structures)]
    roi_number = next(r.ROINumber for r in structures.StructureSetROISequence if r.ROIName == target_name)
    result.DoseReferenceSequence = [_dose_reference(study, label, target_name, roi_number, prescription_gy)]
    result.PatientSetupSequence = [_patient_setup()]
    beams = [_beam(number, f"Field {number}", angle, target) for number, angle in enumerate(GANTRY_ANGLES_DEG, 1)]
    setup = _beam(len(beams) + 1, "kV set-up", 0.0, target)
    setup.TreatmentDeliveryType = "SETUP"
    result.FractionGroupSequence = [_fraction_group(beams, prescription_gy / fractions, fractions)]
    result.BeamSequence = [*beams, setup]
    return result


def dose(study: Study, label: str, the_plan: Dataset, volume: Volume) -> Dataset:
    """The plan's dose in Gy on its own grid, stored as 32-bit integers."""
    result = new_object(study, RTDoseStorage, "RTDOSE", f"{label} dose", "1")
    grid = volume.grid
    result.InstanceNumber = 1
    result.DoseUnits = "GY"
    result.DoseType = "PHYSICAL"
    result.DoseSummationType = "PLAN"
    result.TissueHeterogeneityCorrection = ["ROI_OVERRIDE"]
    result.ReferencedRTPlanSequence = [_reference(the_plan)]
    result.ImagePositionPatient = [round(float(value), 4) for value in grid.origin_mm]
    result.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    result.PixelSpacing = list(reversed(grid.pixel_spacing_mm))
    result.SliceThickness = grid.plane_spacing_mm
    result.GridFrameOffsetVector = [round(float(offset), 4) for offset in grid.plane_offsets_mm]
    result.FrameIncrementPointer = _FRAME_INCREMENT_POINTER
    result.NumberOfFrames, result.Rows, result.Columns = (int(size) for size in grid.shape)
    result.SamplesPerPixel = 1
    result.PhotometricInterpretation = "MONOCHROME2"
    result.BitsAllocated = result.BitsStored = 32
    result.HighBit = 31
    result.PixelRepresentation = 0
    result.DoseGridScaling = "1e-06"
    result.PixelData = np.round(volume.values / 1e-6).astype("<u4").tobytes()
    result["PixelData"].VR = "OW"
    return result


def treatment_record(study: Study, label: str, the_plan: Dataset, fraction: Fraction) -> Dataset:
    """What was delivered in one fraction."""
    result = new_object(study, RTBeamsTreatmentRecordStorage, "RTRECORD", f"{label} records", str(fraction.number))
    result.InstanceNumber = fraction.number
    result.TreatmentDate = fraction.date
    result.TreatmentTime = fraction.time
    result.ReferencedRTPlanSequence = [_reference(the_plan)]
    result.ReferencedFractionGroupNumber = 1
    result.NumberOfFractionsPlanned = the_plan.FractionGroupSequence[0].NumberOfFractionsPlanned
    result.PrimaryDosimeterUnit = "MU"
    machine = Dataset()
    machine.TreatmentMachineName = "LINAC1"
    machine.Manufacturer = "rtpipeline demo"
    machine.InstitutionName = ""
    machine.ManufacturerModelName = "synthetic"
    machine.DeviceSerialNumber = "1"
    result.TreatmentMachineSequence = [machine]
    treated = [beam for beam in the_plan.BeamSequence if beam.TreatmentDeliveryType == "TREATMENT"]
    result.TreatmentSessionBeamSequence = [_delivered_beam(beam, fraction) for beam in treated]
    return result


def _reference(dataset: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = dataset.SOPClassUID
    item.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    return item


def _referenced_frame(images: Sequence[Dataset]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ContourImageSequence = [_reference(image) for image in images]
    study = Dataset()
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    study.ReferencedSOPInstanceUID = images[0].StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = images[0].FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _roi_definition(number: int, roi: DrawnRoi, frame_uid: str) -> Dataset:
    definition = Dataset()
    definition.ROINumber = number
    definition.ReferencedFrameOfReferenceUID = frame_uid
    definition.ROIName = roi.name
    definition.ROIGenerationAlgorithm = "MANUAL"
    return definition


def _roi_contours(number: int, roi: DrawnRoi, images: Sequence[Dataset], planes_mm: Sequence[float]) -> Dataset:
    contours = Dataset()
    contours.ReferencedROINumber = number
    contours.ROIDisplayColor = [(53 * number) % 256, (97 * number) % 256, (151 * number) % 256]
    contours.ContourSequence = []
    for image, z_mm in zip(images, planes_mm, strict=True):
        outline = roi.shape.outline(z_mm)
        if outline is None:
            continue
        contour = Dataset()
        contour.ContourImageSequence = [_reference(image)]
        contour.ContourGeometricType = "CLOSED_PLANAR"
        contour.NumberOfContourPoints = len(outline)
        contour.ContourData = [round(float(value), 3) for value in outline.ravel()]
        contours.ContourSequence.append(contour)
    return contours


def _dose_reference(study: Study, label: str, name: str, roi_number: int, prescription_gy: float) -> Dataset:
    reference = Dataset()
    reference.DoseReferenceNumber = 1
    reference.DoseReferenceUID = study.uid("dose reference", label)
    reference.DoseReferenceStructureType = "VOLUME"
    reference.DoseReferenceDescription = name
    reference.DoseReferenceType = "TARGET"
    reference.ReferencedROINumber = roi_number
    reference.TargetPrescriptionDose = prescription_gy
    return reference


def _patient_setup() -> Dataset:
    setup = Dataset()
    setup.PatientSetupNumber = 1
    setup.PatientPosition = "HFS"
    return setup


def _beam(number: int, name: str, gantry_angle_deg: float, target: Ellipsoid) -> Dataset:
    beam = Dataset()
    beam.BeamNumber = number
    beam.BeamName = name
    beam.BeamType = "STATIC"
    beam.RadiationType = "PHOTON"
    beam.TreatmentMachineName = "LINAC1"
    beam.PrimaryDosimeterUnit = "MU"
    beam.SourceAxisDistance = 1000.0
    beam.TreatmentDeliveryType = "TREATMENT"
    beam.NumberOfWedges = beam.NumberOfCompensators = beam.NumberOfBoli = beam.NumberOfBlocks = 0
    beam.FinalCumulativeMetersetWeight = 1.0
    beam.NumberOfControlPoints = 2
    beam.ReferencedPatientSetupNumber = 1
    first = Dataset()
    first.ControlPointIndex = 0
    first.NominalBeamEnergy = 6
    first.DoseRateSet = 600
    first.GantryAngle = gantry_angle_deg
    first.GantryRotationDirection = "NONE"
    first.BeamLimitingDeviceAngle = 0.0
    first.PatientSupportAngle = 0.0
    first.IsocenterPosition = [round(value, 3) for value in target.centre_mm]
    first.CumulativeMetersetWeight = 0.0
    last = Dataset()
    last.ControlPointIndex = 1
    last.CumulativeMetersetWeight = 1.0
    beam.ControlPointSequence = [first, last]
    return beam


def _fraction_group(beams: Sequence[Dataset], dose_per_fraction_gy: float, fractions: int) -> Dataset:
    group = Dataset()
    group.FractionGroupNumber = 1
    group.NumberOfFractionsPlanned = fractions
    group.NumberOfBeams = len(beams)
    group.NumberOfBrachyApplicationSetups = 0
    group.ReferencedBeamSequence = []
    for beam in beams:
        item = Dataset()
        item.ReferencedBeamNumber = beam.BeamNumber
        item.BeamMeterset = BEAM_METERSET_MU
        item.BeamDose = round(dose_per_fraction_gy / len(beams), 6)
        group.ReferencedBeamSequence.append(item)
    return group


def _delivered_beam(beam: Dataset, fraction: Fraction) -> Dataset:
    delivered = Dataset()
    delivered.CurrentFractionNumber = fraction.number
    delivered.ReferencedBeamNumber = beam.BeamNumber
    delivered.BeamName = beam.BeamName
    delivered.BeamType = beam.BeamType
    delivered.RadiationType = beam.RadiationType
    delivered.TreatmentDeliveryType = "TREATMENT"
    delivered.TreatmentTerminationStatus = "NORMAL"
    delivered.TreatmentVerificationStatus = "VERIFIED"
    delivered.SpecifiedPrimaryMeterset = BEAM_METERSET_MU
    delivered.DeliveredPrimaryMeterset = BEAM_METERSET_MU
    delivered.NumberOfWedges = delivered.NumberOfCompensators = 0
    delivered.NumberOfBoli = delivered.NumberOfBlocks = 0
    delivered.NumberOfControlPoints = 2
    return delivered
