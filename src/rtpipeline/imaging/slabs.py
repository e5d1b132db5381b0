"""Contours as what they stand for: parallel slabs of tissue, each the exact region that its contours enclose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rtpipeline.imaging.contours import group_by_plane
from rtpipeline.imaging.grid import FloatArray
from rtpipeline.imaging.planar_region import PlanarRegion, region_of
from rtpipeline.imaging.slab_bounds import gap_warnings, slab_bounds_mm

PLANARITY_TOLERANCE_MM = 0.1
"""How far the points of one contour may be from a plane."""
LARGEST_EXTENT_MM = 3000.0


class GeometryError(ValueError):
    """Contours from which no volume can be made; the message is a sentence that says why."""


@dataclass(frozen=True, eq=False)
class Slab:
    """One plane of contours and the thickness of tissue that it stands for.

    Attributes:
        region: the enclosed region in the (u, v) coordinates of its stack, mm.
        low_mm: lower bound along the stack's normal.
        high_mm: upper bound along the stack's normal.
    """

    region: PlanarRegion
    low_mm: float
    high_mm: float

    @property
    def thickness_mm(self) -> float:
        """Extent along the normal."""
        return self.high_mm - self.low_mm

    @property
    def volume_mm3(self) -> float:
        """Area × thickness."""
        return self.region.area_mm2 * self.thickness_mm


@dataclass(frozen=True, eq=False)
class SlabStack:
    """A structure made of slabs.

    Attributes:
        axes: (3, 3); its columns are the unit vectors u, v (in the planes) and n (their normal) in the patient's
            coordinates. A point of the structure is `axes @ (u, v, n)`.
        slabs: by increasing position along n.
        warnings: a sentence for everything that a reader of the volume should know.
    """

    axes: FloatArray
    slabs: tuple[Slab, ...]
    warnings: tuple[str, ...]

    @property
    def volume_cm3(self) -> float:
        """Sum of area × thickness."""
        return float(sum(slab.volume_mm3 for slab in self.slabs)) / 1000.0


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
    _refuse_impossible_coordinates(contours)
    axes = _axes(contours)
    planes = group_by_plane(contours, axes[:, 2])
    offsets = np.array([plane.offset_mm for plane in planes])
    low, high = slab_bounds_mm(offsets, _image_gap(offsets, image_plane_spacing_mm))
    regions = [region_of([contour @ axes[:, :2] for contour in plane.contours]) for plane in planes]
    duplicates = len(contours) - sum(len(plane.contours) for plane in planes)
    united = sum(region.united for region in regions)
    slabs = (Slab(region, float(bottom), float(top)) for region, bottom, top in zip(regions, low, high, strict=True))
    return SlabStack(
        axes=axes,
        slabs=tuple(slab for slab in slabs if slab.region.area_mm2 > 0),
        warnings=(*_contour_warnings(duplicates, united), *gap_warnings(offsets, image_plane_spacing_mm)),
    )


def _refuse_impossible_coordinates(contours: Sequence[FloatArray]) -> None:
    points = np.concatenate([np.asarray(contour, float) for contour in contours])
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


def _axes(contours: Sequence[FloatArray]) -> FloatArray:
    """Unit vectors u, v, n; n is the normal of the largest contour (Newell's method), towards the positive side."""
    normals = np.array([_area_vector(contour) for contour in contours])
    largest = normals[np.argmax(np.linalg.norm(normals, axis=1))]
    if not np.linalg.norm(largest) > 0:
        raise GeometryError("the contours enclose no area")
    normal = largest / np.linalg.norm(largest)
    main = int(np.argmax(np.abs(normal)))
    normal *= np.sign(normal[main])
    if normal[main] > 1.0 - 1e-9:
        normal = np.eye(3)[main]
    spread = max(float(np.ptp(contour @ normal)) for contour in contours)
    if spread > PLANARITY_TOLERANCE_MM:
        raise GeometryError(f"the contours are not in parallel planes: one is {spread:.2f} mm thick")
    along = np.eye(3)[1 if main == 0 else 0]
    u = along - (along @ normal) * normal
    u /= np.linalg.norm(u)
    return np.stack([u, np.cross(normal, u), normal], axis=1)


def _area_vector(contour: FloatArray) -> FloatArray:
    """Normal of a polygon with its area as length."""
    relative = contour - contour[0]
    return 0.5 * np.cross(relative, np.roll(relative, -1, axis=0)).sum(axis=0)


def _contour_warnings(duplicates: int, united: int) -> list[str]:
    warnings = []
    if duplicates:
        warnings.append(f"{duplicates} repeated contours were used once")
    if united:
        warnings.append(f"{united} contours overlap others in part and were united with them")
    return warnings
