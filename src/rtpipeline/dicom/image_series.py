"""Image series (CT, MR, PET) → volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_plane import plane_direction, required_numbers
from rtpipeline.dicom.reading import read_dataset, stored_values
from rtpipeline.imaging.grid import POSITION_TOLERANCE_MM, FloatArray, Grid, Volume

DIRECTION_TOLERANCE = 1e-3
SIDEWAYS_TOLERANCE_MM = 0.1
SIDEWAYS_TOLERANCE = 1e-3
"""Planes whose first pixels are this far, or this part of the stack's height, from a line along the normal are a
sheared stack (a tilted gantry). Directions with few decimals stay below that."""


@dataclass(frozen=True, eq=False)
class ImagePlane:
    """One frame of one file, and where it lies.

    Attributes:
        file: the file.
        frame: number of the frame in the file, from 0.
        sop_instance_uid: SOPInstanceUID of the file.
        sop_class_uid: SOPClassUID of the file.
        position_mm: (3,) ImagePositionPatient.
        orientation: (6,) ImageOrientationPatient.
        spacing_mm: (rows, columns) PixelSpacing, in DICOM's order (y, x).
        size: (rows, columns).
        slope: RescaleSlope, 1 where there is none.
        intercept: RescaleIntercept, 0 where there is none.
        thickness_mm: SliceThickness, or None.
    """

    file: Path
    frame: int
    sop_instance_uid: str
    sop_class_uid: str
    position_mm: FloatArray
    orientation: FloatArray
    spacing_mm: tuple[float, float]
    size: tuple[int, int]
    slope: float
    intercept: float
    thickness_mm: float | None


@dataclass(frozen=True, eq=False)
class SeriesGeometry:
    """Where the planes of an image series lie.

    Attributes:
        grid: the grid of its voxels; not uniform where planes are missing.
        planes: in the order of the grid's planes; duplicates are dropped.
        header: everything but the pixels of the first file by name.
        duplicates: names of files that show a plane that another file shows too.
    """

    grid: Grid
    planes: tuple[ImagePlane, ...]
    header: pydicom.Dataset
    duplicates: tuple[str, ...]


def load_image(folder: Path) -> Volume:
    """Read the image series in `folder`.

    Returns:
        Values (z, y, x) as float32 after each plane's own RescaleSlope and RescaleIntercept: HU for CT, the stored
        unit for PET and MR; planes sorted along the normal (the cross product of row and column direction).

    Raises:
        DicomError: there is no image, a file cannot be read, files belong to more than one series, or their
            orientation, spacing or size differ; the message names the file.
    """
    geometry = read_geometry(folder)
    values = np.empty(geometry.grid.shape, dtype=np.float32)
    decoded: dict[Path, NDArray] = {}
    for number, plane in enumerate(geometry.planes):
        if plane.file not in decoded:
            decoded = {plane.file: _pixels(plane.file)}
        stored = decoded[plane.file]
        frame = stored[plane.frame] if stored.ndim == 3 else stored
        np.multiply(frame, plane.slope, out=values[number], casting="unsafe")
        values[number] += np.float32(plane.intercept)
    return Volume(geometry.grid, values)


def read_geometry(folder: Path) -> SeriesGeometry:
    """Read where the planes of the image series in `folder` lie, from the headers alone.

    Raises:
        DicomError: as `load_image`.
    """
    headers = [(file, _header(file)) for file in _image_files(folder)]
    headers = [entry for entry in headers if not _is_localizer(entry[1])] or headers
    if not headers:
        raise DicomError(f"{folder}: there is no image in this folder")
    _refuse_mixed_series(headers)
    planes = [plane for file, header in headers for plane in _planes(file, header)]
    reference = planes[0]
    for plane in planes[1:]:
        _refuse_difference(reference, plane)
    direction = plane_direction(reference.file, reference.orientation)
    offsets = np.array([float(plane.position_mm @ direction[:, 2]) for plane in planes])
    kept, duplicates = _distinct(planes, offsets)
    _refuse_shear([planes[number] for number in kept], direction)
    grid = Grid(
        origin_mm=planes[kept[0]].position_mm,
        direction=direction,
        pixel_spacing_mm=(reference.spacing_mm[1], reference.spacing_mm[0]),
        plane_offsets_mm=offsets[kept] - offsets[kept[0]],
        columns=reference.size[1],
        rows=reference.size[0],
        plane_thickness_mm=reference.thickness_mm or 1.0,
    )
    return SeriesGeometry(grid, tuple(planes[number] for number in kept), headers[0][1], duplicates)


def _image_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DicomError(f"{folder}: this image folder does not exist")
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))


def _header(file: Path) -> pydicom.Dataset:
    header = read_dataset(file, with_pixels=False)
    if "SOPClassUID" not in header or "Rows" not in header:
        raise DicomError(f"{file} is not a DICOM image")
    return header


def _is_localizer(header: pydicom.Dataset) -> bool:
    """Whether this is a scout view, which some scanners put into the series that was planned on it."""
    kinds = header.get("ImageType") or ()
    return "LOCALIZER" in ([kinds] if isinstance(kinds, str) else list(kinds))


def _refuse_mixed_series(headers: Sequence[tuple[Path, pydicom.Dataset]]) -> None:
    first_file, first = headers[0]
    for file, header in headers[1:]:
        if header.get("SeriesInstanceUID") != first.get("SeriesInstanceUID"):
            raise DicomError(f"{file} belongs to another series than {first_file.name}; one folder holds one series")


def _planes(file: Path, header: pydicom.Dataset) -> list[ImagePlane]:
    """The planes of one file: one, or one a frame of an enhanced multi-frame image."""
    if header.get("SamplesPerPixel", 1) != 1:
        raise DicomError(f"{file} is a colour image")
    if "PerFrameFunctionalGroupsSequence" in header:
        shared = _only(header.get("SharedFunctionalGroupsSequence"))
        groups = header.PerFrameFunctionalGroupsSequence
        return [_enhanced_plane(file, header, number, frame, shared) for number, frame in enumerate(groups)]
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise DicomError(f"{file} has several frames without a position for each")
    return [_plane(file, header, 0, header, header, header, header)]


def _enhanced_plane(
    file: Path, header: pydicom.Dataset, number: int, frame: pydicom.Dataset, shared: pydicom.Dataset
) -> ImagePlane:
    def group(keyword: str) -> pydicom.Dataset:
        return _only(frame.get(keyword) or shared.get(keyword))

    return _plane(
        file,
        header,
        number,
        group("PlanePositionSequence"),
        group("PlaneOrientationSequence"),
        group("PixelMeasuresSequence"),
        group("PixelValueTransformationSequence"),
    )


def _only(sequence: Any) -> pydicom.Dataset:
    return sequence[0] if sequence else pydicom.Dataset()


def _plane(
    file: Path,
    header: pydicom.Dataset,
    frame: int,
    position: pydicom.Dataset,
    orientation: pydicom.Dataset,
    measures: pydicom.Dataset,
    transformation: pydicom.Dataset,
) -> ImagePlane:
    thickness = measures.get("SliceThickness")
    spacing = required_numbers(file, measures, "PixelSpacing", 2)
    return ImagePlane(
        file=file,
        frame=frame,
        sop_instance_uid=str(header.get("SOPInstanceUID", "")),
        sop_class_uid=str(header.SOPClassUID),
        position_mm=required_numbers(file, position, "ImagePositionPatient", 3),
        orientation=required_numbers(file, orientation, "ImageOrientationPatient", 6),
        spacing_mm=(float(spacing[0]), float(spacing[1])),
        size=(int(header.Rows), int(header.Columns)),
        slope=float(transformation.get("RescaleSlope") or 1.0),
        intercept=float(transformation.get("RescaleIntercept") or 0.0),
        thickness_mm=float(thickness) if thickness else None,
    )


def _refuse_difference(reference: ImagePlane, plane: ImagePlane) -> None:
    differences = (
        ("orientation", not np.allclose(reference.orientation, plane.orientation, atol=DIRECTION_TOLERANCE)),
        ("pixel spacing", not np.allclose(reference.spacing_mm, plane.spacing_mm, rtol=1e-3)),
        ("size", reference.size != plane.size),
    )
    for what, differs in differences:
        if differs:
            raise DicomError(f"{plane.file} has another {what} than {reference.file.name} in the same series")


def _distinct(planes: Sequence[ImagePlane], offsets: FloatArray) -> tuple[list[int], tuple[str, ...]]:
    """Numbers of the planes to keep, sorted along the normal, and names of files that repeat a plane.

    A plane that repeats another has to show the same values, or the choice would be a guess.
    """
    kept: list[int] = []
    duplicates: list[str] = []
    for number in np.argsort(offsets, kind="stable"):
        if not kept or offsets[number] - offsets[kept[-1]] > POSITION_TOLERANCE_MM:
            kept.append(int(number))
            continue
        first, second = planes[kept[-1]], planes[number]
        if first.sop_instance_uid != second.sop_instance_uid or first.frame != second.frame:
            _refuse_other_content(first, second)
        duplicates.append(second.file.name)
    return kept, tuple(sorted(duplicates))


def _refuse_other_content(first: ImagePlane, second: ImagePlane) -> None:
    one, other = (np.atleast_3d(_pixels(plane.file)) for plane in (first, second))
    same = first.file != second.file and one.shape == other.shape and np.array_equal(one, other)
    if not same or (first.slope, first.intercept) != (second.slope, second.intercept):
        raise DicomError(f"{second.file} and {first.file.name} show different images of the same plane")


def _refuse_shear(planes: Sequence[ImagePlane], direction: FloatArray) -> None:
    positions = np.array([plane.position_mm for plane in planes])
    sideways = (positions - positions[0]) @ direction[:, :2]
    shift = float(np.abs(sideways).max())
    height = float(np.ptp(positions @ direction[:, 2]))
    if shift > max(SIDEWAYS_TOLERANCE_MM, SIDEWAYS_TOLERANCE * height):
        raise DicomError(
            f"{planes[0].file.parent}: the planes are shifted sideways by up to {shift:.2f} mm (a tilted gantry); "
            "resample the series onto a rectangular grid first"
        )


def _pixels(file: Path) -> NDArray:
    """Stored values (rows, columns), or (frames, rows, columns)."""
    return stored_values(file, read_dataset(file))
