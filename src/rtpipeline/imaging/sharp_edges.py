"""Edges that a mask really has, as a box or the end of a cylinder does, and not only for being made of voxels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from rtpipeline.imaging.mask import BoolArray

LatticeArray = NDArray[np.float32]
Direction = tuple[int, int]
"""An axis, and the sense along it (1 or -1)."""

_SHORTEST_FACE = 4
"""Voxels. Where a tilted or curved surface is cut into steps, one side of each step is shorter than that."""
_UNROUNDED = 2
"""Voxels from an edge at which its faces are where they belong."""


def with_sharp_edges(level: LatticeArray, values: BoolArray, parts: tuple[int, int, int]) -> LatticeArray:
    """A smooth level function (negative inside) whose surface has the edges that its smoothing rounded.

    Near an edge, the inside is what lies inside both of its faces, each of them continued from further inwards, where
    it is not rounded. Edges of the outside (where the mask has a groove) are treated alike.

    Args:
        level: in voxels, on a lattice of which every `parts`-th point is the centre of a voxel.
        values: (z, y, x), True inside.
        parts: (z, y, x) steps of the lattice in a voxel.
    """
    for _ in range(2):  # the second time, corners find the edges sharp that meet in them
        convex = _continued(level, values, parts)
        concave = -_continued(-level, ~values, parts)
        level = np.where(convex < level, convex, np.maximum(level, concave))
    return level


def sharp_edges(values: BoolArray) -> Iterator[tuple[Direction, Direction, NDArray[np.int64]]]:
    """Voxels (n, 3) inside at which two flat faces of at least `_SHORTEST_FACE` voxels meet at a right angle.

    Yields:
        The directions that the two faces look to, and the voxels along the edges between such faces.
    """
    for first, second in combinations(range(values.ndim), 2):
        for one, other in product((-1, 1), repeat=2):
            one_face = _face(values, first, one)
            other_face = _face(values, second, other)
            voxels = np.argwhere(one_face & other_face)
            for step in range(1, _SHORTEST_FACE):
                voxels = voxels[_at(other_face, voxels, first, -one * step)]
                voxels = voxels[_at(one_face, voxels, second, -other * step)]
            if len(voxels):
                yield (first, one), (second, other), voxels


def _face(values: BoolArray, axis: int, sense: int) -> BoolArray:
    """Voxels inside whose neighbour in a direction is outside; what lies beyond the array is no neighbour."""
    face = np.zeros_like(values)
    own, neighbour = [slice(None)] * values.ndim, [slice(None)] * values.ndim
    own[axis], neighbour[axis] = (slice(0, -1), slice(1, None))[::sense]
    face[tuple(own)] = values[tuple(own)] & ~values[tuple(neighbour)]
    return face


def _at(face: BoolArray, voxels: NDArray[np.int64], axis: int, steps: int) -> BoolArray:
    """(n,) whether the voxels that lie some steps along an axis from `voxels` are True; False beyond the array."""
    places = voxels.copy()
    places[:, axis] += steps
    within = (places[:, axis] >= 0) & (places[:, axis] < face.shape[axis])
    places[~within] = voxels[~within]
    return np.asarray(within & face[tuple(places.T)])


def _continued(level: LatticeArray, values: BoolArray, parts: tuple[int, int, int]) -> LatticeArray:
    result = level.copy()
    last = np.array(level.shape) - 1
    for one, other, voxels in sharp_edges(values):
        inwards = [np.zeros(3, np.int64) for _ in range(2)]
        for step, (axis, sense) in zip(inwards, (one, other), strict=True):
            step[axis] = -sense * _UNROUNDED * parts[axis]
        reach = [count if axis in (one[0], other[0]) else count // 2 for axis, count in enumerate(parts)]
        for offset in product(*(range(-count, count + 1) for count in reach)):
            points = voxels * np.array(parts) + np.array(offset)
            points = points[np.all((points >= 0) & (points <= last), axis=1)]
            faces = [level[tuple(np.clip(points + step, 0, last).T)] for step in inwards]
            place = tuple(points.T)
            result[place] = np.minimum(result[place], np.maximum(*faces))
    return result
