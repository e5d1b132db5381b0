"""Masks → contours in which holes are joined to what is around them by a keyhole (DICOM PS3.3, C.8.8.6.3).

Some readers take contours inside contours for holes, others fill them; a keyhole is the same for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from rtpipeline.imaging.grid import FloatArray
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.polygons import index_loops

SEAM_ROW_OFFSET = 0.25
"""How far, in rows, a seam runs from the edge of its voxels: neither on an edge nor through a voxel's centre."""


@dataclass(eq=False)
class _Loop:
    """A closed loop of (column, row) vertices, and the holes that are joined to its edges.

    Attributes:
        vertices: (n, 2).
        plane: index of its plane.
        joined: (edge, row, hole) in no order; edge `i` leads from vertex `i` to the next one.
        own_edge: of a hole: the edge at which it is joined to another loop.
        own_point: of a hole: where on that edge.
    """

    vertices: FloatArray
    plane: float
    joined: list[tuple[int, float, _Loop]] = field(default_factory=list)
    own_edge: int = -1
    own_point: tuple[float, float] = (0.0, 0.0)


def keyholed_outline(mask: Mask) -> list[FloatArray]:
    """The voxel edges around a mask, as closed polygons without polygons inside them.

    As `polygons.outline`, and every hole is joined, along a seam within a row of voxels, to the next edge towards
    smaller columns. The two sides of a seam are the same points, so that neither area nor any voxel changes.

    Returns:
        One (n, 3) array in world mm for each outer loop, without repeating the first vertex; by plane.
    """
    loops = [_Loop(loop[:, :2], float(loop[0, 2])) for loop in index_loops(mask)]
    by_plane: dict[float, list[_Loop]] = {}
    for loop in loops:
        by_plane.setdefault(loop.plane, []).append(loop)
    polygons = []
    for plane, members in by_plane.items():
        holes = [loop for loop in members if _signed_area(loop.vertices) < 0]
        if holes:
            _join(holes, members)
        for loop in members:
            if loop.own_edge < 0:
                points = loop.vertices if not loop.joined else np.array(_walk(loop))
                index = np.column_stack([points, np.full(len(points), plane)])
                polygons.append(mask.grid.index_to_world(index))
    return polygons


def _signed_area(vertices: FloatArray) -> float:
    x, y = vertices.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _join(holes: Sequence[_Loop], loops: Sequence[_Loop]) -> None:
    """Join every hole to the loop that the row beside its leftmost edge meets first."""
    owner, edge, column, low, high = _upright_edges(loops)
    for hole in holes:
        mine = np.flatnonzero(owner == loops.index(hole))
        first = mine[np.lexsort((low[mine], column[mine]))[0]]
        row = low[first] + SEAM_ROW_OFFSET
        hole.own_edge = int(edge[first])
        hole.own_point = (float(column[first]), float(row))
        met = np.flatnonzero((column < column[first]) & (low < row) & (row < high))
        nearest = met[column[met].argmax()]
        loops[owner[nearest]].joined.append((int(edge[nearest]), float(row), hole))


def _upright_edges(loops: Sequence[_Loop]) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Loop, number within the loop, column, lowest and highest row of every edge along a column."""
    start = np.concatenate([loop.vertices for loop in loops])
    end = np.concatenate([np.roll(loop.vertices, -1, axis=0) for loop in loops])
    owner = np.repeat(np.arange(len(loops)), [len(loop.vertices) for loop in loops])
    edge = np.concatenate([np.arange(len(loop.vertices)) for loop in loops])
    upright = start[:, 0] == end[:, 0]
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    return owner[upright], edge[upright], start[upright, 0], low[upright], high[upright]


def _walk(outer: _Loop) -> list[list[float]]:
    """Around a loop, and at every seam across, around the hole, and back."""
    points: list[list[float]] = []
    stack: list[Iterator[list[list[float]] | _Loop]] = [_steps(outer)]
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
        elif isinstance(step, _Loop):
            stack.append(_steps(step))
        else:
            points += step
    return points


def _steps(loop: _Loop) -> Iterator[list[list[float]] | _Loop]:
    """The vertices of a loop in their order, beginning and ending where it is joined, with the holes joined to it."""
    first = loop.own_edge + 1
    vertices = np.roll(loop.vertices, -first, axis=0).tolist()
    count = len(vertices)
    at_edge: dict[int, list[tuple[float, _Loop]]] = {}
    for edge, row, hole in loop.joined:
        at_edge.setdefault((edge - first) % count, []).append((row, hole))
    own = [list(loop.own_point)] if loop.own_edge >= 0 else []
    yield own
    done = 0
    for edge in sorted(at_edge):
        yield vertices[done : edge + 1]
        done = edge + 1
        column, row = vertices[edge]
        downwards = vertices[(edge + 1) % count][1] > row
        for seam_row, hole in sorted(at_edge[edge], key=lambda entry: entry[0], reverse=not downwards):
            yield [[column, seam_row]]
            yield hole
            yield [[column, seam_row]]
    yield vertices[done:] + own
