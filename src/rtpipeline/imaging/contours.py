"""Contours → masks: which voxels of a grid have their centre inside a structure's contours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtpipeline.imaging.grid import POSITION_TOLERANCE_MM, FloatArray, Grid
from rtpipeline.imaging.keyholes import SEAM_ROW_OFFSET
from rtpipeline.imaging.mask import BoolArray, Mask
from rtpipeline.imaging.region_kernel import SAME_MM, polygon_groups
from rtpipeline.imaging.slab_bounds import gap_warnings, slab_bounds_mm

SAME_PLANE_MM = 0.15
SAME_PLANE_FRACTION = 0.15


@dataclass(frozen=True, eq=False)
class ContourPlane:
    """The contours of one plane.

    Attributes:
        offset_mm: distance of the plane from the origin of the coordinate system, along the planes' normal.
        contours: (n, 3) world mm each, without exact duplicates.
    """

    offset_mm: float
    contours: tuple[FloatArray, ...]


def rasterise(contours: Sequence[FloatArray], grid: Grid) -> Mask:
    """The voxels of `grid` whose centre lies inside closed planar contours.

    Rule: even-odd over all contours of a plane, so that holes may be nested or joined by a keyhole. An exact
    duplicate counts once, and contours that overlap in part, or nearly repeat another, are united. Every image plane
    takes the plane of contours in whose slab (see `slab_bounds.slab_bounds_mm`) it lies; contours are never moved.

    Args:
        contours: (n, 3) world mm each, closed, in planes parallel to those of the grid, in any order.
        grid: where the mask is wanted.

    Returns:
        The mask, cropped; `rasterise_with_notes` also tells what was left out or united.
    """
    return rasterise_with_notes(contours, grid)[0]


def rasterise_with_notes(contours: Sequence[FloatArray], grid: Grid) -> tuple[Mask, tuple[str, ...]]:
    """`rasterise`, and a sentence for everything about the contours that a reader of the result should know."""
    notes: list[str] = []
    flat, tilted = _split_by_tilt(contours, grid)
    if tilted:
        notes.append(f"{tilted} contours are not parallel to the image planes and were left out")
    normal = grid.direction[:, 2]
    start_mm = float(grid.origin_mm @ normal)
    planes = group_by_plane(flat, normal, float(np.median(grid.plane_thicknesses_mm)))
    duplicates = len(flat) - sum(len(plane.contours) for plane in planes)
    if duplicates:
        notes.append(f"{duplicates} contours are exact duplicates and count once")
    if not planes:
        return _empty(grid), tuple(notes)
    offsets = np.array([plane.offset_mm for plane in planes]) - start_mm
    taken, gap_note = _planes_taken(offsets, grid, planes)
    notes.extend(gap_note)
    pixels = [[grid.world_to_index(contour)[:, :2] for contour in plane.contours] for plane in planes]
    box = _pixel_box([points for plane in pixels for points in plane], grid)
    part = grid.crop(slice(0, grid.planes), *box)
    corner = np.array([box[1].start, box[0].start], float)
    values = np.zeros(part.shape, dtype=np.bool_)
    united = 0
    for source in np.unique(taken[taken >= 0]):
        image, overlapping = _fill_plane([points - corner for points in pixels[source]], part)
        united += overlapping
        values[taken == source] = image
    if united:
        notes.append(f"contours overlap in part, or repeat others, on {united} planes and were united")
    return Mask.cropped(part, values), tuple(notes)


def group_by_plane(
    contours: Sequence[FloatArray], normal: FloatArray, image_gap_mm: float | None = None
) -> list[ContourPlane]:
    """Put contours that lie in one plane together, by increasing offset along the unit vector `normal`.

    Contours whose mean offsets differ by no more than `SAME_PLANE_MM`, and `SAME_PLANE_FRACTION` of the spacing of the
    images that they were drawn on, are in one plane: rounding and transformations move them by as much. Exact
    duplicates (the same vertices in the same order, whatever the first vertex or the sense) are kept once.
    """
    if not contours:
        return []
    counts = np.array([len(contour) for contour in contours])
    offsets = np.add.reduceat(np.concatenate(contours) @ normal, np.cumsum(counts) - counts) / counts
    order = np.argsort(offsets, kind="stable")
    same_mm = SAME_PLANE_MM if image_gap_mm is None else min(SAME_PLANE_MM, SAME_PLANE_FRACTION * image_gap_mm)
    breaks = np.flatnonzero(np.diff(offsets[order]) > same_mm) + 1
    groups = []
    for members in np.split(order, breaks):
        kept = _distinct([contours[member] for member in members])
        groups.append(ContourPlane(float(offsets[members].mean()), kept))
    return groups


def _empty(grid: Grid) -> Mask:
    return Mask.cropped(grid, np.zeros(grid.shape, dtype=np.bool_))


def _split_by_tilt(contours: Sequence[FloatArray], grid: Grid) -> tuple[list[FloatArray], int]:
    """The contours that lie in a plane parallel to the grid's, and the number of the others."""
    tolerance = 0.5 * float(np.min(grid.plane_thicknesses_mm))
    flat = [contour for contour in contours if np.ptp(contour @ grid.direction[:, 2]) <= tolerance]
    return flat, len(contours) - len(flat)


def _distinct(contours: Sequence[FloatArray]) -> tuple[FloatArray, ...]:
    """The contours without exact duplicates, the first of each."""
    if len(contours) == 1:
        return (contours[0],)
    extents = {(*np.round(contour.min(axis=0), 3), *np.round(contour.max(axis=0), 3)) for contour in contours}
    if len(extents) == len(contours):  # much faster to tell, and nearly always so
        return tuple(contours)
    distinct = {_canonical(contour): contour for contour in reversed(contours)}
    return tuple(reversed(distinct.values()))


def _canonical(contour: FloatArray) -> bytes:
    """The same bytes for the same polygon, whatever its first vertex and its sense."""
    points = np.round(contour, 3) + 0.0
    if len(points) > 1 and np.array_equal(points[0], points[-1]):
        points = points[:-1]
    first = int(np.lexsort(points.T[::-1])[0])
    turned = (np.roll(points, -first, axis=0), np.roll(points[::-1], first + 1, axis=0))
    return min(variant.tobytes() for variant in turned)


def _planes_taken(
    offsets: FloatArray, grid: Grid, planes: Sequence[ContourPlane]
) -> tuple[NDArray[np.intp], list[str]]:
    """For every image plane, the plane of contours that it takes (-1 for none), and notes.

    Contours that run along the voxel edges of this very grid are a mask of it: a plane without contours is empty
    then, and never filled from its neighbours.
    """
    notes: list[str] = []
    start_mm = float(grid.origin_mm @ grid.direction[:, 2])
    image_gap = float(np.median(grid.plane_thicknesses_mm))
    if _on_voxel_edges(planes, grid):
        lower, upper = offsets - image_gap / 4, offsets + image_gap / 4
    else:
        lower, upper = slab_bounds_mm(offsets, image_gap)
        notes.extend(gap_warnings(offsets + start_mm, image_gap) if grid.planes > 1 else ())
    first, last = grid.plane_offsets_mm[0], grid.plane_offsets_mm[-1]
    reach = image_gap / 2 + POSITION_TOLERANCE_MM
    beyond = int(np.count_nonzero((offsets < first - reach) | (offsets > last + reach)))
    if beyond:
        notes.append(f"{beyond} contour planes lie beyond the image and were left out")
    last_begun = np.searchsorted(lower - POSITION_TOLERANCE_MM, grid.plane_offsets_mm, side="right") - 1
    inside = (last_begun >= 0) & (grid.plane_offsets_mm < upper[last_begun] - POSITION_TOLERANCE_MM)
    return np.where(inside, last_begun, -1), notes


def _pixel_box(polygons: Sequence[FloatArray], grid: Grid) -> tuple[slice, slice]:
    """Rows and columns of the image that polygons in (column, row) indices reach; one pixel where they reach none."""
    points = np.concatenate(polygons)
    low = np.clip(np.floor(points.min(axis=0)), 0, [grid.columns - 1, grid.rows - 1]).astype(int)
    high = np.clip(np.ceil(points.max(axis=0)) + 1, low + 1, [grid.columns, grid.rows]).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _on_voxel_edges(planes: Sequence[ContourPlane], grid: Grid) -> bool:
    points = np.concatenate([contour for plane in planes for contour in plane.contours])
    index = grid.world_to_index(points)
    column, row = np.abs(index[:, :2] % 1.0 - 0.5).T
    row = np.minimum(row, np.abs(row - SEAM_ROW_OFFSET))
    off_plane = np.abs(index[:, 2] - np.rint(index[:, 2]))
    return bool(max(column.max(), row.max()) < 2e-3 and off_plane.max() < 0.1)


def _fill_plane(polygons: Sequence[FloatArray], part: Grid) -> tuple[BoolArray, bool]:
    """Pixels whose centre is inside polygons in (column, row) index coordinates, and whether some were united."""
    shape = (part.rows, part.columns)
    members, row, column = _crossings(polygons, *shape)
    if len(polygons) == 1 or not _boxes_overlap(polygons):
        return _parity(row, column, *shape), False
    groups, united = _groups(polygons, part.pixel_spacing_mm)
    if not united:
        return _parity(row, column, *shape), False
    image = np.zeros(shape, dtype=np.bool_)
    for group in np.unique(groups):
        filled = np.zeros(shape, dtype=np.bool_)
        for member in np.flatnonzero(groups == group):
            chosen = members == member
            filled |= _parity(row[chosen], column[chosen], *shape)
        image ^= filled
    return image, True


def _groups(polygons: Sequence[FloatArray], spacing_mm: tuple[float, float]) -> tuple[NDArray[np.int64], int]:
    """Which polygons are united, and how many were; as for slabs, but the outline of a wall of one voxel is kept."""
    first = np.cumsum([0, *(len(polygon) for polygon in polygons)]).astype(np.int64)
    points = np.concatenate(polygons) * spacing_mm
    return polygon_groups(np.ascontiguousarray(points), first, min(SAME_MM, 0.5 * min(spacing_mm)))


def _crossings(
    polygons: Sequence[FloatArray], rows: int, columns: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Where polygon edges cross the lines of pixel centres: polygon number, row, and first column to the right.

    An edge crosses row r when r lies in [lower end, upper end); so a vertex on a row counts once. Both directions
    of an edge give the same bits, so that the two sides of a keyhole seam cancel.
    """
    starts = np.concatenate(polygons)
    ends = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    number = np.repeat(np.arange(len(polygons)), [len(polygon) for polygon in polygons])
    downwards = starts[:, 1] <= ends[:, 1]
    low = np.where(downwards[:, None], starts, ends)
    high = np.where(downwards[:, None], ends, starts)
    first = np.clip(np.ceil(low[:, 1]), 0, rows).astype(np.intp)
    stop = np.clip(np.ceil(high[:, 1]), 0, rows).astype(np.intp)
    count = stop - first
    edge = np.repeat(np.arange(len(count)), count)
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    fraction = (row - low[edge, 1]) / (high[edge, 1] - low[edge, 1])
    x = low[edge, 0] + fraction * (high[edge, 0] - low[edge, 0])
    column = np.clip(np.ceil(x), 0, columns).astype(np.intp)
    return number[edge], row, column


def _parity(row: NDArray[np.intp], column: NDArray[np.intp], rows: int, columns: int) -> BoolArray:
    """Pixels with an odd number of crossings at or to the left of their centre."""
    crossings = np.bincount(row * (columns + 1) + column, minlength=rows * (columns + 1))
    odd = (crossings & 1).astype(np.bool_).reshape(rows, columns + 1)[:, :columns]
    return np.logical_xor.accumulate(odd, axis=1)


def _boxes_overlap(polygons: Sequence[FloatArray]) -> bool:
    low = np.array([polygon.min(axis=0) for polygon in polygons])
    high = np.array([polygon.max(axis=0) for polygon in polygons])
    overlap = np.all((low[:, None] < high[None]) & (low[None] < high[:, None]), axis=-1)
    return bool(np.count_nonzero(overlap) > len(polygons))
