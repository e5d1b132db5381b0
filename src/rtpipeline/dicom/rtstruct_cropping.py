"""A structure set cut to some of the planes of its image series: contours are kept or left out, never redrawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from rtpipeline.dicom.atomic import save
from rtpipeline.dicom.identifiers import derived_uid
from rtpipeline.dicom.image_series import SeriesGeometry
from rtpipeline.dicom.reading import read_dataset
from rtpipeline.dicom.rtstruct import CONTOUR_DATA, contour_points, keep_encoded, read_structure_set

LONGEST_LABEL = 16


def crop_structure_set(source: Path, target: Path, geometry: SeriesGeometry, kept: range) -> dict[str, list[int]]:
    """Write `source` with only those contours that lie on some of the planes of its image series.

    Everything else is as in `source`: ROI numbers, names, types, colours, and the points of the contours. An ROI of
    which nothing is left stays, without contours. UIDs are derived from those of `source` and the planes.

    Args:
        source: an RT Structure Set.
        target: the file to write; it appears only when it is complete.
        geometry: of the whole image series.
        kept: the planes to keep (indices along the grid's planes).

    Returns:
        `<ROI number> <ROI name>` → [contours before, contours kept].

    Raises:
        DicomError: `source` cannot be read or is not an RT Structure Set.
    """
    names = {roi.number: roi.name for roi in read_structure_set(source).rois}
    dataset = read_dataset(source)
    counts: dict[str, list[int]] = {}
    for item in dataset.get("ROIContourSequence") or ():
        number = int(item.ReferencedROINumber)
        contours = list(item.get("ContourSequence") or ())
        inside = [contour for contour in contours if _lies_on(contour, geometry, kept)]
        for contour in inside:
            keep_encoded(contour)
        if contours:
            item.ContourSequence = inside
        if contours and not inside:
            del item.ContourSequence
        counts[f"{number} {names.get(number, '')}"] = [len(contours), len(inside)]
    # After the contours are bytes: decoding texts parses everything else on its way.
    dataset.decode()
    _keep_references(dataset, {geometry.planes[plane].sop_instance_uid for plane in kept}, geometry)
    planes = (str(dataset.SOPInstanceUID), str(kept.start), str(kept.stop))
    dataset.SOPInstanceUID = derived_uid("cropped RTSTRUCT", *planes)
    dataset.SeriesInstanceUID = derived_uid("cropped RTSTRUCT series", *planes)
    dataset.StructureSetLabel = f"{str(dataset.get('StructureSetLabel') or 'RS')[: LONGEST_LABEL - 8]}_cropped"
    save(target, dataset)
    return counts


def _lies_on(contour: Dataset, geometry: SeriesGeometry, kept: range) -> bool:
    """Whether the plane nearest to a contour is kept; a contour without usable points is not."""
    if CONTOUR_DATA not in contour:
        return False
    try:
        points = contour_points(contour)
    except ValueError:
        return False
    grid = geometry.grid
    offset_mm = float(np.mean((points - grid.origin_mm) @ grid.direction[:, 2]))
    return int(np.abs(grid.plane_offsets_mm - offset_mm).argmin()) in kept


def _keep_references(dataset: Dataset, images: set[str], geometry: SeriesGeometry) -> None:
    """Leave out the references to those images of the series that are not kept."""
    uid = geometry.header.get("SeriesInstanceUID")
    for series in _referenced_series(dataset):
        if series.get("SeriesInstanceUID") == uid:
            series.ContourImageSequence = [
                image for image in series.get("ContourImageSequence") or () if image.ReferencedSOPInstanceUID in images
            ]


def _referenced_series(dataset: Dataset) -> Sequence[Dataset]:
    return [
        series
        for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ()
        for study in frame.get("RTReferencedStudySequence") or ()
        for series in study.get("RTReferencedSeriesSequence") or ()
    ]
