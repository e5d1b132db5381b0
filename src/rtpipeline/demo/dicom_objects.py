"""What all DICOM objects of the synthetic cohort have in common, and its image series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    generate_uid,
)

from rtpipeline.imaging.grid import Volume

IMAGE_STORAGE = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "PT": PositronEmissionTomographyImageStorage,
}
TIME = "081500"


@dataclass(frozen=True)
class Study:
    """The patient, study and frame of reference that objects belong to.

    Attributes:
        patient: PatientID.
        name: distinguishes the studies of a patient.
        date: `YYYYMMDD`.
        frame: distinguishes the patient's frames of reference.
        sex: `F`, `M` or `O`.
    """

    patient: str
    name: str
    date: str
    frame: str = "planning"
    sex: str = "O"

    def uid(self, *parts: str) -> str:
        """A UID that is the same in every run, derived from the patient and `parts`."""
        return str(generate_uid(entropy_srcs=["rtpipeline-demo", self.patient, *parts]))

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""
        return self.uid("study", self.name)

    @property
    def frame_uid(self) -> str:
        """FrameOfReferenceUID."""
        return self.uid("frame", self.frame)


def new_object(study: Study, sop_class: str, modality: str, series: str, instance: str) -> Dataset:
    """A data set with its file meta information, patient, study and series, and no content yet."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = study.uid("instance", series, instance)
    dataset.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.Modality = modality
    dataset.PatientID = study.patient
    dataset.PatientName = f"Demo^{study.patient}"
    dataset.PatientBirthDate = "19550401"
    dataset.PatientSex = study.sex
    dataset.StudyInstanceUID = study.study_uid
    dataset.StudyID = study.name[:16]
    dataset.StudyDate = study.date
    dataset.StudyTime = TIME
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.SeriesInstanceUID = study.uid("series", series)
    dataset.SeriesDescription = series
    dataset.SeriesNumber = 1
    dataset.SeriesDate = study.date
    dataset.SeriesTime = TIME
    dataset.Manufacturer = "rtpipeline demo"
    dataset.ManufacturerModelName = "synthetic"
    dataset.FrameOfReferenceUID = study.frame_uid
    dataset.PositionReferenceIndicator = ""
    return dataset


def image_series(
    study: Study,
    modality: str,
    series: str,
    volume: Volume,
    *,
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL"),
) -> list[Dataset]:
    """One single-frame object per plane of `volume` (HU, MR signal, or SUV in g/ml), first plane first."""
    slope, intercept, signed = _scaling(modality, volume)
    stored = np.round((volume.values - intercept) / slope).astype("<i2" if signed else "<u2")
    images = []
    for plane in range(volume.grid.planes):
        image = new_object(study, IMAGE_STORAGE[modality], modality, series, str(plane))
        image.ImageType = list(image_type)
        image.InstanceNumber = plane + 1
        image.AcquisitionNumber = 1
        image.AcquisitionDate = study.date
        image.AcquisitionTime = TIME
        image.PatientPosition = "HFS"
        position = volume.grid.index_to_world(np.array([0.0, 0.0, plane]))
        image.ImagePositionPatient = [round(float(value), 4) for value in position]
        directions = volume.grid.direction[:, :2].T.ravel()
        image.ImageOrientationPatient = [round(float(value), 6) for value in directions]
        image.PixelSpacing = list(reversed(volume.grid.pixel_spacing_mm))
        image.SliceThickness = volume.grid.plane_spacing_mm
        image.SamplesPerPixel = 1
        image.PhotometricInterpretation = "MONOCHROME2"
        image.Rows, image.Columns = volume.grid.rows, volume.grid.columns
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit = 15
        image.PixelRepresentation = int(signed)
        image.RescaleSlope = f"{slope:.6g}"
        image.RescaleIntercept = f"{intercept:.6g}"
        _describe_acquisition(image, modality, volume.grid.planes)
        image.PixelData = stored[plane].tobytes()
        image["PixelData"].VR = "OW"
        images.append(image)
    return images


def _scaling(modality: str, volume: Volume) -> tuple[float, float, bool]:
    """RescaleSlope, RescaleIntercept, and whether stored values are signed."""
    if modality == "CT":
        return 1.0, -1024.0, False
    if modality == "MR":
        return 1.0, 0.0, False
    return float(f"{max(float(volume.values.max()), 1e-3) / 32000.0:.6g}"), 0.0, True


def _describe_acquisition(image: Dataset, modality: str, planes: int) -> None:
    if modality == "CT":
        image.RescaleType = "HU"
        image.KVP = 120
        image.ConvolutionKernel = "STANDARD"
        image.XRayTubeCurrent = 200
    elif modality == "MR":
        image.ScanningSequence = "SE"
        image.SequenceVariant = "NONE"
        image.ScanOptions = ""
        image.MRAcquisitionType = "2D"
        image.RepetitionTime = 500
        image.EchoTime = 10
        image.EchoTrainLength = 1
        image.MagneticFieldStrength = 1.5
    else:
        _describe_positron_emission(image, planes)


def _describe_positron_emission(image: Dataset, planes: int) -> None:
    image.Units = "GML"
    image.SUVType = "BW"
    image.CountsSource = "EMISSION"
    image.SeriesType = ["WHOLE BODY", "IMAGE"]
    image.NumberOfSlices = planes
    image.CorrectedImage = ["DECY", "ATTN", "SCAT"]
    image.DecayCorrection = "START"
    image.AttenuationCorrectionMethod = "CT"
    image.ReconstructionMethod = "OSEM"
    image.PatientWeight = 72.0
    image.FrameReferenceTime = 0
    image.ActualFrameDuration = 120000
    image.ImageIndex = image.InstanceNumber
    tracer = Dataset()
    tracer.Radiopharmaceutical = "Fluorodeoxyglucose F18"
    tracer.RadiopharmaceuticalStartTime = "071500"
    tracer.RadionuclideTotalDose = 350e6
    tracer.RadionuclideHalfLife = 6586.2
    tracer.RadionuclidePositronFraction = 0.97
    image.RadiopharmaceuticalInformationSequence = [tracer]
