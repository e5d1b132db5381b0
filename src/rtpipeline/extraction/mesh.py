"""Area, volume and diameters of PyRadiomics' mesh, without its comparison of every pair of vertices.

The mesh is a marching-cubes surface (Lorensen and Cline, SIGGRAPH Computer Graphics 21(4), 1987) through the middles
of the grid's edges between a voxel inside and one outside. It is a sum over cubes of eight voxels, of which there are
256 kinds. What each kind adds is asked of PyRadiomics' own function, once per spacing, so its triangles are the
library's; here the kinds are counted. Diameters need the vertices that are corners of a convex hull alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray
from radiomics import cShape
from scipy.spatial import ConvexHull

_KINDS = 256


@dataclass(frozen=True)
class Mesh:
    """Measures of a mesh.

    Attributes:
        area_mm2: of its surface.
        volume_mm3: that it encloses.
        diameters_mm: the largest distance of two vertices with the same z, the same y, the same x, and of any two.
    """

    area_mm2: float
    volume_mm3: float
    diameters_mm: tuple[float, float, float, float]


def measure_mesh(mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> Mesh:
    """Measure the mesh of a mask.

    Args:
        mask: (z, y, x), with at least one voxel outside on every side.
        spacing_mm: along (z, y, x).
    """
    count, position = count_cubes(np.ascontiguousarray(mask, dtype=np.uint8))
    area, volume, lever = _cubes(spacing_mm)
    return Mesh(
        area_mm2=float(np.sum(count * area)),
        volume_mm3=float(np.sum(count * volume) + np.sum(position * lever)),
        diameters_mm=_diameters(mask, np.array(spacing_mm)),
    )


@lru_cache(maxsize=4)
def _cubes(spacing_mm: tuple[float, float, float]) -> tuple[NDArray[np.float64], ...]:
    """What a cube of each kind adds to area and volume at the origin, and what one step (z, y, x) adds to the volume.

    The volume is a sum of determinants of triangles, each linear in the position of its cube.
    """
    spacing = np.array(spacing_mm)
    corners = (np.arange(_KINDS)[:, None] >> np.arange(8) & 1).astype(bool).reshape(_KINDS, 2, 2, 2)
    area, volume = np.zeros(_KINDS), np.zeros(_KINDS)
    for kind in range(_KINDS):
        area[kind], volume[kind], _ = cShape.calculate_coefficients(corners[kind], spacing)
    lever = np.zeros((_KINDS, 3))
    for kind in range(_KINDS):
        for axis in range(3):
            # One cube further on lies the kind in question; what the cube before it adds is known.
            first = np.take(corners[kind], [0], axis)
            before = np.concatenate([np.zeros_like(first), first], axis)
            both = np.concatenate([np.zeros_like(first), corners[kind]], axis)
            known = volume[int(before.ravel() @ (1 << np.arange(8)))] + volume[kind]
            lever[kind, axis] = cShape.calculate_coefficients(both, spacing)[1] - known
    return area, volume, lever


def _diameters(mask: NDArray[np.bool_], spacing: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """The four diameters; vertices are counted in half voxels, so that hulls are exact."""
    vertices = _vertices(mask)
    in_planes = []
    corners = vertices
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        ordered = vertices[np.lexsort((vertices[:, others[1]], vertices[:, others[0]], vertices[:, axis]))]
        hull = ordered[plane_hulls(np.ascontiguousarray(ordered[:, [axis, *others]]))]
        planes = np.flatnonzero(np.diff(hull[:, axis], prepend=hull[0, axis] - 1, append=hull[-1, axis] + 1))
        in_planes.append(longest_in_groups(hull / 2.0 * spacing, planes))
        if axis == 0:
            corners = hull
    outer = corners[ConvexHull(corners).vertices]
    anywhere = longest_in_groups(outer / 2.0 * spacing, np.array([0, len(outer)]))
    return (in_planes[0], in_planes[1], in_planes[2], anywhere)


def _vertices(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Middles of the edges between inside and outside, (n, 3), in half voxels along (z, y, x)."""
    vertices = []
    for axis in range(3):
        edge = np.argwhere(np.diff(mask, axis=axis)) * 2  # the difference of booleans is whether they differ
        edge[:, axis] += 1
        vertices.append(edge)
    return np.concatenate(vertices)


@numba.njit(["Tuple((int64[::1], int64[:,::1]))(uint8[:,:,::1])"], cache=True, nogil=True)
def count_cubes(mask):  # type: ignore[no-untyped-def]
    """How many cubes of eight voxels there are of each kind, and the sum of their positions.

    Args:
        mask: 1 inside, 0 outside, (z, y, x).

    Returns:
        The number of cubes by kind; the sums of their first voxels' indices (kind, (z, y, x)). Voxel (z, y, x) of
        a cube, each 0 or 1, is bit 4 z + 2 y + x of its kind.
    """
    count = np.zeros(256, np.int64)
    position = np.zeros((256, 3), np.int64)
    depth, height, width = mask.shape
    for z in range(depth - 1):
        for y in range(height - 1):
            row0, row1 = mask[z, y], mask[z, y + 1]
            row2, row3 = mask[z + 1, y], mask[z + 1, y + 1]
            near = row0[0] | row1[0] << 2 | row2[0] << 4 | row3[0] << 6
            for x in range(width - 1):
                far = row0[x + 1] | row1[x + 1] << 2 | row2[x + 1] << 4 | row3[x + 1] << 6
                kind = near | far << 1
                near = far
                if kind != 0 and kind != 255:
                    count[kind] += 1
                    position[kind, 0] += z
                    position[kind, 1] += y
                    position[kind, 2] += x
    return count, position


@numba.njit(["int64[::1](int64[:,::1])"], cache=True, nogil=True)
def plane_hulls(points):  # type: ignore[no-untyped-def]
    """Indices of the corners of the convex hull of the points of each plane (Andrew's monotone chain, 1979).

    Args:
        points: (n, 3): plane, and two coordinates in it; ordered by all three.
    """
    kept = np.empty(2 * len(points), np.int64)
    chain = np.empty(2 * len(points), np.int64)
    total = 0
    start = 0
    while start < len(points):
        stop = start
        while stop < len(points) and points[stop, 0] == points[start, 0]:
            stop += 1
        for backwards in range(2):
            size = 0
            for step in range(stop - start):
                point = stop - 1 - step if backwards else start + step
                while size >= 2:
                    a, b = chain[size - 2], chain[size - 1]
                    turn = (points[b, 1] - points[a, 1]) * (points[point, 2] - points[a, 2]) - (
                        points[b, 2] - points[a, 2]
                    ) * (points[point, 1] - points[a, 1])
                    if turn > 0:
                        break
                    size -= 1
                chain[size] = point
                size += 1
            last = size if stop - start == 1 else size - 1  # a chain ends where the other one begins
            if backwards and stop - start == 1:
                last = 0
            kept[total : total + last] = chain[:last]
            total += last
        start = stop
    return kept[:total].copy()


@numba.njit(["float64(float64[:,::1], int64[::1])"], cache=True, nogil=True)
def longest_in_groups(points, starts):  # type: ignore[no-untyped-def]
    """The largest distance of two points of one group.

    Args:
        points: (n, 3), in mm.
        starts: where each group starts, and the end of the last.
    """
    longest = 0.0
    for group in range(len(starts) - 1):
        for a in range(starts[group], starts[group + 1]):
            for b in range(starts[group], a):
                first = points[a, 0] - points[b, 0]
                second = points[a, 1] - points[b, 1]
                third = points[a, 2] - points[b, 2]
                longest = max(longest, first * first + second * second + third * third)
    return np.sqrt(longest)
