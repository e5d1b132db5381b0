"""Checks of the planning CT."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rtpipeline.course import Course
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import SeriesGeometry, read_geometry
from rtpipeline.quality_control.check import Check

LARGE_GAP_RATIO = 1.5
THICKEST_PLANES_MM = 5.0
FEWEST_PLANES = 5
OBLIQUE_COSINE = 0.999
SPACING_TOLERANCE_MM = 0.1


def planning_ct(course: Course) -> tuple[SeriesGeometry | None, list[Check]]:
    """The geometry of the planning CT where it can be used, and the checks of it."""
    series = course.description.planning_ct
    if series is None:
        return None, [Check("ct_present", "FAIL", "high", "the course has no planning CT")]
    present = Check("ct_present", "PASS", "high", f"{series.instance_count} images", value=float(series.instance_count))
    try:
        geometry = read_geometry(course.path(series.folder))
    except DicomError as error:
        return None, [present, Check("ct_geometry", "FAIL", "high", course.within(str(error)))]
    return geometry, [present, *_geometry(geometry)]


def _geometry(geometry: SeriesGeometry) -> Iterator[Check]:
    grid = geometry.grid
    yield Check("ct_geometry", "PASS", "high", "all images are one stack: orientation, spacing and size agree")
    few = grid.planes < FEWEST_PLANES
    yield Check(
        "ct_slice_count",
        "FAIL" if few else "PASS",
        "high",
        f"{grid.planes} planes" + (": too few to measure images or masks" if few else ""),
        value=float(grid.planes),
        limit=float(FEWEST_PLANES),
    )
    duplicates = len(geometry.duplicates)
    yield Check(
        "ct_duplicate_slices",
        "WARNING" if duplicates else "PASS",
        "low",
        f"{duplicates} files show a plane that another one shows too, and are not used"
        if duplicates
        else "no plane is shown twice",
        value=float(duplicates),
        limit=0.0,
    )
    yield _gaps(np.diff(grid.plane_offsets_mm))
    cosine = float(np.abs(grid.direction[2, 2]))
    yield Check(
        "ct_orientation",
        "PASS" if cosine > OBLIQUE_COSINE else "WARNING",
        "medium",
        "the planes are axial" if cosine > OBLIQUE_COSINE else "the planes are not axial",
        value=cosine,
        limit=OBLIQUE_COSINE,
    )
    spacing = float(np.median(grid.plane_thicknesses_mm))
    yield Check(
        "ct_plane_spacing",
        "PASS" if spacing <= THICKEST_PLANES_MM else "WARNING",
        "medium",
        f"planes are {spacing:g} mm apart",
        value=spacing,
        limit=THICKEST_PLANES_MM,
        unit="mm",
    )
    yield _thickness(geometry, spacing)


def _gaps(gaps_mm: np.ndarray) -> Check:
    if len(gaps_mm) == 0:
        return Check("ct_slice_gaps", "NOT_APPLICABLE", "high", "there is a single image")
    median = float(np.median(gaps_mm))
    largest = float(gaps_mm.max())
    missing = int(np.count_nonzero(gaps_mm > LARGE_GAP_RATIO * median))
    return Check(
        "ct_slice_gaps",
        "FAIL" if missing else "PASS",
        "high",
        f"{missing} gaps are over {LARGE_GAP_RATIO} times the median spacing of {median:g} mm: slices are missing"
        if missing
        else "no slice is missing",
        value=largest,
        limit=LARGE_GAP_RATIO * median,
        unit="mm",
    )


def _thickness(geometry: SeriesGeometry, spacing_mm: float) -> Check:
    thicknesses = {plane.thickness_mm for plane in geometry.planes}
    known = sorted(thickness for thickness in thicknesses if thickness is not None)
    if not known:
        return Check("ct_slice_thickness", "NOT_APPLICABLE", "low", "SliceThickness is not given")
    agrees = len(thicknesses) == 1 and abs(known[0] - spacing_mm) <= SPACING_TOLERANCE_MM
    return Check(
        "ct_slice_thickness",
        "PASS" if agrees else "WARNING",
        "low",
        f"SliceThickness is {', '.join(f'{value:g}' for value in known)} mm; planes are {spacing_mm:g} mm apart",
        value=known[-1],
        limit=spacing_mm,
        unit="mm",
    )
