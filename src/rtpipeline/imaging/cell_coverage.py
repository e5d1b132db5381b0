"""How much of each cell of a lattice a planar region covers, and where in the cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtpipeline.imaging.cell_kernel import collect_pieces, sum_rows
from rtpipeline.imaging.grid import FloatArray
from rtpipeline.imaging.planar_region import PlanarRegion


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
    collect_pieces(pieces, sums)
    sum_rows(sums, fraction, centroid_x, centroid_y)
    return CellCoverage(fraction, centroid_x, centroid_y)
