"""Contours as what they stand for: parallel slabs of tissue, each the exact region that its contours enclose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtpipeline.imaging.contours import group_by_plane
from rtpipeline.imaging.grid import FloatArray
from rtpipeline.imaging.planar_region import Regions, regions_of
from rtpipeline.imaging.slab_bounds import gap_warnings, slab_bounds_mm

PLANARITY_TOLERANCE_MM = 0.1
"""How far the points of one contour may be from a plane."""
LARGEST_EXTENT_MM = 3000.0


class GeometryError(ValueError):
    """Contours from which no volume can be made; the message is a sentence that says why."""


@dataclass(frozen=True, eq=False)
class SlabStack:
    """A structure made of n slabs: planes of contours, and the thickness of tissue that each stands for.

    Attributes:
        axes: (3, 3); its columns are the unit vectors u, v (in the planes) and n (their normal) in the patient's
            coordinates. A point of the structure is `axes @ (u, v, n)`.
        regions: what the contours of each plane enclose, in (u, v), mm; by increasing position along n.
        low_mm: (n,) lower bounds along the normal.
        high_mm: (n,) upper bounds along the normal.
        warnings: a sentence for everything that a reader of the volume should know.
    """

    axes: FloatArray
    regions: Regions
    low_mm: FloatArray
    high_mm: FloatArray
    warnings: tuple[str, ...]

    @property
    def thickness_mm(self) -> FloatArray:
        """(n,) extents along the normal."""
        return self.high_mm - self.low_mm

    @property
    def volume_cm3(self) -> float:
        """Sum of area × thickness."""
        return float(self.regions.areas_mm2 @ self.thickness_mm) / 1000.0


def slab_stack(contours: Sequence[FloatArray], image_plane_spacing_mm: float | None) -> SlabStack:
    """Make slabs of closed planar contours (n, 3) in world mm.

    The contours stay where they are. Every plane stands for half the gap to either neighbour; a gap of more than
    1.5 times the median is taken for a space between two parts, is not filled, and is reported.

    Args:
        contours: all of one structure, each with at least three points.
        image_plane_spacing_mm: spacing of the images that they were drawn on, or None when these are not there.

    Raises:
        GeometryError: a contour does not lie in a plane, the contours are not parallel, they reach further than any
            patient, or there is a single plane and nothing to tell its thickness by.
    """
    points = np.concatenate(contours)
    first = np.cumsum([0, *(len(contour) for contour in contours[:-1])])
    _refuse_impossible_coordinates(points)
    axes = _axes(points, first)
    planes = group_by_plane(contours, axes[:, 2], image_plane_spacing_mm)
    offsets = np.array([plane.offset_mm for plane in planes])
    low, high = slab_bounds_mm(offsets, _image_gap(offsets, image_plane_spacing_mm))
    regions = regions_of([[contour @ axes[:, :2] for contour in plane.contours] for plane in planes])
    duplicates = len(contours) - sum(len(plane.contours) for plane in planes)
    filled = regions.areas_mm2 > 0
    return SlabStack(
        axes=axes,
        regions=regions.chosen(filled),
        low_mm=low[filled],
        high_mm=high[filled],
        warnings=(*_contour_warnings(duplicates, regions.united), *gap_warnings(offsets, image_plane_spacing_mm)),
    )


def _refuse_impossible_coordinates(points: FloatArray) -> None:
    extent = float(np.ptp(points, axis=0).max())
    if not extent < LARGEST_EXTENT_MM:
        raise GeometryError(f"its contours reach over {extent:.0f} mm: their coordinates cannot be right")


def _image_gap(offsets: FloatArray, image_plane_spacing_mm: float | None) -> float:
    if image_plane_spacing_mm is not None:
        return image_plane_spacing_mm
    if len(offsets) == 1:
        raise GeometryError(
            "the structure has a single plane of contours and there is no planning CT to tell its thickness by"
        )
    return float(np.median(np.diff(offsets)))


def _axes(points: FloatArray, first: NDArray[np.int64]) -> FloatArray:
    """Unit vectors u, v, n; n is the normal of the largest contour (Newell's method), towards the positive side."""
    normals = _area_vectors(points, first)
    largest = normals[np.argmax(np.linalg.norm(normals, axis=1))]
    if not np.linalg.norm(largest) > 0:
        raise GeometryError("the contours enclose no area")
    normal = largest / np.linalg.norm(largest)
    main = int(np.argmax(np.abs(normal)))
    normal *= np.sign(normal[main])
    if normal[main] > 1.0 - 1e-9:
        normal = np.eye(3)[main]
    along = points @ normal
    spread = float((np.maximum.reduceat(along, first) - np.minimum.reduceat(along, first)).max())
    if spread > PLANARITY_TOLERANCE_MM:
        raise GeometryError(f"the contours are not in parallel planes: one is {spread:.2f} mm thick")
    along = np.eye(3)[1 if main == 0 else 0]
    u = along - (along @ normal) * normal
    u /= np.linalg.norm(u)
    return np.stack([u, np.cross(normal, u), normal], axis=1)


def _area_vectors(points: FloatArray, first: NDArray[np.int64]) -> FloatArray:
    """(contours, 3) normal of each polygon with its area as length; its vertices begin at `first`."""
    counts = np.diff(first, append=len(points))
    relative = points - np.repeat(points[first], counts, axis=0)
    following = np.append(relative[1:], relative[:1], axis=0)
    following[first + counts - 1] = 0.0  # the first vertex, from where all others are measured
    return 0.5 * np.add.reduceat(np.cross(relative, following), first, axis=0)


def _contour_warnings(duplicates: int, united: int) -> list[str]:
    warnings = []
    if duplicates:
        warnings.append(f"{duplicates} repeated contours were used once")
    if united:
        warnings.append(f"{united} contours overlap others in part, or nearly repeat them, and were united with them")
    return warnings
