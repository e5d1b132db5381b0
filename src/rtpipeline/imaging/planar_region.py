"""The exact region that the contours of one plane enclose.

The region is cut into horizontal strips at every vertex and every crossing. Within a strip no two edges cross, so
the edges have an order from left to right, and following it tells which trapezoids belong to the region. What
remains are the pieces of edges that bound the region, from which areas follow exactly by Green's theorem, also
areas within the cells of a lattice (`cell_coverage`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtpipeline.imaging.grid import FloatArray

_POSITION_TOLERANCE_MM = 1e-6
_NESTED_FRACTION = 0.99
"""A contour that lies to this fraction inside another one is a hole (or an island) in it."""
_SAME_FRACTION = 0.9999
"""Two contours that have this fraction of their area in common are the same contour, drawn twice."""
_APART_FRACTION = 1e-6
"""Contours that have less than this fraction of the smaller one in common do not overlap."""


@dataclass(frozen=True, eq=False)
class PlanarRegion:
    """A region of a plane.

    Attributes:
        pieces: (n, 4) directed boundary pieces (x0, y0, x1, y1) in mm; those with the region at their right, as x
            grows, go up (y1 > y0), those with it at their left go down. Horizontal boundaries are left out.
        united: number of contours that were united with another one because they overlap it or repeat it.
    """

    pieces: FloatArray
    united: int = 0

    @property
    def area_mm2(self) -> float:
        """Area, from Green's theorem: minus the integral of x dy along the boundary."""
        x0, y0, x1, y1 = self.pieces.T
        return float(-0.5 * np.sum((x0 + x1) * (y1 - y0)))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Smallest x, smallest y, largest x, largest y; only for a region that is not empty."""
        x, y = self.pieces[:, 0::2], self.pieces[:, 1::2]
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())


@dataclass(frozen=True, eq=False)
class _Strips:
    """Pieces of edges between two neighbouring levels, sorted by strip and from left to right."""

    strip: NDArray[np.intp]
    polygon: NDArray[np.intp]
    x_low: FloatArray
    x_high: FloatArray
    y_low: FloatArray
    y_high: FloatArray


def region_of(polygons: Sequence[FloatArray]) -> PlanarRegion:
    """The region that closed polygons (n, 2) of one plane enclose.

    Each polygon encloses by the even-odd rule. A polygon inside another one is a hole in it, one inside that hole an
    island, and so on (also even-odd); polygons that overlap in part, or repeat one another, are united.
    """
    edges, owner = _edges(polygons)
    if len(edges) == 0:
        return PlanarRegion(np.empty((0, 4)))
    strips = _ordered_strips(edges, owner)
    if len(polygons) == 1:
        parity = np.arange(len(strips.strip)) % 2 == 0
        return PlanarRegion(_boundary(strips, entering=parity, leaving=~parity))
    inside = _inside_after(strips, len(polygons))
    groups, united = _overlapping_groups(inside, _areas_to_the_right(strips))
    after = _combined(inside, groups)
    before = np.concatenate([[False], after[:-1]])  # after the last edge of a strip nothing is inside
    return PlanarRegion(_boundary(strips, entering=after & ~before, leaving=before & ~after), united)


def _edges(polygons: Sequence[FloatArray]) -> tuple[FloatArray, NDArray[np.intp]]:
    """Edges (x_low, y_low, x_high, y_high) that are not horizontal, and the polygon that each belongs to."""
    starts = [np.asarray(polygon, float)[:, :2] for polygon in polygons]
    ends = [np.roll(start, -1, axis=0) for start in starts]
    if not starts:
        return np.empty((0, 4)), np.empty(0, np.intp)
    edges = np.concatenate([np.concatenate(starts), np.concatenate(ends)], axis=1)
    owner = np.repeat(np.arange(len(starts)), [len(start) for start in starts])
    downwards = edges[:, 1] > edges[:, 3]
    edges[downwards] = edges[downwards][:, [2, 3, 0, 1]]
    sloped = edges[:, 3] > edges[:, 1]
    return edges[sloped], owner[sloped]


def _ordered_strips(edges: FloatArray, owner: NDArray[np.intp]) -> _Strips:
    """The edges cut at every vertex and every crossing."""
    levels = np.unique(edges[:, [1, 3]])
    while True:
        strips = _strips(edges, owner, levels)
        crossings = _crossing_levels(strips)
        if len(crossings) == 0:
            return strips
        levels = np.unique(np.concatenate([levels, crossings]))


def _strips(edges: FloatArray, owner: NDArray[np.intp], levels: FloatArray) -> _Strips:
    first = np.searchsorted(levels, edges[:, 1])
    count = np.searchsorted(levels, edges[:, 3]) - first
    edge = np.repeat(np.arange(len(edges)), count)
    strip = np.arange(len(edge)) + np.repeat(first - (np.cumsum(count) - count), count)
    y_low, y_high = levels[strip], levels[strip + 1]
    x0, y0, x1, y1 = edges[edge].T
    slope = (x1 - x0) / (y1 - y0)
    x_low = x0 + (y_low - y0) * slope
    x_high = x0 + (y_high - y0) * slope
    order = np.lexsort((x_low + x_high, strip))
    return _Strips(strip[order], owner[edge[order]], x_low[order], x_high[order], y_low[order], y_high[order])


def _crossing_levels(strips: _Strips) -> FloatArray:
    """Where, strictly inside its strip, an edge crosses its right neighbour."""
    gap_low = np.diff(strips.x_low)
    gap_high = np.diff(strips.x_high)
    crossed = (np.diff(strips.strip) == 0) & (np.minimum(gap_low, gap_high) < -_POSITION_TOLERANCE_MM)
    low, high = gap_low[crossed], gap_high[crossed]
    y_low, y_high = strips.y_low[:-1][crossed], strips.y_high[:-1][crossed]
    level = y_low + low / (low - high) * (y_high - y_low)
    return level[(level > y_low) & (level < y_high)]


def _inside_after(strips: _Strips, polygons: int) -> NDArray[np.bool_]:
    """(pieces, polygons): which polygons enclose the trapezoid to the right of each piece.

    Every polygon has an even number of pieces in every strip, so its parity starts anew by itself.
    """
    mine = strips.polygon[:, None] == np.arange(polygons)
    return np.cumsum(mine, axis=0) % 2 == 1


def _areas_to_the_right(strips: _Strips) -> FloatArray:
    """Area of the trapezoid between each piece and the next one; the last piece of a strip has none."""
    width = 0.5 * (np.diff(strips.x_low) + np.diff(strips.x_high))
    height = strips.y_high - strips.y_low
    area = np.where(np.diff(strips.strip) == 0, width * height[:-1], 0.0)
    return np.append(np.maximum(area, 0.0), 0.0)


def _overlapping_groups(inside: NDArray[np.bool_], areas: FloatArray) -> tuple[NDArray[np.intp], int]:
    """The group of each polygon, where polygons that overlap or repeat one another are in one group."""
    weights = inside.T.astype(float)
    common = (weights * areas) @ weights.T
    own = np.diagonal(common)
    smaller, larger = np.minimum.outer(own, own), np.maximum.outer(own, own)
    overlap = (common > _APART_FRACTION * smaller) & (common < _NESTED_FRACTION * smaller)
    repeated = (common >= _SAME_FRACTION * larger) & (larger > 0)
    joined = overlap | repeated
    np.fill_diagonal(joined, False)
    groups = np.arange(len(own))
    for first, second in np.argwhere(joined):
        groups[groups == groups[second]] = groups[first]
    return groups, len(own) - len(np.unique(groups))


def _combined(inside: NDArray[np.bool_], groups: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether the trapezoid to the right of each piece belongs to the region: groups by the even-odd rule."""
    combined = np.zeros(len(inside), dtype=bool)
    for group in np.unique(groups):
        combined ^= inside[:, groups == group].any(axis=1)
    return combined


def _boundary(strips: _Strips, *, entering: NDArray[np.bool_], leaving: NDArray[np.bool_]) -> FloatArray:
    """Directed pieces: up where the region begins, down where it ends."""
    up = np.stack([strips.x_low, strips.y_low, strips.x_high, strips.y_high], axis=1)
    return np.concatenate([up[entering], up[leaving][:, [2, 3, 0, 1]]])
