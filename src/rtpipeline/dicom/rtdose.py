"""RT Dose objects ↔ dose volumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset
from pydicom.uid import RTDoseStorage, RTPlanStorage

from rtpipeline.dicom.atomic import save
from rtpipeline.dicom.decimal_strings import decimal_string
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.identifiers import derived_uid, reference_item
from rtpipeline.dicom.image_plane import plane_direction, required_numbers
from rtpipeline.dicom.reading import read_dataset, stored_values
from rtpipeline.imaging.grid import FloatArray, Grid, Volume

LARGEST_STORED_VALUE = 2**32 - 1


def read_dose(path: Path) -> Volume:
    """Read an RT Dose.

    Frames are placed as DICOM PS3.3, C.8.8.3.2 says: a GridFrameOffsetVector that begins with 0 holds distances
    from ImagePositionPatient along the normal (the cross product of row and column direction); one that begins
    with the z of ImagePositionPatient holds z coordinates. They may be in any order and unequally spaced.

    Returns:
        Dose in Gy (z, y, x) as float64, planes sorted along the normal.

    Raises:
        DicomError: not an RT Dose, without pixels, in relative units, of type ERROR, or with a grid that cannot be
            placed.
    """
    dataset = _read(path)
    units = str(dataset.get("DoseUnits", "")).strip().upper()
    if units != "GY":
        raise DicomError(f"{path}: DoseUnits is {units or 'missing'}; only GY can be used")
    if str(dataset.get("DoseType", "")).strip().upper() == "ERROR":
        raise DicomError(f"{path}: DoseType is ERROR; this is not a dose but its uncertainty")
    scaling = dataset.get("DoseGridScaling")
    if scaling is None or not float(scaling) > 0:
        raise DicomError(f"{path}: DoseGridScaling is missing or not positive")
    stored = stored_values(path, dataset)
    stored = stored[None] if stored.ndim == 2 else stored
    grid, order = _grid(path, dataset, len(stored))
    return Volume(grid, stored[order].astype(np.float64) * float(scaling))


def dose_grid_scaling(path: Path) -> float | None:
    """DoseGridScaling of an RT Dose: Gy for each stored unit; None where it is not given.

    Raises:
        DicomError: not an RT Dose.
    """
    scaling = _read(path, with_pixels=False).get("DoseGridScaling")
    return None if scaling is None else float(scaling)


def write_dose(
    path: Path,
    volume: Volume,
    *,
    like: Path,
    summation_type: str,
    referenced_plan_uids: Sequence[str],
    source_dose_uids: Sequence[str],
    entropy: str,
) -> None:
    """Write a dose as RT Dose with 32-bit values.

    Values that are all multiples of the DoseGridScaling of `like` keep it, so that a sum of doses of one planning
    system on one grid is exact. Otherwise the scaling uses the whole range of 32 bits.

    Args:
        path: the file to write; it appears only when it is complete.
        volume: dose in Gy.
        like: an RT Dose that patient, study, frame of reference, dates and dose type are copied from.
        summation_type: DoseSummationType, for example `MULTI_PLAN`.
        referenced_plan_uids: SOP Instance UIDs of the plans.
        source_dose_uids: SOP Instance UIDs of the doses that this one was made from.
        entropy: text that the new UIDs depend on, besides the UIDs above.

    Raises:
        DicomError: `like` cannot be read.
        ValueError: a dose is negative or not finite.
    """
    values = volume.values
    if not np.all(np.isfinite(values)) or values.min() < 0:
        raise ValueError(f"{path}: a dose must be finite and not negative")
    dataset = _read(like)
    scaling_text = _scaling(values, str(dataset.get("DoseGridScaling", "")))
    sources = (entropy, summation_type, *referenced_plan_uids, *source_dose_uids)
    for keyword in ("DVHSequence", "DVHNormalizationPoint", "DVHNormalizationDoseValue", "DoseComment"):
        if keyword in dataset:
            delattr(dataset, keyword)
    dataset.SOPInstanceUID = derived_uid("RTDOSE", *sources)
    dataset.SeriesInstanceUID = derived_uid("RTDOSE series", *sources)
    dataset.DoseSummationType = summation_type
    dataset.DoseUnits = "GY"
    dataset.ReferencedRTPlanSequence = [reference_item(RTPlanStorage, uid) for uid in referenced_plan_uids]
    dataset.ReferencedInstanceSequence = [reference_item(RTDoseStorage, uid) for uid in source_dose_uids]
    _put_grid(dataset, volume.grid)
    dataset.DoseGridScaling = scaling_text
    dataset.BitsAllocated = dataset.BitsStored = 32
    dataset.HighBit = 31
    dataset.PixelRepresentation = 0
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = np.rint(values / float(scaling_text)).astype("<u4").tobytes()
    dataset["PixelData"].VR = "OW"
    save(path, dataset)


def _read(path: Path, *, with_pixels: bool = True) -> FileDataset:
    return read_dataset(path, kind="an RT Dose", classes=[RTDoseStorage], with_pixels=with_pixels)


def _grid(path: Path, dataset: pydicom.Dataset, frames: int) -> tuple[Grid, np.ndarray]:
    """The grid, and the order in which the stored frames are its planes."""
    orientation = required_numbers(path, dataset, "ImageOrientationPatient", 6)
    position = required_numbers(path, dataset, "ImagePositionPatient", 3)
    spacing = required_numbers(path, dataset, "PixelSpacing", 2)
    direction = plane_direction(path, orientation)
    offsets = _frame_offsets(path, dataset, frames, float(position[2]), direction)
    order = np.argsort(offsets, kind="stable")
    sorted_offsets = offsets[order]
    if np.any(np.diff(sorted_offsets) <= 0):
        raise DicomError(f"{path}: GridFrameOffsetVector puts two frames at the same place")
    grid = Grid(
        origin_mm=position + sorted_offsets[0] * direction[:, 2],
        direction=direction,
        pixel_spacing_mm=(float(spacing[1]), float(spacing[0])),
        plane_offsets_mm=sorted_offsets - sorted_offsets[0],
        columns=int(dataset.Columns),
        rows=int(dataset.Rows),
        plane_thickness_mm=float(dataset.get("SliceThickness") or 1.0),
    )
    return grid, order


def _frame_offsets(
    path: Path, dataset: pydicom.Dataset, frames: int, position_z_mm: float, direction: FloatArray
) -> FloatArray:
    """Distance of each frame from ImagePositionPatient along the normal."""
    if frames == 1 and not dataset.get("GridFrameOffsetVector"):
        return np.zeros(1)
    vector = required_numbers(path, dataset, "GridFrameOffsetVector", frames)
    if abs(vector[0]) < 1e-3:
        return vector - vector[0]
    normal_z = float(direction[2, 2])
    if abs(vector[0] - position_z_mm) < 0.1 and abs(abs(normal_z) - 1.0) < 1e-3:
        return (vector - vector[0]) * np.sign(normal_z)
    raise DicomError(
        f"{path}: GridFrameOffsetVector begins with {vector[0]:g}, which is neither 0 nor the z of "
        "ImagePositionPatient, so the frames cannot be placed"
    )


def _scaling(values: np.ndarray, source: str) -> str:
    """DoseGridScaling (at most 16 characters): the source's where it represents `values` exactly, else a fine one."""
    largest = float(values.max())
    if source and float(source) > 0 and largest / float(source) <= LARGEST_STORED_VALUE:
        quanta = values / float(source)
        if np.abs(quanta - np.rint(quanta)).max() < 1e-4:
            return source
    return f"{max(largest, 1e-3) / LARGEST_STORED_VALUE * (1 + 1e-8):.9e}"


def _put_grid(dataset: pydicom.Dataset, grid: Grid) -> None:
    dataset.ImagePositionPatient = [decimal_string(value) for value in grid.origin_mm]
    dataset.ImageOrientationPatient = [decimal_string(value) for value in grid.direction[:, :2].T.ravel()]
    dataset.PixelSpacing = [decimal_string(value) for value in grid.pixel_spacing_mm[::-1]]
    dataset.GridFrameOffsetVector = [decimal_string(value) for value in grid.plane_offsets_mm]
    dataset.FrameIncrementPointer = 0x3004000C
    dataset.NumberOfFrames = grid.planes
    dataset.Rows, dataset.Columns = grid.rows, grid.columns
