"""Grey level run length matrix: runs of voxels of one level along each direction (Galloway 1975; IBSI: GLRLM)."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from radiomics.glrlm import RadiomicsGLRLM

from rtpipeline.extraction.region import OnRegion, Region


class Glrlm(OnRegion, RadiomicsGLRLM):
    """PyRadiomics' GLRLM features of a region."""

    @staticmethod
    def covers(region: Region) -> bool:
        """Whether these settings are handled here; matrices weighted by distance are left to the library."""
        return region.setting.get("weightingNorm") is None

    def _calculateMatrix(self, voxelCoordinates: None = None) -> NDArray[np.float64]:  # noqa: N802, N803  the library's names
        """Counts (1, level, run length, direction), of the levels that occur and the directions that have runs.

        A direction along which no line meets the structure twice has no runs (the structure is flat across it).
        """
        region = self.region
        place = region.place
        angles = region.angles([1], both_ways=False)
        counts = count_runs(region.levels, place.rows, place.offsets(angles), region.highest_level, max(place.shape))
        for direction in np.flatnonzero(counts[:, :, 1:].sum((1, 2)) == 0):
            if not _meets_twice(place.inside, place.shape, angles[direction]):
                counts[direction] = 0
        matrix = counts[:, region.present_levels - 1].transpose(1, 2, 0)[None]
        runs = matrix.sum((1, 2), dtype=np.float64)
        if matrix.shape[3] > 1:
            matrix = matrix[..., runs[0] != 0]
            runs = runs[:, runs[0] != 0]
        runs[runs == 0] = np.nan
        self.coefficients["Nr"] = runs
        return np.ascontiguousarray(matrix, dtype=np.float64)


def _meets_twice(inside: NDArray[np.intp], shape: tuple[int, int, int], angle: NDArray[np.int32]) -> bool:
    """Whether two voxels lie on one line of this direction: both then have the same point of entry."""
    indices = np.stack(np.unravel_index(inside, shape), axis=1)
    steps = np.where(angle > 0, indices, np.array(shape) - 1 - indices)[:, angle != 0].min(axis=1)
    entries = indices - steps[:, None] * angle
    return len(np.unique(entries, axis=0)) < len(entries)


@numba.njit(
    [f"int64[:,:,::1]({level}[::1], int64[:,::1], int64[::1], int64, int64)" for level in ("uint16", "uint32")],
    cache=True,
    nogil=True,
)
def count_runs(levels, rows, offsets, highest_level, longest):  # type: ignore[no-untyped-def]
    """How many runs of each level have each length.

    Args:
        levels: `Region.levels`.
        rows: `Place.rows`.
        offsets: `Place.offsets`, one per direction.
        highest_level: the highest grey level.
        longest: the longest that a run can be.

    Returns:
        Counts (direction, level - 1, length - 1).
    """
    counts = np.zeros((offsets.size, highest_level, longest), np.int64)
    for direction in range(offsets.size):
        offset = offsets[direction]
        for row in range(rows.shape[0]):
            start, length = rows[row, 0], rows[row, 1]
            before = levels[start - offset : start - offset + length]
            here = levels[start : start + length]
            for x in range(length):
                level = here[x]
                if level != 0 and before[x] != level:
                    run = 0
                    position = start + x + offset
                    while levels[numba.uintp(position)] == level:
                        run += 1
                        position += offset
                    counts[direction, level - 1, run] += 1
    return counts
