"""How much of each cell of a lattice a planar region covers, and where in the cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtpipeline.imaging.compiled import compiled
from rtpipeline.imaging.grid import FloatArray
from rtpipeline.imaging.planar_region import PlanarRegion

_SMALLEST_FRACTION = 1e-9


@dataclass(frozen=True, eq=False)
class CellCoverage:
    """How a region covers the cells of a lattice; all arrays are (rows, columns), rows along y.

    Attributes:
        fraction: covered fraction of each cell's area, 0 to 1.
        centroid_x: mean x of the covered part within the cell, 0 at its low and 1 at its high side.
        centroid_y: the same for y.
    """

    fraction: FloatArray
    centroid_x: FloatArray
    centroid_y: FloatArray


def coverage(
    region: PlanarRegion, origin_mm: tuple[float, float], cell_mm: float, shape: tuple[int, int]
) -> CellCoverage:
    """Covered fraction and centroid of each cell of a lattice that contains the whole region.

    A piece of the boundary bounds the area to its right: part of its own cell, and all cells further right in its
    row, which a sum along the row adds up. Integrals of 1, x and y along a straight piece are exact (Green's
    theorem).

    Args:
        region: what covers.
        origin_mm: (x, y) of the low corner of the lattice.
        cell_mm: edge of the square cells.
        shape: (rows, columns) of the lattice.

    Raises:
        ValueError: the region reaches beyond the lattice.
    """
    rows, columns = shape
    pieces = (region.pieces - np.array([*origin_mm, *origin_mm])) / cell_mm
    if len(pieces) and (pieces.min() < 0 or pieces[:, 0::2].max() > columns or pieces[:, 1::2].max() > rows):
        raise ValueError("the region reaches beyond the lattice")
    sums = np.zeros((rows, columns, 5))
    fraction, centroid_x, centroid_y = (np.empty(shape) for _ in range(3))
    _collect(pieces, sums)
    _sum_rows(sums, fraction, centroid_x, centroid_y)
    return CellCoverage(fraction, centroid_x, centroid_y)


@compiled
def _collect(pieces: FloatArray, sums: FloatArray) -> None:
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
def _sum_rows(sums: FloatArray, fraction: FloatArray, centroid_x: FloatArray, centroid_y: FloatArray) -> None:
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
