"""The loops that find which pieces of polygons bound the regions that they enclose; see `planar_region`.

A plane is cut into horizontal strips at every vertex and every crossing. Within a strip no two edges cross, so that
the edges have an order from left to right, and following it tells where the region begins and ends. All of it is in
one file because compiled code that is kept for the next process is made again only when its own file changes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtpipeline.imaging.compiled import compiled
from rtpipeline.imaging.grid import FloatArray

IndexArray = NDArray[np.int64]

_POSITION_TOLERANCE_MM = 1e-6
_NESTED_FRACTION = 0.99
"""A contour that lies to this fraction inside another one is a hole (or an island) in it."""
_ACROSS_FRACTION = 0.1
"""Unless as much of it as this lies outside, measured by what the other one has beyond it: then they cross."""
_SAME_FRACTION = 0.9
SAME_MM = 0.2
"""Two contours are the same one, drawn twice, when they have this fraction of the larger one in common and their
outlines are less than this apart, on average."""
_APART_FRACTION = 1e-6
"""Contours that have less than this fraction of the smaller one in common do not overlap."""


@compiled
def boundary_pieces(
    points: FloatArray, polygons: IndexArray, planes: IndexArray
) -> tuple[FloatArray, IndexArray, IndexArray]:
    """The boundary of the region that the polygons of each plane enclose.

    Args:
        points: (n, 2) vertices of all polygons, in mm.
        polygons: (p + 1,) where the vertices of each polygon begin.
        planes: (k + 1,) where the polygons of each plane begin.

    Returns:
        (m, 4) directed pieces (see `planar_region.Regions`), (k + 1,) where those of each plane begin, and (k,) how
        many polygons were united with another one.
    """
    pieces = np.empty((len(points) + 16, 4))
    first = np.zeros(len(planes), np.int64)
    united = np.zeros(len(planes) - 1, np.int64)
    for plane in range(len(united)):
        own = polygons[planes[plane] : planes[plane + 1] + 1]
        found, united[plane] = _plane_pieces(points, own)
        end = first[plane] + len(found)
        if end > len(pieces):
            larger = np.empty((2 * end, 4))
            larger[: first[plane]] = pieces[: first[plane]]
            pieces = larger
        pieces[first[plane] : end] = found
        first[plane + 1] = end
    return pieces[: first[-1]].copy(), first, united


@compiled
def areas_and_bounds(pieces: FloatArray, first: IndexArray) -> tuple[FloatArray, FloatArray]:
    """(k,) areas and (k, 4) bounds (smallest x and y, largest x and y); bounds are infinite without pieces."""
    areas = np.zeros(len(first) - 1)
    bounds = np.empty((len(areas), 4))
    for region in range(len(areas)):
        bounds[region, 0:2] = np.inf
        bounds[region, 2:4] = -np.inf
        for piece in range(first[region], first[region + 1]):
            x0, y0, x1, y1 = pieces[piece]
            areas[region] -= 0.5 * (x0 + x1) * (y1 - y0)
            bounds[region, 0] = min(bounds[region, 0], x0, x1)
            bounds[region, 1] = min(bounds[region, 1], y0, y1)
            bounds[region, 2] = max(bounds[region, 2], x0, x1)
            bounds[region, 3] = max(bounds[region, 3], y0, y1)
    return areas, bounds


@compiled
def _plane_pieces(points: FloatArray, polygons: IndexArray) -> tuple[FloatArray, int]:
    edges, owner = _edges(points, polygons)
    if len(edges) == 0:
        return np.empty((0, 4)), 0
    levels, first, members = _arranged(edges)
    groups, united = _united(points, polygons, SAME_MM, edges, owner, levels, first, members)
    return _directed(edges, owner, groups, levels, first, members), united


@compiled
def polygon_groups(points: FloatArray, polygons: IndexArray, same_mm: float) -> tuple[IndexArray, int]:
    """Which polygons of one plane are united, because they overlap in part or repeat one another.

    Args:
        points: (n, 2) vertices, in mm.
        polygons: (p + 1,) where the vertices of each polygon begin.
        same_mm: see `SAME_MM`.

    Returns:
        (p,) numbers, the same for those that are united; and how many polygons were united with another one.
    """
    edges, owner = _edges(points, polygons)
    levels, first, members = _arranged(edges)
    return _united(points, polygons, same_mm, edges, owner, levels, first, members)


@compiled
def _arranged(edges: FloatArray) -> tuple[FloatArray, IndexArray, IndexArray]:
    """Levels between which no two edges cross, and the edges of each strip (see `_strips`)."""
    levels = np.unique(edges[:, 1:4:2].copy().ravel())
    first, members = _strips(edges, levels)
    crossings = _crossing_levels(edges, levels, first, members)
    while len(crossings) > 0:
        levels = np.unique(np.concatenate((levels, crossings)))
        first, members = _strips(edges, levels)
        crossings = _crossing_levels(edges, levels, first, members)
    return levels, first, members


@compiled
def _united(
    points: FloatArray,
    polygons: IndexArray,
    same_mm: float,
    edges: FloatArray,
    owner: IndexArray,
    levels: FloatArray,
    first: IndexArray,
    members: IndexArray,
) -> tuple[IndexArray, int]:
    """The number of the group of each polygon, and how many polygons were united with another one."""
    count = len(polygons) - 1
    groups = np.arange(count)
    if count == 1:
        return groups, 0
    common = _common_areas(edges, owner, count, levels, first, members)
    return groups, _unite(groups, common, _perimeters(points, polygons), same_mm)


@compiled
def _edges(points: FloatArray, polygons: IndexArray) -> tuple[FloatArray, IndexArray]:
    """Edges (x_low, y_low, x_high, y_high, dx/dy) that are not horizontal, and the polygon that each belongs to."""
    edges = np.empty((polygons[-1] - polygons[0], 5))
    owner = np.empty(len(edges), np.int64)
    count = 0
    for polygon in range(len(polygons) - 1):
        begin, end = polygons[polygon], polygons[polygon + 1]
        for vertex in range(begin, end):
            after = vertex + 1 if vertex + 1 < end else begin
            low, high = (vertex, after) if points[vertex, 1] < points[after, 1] else (after, vertex)
            height = points[high, 1] - points[low, 1]
            if height > 0:
                edges[count, 0:2] = points[low]
                edges[count, 2:4] = points[high]
                edges[count, 4] = (points[high, 0] - points[low, 0]) / height
                owner[count] = polygon
                count += 1
    return edges[:count], owner[:count]


@compiled
def _x_at(edges: FloatArray, edge: int, level: float) -> float:
    return edges[edge, 0] + (level - edges[edge, 1]) * edges[edge, 4]


@compiled
def _strips(edges: FloatArray, levels: FloatArray) -> tuple[IndexArray, IndexArray]:
    """The edges of each strip between two neighbouring levels, from left to right.

    Returns:
        (strips + 1,) where each strip begins in the second one, which holds numbers of edges.
    """
    lowest = np.searchsorted(levels, edges[:, 1])
    highest = np.searchsorted(levels, edges[:, 3])
    first = np.zeros(len(levels), np.int64)
    for edge in range(len(edges)):
        for strip in range(lowest[edge], highest[edge]):
            first[strip + 1] += 1
    first = np.cumsum(first)
    end = first[:-1].copy()
    members = np.empty(first[-1], np.int64)
    middles = np.empty(first[-1])
    for edge in range(len(edges)):
        for strip in range(lowest[edge], highest[edge]):
            middle = _x_at(edges, edge, levels[strip]) + _x_at(edges, edge, levels[strip + 1])
            at = end[strip]
            while at > first[strip] and middles[at - 1] > middle:
                members[at], middles[at] = members[at - 1], middles[at - 1]
                at -= 1
            members[at], middles[at] = edge, middle
            end[strip] += 1
    return first, members


@compiled
def _crossing_levels(edges: FloatArray, levels: FloatArray, first: IndexArray, members: IndexArray) -> FloatArray:
    """Where, strictly inside its strip, an edge crosses its right neighbour."""
    found = np.empty(len(members))
    count = 0
    for strip in range(len(levels) - 1):
        low, high = levels[strip], levels[strip + 1]
        for place in range(first[strip], first[strip + 1] - 1):
            left, right = members[place], members[place + 1]
            gap_low = _x_at(edges, right, low) - _x_at(edges, left, low)
            gap_high = _x_at(edges, right, high) - _x_at(edges, left, high)
            if min(gap_low, gap_high) < -_POSITION_TOLERANCE_MM:
                level = low + gap_low / (gap_low - gap_high) * (high - low)
                if low < level < high:
                    found[count] = level
                    count += 1
    return found[:count]


@compiled
def _common_areas(
    edges: FloatArray, owner: IndexArray, polygons: int, levels: FloatArray, first: IndexArray, members: IndexArray
) -> FloatArray:
    """(polygons, polygons) area that each two have in common; their own on the diagonal."""
    common = np.zeros((polygons, polygons))
    inside = np.zeros(polygons, np.bool_)
    enclosing = np.empty(polygons, np.int64)
    for strip in range(len(levels) - 1):
        low, high = levels[strip], levels[strip + 1]
        inside[:] = False
        for place in range(first[strip], first[strip + 1] - 1):
            left, right = members[place], members[place + 1]
            inside[owner[left]] = not inside[owner[left]]
            width = 0.5 * (
                _x_at(edges, right, low)
                - _x_at(edges, left, low)
                + _x_at(edges, right, high)
                - _x_at(edges, left, high)
            )
            if width <= 0.0:
                continue
            count = 0
            for polygon in range(polygons):
                if inside[polygon]:
                    enclosing[count] = polygon
                    count += 1
            for one in enclosing[:count]:
                for other in enclosing[:count]:
                    common[one, other] += width * (high - low)
    return common


@compiled
def _perimeters(points: FloatArray, polygons: IndexArray) -> FloatArray:
    lengths = np.zeros(len(polygons) - 1)
    for polygon in range(len(lengths)):
        begin, end = polygons[polygon], polygons[polygon + 1]
        for vertex in range(begin, end):
            after = vertex + 1 if vertex + 1 < end else begin
            lengths[polygon] += np.hypot(points[after, 0] - points[vertex, 0], points[after, 1] - points[vertex, 1])
    return lengths


@compiled
def _unite(groups: IndexArray, common: FloatArray, perimeters: FloatArray, same_mm: float) -> int:
    """Give polygons that overlap in part, or repeat one another, one number in `groups`; how many were united."""
    united = 0
    for one in range(len(groups)):
        for other in range(one):
            larger, smaller = (one, other) if common[one, one] > common[other, other] else (other, one)
            shared = common[one, other]
            beyond_larger, beyond_smaller = common[smaller, smaller] - shared, common[larger, larger] - shared
            if shared <= _APART_FRACTION * common[smaller, smaller]:
                continue
            overlap = shared < _NESTED_FRACTION * common[smaller, smaller]
            across = beyond_larger > _ACROSS_FRACTION * beyond_smaller
            apart_mm = (beyond_larger + beyond_smaller) / perimeters[larger]
            repeated = shared >= _SAME_FRACTION * common[larger, larger] and apart_mm < same_mm
            if (overlap or across or repeated) and groups[one] != groups[other]:
                groups[groups == groups[one]] = groups[other]
                united += 1
    return united


@compiled
def _directed(
    edges: FloatArray,
    owner: IndexArray,
    groups: IndexArray,
    levels: FloatArray,
    first: IndexArray,
    members: IndexArray,
) -> FloatArray:
    """The pieces of edges that bound the region: up where it begins to their right, down where it ends.

    A point is in the region when it is inside an odd number of groups, and in a group when it is inside one of its
    polygons. An edge stays in one piece as far as it goes on to bound the region in the same way.
    """
    pieces = np.empty((len(members), 4))
    count = 0
    way = np.zeros(len(edges), np.int64)
    begun = edges[:, 1].copy()
    inside = np.zeros(len(groups), np.bool_)
    depth = np.zeros(len(groups), np.int64)
    for strip in range(len(levels) - 1):
        low, high = levels[strip], levels[strip + 1]
        within = 0
        for place in range(first[strip], first[strip + 1]):
            edge = members[place]
            polygon, group, before = owner[edge], groups[owner[edge]], within
            inside[polygon] = not inside[polygon]
            depth[group] += 1 if inside[polygon] else -1
            if depth[group] == (1 if inside[polygon] else 0):
                within = 1 - within
            turn = within - before
            if turn != way[edge]:
                count += _put(pieces, count, edges, edge, begun[edge], low, way[edge])
                begun[edge], way[edge] = low, turn
            if high == edges[edge, 3]:
                count += _put(pieces, count, edges, edge, begun[edge], high, turn)
    return pieces[:count]


@compiled
def _put(pieces: FloatArray, place: int, edges: FloatArray, edge: int, low: float, high: float, way: int) -> int:
    """Store the part of an edge between two levels; the number of pieces stored."""
    if way == 0:
        return 0
    x_low, x_high = _x_at(edges, edge, low), _x_at(edges, edge, high)
    if high == edges[edge, 3]:
        x_high = edges[edge, 2]
    if way > 0:
        pieces[place] = (x_low, low, x_high, high)
    else:
        pieces[place] = (x_high, high, x_low, low)
    return 1
