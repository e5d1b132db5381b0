"""DICOM Segmentation objects (SEG) ↔ label volumes, through highdicom."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.uid import SegmentationStorage

from rtpipeline.atomic import replacing
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.identifiers import derived_uid
from rtpipeline.dicom.image_series import SeriesGeometry, read_geometry
from rtpipeline.dicom.reading import read_dataset
from rtpipeline.dicom.values import MALFORMED_VALUE_ERRORS
from rtpipeline.imaging.grid import FloatArray, Grid, Volume
from rtpipeline.imaging.mask import Mask

_REQUIRED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""What highdicom takes from the images; empty where they lack it."""


@dataclass(frozen=True, eq=False)
class Segment:
    """One segment of a SEG: its number, label and voxels."""

    number: int
    label: str
    mask: Mask


def write_segmentation_object(
    path: Path, image_folder: Path, labels: Volume, names: Mapping[int, str], *, algorithm: str, version: str
) -> None:
    """Write labels as a binary SEG of the image series in `image_folder`; the same input gives the same bytes.

    Args:
        path: the file to write; it appears only when it is complete.
        image_folder: a folder with one image series of single-frame files.
        labels: integers (z, y, x) on the grid of the images; 0 is background.
        names: label → SegmentLabel, in the order of the segments.
        algorithm: what found them.
        version: its version.

    Raises:
        DicomError: the series cannot be used, consists of multi-frame files, or has another grid.
    """
    geometry = read_geometry(image_folder)
    if not labels.grid.same_as(geometry.grid):
        raise DicomError(f"{path}: the labels do not lie on the voxels of the images in {image_folder}")
    if len({plane.file for plane in geometry.planes}) < len(geometry.planes):
        raise DicomError(f"{path}: a SEG of enhanced multi-frame images is not supported")
    numbers = {label: number for number, label in enumerate(names, start=1)}
    values = _renumbered(labels.values, numbers)
    digest = hashlib.sha256(repr(sorted(names.items())).encode() + np.ascontiguousarray(values).tobytes()).hexdigest()
    dataset = Segmentation(
        source_images=_sources(geometry),
        pixel_array=values,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(numbers[label], name, algorithm, version) for label, name in names.items()],
        series_instance_uid=derived_uid("SEG series", str(geometry.header.SeriesInstanceUID), digest),
        series_number=1,
        sop_instance_uid=derived_uid("SEG", str(geometry.header.SeriesInstanceUID), digest),
        instance_number=1,
        manufacturer="rtpipeline",
        manufacturer_model_name="rtpipeline",
        software_versions=version,
        device_serial_number="0",
        content_label="SEG_AUTO",
    )
    _make_reproducible(dataset, geometry.header, digest)
    with replacing(path) as temporary:
        dataset.save_as(temporary)


def read_segmentation_object(path: Path) -> tuple[Segment, ...]:
    """Read the segments of a SEG; overlapping ones too, each with a mask of its own.

    Raises:
        DicomError: the file cannot be read, is no SEG, holds fractional segments, or its frames lie on no common grid.
    """
    dataset = _read(path)
    return tuple(_segment(path, dataset, number) for number in dataset.segment_numbers)


def require_volume(path: Path) -> None:
    """Make sure, without its pixels, that a SEG can be read as voxels in space.

    Raises:
        DicomError: as `read_segmentation_object`, pixels aside.
    """
    dataset = _read(path, with_pixels=False)
    try:
        geometry = dataset.get_volume_geometry()
    except (*MALFORMED_VALUE_ERRORS, RuntimeError) as error:
        raise DicomError(f"{path}: its frames lie on no common grid: {error}") from error
    if geometry is None:
        raise DicomError(f"{path}: its frames lie on no common grid")


def _read(path: Path, *, with_pixels: bool = True) -> Segmentation:
    stored = read_dataset(path, kind="a DICOM segmentation", classes=[SegmentationStorage], with_pixels=with_pixels)
    try:
        dataset = Segmentation.from_dataset(stored, copy=False)
    except MALFORMED_VALUE_ERRORS as error:
        raise DicomError(f"{path} is a damaged DICOM segmentation ({error}); export it again") from error
    if dataset.segmentation_type == SegmentationTypeValues.FRACTIONAL:
        raise DicomError(f"{path} holds fractional segments, which say no more than a likelihood")
    return dataset


def _segment(path: Path, dataset: Segmentation, number: int) -> Segment:
    try:
        volume = dataset.get_volume(segment_numbers=[number], combine_segments=True, relabel=True)
    except (*MALFORMED_VALUE_ERRORS, RuntimeError) as error:
        raise DicomError(f"{path}: its frames cannot be decoded or lie on no common grid: {error}") from error
    grid, values = _on_grid(volume.affine, np.asarray(volume.array) > 0)
    return Segment(int(number), str(dataset.get_segment_description(number).segment_label), Mask.cropped(grid, values))


def _on_grid(affine: FloatArray, values: NDArray[np.bool_]) -> tuple[Grid, NDArray[np.bool_]]:
    """The grid of an affine of (plane, row, column) indices, with planes along the cross product of the others."""
    steps = affine[:3, :3][:, ::-1]  # by column, row, plane
    spacing = np.linalg.norm(steps, axis=0)
    origin = affine[:3, 3]
    direction = steps / spacing
    if np.linalg.det(direction) < 0:
        origin = origin + (values.shape[0] - 1) * steps[:, 2]
        direction = direction * np.array([1.0, 1.0, -1.0])
        values = values[::-1]
    size = (values.shape[2], values.shape[1], values.shape[0])
    return Grid.uniform(origin, (spacing[0], spacing[1], spacing[2]), size, direction), np.ascontiguousarray(values)


def _renumbered(values: NDArray[Any], numbers: Mapping[int, int]) -> NDArray[np.uint16]:
    """Labels as segment numbers, which begin with 1 and leave none out."""
    table = np.zeros(max([int(values.max()), *numbers]) + 1, dtype=np.uint16)
    for label, number in numbers.items():
        table[label] = number
    return table[values]


def _sources(geometry: SeriesGeometry) -> Sequence[pydicom.Dataset]:
    sources = [read_dataset(plane.file, with_pixels=False) for plane in geometry.planes]
    for source in sources:
        for keyword in _REQUIRED:
            if keyword not in source:
                setattr(source, keyword, "")
    return sources


def _description(number: int, name: str, algorithm: str, version: str) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.SCT.AnatomicalStructure,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=algorithm, version=version, family=codes.DCM.ArtificialIntelligence
        ),
    )


def _make_reproducible(dataset: pydicom.Dataset, header: pydicom.Dataset, digest: str) -> None:
    """Dates of the images instead of the clock's, and identifiers from the content instead of random ones."""
    date = str(header.get("ContentDate") or header.get("SeriesDate") or header.get("StudyDate") or "19000101")
    for keyword in ("SeriesDate", "ContentDate", "InstanceCreationDate"):
        setattr(dataset, keyword, date)
    for keyword in ("SeriesTime", "ContentTime", "InstanceCreationTime"):
        setattr(dataset, keyword, "000000")
    for item in dataset.get("ContributingEquipmentSequence") or ():
        item.ContributionDateTime = f"{date}000000"
    organisation = derived_uid("SEG dimensions", digest)
    for item in dataset.DimensionOrganizationSequence:
        item.DimensionOrganizationUID = organisation
    for item in dataset.DimensionIndexSequence:
        item.DimensionOrganizationUID = organisation
