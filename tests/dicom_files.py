"""Synthetic DICOM files for tests: image series and doses on any grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    RTDoseStorage,
    SpatialRegistrationStorage,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

from rtpipeline.dicom.identifiers import derived_uid
from rtpipeline.imaging.grid import Grid

ROW_AND_COLUMN_DIRECTIONS = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "HFDR": (0, 1, 0, -1, 0, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
    "FFDR": (0, 1, 0, 1, 0, 0),
    "FFDL": (0, -1, 0, -1, 0, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "oblique": (0.8, 0.6, 0.0, -0.36, 0.48, 0.8),
}
"""ImageOrientationPatient of each patient position (and plane)."""


def direction_of(name: str) -> NDArray[np.float64]:
    """(3, 3) directions of columns, rows and planes for a name of `ROW_AND_COLUMN_DIRECTIONS`."""
    values = np.array(ROW_AND_COLUMN_DIRECTIONS[name], float)
    return np.stack([values[:3], values[3:], np.cross(values[:3], values[3:])], axis=1)


def grid_of(
    name: str = "HFS",
    size: tuple[int, int, int] = (14, 11, 9),
    spacing: tuple[float, float, float] = (1.3, 0.9, 2.5),
    origin: tuple[float, float, float] = (-101.5, 33.25, -412.0),
) -> Grid:
    """A small grid in any patient position, with non-square pixels."""
    return Grid.uniform(origin, spacing, size, direction_of(name))


def _dataset(file: Path, sop_class: str, uid: str) -> pydicom.Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = uid
    dataset.PatientName = "Test^Patient"
    dataset.PatientID = "000123"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = derived_uid("study")
    dataset.StudyDate = "20240229"
    dataset.StudyTime = "101112"
    dataset.StudyID = ""
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.FrameOfReferenceUID = derived_uid("frame")
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    return dataset


def write_series(
    folder: Path,
    grid: Grid,
    stored: NDArray[np.integer],
    *,
    slopes: NDArray[np.float64] | None = None,
    intercept: float = -1000.0,
    series: str = "series",
) -> list[Path]:
    """Write stored int16 values (z, y, x) as a CT series; files are named against the order of the planes."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for plane in range(grid.planes):
        uid = derived_uid(series, str(plane))
        file = folder / f"{grid.planes - plane:04d}.dcm"
        dataset = _dataset(file, CTImageStorage, uid)
        dataset.Modality = "CT"
        dataset.SeriesInstanceUID = derived_uid(series)
        dataset.ImagePositionPatient = [float(v) for v in grid.index_to_world(np.array([0.0, 0.0, plane]))]
        dataset.ImageOrientationPatient = [float(v) for v in grid.direction[:, :2].T.ravel()]
        dataset.PixelSpacing = [grid.pixel_spacing_mm[1], grid.pixel_spacing_mm[0]]
        dataset.SliceThickness = grid.plane_thickness_mm
        dataset.Rows, dataset.Columns = grid.rows, grid.columns
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit = 15
        dataset.PixelRepresentation = 1
        dataset.RescaleSlope = 1.0 if slopes is None else float(slopes[plane])
        dataset.RescaleIntercept = intercept
        dataset.PixelData = stored[plane].astype("<i2").tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.save_as(file, enforce_file_format=True)
        files.append(file)
    return files


def write_registration(file: Path, frame: str, registered: Sequence[tuple[str, Sequence[NDArray[np.float64]]]]) -> Path:
    """Write a Spatial Registration: for each frame of reference its (4, 4) matrices into `frame`, one after another."""
    file.parent.mkdir(parents=True, exist_ok=True)
    dataset = _dataset(file, SpatialRegistrationStorage, derived_uid("registration", file.name))
    dataset.Modality = "REG"
    dataset.SeriesInstanceUID = derived_uid("registrations")
    dataset.FrameOfReferenceUID = frame
    dataset.RegistrationSequence = []
    for source, matrices in registered:
        matrix_items = []
        for matrix in matrices:
            one = pydicom.Dataset()
            one.FrameOfReferenceTransformationMatrixType = "RIGID"
            one.FrameOfReferenceTransformationMatrix = [format_number_as_ds(float(value)) for value in np.ravel(matrix)]
            matrix_items.append(one)
        of_registration = pydicom.Dataset()
        of_registration.MatrixSequence = matrix_items
        item = pydicom.Dataset()
        item.FrameOfReferenceUID = source
        item.MatrixRegistrationSequence = [of_registration]
        dataset.RegistrationSequence.append(item)
    dataset.save_as(file, enforce_file_format=True)
    return file


def rigid(axis: tuple[float, float, float], angle_deg: float, shift_mm: tuple[float, float, float]) -> NDArray:
    """(4, 4) rotation about an axis through the origin, then a shift (Rodrigues' formula)."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    across = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(angle_deg)
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) + np.sin(angle) * across + (1 - np.cos(angle)) * across @ across
    matrix[:3, 3] = shift_mm
    return matrix


def write_dose_file(file: Path, grid: Grid, stored: NDArray[np.integer], **attributes: object) -> Path:
    """Write stored values (z, y, x) as an RT Dose with relative frame offsets and a scaling of 0.001 Gy."""
    dataset = _dataset(file, RTDoseStorage, generate_uid(entropy_srcs=[file.name]))
    dataset.Modality = "RTDOSE"
    dataset.SeriesInstanceUID = derived_uid("dose series")
    dataset.ImagePositionPatient = [float(value) for value in grid.origin_mm]
    dataset.ImageOrientationPatient = [float(value) for value in grid.direction[:, :2].T.ravel()]
    dataset.PixelSpacing = [grid.pixel_spacing_mm[1], grid.pixel_spacing_mm[0]]
    dataset.GridFrameOffsetVector = [float(value) for value in grid.plane_offsets_mm]
    dataset.FrameIncrementPointer = 0x3004000C
    dataset.NumberOfFrames = grid.planes
    dataset.Rows, dataset.Columns = grid.rows, grid.columns
    dataset.DoseUnits = "GY"
    dataset.DoseType = "PHYSICAL"
    dataset.DoseSummationType = "PLAN"
    dataset.DoseGridScaling = "0.001"
    dataset.BitsAllocated = dataset.BitsStored = 32
    dataset.HighBit = 31
    dataset.PixelRepresentation = 0
    dataset.PixelData = stored.astype("<u4").tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(file, enforce_file_format=True)
    return file
