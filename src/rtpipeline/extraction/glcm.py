"""Grey level co-occurrence matrix: how often two neighbours have grey levels i and j (Haralick 1973; IBSI: GLCM)."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from radiomics.glcm import RadiomicsGLCM

from rtpipeline.extraction.maximal_correlation import maximal_correlation
from rtpipeline.extraction.region import OnRegion, Region


class Glcm(OnRegion, RadiomicsGLCM):
    """PyRadiomics' GLCM features of a region."""

    @staticmethod
    def covers(region: Region) -> bool:
        """Whether these settings are handled here; matrices weighted by distance are left to the library."""
        return region.setting.get("weightingNorm") is None

    def _calculateMatrix(self, voxelCoordinates: None = None) -> NDArray[np.float64]:  # noqa: N802, N803  the library's names
        """Probabilities (1, level, level, direction), of the levels that occur and the directions that have pairs."""
        region = self.region
        offsets = region.place.offsets(region.angles(region.distances, both_ways=False))
        counts = count_pairs(region.levels, region.place.rows, offsets, region.highest_level)
        present = region.present_levels
        counts = counts[:, present[:, None], present]
        # In memory as the library leaves it when it deletes the missing levels, so that its sums have the same order.
        axes = (1, 2, 0) if region.highest_level - present.size == 1 else (2, 1, 0)
        matrix = np.ascontiguousarray(counts.transpose(axes), dtype=np.float64)
        matrix = (matrix if axes == (1, 2, 0) else matrix.transpose(1, 0, 2))[None]
        if self.symmetricalGLCM:
            matrix += matrix.transpose(0, 2, 1, 3).copy()
        total = matrix.sum((1, 2))
        if matrix.shape[3] > 1 and (total == 0).any():
            matrix = np.delete(matrix, np.flatnonzero(total[0] == 0), 3)
            total = total[:, total[0] != 0]
        total[total == 0] = np.nan
        matrix /= total[:, None, None, :]
        return matrix

    def _calculateCoefficients(self) -> None:  # noqa: N802
        """What several features share; the sums over i + j and |i - j| are taken in the library's order."""
        levels = self.coefficients["grayLevels"].astype(np.float64)
        matrix = self.P_glcm
        i, j = levels[:, None], levels[None, :]
        by_sum, by_difference = sum_diagonals(
            np.ascontiguousarray(matrix[0]), self.region.present_levels, self.coefficients["Ng"]
        )
        epsilon = np.spacing(1)
        self.coefficients |= {
            "eps": epsilon,
            "i": i,
            "j": j,
            "kValuesSum": np.arange(2, self.coefficients["Ng"] * 2 + 1, dtype=np.float64),
            "kValuesDiff": np.arange(self.coefficients["Ng"], dtype=np.float64),
            "px": matrix.sum(2, keepdims=True),
            "py": matrix.sum(1, keepdims=True),
            "ux": np.sum(i[None, :, :, None] * matrix, (1, 2), keepdims=True),
            "uy": np.sum(j[None, :, :, None] * matrix, (1, 2), keepdims=True),
            "pxAddy": by_sum[None],
            "pxSuby": by_difference[None],
            "HXY": -np.sum(matrix * np.log2(matrix + epsilon), (1, 2)),
        }

    def getClusterShadeFeatureValue(self) -> Any:  # noqa: N802
        """Third moment of i + j about its mean. The cube is a product, not a power: faster, and as exact."""
        deviation = self._deviation_of_sum()
        return np.nanmean(np.sum(self.P_glcm * (deviation * deviation * deviation), (1, 2)), 1)

    def getClusterProminenceFeatureValue(self) -> Any:  # noqa: N802
        """Fourth moment of i + j about its mean, by the square of the square."""
        deviation = self._deviation_of_sum()
        deviation *= deviation
        deviation *= deviation
        return np.nanmean(np.sum(self.P_glcm * deviation, (1, 2)), 1)

    def getMCCFeatureValue(self) -> Any:  # noqa: N802
        """Maximal correlation coefficient; see `maximal_correlation`."""
        matrices = self.P_glcm[0].transpose(2, 0, 1)
        if not self.symmetricalGLCM or matrices.shape[1] < 2 or not np.isfinite(matrices).all():
            return super().getMCCFeatureValue()
        return np.array([maximal_correlation(matrices).mean()])

    def _deviation_of_sum(self) -> NDArray[np.float64]:
        """i + j less its mean, for (1, level, level, direction)."""
        sums = (self.coefficients["i"] + self.coefficients["j"])[None, :, :, None]
        deviation: NDArray[np.float64] = sums - self.coefficients["ux"] - self.coefficients["uy"]
        return deviation


@numba.njit(
    [f"uint32[:,:,::1]({level}[::1], int64[:,::1], int64[::1], int64)" for level in ("uint16", "uint32")],
    cache=True,
    nogil=True,
)
def count_pairs(levels, rows, offsets, highest_level):  # type: ignore[no-untyped-def]
    """How often a voxel has level i and the voxel one offset on has level j.

    Neighbours often repeat the same pair, so two histograms take turns: no increment waits for the one before it.

    Args:
        levels: `Region.levels`.
        rows: `Place.rows`.
        offsets: `Place.offsets`.
        highest_level: the highest grey level.

    Returns:
        Counts (offset, i, j), levels from 0; 0 stands for outside the structure.
    """
    width = numba.uintp(highest_level + 1)
    counts = np.zeros((offsets.size, highest_level + 1, highest_level + 1), np.uint32)
    odd = np.empty((highest_level + 1) * (highest_level + 1), np.uint32)
    for direction in range(offsets.size):
        even = counts[direction].reshape(-1)
        odd[:] = 0
        for row in range(rows.shape[0]):
            start, length = rows[row, 0], rows[row, 1]
            here = levels[start : start + length]
            there = levels[start + offsets[direction] : start + offsets[direction] + length]
            for pair in range(length // 2):
                first, second = 2 * pair, 2 * pair + 1
                even[numba.uintp(here[first]) * width + numba.uintp(there[first])] += numba.uint32(1)
                odd[numba.uintp(here[second]) * width + numba.uintp(there[second])] += numba.uint32(1)
            if length % 2 == 1:
                even[numba.uintp(here[length - 1]) * width + numba.uintp(there[length - 1])] += numba.uint32(1)
        even += odd
    return counts


@numba.njit(["UniTuple(float64[:,::1], 2)(float64[:,:,::1], int64[::1], int64)"], cache=True, nogil=True)
def sum_diagonals(matrix, present_levels, highest_level):  # type: ignore[no-untyped-def]
    """Probabilities of each sum and each difference of the two levels.

    Args:
        matrix: probabilities (level, level, direction), of the levels that occur.
        present_levels: those levels.
        highest_level: the last of them.

    Returns:
        (i + j - 2, direction) and (|i - j|, direction).
    """
    number, _, directions = matrix.shape
    sums = np.zeros((2 * highest_level - 1, directions))
    differences = np.zeros((highest_level, directions))
    for row in range(number):
        for column in range(number):
            of_sum = sums[present_levels[row] + present_levels[column] - 2]
            of_difference = differences[abs(present_levels[row] - present_levels[column])]
            for direction in range(directions):
                of_sum[direction] += matrix[row, column, direction]
                of_difference[direction] += matrix[row, column, direction]
    return sums, differences
