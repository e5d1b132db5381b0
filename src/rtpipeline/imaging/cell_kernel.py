"""The inner loops of dose-volume curves: what the cells of a structure add to a histogram of a volume's values.

All of it is in one file because compiled code that is kept for the next process is made again only when its own file
changes, not when one that it calls does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtpipeline.imaging.compiled import compiled
from rtpipeline.imaging.grid import POSITION_TOLERANCE_MM, FloatArray, Volume

COVERED, UNCOVERED, DOSE_SUM, LOWEST_RUNG, HIGHEST_RUNG = range(5)
"""Places in `Ladder.totals`."""
_SMALLEST_FRACTION = 1e-9
_ONE_DOSE = 1e-6
"""Rungs. Doses that are spread over less are one and the same."""


class LinearField(NamedTuple):
    """A volume as compiled loops take it: positions are mm from the first voxel centre along the grid's own axes.

    Attributes:
        values: (planes, rows, columns), contiguous.
        plane_offsets_mm: (planes,) places of the planes.
        per_x_mm: columns per mm.
        per_y_mm: rows per mm.
        per_z_mm: planes per mm; 0 where they are not equally spaced.
    """

    values: FloatArray
    plane_offsets_mm: FloatArray
    per_x_mm: float
    per_y_mm: float
    per_z_mm: float


class Ladder(NamedTuple):
    """Volumes collected on an even ladder of doses.

    Attributes:
        changes: (steps + 3,) changes of the slope of the volume above each rung, in mm³; one rung is above the largest
            dose, and one more is spare.
        totals: volume within the dose grid, volume outside it (mm³), the former times dose (Gy mm³), and the
            smallest and largest dose, in rungs from the first.
        lowest_gy: dose of the first rung.
        per_gy: rungs per Gy.
    """

    changes: FloatArray
    totals: FloatArray
    lowest_gy: float
    per_gy: float


class Placement(NamedTuple):
    """Where a structure's own coordinates lie in the dose grid's: `frame @ (a, b, c) + start`, mm.

    Attributes:
        frame: (3, 3).
        start: (3,).
    """

    frame: FloatArray
    start: FloatArray


def linear_field(volume: Volume) -> LinearField:
    """The volume for compiled loops."""
    grid = volume.grid
    x, y = grid.pixel_spacing_mm
    per_z_mm = 1.0 / grid.plane_spacing_mm if grid.is_uniform else 0.0
    values = np.ascontiguousarray(volume.values, dtype=np.float64)
    return LinearField(
        values, np.ascontiguousarray(grid.plane_offsets_mm, dtype=np.float64), 1.0 / x, 1.0 / y, per_z_mm
    )


@compiled
def add_slabs(
    field: LinearField,
    ladder: Ladder,
    placement: Placement,
    pieces: FloatArray,
    first: NDArray[np.int64],
    lattices: FloatArray,
    heights: FloatArray,
    counts: NDArray[np.int64],
    within: NDArray[np.bool_],
) -> None:
    """Add a whole structure made of n slabs in one call, so that threads seldom wait for one another.

    Args:
        field: the dose.
        ladder: what is added to.
        placement: of the slabs' coordinates in the dose grid.
        pieces: (m, 4) boundary pieces of all slabs (x0, y0, x1, y1), in units of their lattices.
        first: (n + 1,) where the pieces of each slab begin.
        lattices: (n, 5) x and y of the low corner, edge of a cell (mm), rows and columns of each slab's lattice.
        heights: (n, 2) low end of the first cell, and thickness of a cell (mm).
        counts: (n,) cells on top of one another.
        within: (n,) whether the slab lies in the box of the dose grid's voxel centres.
    """
    for slab in range(len(counts)):
        u, v, edge = lattices[slab, 0], lattices[slab, 1], lattices[slab, 2]
        rows, columns = int(lattices[slab, 3]), int(lattices[slab, 4])
        sums = np.zeros((rows, columns, 5))
        fraction, x, y = np.empty((rows, columns)), np.empty((rows, columns)), np.empty((rows, columns))
        collect_pieces(pieces[first[slab] : first[slab + 1]], sums)
        sum_rows(sums, fraction, x, y)
        low, step = heights[slab, 0], heights[slab, 1]
        _add_slab(field, ladder, placement, fraction, x, y, u, v, edge, low, step, counts[slab], within[slab])


@compiled
def _add_slab(
    field: LinearField,
    ladder: Ladder,
    placement: Placement,
    fraction: FloatArray,
    centroid_x: FloatArray,
    centroid_y: FloatArray,
    origin_u: float,
    origin_v: float,
    edge: float,
    low: float,
    step: float,
    count: int,
    within: bool,
) -> None:
    """Add the cells of a slab: columns of `count` cells over the covered part of every square of a lattice.

    `within` says that the whole slab lies in the box of the dose grid's voxel centres.
    """
    frame, start = placement.frame, placement.start
    changes, totals = ladder.changes, ladder.totals
    for row in range(fraction.shape[0]):
        for column in range(fraction.shape[1]):
            part = fraction[row, column]
            if part <= 0.0:
                continue
            u = origin_u + (column + centroid_x[row, column]) * edge
            v = origin_v + (row + centroid_y[row, column]) * edge
            width = edge * np.sqrt(part)
            volume = part * edge * edge * step
            for number in range(count):
                h = low + (number + 0.5) * step
                x = frame[0, 0] * u + frame[0, 1] * v + frame[0, 2] * h + start[0]
                y = frame[1, 0] * u + frame[1, 1] * v + frame[1, 2] * h + start[1]
                z = frame[2, 0] * u + frame[2, 1] * v + frame[2, 2] * h + start[2]
                inside, dose, half = _doses_of_cell(field, frame, x, y, z, width, width, step, within)
                totals[UNCOVERED] += volume * (1.0 - inside)
                if inside > 0.0:
                    _add_spread(changes, totals, ladder.lowest_gy, ladder.per_gy, dose, half, volume * inside)


@compiled
def add_voxels(
    field: LinearField,
    ladder: Ladder,
    placement: Placement,
    values: NDArray[np.bool_],
    offsets: FloatArray,
    thicknesses: FloatArray,
    x_mm: float,
    y_mm: float,
    parts: tuple[int, int, int],
    within: bool,
) -> None:
    """Add the voxels of a mask (planes, rows, columns), each cut into `parts` along x, y and z.

    `within` says that all of them lie in the box of the dose grid's voxel centres.
    """
    frame, start = placement.frame, placement.start
    changes, totals = ladder.changes, ladder.totals
    width, height = x_mm / parts[0], y_mm / parts[1]
    pieces = parts[0] * parts[1] * parts[2]
    for plane in range(values.shape[0]):
        depth = thicknesses[plane] / parts[2]
        volume = width * height * depth
        for row in range(values.shape[1]):
            for column in range(values.shape[2]):
                if not values[plane, row, column]:
                    continue
                for piece in range(pieces):
                    i, j, k = piece % parts[0], piece // parts[0] % parts[1], piece // (parts[0] * parts[1])
                    a = (column - 0.5) * x_mm + (i + 0.5) * width
                    b = (row - 0.5) * y_mm + (j + 0.5) * height
                    c = offsets[plane] - 0.5 * thicknesses[plane] + (k + 0.5) * depth
                    x = frame[0, 0] * a + frame[0, 1] * b + frame[0, 2] * c + start[0]
                    y = frame[1, 0] * a + frame[1, 1] * b + frame[1, 2] * c + start[1]
                    z = frame[2, 0] * a + frame[2, 1] * b + frame[2, 2] * c + start[2]
                    inside, dose, half = _doses_of_cell(field, frame, x, y, z, width, height, depth, within)
                    totals[UNCOVERED] += volume * (1.0 - inside)
                    if inside > 0.0:
                        _add_spread(changes, totals, ladder.lowest_gy, ladder.per_gy, dose, half, volume * inside)


@compiled
def _doses_of_cell(
    field: LinearField,
    frame: FloatArray,
    x: float,
    y: float,
    z: float,
    width: float,
    height: float,
    depth: float,
    within: bool,
) -> tuple[float, float, float]:
    """Covered fraction, mean dose and half of the spread of doses of a box.

    Its centre is at (x, y, z) of the dose grid, its edges run along the columns of `frame`. What lies outside the box
    of the dose grid's voxel centres is not covered.
    """
    inside, inside_x, inside_y, inside_z = 1.0, 1.0, 1.0, 1.0
    if not within:
        planes, rows, columns = field.values.shape
        x, inside_x = _within(frame, 0, x, width, height, depth, (columns - 1) / field.per_x_mm)
        y, inside_y = _within(frame, 1, y, width, height, depth, (rows - 1) / field.per_y_mm)
        z, inside_z = _within(frame, 2, z, width, height, depth, field.plane_offsets_mm[planes - 1])
        inside = inside_x * inside_y * inside_z
        if inside <= 0.0:
            return 0.0, 0.0, 0.0
    dose, along_x, along_y, along_z = _value_and_gradient(field, x, y, z)
    a = (frame[0, 0] * along_x + frame[1, 0] * along_y + frame[2, 0] * along_z) * width
    b = (frame[0, 1] * along_x + frame[1, 1] * along_y + frame[2, 1] * along_z) * height
    c = (frame[0, 2] * along_x + frame[1, 2] * along_y + frame[2, 2] * along_z) * depth
    if inside < 1.0:
        a *= _shortened(frame, 0, inside_x, inside_y, inside_z)
        b *= _shortened(frame, 1, inside_x, inside_y, inside_z)
        c *= _shortened(frame, 2, inside_x, inside_y, inside_z)
    return inside, dose, 0.5 * np.sqrt(a * a + b * b + c * c)


@compiled
def _value_and_gradient(field: LinearField, x: float, y: float, z: float) -> tuple[float, float, float, float]:
    """Trilinear interpolation, and its derivative per mm along columns, rows and planes.

    Within a box of eight voxel centres the value is the product of three linear interpolations of the corner values;
    the derivative along an axis is the difference of the values interpolated in its two opposite faces. Positions
    outside the box of all voxel centres take the value of its nearest point.
    """
    values = field.values
    planes, rows, columns = values.shape
    column, next_column, fx = _place(x * field.per_x_mm, columns)
    row, next_row, fy = _place(y * field.per_y_mm, rows)
    per_gap = field.per_z_mm
    if per_gap > 0.0:
        plane, next_plane, fz = _place(z * per_gap, planes)
    else:
        offsets = field.plane_offsets_mm
        plane = min(max(int(np.searchsorted(offsets, z, side="right")) - 1, 0), planes - 2)
        next_plane = plane + 1
        per_gap = 1.0 / (offsets[next_plane] - offsets[plane])
        fz = min(max((z - offsets[plane]) * per_gap, 0.0), 1.0)
    low_00, low_10 = values[plane, row, column], values[plane, next_row, column]
    high_00, high_10 = values[next_plane, row, column], values[next_plane, next_row, column]
    slope_00 = values[plane, row, next_column] - low_00
    slope_01 = values[plane, next_row, next_column] - low_10
    slope_10 = values[next_plane, row, next_column] - high_00
    slope_11 = values[next_plane, next_row, next_column] - high_10
    low = low_00 + slope_00 * fx
    high = high_00 + slope_10 * fx
    low_y = low_10 + slope_01 * fx - low
    high_y = high_10 + slope_11 * fx - high
    below = low + low_y * fy
    along_gap = high + high_y * fy - below
    slope_low = slope_00 + (slope_01 - slope_00) * fy
    along_x = slope_low + (slope_10 + (slope_11 - slope_10) * fy - slope_low) * fz
    along_y = low_y + (high_y - low_y) * fz
    return below + along_gap * fz, along_x * field.per_x_mm, along_y * field.per_y_mm, along_gap * per_gap


@compiled
def _place(index: float, size: int) -> tuple[int, int, float]:
    """The voxels on both sides of a continuous index, and the way from one to the other; one voxel alone twice."""
    clipped = min(max(index, 0.0), size - 1.0)
    lower = max(min(int(clipped), size - 2), 0)
    return lower, min(lower + 1, size - 1), clipped - lower


@compiled
def _within(
    frame: FloatArray, axis: int, centre: float, width: float, height: float, depth: float, last: float
) -> tuple[float, float]:
    """Centre and fraction of the part of a box, along one axis of the dose grid, that lies between 0 and `last`."""
    half = 0.5 * (abs(frame[axis, 0]) * width + abs(frame[axis, 1]) * height + abs(frame[axis, 2]) * depth)
    if centre - half >= -POSITION_TOLERANCE_MM and centre + half <= last + POSITION_TOLERANCE_MM:
        return centre, 1.0
    low, high = max(centre - half, 0.0), min(centre + half, last)
    if high <= low:
        return centre, 0.0
    return 0.5 * (low + high), (high - low) / (2.0 * half)


@compiled
def _shortened(frame: FloatArray, edge: int, inside_x: float, inside_y: float, inside_z: float) -> float:
    """What is left of an edge of a box that is cut at the end of the dose grid, by the axes it runs along."""
    x, y, z = abs(frame[0, edge]), abs(frame[1, edge]), abs(frame[2, edge])
    left_x = x + y + z - (1.0 - inside_x) * x
    left_y = x + y + z - (1.0 - inside_y) * y
    left_z = x + y + z - (1.0 - inside_z) * z
    return left_x * left_y * left_z / (x + y + z) ** 3


@compiled
def _add_spread(
    changes: FloatArray, totals: FloatArray, lowest: float, per_gy: float, dose: float, half: float, volume: float
) -> None:
    """Add a volume whose doses are spread evenly over `dose` ± `half`; one dose alone is kept up to the next rung."""
    top = len(changes) - 3.0
    low = max((dose - half - lowest) * per_gy, 0.0)
    high = min((dose + half - lowest) * per_gy, top)
    totals[COVERED] += volume
    totals[DOSE_SUM] += volume * dose
    totals[LOWEST_RUNG] = min(totals[LOWEST_RUNG], low)
    totals[HIGHEST_RUNG] = max(totals[HIGHEST_RUNG], high)
    if high - low < _ONE_DOSE:
        low = min(np.ceil(low), top)
        high = low + 1.0
    elif high - low < 1.0:
        low = min(max(0.5 * (low + high) - 0.5, 0.0), top - 1.0)
        high = low + 1.0
    slope = volume / (high - low)
    rung = int(high)
    upper = slope * (high - rung)
    changes[rung] += slope - upper
    changes[rung + 1] += upper
    rung = int(low)
    upper = slope * (low - rung)
    changes[rung] -= slope - upper
    changes[rung + 1] -= upper


@compiled
def collect_pieces(pieces: FloatArray, sums: FloatArray) -> None:
    """Cut pieces (n, 4) in lattice units at the cells' borders and add their integrals to `sums`."""
    rows, columns = sums.shape[0], sums.shape[1]
    for piece in range(len(pieces)):
        x0, y0, x1, y1 = pieces[piece]
        sign = 1.0
        if y1 < y0:
            x0, y0, x1, y1 = x1, y1, x0, y0
            sign = -1.0
        slope = (x1 - x0) / (y1 - y0)
        row = min(int(y0), rows - 1)
        x, y = x0, y0
        while y < y1:
            if row + 1.0 >= y1 or row == rows - 1:
                next_x, next_y = x1, y1
            else:
                next_y = row + 1.0
                next_x = x0 + (next_y - y0) * slope
            _collect_in_row(sums, row, columns, x, y, next_x, next_y, sign)
            x, y = next_x, next_y
            row += 1


@compiled
def _collect_in_row(
    sums: FloatArray, row: int, columns: int, x0: float, y0: float, x1: float, y1: float, sign: float
) -> None:
    """Add a piece that stays within one row, cut at the borders of columns."""
    column = min(max(int(x0), 0), columns - 1)
    last = min(max(int(x1), 0), columns - 1)
    if column == last:
        _add(sums, row, column, x0, y0, x1, y1, sign)
        return
    slope = (y1 - y0) / (x1 - x0)
    x, y = x0, y0
    step = 1 if last > column else -1
    while column != last:
        border = column + 1.0 if step > 0 else float(column)
        level = min(max(y0 + (border - x0) * slope, y), y1)
        _add(sums, row, column, x, y, border, level, sign)
        x, y = border, level
        column += step
    _add(sums, row, column, x, y, x1, y1, sign)


@compiled
def _add(sums: FloatArray, row: int, column: int, x0: float, y0: float, x1: float, y1: float, sign: float) -> None:
    """Integrals along a piece within one cell; x² dy gives the mean of x0², x0 x1 and x1²."""
    x0 -= column
    x1 -= column
    y0 -= row
    y1 -= row
    dy = (y1 - y0) * sign
    sums[row, column, 0] += dy
    sums[row, column, 1] += 0.5 * (y1 + y0) * dy
    sums[row, column, 2] += 0.5 * (x0 + x1) * dy
    sums[row, column, 3] += (x0 * x0 + x0 * x1 + x1 * x1) / 3.0 * dy
    sums[row, column, 4] += (2.0 * (x0 * y0 + x1 * y1) + x0 * y1 + x1 * y0) / 6.0 * dy


@compiled
def sum_rows(sums: FloatArray, fraction: FloatArray, centroid_x: FloatArray, centroid_y: FloatArray) -> None:
    """Covered area and its centroid per cell, by running sums from the left."""
    for row in range(sums.shape[0]):
        left, left_y = 0.0, 0.0
        for column in range(sums.shape[1]):
            cover, cover_y, mean_x, mean_x_squared, mean_xy = sums[row, column]
            area = left + cover - mean_x
            if area > _SMALLEST_FRACTION:
                fraction[row, column] = min(area, 1.0)
                moment_x = 0.5 * left + 0.5 * (cover - mean_x_squared)
                moment_y = left_y + cover_y - mean_xy
                centroid_x[row, column] = min(max(moment_x / area, 0.0), 1.0)
                centroid_y[row, column] = min(max(moment_y / area, 0.0), 1.0)
            else:
                fraction[row, column] = 0.0
                centroid_x[row, column] = 0.5
                centroid_y[row, column] = 0.5
            left += cover
            left_y += cover_y
