"""Masks → contours that run along the edges of the voxels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtpipeline.imaging.grid import FloatArray
from rtpipeline.imaging.mask import BoolArray, Mask

IndexArray = NDArray[np.int64]

_ROW_STEP = np.array([0, 1, 0, -1])
_COLUMN_STEP = np.array([1, 0, -1, 0])


def outline(mask: Mask) -> list[FloatArray]:
    """The voxel edges around a mask, as closed polygons.

    No voxel centre lies on a polygon, so every point-in-polygon convention gives the mask back: rasterising the
    polygons by the even-odd rule is exact, and their area is the area of the voxels (holes count negative).
    Voxels that touch only at a corner get polygons of their own.

    Returns:
        One (n, 3) array in world mm for each loop, without repeating the first vertex; vertices only where the
        outline turns. Outer loops and holes run in opposite senses. The order is by plane, then by the first vertex
        (the topmost, then leftmost of the loop), and so the same for the same mask.
    """
    loops = index_loops(mask)
    if not loops:
        return []
    world = mask.grid.index_to_world(np.concatenate(loops))
    return np.split(world, np.cumsum([len(loop) for loop in loops])[:-1])


def index_loops(mask: Mask) -> list[FloatArray]:
    """`outline` in continuous (column, row, plane) indices of the mask's grid; clockwise loops are outer ones."""
    edges, shape = _boundary_edges(mask.values)
    if len(edges) == 0:
        return []
    successor = _successors(edges, shape)
    loop, rank = _walk(successor)
    direction = edges % 4
    arriving = np.empty_like(direction)
    arriving[successor] = direction
    corner = arriving != direction
    order = np.lexsort((rank[corner], loop[corner]))
    kept, kept_loop = edges[corner][order], loop[corner][order]
    plane, row, column = np.unravel_index(kept // 4, shape)
    index = np.stack([column - 0.5, row - 0.5, plane.astype(float)], axis=-1)
    return np.split(index, np.flatnonzero(np.diff(kept_loop)) + 1)


def _boundary_edges(values: BoolArray) -> tuple[IndexArray, tuple[int, int, int]]:
    """Sorted keys of the directed voxel edges between inside and outside, with the inside on the right.

    A key is 4 × (number of the start vertex) + direction; directions 0 to 3 are +column, +row, -column, -row.
    Vertex (row, column) is the corner of pixel (row, column) towards its lower neighbours.
    """
    planes, rows, columns = values.shape
    shape = (planes, rows + 1, columns + 1)
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    inside = padded[:, 1:-1, 1:-1]
    neighbours = (padded[:, :-2, 1:-1], padded[:, 1:-1, 2:], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2])
    start = ((0, 0), (0, 1), (1, 1), (1, 0))
    keys = []
    for direction in range(4):
        edges = np.flatnonzero(inside & ~neighbours[direction])
        plane, row, column = np.unravel_index(edges, values.shape)
        vertex = np.ravel_multi_index((plane, row + start[direction][0], column + start[direction][1]), shape)
        keys.append(vertex.astype(np.int64) * 4 + direction)
    return np.sort(np.concatenate(keys)), shape


def _successors(edges: IndexArray, shape: tuple[int, int, int]) -> IndexArray:
    """Index of the edge that follows each edge: a right turn where there is one, else straight on, else left."""
    direction = edges % 4
    end = edges // 4 + _ROW_STEP[direction] * shape[2] + _COLUMN_STEP[direction]
    successor = np.full(len(edges), -1, dtype=np.int64)
    for turn in (3, 0, 1):
        wanted = end * 4 + (direction + turn) % 4
        at = np.minimum(np.searchsorted(edges, wanted), len(edges) - 1)
        successor = np.where(edges[at] == wanted, at, successor)
    return successor


def _walk(successor: IndexArray) -> tuple[IndexArray, IndexArray]:
    """For every edge, the smallest edge of its loop, and the number of steps from it (both by pointer doubling)."""
    count = len(successor)
    rounds = max(1, int(np.ceil(np.log2(count))) + 1)
    loop = np.arange(count)
    pointer = successor.copy()
    for _ in range(rounds):
        loop = np.minimum(loop, loop[pointer])
        pointer = pointer[pointer]
    is_last = successor == loop
    pointer = np.where(is_last, np.arange(count), successor)
    to_last = np.where(is_last, 0, 1)
    for _ in range(rounds):
        to_last = to_last + to_last[pointer]
        pointer = pointer[pointer]
    return loop, to_last[loop] - to_last
