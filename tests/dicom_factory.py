"""Small DICOM exports for tests: every object is known by a name, from which its UIDs follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RTBeamsTreatmentRecordStorage,
    RTDoseStorage,
    RTPlanStorage,
    RTStructureSetStorage,
    SegmentationStorage,
    SpatialRegistrationStorage,
)

from rtpipeline.dicom.identifiers import derived_uid

IMAGE_CLASSES = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage}
ENHANCED_CLASSES = {"CT": EnhancedCTImageStorage, "MR": EnhancedMRImageStorage, "PT": EnhancedPETImageStorage}
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Patient:
    """Writes the DICOM objects of one patient below a folder.

    Attributes:
        folder: files are written to `<folder>/<place>/<name>.dcm`.
        patient_id: PatientID of every object.
    """

    folder: Path
    patient_id: str = "P1"

    def uid(self, name: str) -> str:
        """The UID of the object, series, study or frame of reference that tests call `name`."""
        return derived_uid(self.patient_id, name)

    def make_series(
        self,
        name: str = "ct",
        *,
        modality: str = "CT",
        slices: int = 4,
        spacing_mm: float = 3.0,
        study: str = "study",
        frame: str = "frame",
        date: str = "20240105",
        place: str = "",
        description: str = "",
        image_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "AXIAL"),
        **attributes: Any,
    ) -> list[Path]:
        """An image series of 4 × 4 pixels; image `k` (from 0) has the UID `<name> k` and lies at z = k × spacing."""
        paths = []
        for number in range(slices):
            dataset = self._new(f"{name} {number}", IMAGE_CLASSES[modality], modality, study, frame, date)
            dataset.SeriesInstanceUID = self.uid(name)
            dataset.SeriesDate = date
            dataset.SeriesDescription = description
            dataset.ImageType = list(image_type)
            dataset.InstanceNumber = slices - number
            dataset.ImagePositionPatient = [0.0, 0.0, number * spacing_mm]
            dataset.ImageOrientationPatient = list(AXIAL)
            dataset.PixelSpacing = [2.0, 2.0]
            dataset.SliceThickness = spacing_mm
            dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
            if modality == "MR":
                dataset.ScanningSequence = "SE"
            _put_pixels(dataset, np.full((4, 4), number, "<u2"))
            paths.append(self._write(dataset, place, f"{name}_{number:03d}.dcm", attributes))
        return paths

    def make_enhanced_image(
        self,
        name: str = "ct",
        *,
        modality: str = "CT",
        positions_mm: Sequence[float] = (0.0, 3.0, 6.0, 9.0),
        study: str = "study",
        frame: str = "frame",
        place: str = "",
        description: str = "",
        **attributes: Any,
    ) -> Path:
        """An enhanced multi-frame image; frame `k` has the stored value `k` and lies at z = `positions_mm[k]`."""
        dataset = self._new(name, ENHANCED_CLASSES[modality], modality, study, frame, "20240105")
        dataset.SeriesInstanceUID = self.uid(f"series of {name}")
        dataset.SeriesDescription = description
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
        shared = _item(
            PlaneOrientationSequence=[_item(ImageOrientationPatient=list(AXIAL))],
            PixelMeasuresSequence=[_item(PixelSpacing=[2.0, 2.0], SliceThickness=3.0)],
            PixelValueTransformationSequence=[_item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")],
        )
        dataset.SharedFunctionalGroupsSequence = [shared]
        dataset.PerFrameFunctionalGroupsSequence = [
            _item(PlanePositionSequence=[_item(ImagePositionPatient=[0.0, 0.0, position])]) for position in positions_mm
        ]
        dataset.NumberOfFrames = len(positions_mm)
        _put_pixels(dataset, np.arange(len(positions_mm), dtype="<u2")[:, None, None] * np.ones((1, 4, 4), "<u2"))
        return self._write(dataset, place, f"{name}.dcm", attributes)

    def make_structure_set(
        self,
        name: str = "rs",
        *,
        series: Sequence[str] = ("ct",),
        images: Sequence[str] = (),
        frame: str = "frame",
        study: str = "study",
        date: str = "20240108",
        place: str = "",
        **attributes: Any,
    ) -> Path:
        """An RT Structure Set with one square contour.

        Args:
            series: series that it names; if empty, it names none.
            images: images that its contour names.
        """
        dataset = self._new(name, RTStructureSetStorage, "RTSTRUCT", study, "", date)
        dataset.StructureSetLabel = name[:16]
        dataset.StructureSetDate, dataset.StructureSetTime = date, "120000"
        referenced = [_item(SeriesInstanceUID=self.uid(one)) for one in series]
        studies = [
            _item(ReferencedSOPInstanceUID=self.uid(study), RTReferencedSeriesSequence=referenced),
        ]
        if frame:
            dataset.ReferencedFrameOfReferenceSequence = [
                _item(FrameOfReferenceUID=self.uid(frame), RTReferencedStudySequence=studies if series else [])
            ]
        dataset.StructureSetROISequence = [
            _item(
                ROINumber=1,
                ROIName="GTV",
                ROIGenerationAlgorithm="MANUAL",
                ReferencedFrameOfReferenceUID=self.uid(frame),
            )
        ]
        contour = _item(
            ContourGeometricType="CLOSED_PLANAR",
            NumberOfContourPoints=4,
            ContourData=[0, 0, 3, 4, 0, 3, 4, 4, 3, 0, 4, 3],
        )
        if images:
            contour.ContourImageSequence = [_item(ReferencedSOPInstanceUID=self.uid(one)) for one in images]
        dataset.ROIContourSequence = [_item(ReferencedROINumber=1, ContourSequence=[contour])]
        dataset.RTROIObservationsSequence = [
            _item(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="GTV", ROIInterpreter="")
        ]
        return self._write(dataset, place, f"{name}.dcm", attributes)

    def make_plan(
        self,
        name: str = "plan",
        *,
        structure_set: str | None = "rs",
        prescriptions_gy: Sequence[float] = (60.0,),
        fractions: int = 30,
        date: str = "20240110",
        label: str = "",
        beams: int = 2,
        frame: str = "frame",
        study: str = "study",
        place: str = "",
        **attributes: Any,
    ) -> Path:
        """An RT Plan with TARGET prescriptions, a limit to an organ at risk, and beams of 1 Gy a fraction each."""
        dataset = self._new(name, RTPlanStorage, "RTPLAN", study, frame, date)
        dataset.RTPlanLabel = (label or name)[:16]
        dataset.RTPlanDate, dataset.RTPlanTime = date, "120000"
        targets = [
            _item(
                DoseReferenceNumber=number,
                DoseReferenceStructureType="SITE",
                DoseReferenceDescription=f"PTV{number}",
                DoseReferenceType="TARGET",
                TargetPrescriptionDose=dose,
            )
            for number, dose in enumerate(prescriptions_gy, start=1)
        ]
        limit = _item(
            DoseReferenceNumber=99,
            DoseReferenceStructureType="SITE",
            DoseReferenceType="ORGAN_AT_RISK",
            DeliveryMaximumDose=45.0,
            TargetPrescriptionDose=80.0,
        )
        dataset.DoseReferenceSequence = [*targets, limit]
        dataset.FractionGroupSequence = [
            _item(
                FractionGroupNumber=1,
                NumberOfFractionsPlanned=fractions,
                NumberOfBeams=beams,
                ReferencedBeamSequence=[
                    _item(ReferencedBeamNumber=number, BeamMeterset=100.0, BeamDose=1.0)
                    for number in range(1, beams + 1)
                ],
            )
        ]
        if structure_set is not None:
            dataset.ReferencedStructureSetSequence = [
                _item(ReferencedSOPClassUID=RTStructureSetStorage, ReferencedSOPInstanceUID=self.uid(structure_set))
            ]
        dataset.ApprovalStatus = "APPROVED"
        return self._write(dataset, place, f"{name}.dcm", attributes)

    def make_dose(
        self,
        name: str = "dose",
        *,
        plans: Sequence[str] = ("plan",),
        dose_gy: float = 60.0,
        summation_type: str = "PLAN",
        units: str = "GY",
        beam: int | None = None,
        origin_mm: Sequence[float] = (0.0, 0.0, 0.0),
        spacing_mm: Sequence[float] = (2.0, 2.0, 3.0),
        size: Sequence[int] = (4, 4, 4),
        offsets_mm: Sequence[float] | None = None,
        frame: str = "frame",
        study: str = "study",
        date: str = "20240110",
        place: str = "",
        **attributes: Any,
    ) -> Path:
        """An RT Dose of one value on an axial grid (x, y, z), stored in steps of 1 mGy."""
        dataset = self._new(name, RTDoseStorage, "RTDOSE", study, frame, date)
        dataset.DoseUnits, dataset.DoseType, dataset.DoseSummationType = units, "PHYSICAL", summation_type
        columns, rows, planes = size
        dataset.ImagePositionPatient = list(origin_mm)
        dataset.ImageOrientationPatient = list(AXIAL)
        dataset.PixelSpacing = [spacing_mm[1], spacing_mm[0]]
        dataset.NumberOfFrames = planes
        dataset.FrameIncrementPointer = 0x3004000C
        dataset.GridFrameOffsetVector = list(
            offsets_mm if offsets_mm is not None else [plane * spacing_mm[2] for plane in range(planes)]
        )
        dataset.DoseGridScaling = "0.001"
        _put_pixels(dataset, np.full((planes, rows, columns), round(dose_gy * 1000), "<u4"))
        references = []
        for plan in plans:
            item = _item(ReferencedSOPClassUID=RTPlanStorage, ReferencedSOPInstanceUID=self.uid(plan))
            if beam is not None:
                group = _item(
                    ReferencedFractionGroupNumber=1, ReferencedBeamSequence=[_item(ReferencedBeamNumber=beam)]
                )
                item.ReferencedFractionGroupSequence = [group]
            references.append(item)
        if references:
            dataset.ReferencedRTPlanSequence = references
        return self._write(dataset, place, f"{name}.dcm", attributes)

    def make_record(
        self,
        name: str,
        *,
        plan: str | None = "plan",
        date: str = "20240115",
        fraction: int = 1,
        study: str = "study",
        place: str = "",
        **attributes: Any,
    ) -> Path:
        """An RT Beams Treatment Record of one fraction."""
        dataset = self._new(name, RTBeamsTreatmentRecordStorage, "RTRECORD", study, "", date)
        dataset.TreatmentDate, dataset.TreatmentTime = date, "080000"
        dataset.TreatmentSessionBeamSequence = [
            _item(ReferencedBeamNumber=1, CurrentFractionNumber=fraction, TreatmentTerminationStatus="NORMAL")
        ]
        if plan is not None:
            dataset.ReferencedRTPlanSequence = [
                _item(ReferencedSOPClassUID=RTPlanStorage, ReferencedSOPInstanceUID=self.uid(plan))
            ]
        return self._write(dataset, place, f"{name}.dcm", attributes)

    def make_registration(
        self, name: str, *, fixed: str, moving: str, study: str = "study", place: str = "", **attributes: Any
    ) -> Path:
        """A rigid Spatial Registration (identity) of frame `moving` with frame `fixed`."""
        dataset = self._new(name, SpatialRegistrationStorage, "REG", study, fixed, "20240109")
        dataset.RegistrationSequence = [
            _item(FrameOfReferenceUID=self.uid(frame), MatrixRegistrationSequence=[]) for frame in (fixed, moving)
        ]
        return self._write(dataset, place, f"{name}.dcm", attributes)

    def make_segmentation(
        self,
        name: str = "seg",
        *,
        series: Sequence[str] = ("ct",),
        images: Sequence[str] = (),
        frame: str = "frame",
        study: str = "study",
        kind: str = "BINARY",
        place: str = "",
        **attributes: Any,
    ) -> Path:
        """A Segmentation of one segment, GTV, on one plane of `make_series`.

        Args:
            series: series that it names; if empty, it names none.
            images: images that its frame was derived from.
        """
        dataset = self._new(name, SegmentationStorage, "SEG", study, frame, "20240109")
        dataset.ContentLabel, dataset.ContentDate, dataset.SegmentationType = "LESIONS", "20240109", kind
        dataset.SegmentSequence = [_item(SegmentNumber=1, SegmentLabel="GTV")]
        if series:
            dataset.ReferencedSeriesSequence = [_item(SeriesInstanceUID=self.uid(one)) for one in series]
        derived = [_item(SourceImageSequence=[_item(ReferencedSOPInstanceUID=self.uid(one)) for one in images])]
        dataset.PerFrameFunctionalGroupsSequence = [_item(DerivationImageSequence=derived if images else [])]
        dataset.NumberOfFrames = 1
        _put_pixels(dataset, np.ones((1, 4, 4), "u1"))
        return self._write(dataset, place, f"{name}.dcm", attributes)

    def make_course(self, suffix: str = "", **plan: Any) -> None:
        """CT, structure set, plan and dose that name each other, with `suffix` on every name (frame and study too)."""
        here = {"study": f"study{suffix}", "frame": f"frame{suffix}", "place": suffix}
        self.make_series(f"ct{suffix}", **here)
        self.make_structure_set(f"rs{suffix}", series=(f"ct{suffix}",), **here)
        self.make_plan(f"plan{suffix}", structure_set=f"rs{suffix}", **{**here, **plan})
        self.make_dose(f"dose{suffix}", plans=(f"plan{suffix}",), **here)

    def _new(self, name: str, sop_class: str, modality: str, study: str, frame: str, date: str) -> Dataset:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = sop_class
        dataset.SOPClassUID = sop_class
        dataset.SOPInstanceUID = self.uid(name)
        dataset.Modality = modality
        dataset.PatientID = self.patient_id
        dataset.PatientName = "Test^Patient"
        dataset.StudyInstanceUID = self.uid(study)
        dataset.SeriesInstanceUID = self.uid(f"series of {name}")
        dataset.StudyDate = date
        if frame:
            dataset.FrameOfReferenceUID = self.uid(frame)
        return dataset

    def _write(self, dataset: Dataset, place: str, name: str, attributes: dict[str, Any]) -> Path:
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        path = self.folder / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
        return path


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _put_pixels(dataset: Dataset, values: np.ndarray) -> None:
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.BitsAllocated = dataset.BitsStored = values.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = 0
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OW"
