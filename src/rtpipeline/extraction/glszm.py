"""Grey level size zone matrix: connected zones of one level by size (Thibault 2009; IBSI: GLSZM).

PyRadiomics fills a table of levels by sizes up to the largest zone, and deletes the empty columns: for a large
structure, gigabytes. Here only the sizes that occur have a column.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from radiomics.glszm import RadiomicsGLSZM

from rtpipeline.extraction.region import OnRegion, Region


class Glszm(OnRegion, RadiomicsGLSZM):
    """PyRadiomics' GLSZM features of a region."""

    @staticmethod
    def covers(region: Region) -> bool:
        """All settings are handled here."""
        return True

    def _calculateMatrix(self, voxelCoordinates: None = None) -> NDArray[np.float64]:  # noqa: N802, N803  the library's names
        """Counts (1, level, size), of the levels and the sizes that occur."""
        region = self.region
        place = region.place
        offsets = place.offsets(region.angles([1], both_ways=True))
        levels, sizes = find_zones(region.levels, place.padded_inside, offsets)
        self._sizes, column = np.unique(sizes, return_inverse=True)
        shape = (region.present_levels.size, self._sizes.size)
        missing = int(self._sizes[-1]) - self._sizes.size
        matrix = np.zeros(shape) if missing == 1 else np.zeros(shape[::-1]).T  # in memory as the library leaves it
        np.add.at(matrix, (np.searchsorted(region.present_levels, levels), column), 1.0)
        return matrix[None]

    def _calculateCoefficients(self) -> None:  # noqa: N802
        """Marginals; every count is an integer, so every sum is exact."""
        sizes = self._sizes.astype(np.float64)
        by_size = self.P_glszm.sum(1)
        zones = self.P_glszm.sum((1, 2))
        self.coefficients |= {
            "Np": np.sum(by_size * sizes[None, :], 1),
            "Nz": zones,
            "ps": by_size,
            "pg": self.P_glszm.sum(2),
            "ivector": self.coefficients["grayLevels"].astype(float),
            "jvector": sizes,
        }


@numba.njit(
    [f"UniTuple(int64[::1], 2)({level}[::1], int64[::1], int64[::1])" for level in ("uint16", "uint32")],
    cache=True,
    nogil=True,
)
def find_zones(levels, inside, offsets):  # type: ignore[no-untyped-def]
    """Zones of neighbours with one level, by flooding.

    Args:
        levels: `Region.levels`.
        inside: `Place.padded_inside`.
        offsets: `Place.offsets` to the neighbours.

    Returns:
        Level and size in voxels of each zone.
    """
    unvisited = levels.copy()
    waiting = np.empty(inside.size, np.int64)
    zone_levels = np.empty(inside.size, np.int64)
    zone_sizes = np.empty(inside.size, np.int64)
    zones = 0
    for voxel in range(inside.size):
        start = inside[voxel]
        level = unvisited[start]
        if level == 0:
            continue
        unvisited[start] = 0
        waiting[0] = start
        end = 1
        size = 0
        while size < end:
            position = waiting[size]
            size += 1
            for neighbour in range(offsets.size):
                there = numba.uintp(position + offsets[neighbour])
                if unvisited[there] == level:
                    unvisited[there] = 0
                    waiting[end] = there
                    end += 1
        zone_levels[zones] = level
        zone_sizes[zones] = size
        zones += 1
    return zone_levels[:zones].copy(), zone_sizes[:zones].copy()
