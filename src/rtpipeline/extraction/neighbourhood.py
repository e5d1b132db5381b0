"""What surrounds each voxel, counted in one pass for two matrices: GLDM and NGTDM."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(
    [
        f"Tuple((int64[:,::1], float64[::1]))({level}[::1], int64[:,::1], int64[::1], int64, int64)"
        for level in ("uint16", "uint32")
    ],
    cache=True,
    nogil=True,
)
def count_neighbourhoods(levels, rows, offsets, highest_level, alpha):  # type: ignore[no-untyped-def]
    """Compare every voxel with its neighbours inside the structure, line by line.

    A line is compared with all lines at one offset at once, so that the compiler can use vector instructions; sums
    over the neighbours fit into the type of the levels (see `Region.levels`). The differences are added up in raster
    order, as PyRadiomics does.

    Args:
        levels: `Region.levels`.
        rows: `Place.rows`.
        offsets: `Place.offsets` to all neighbours.
        highest_level: the highest grey level.
        alpha: a neighbour depends on a voxel when their levels differ by no more than this.

    Returns:
        Counts (level - 1, number of dependent neighbours), and for each level the sum over its voxels of the absolute
        difference between the level and the mean level of the neighbours (0 where there are none).
    """
    dependence = np.zeros((highest_level, offsets.size + 1), np.int64)
    difference = np.zeros(highest_level, np.float64)
    longest = 0
    for row in range(rows.shape[0]):
        longest = max(longest, rows[row, 1])
    dependent = np.empty(longest, levels.dtype)
    count = np.empty(longest, levels.dtype)
    total = np.empty(longest, levels.dtype)
    for row in range(rows.shape[0]):
        start, length = rows[row, 0], rows[row, 1]
        here = levels[start : start + length]
        dependent[:length] = 0
        count[:length] = 0
        total[:length] = 0
        for neighbour in range(offsets.size):
            there = levels[start + offsets[neighbour] : start + offsets[neighbour] + length]
            if alpha == 0:
                for x in range(length):
                    dependent[x] += here[x] == there[x]
                    count[x] += there[x] != 0
                    total[x] += there[x]
            else:
                for x in range(length):
                    apart = max(here[x], there[x]) - min(here[x], there[x])
                    dependent[x] += (apart <= alpha) & (there[x] != 0)
                    count[x] += there[x] != 0
                    total[x] += there[x]
        for x in range(length):
            level = here[x]
            if level != 0:
                dependence[level - 1, dependent[x]] += 1
                if count[x] != 0:
                    difference[level - 1] += abs(np.float64(level) - np.float64(total[x]) / np.float64(count[x]))
    return dependence, difference
