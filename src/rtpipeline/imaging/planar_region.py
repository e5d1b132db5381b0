"""The exact regions that the contours of parallel planes enclose, as the pieces of contours that bound them.

From such pieces areas follow exactly by Green's theorem, also areas within the cells of a lattice
(`cell_kernel.collect_pieces`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rtpipeline.imaging.grid import FloatArray
from rtpipeline.imaging.region_kernel import areas_and_bounds, boundary_pieces


@dataclass(frozen=True, eq=False)
class Regions:
    """One region on each of k planes.

    Attributes:
        pieces: (n, 4) directed boundary pieces (x0, y0, x1, y1) in mm; those with the region at their right, as x
            grows, go up (y1 > y0), those with it at their left go down. Horizontal boundaries are left out.
        first: (k + 1,) where the pieces of each region begin.
        united: number of contours that were united with another one because they overlap it or repeat it.
    """

    pieces: FloatArray
    first: NDArray[np.int64]
    united: int = 0

    @cached_property
    def _measures(self) -> tuple[FloatArray, FloatArray]:
        return areas_and_bounds(self.pieces, self.first)

    @property
    def areas_mm2(self) -> FloatArray:
        """(k,) areas, from Green's theorem: minus the integral of x dy along the boundary."""
        return self._measures[0]

    @property
    def bounds(self) -> FloatArray:
        """(k, 4) smallest x, smallest y, largest x, largest y; infinite for a region without pieces."""
        return self._measures[1]

    def chosen(self, wanted: NDArray[np.bool_]) -> Regions:
        """The regions where (k,) `wanted` is True."""
        counts = np.diff(self.first)
        first = np.concatenate([[0], np.cumsum(counts[wanted])])
        return Regions(self.pieces[np.repeat(wanted, counts)], first, self.united)


def regions_of(planes: Sequence[Sequence[FloatArray]]) -> Regions:
    """The region that closed polygons (n, 2) enclose on each plane.

    Each polygon encloses by the even-odd rule. A polygon inside another one is a hole in it, one inside that hole an
    island, and so on (also even-odd); polygons that overlap in part, or repeat one another, are united.
    """
    polygons = [np.asarray(polygon, float) for plane in planes for polygon in plane]
    points = np.concatenate([np.empty((0, 2)), *polygons])
    vertices = np.cumsum([0, *(len(polygon) for polygon in polygons)])
    numbers = np.cumsum([0, *(len(plane) for plane in planes)])
    pieces, first, united = boundary_pieces(points, vertices.astype(np.int64), numbers.astype(np.int64))
    return Regions(pieces, first, int(united.sum()))
