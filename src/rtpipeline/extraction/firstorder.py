"""Statistics of the voxels' values (IBSI: intensity-based statistics), in float64."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from radiomics.firstorder import RadiomicsFirstOrder

from rtpipeline.extraction.region import OnRegion, Region


class FirstOrder(OnRegion, RadiomicsFirstOrder):
    """PyRadiomics' first-order features of a region.

    The library computes mean, moments and percentiles anew for each feature, each time looking for NaN. Here each is
    computed once. Powers are products, and the voxels outside the percentiles are left out instead of being set to
    NaN; so skewness, kurtosis and the robust deviation can differ from the library's in the last bits.
    """

    @staticmethod
    def covers(region: Region) -> bool:
        """Whether these values are handled here; images with NaN are left to the library."""
        return bool(np.isfinite(region.values).all())

    def _initCalculation(self, voxelCoordinates: None = None) -> None:  # noqa: N802, N803  the library's names
        self.targetVoxelArray = self.region.values.astype(np.float64).reshape(1, -1)
        counts = self.region.level_counts[self.region.present_levels - 1]
        self.coefficients["p_i"] = (counts / counts.sum()).reshape(1, -1)

    @cached_property
    def _mean(self) -> NDArray[np.float64]:
        return np.asarray(self.targetVoxelArray.mean(1))

    @cached_property
    def _centred(self) -> NDArray[np.float64]:
        return np.asarray(self.targetVoxelArray - self._mean[:, None])

    @cached_property
    def _square(self) -> NDArray[np.float64]:
        return np.square(self._centred)

    @cached_property
    def _energy(self) -> NDArray[np.float64]:
        return np.asarray(np.sum((self.targetVoxelArray + self.voxelArrayShift) ** 2, 1))

    @cached_property
    def _percentiles(self) -> dict[int, NDArray[np.float64]]:
        ranks = (10, 25, 75, 90)
        return dict(zip(ranks, np.percentile(self.targetVoxelArray, ranks, axis=1), strict=True))

    def _moment(self, a: NDArray[np.float64], moment: int = 1) -> NDArray[np.float64]:
        """Central moment 2, 3 or 4 of the region's values."""
        powers = {2: lambda: self._square, 3: lambda: self._square * self._centred, 4: lambda: self._square**2}
        return np.asarray(powers[moment]().mean(1))

    def getEnergyFeatureValue(self) -> Any:  # noqa: N802
        """Sum of squares, after the shift."""
        return self._energy

    def get10PercentileFeatureValue(self) -> Any:  # noqa: N802
        """10th percentile, interpolated."""
        return self._percentiles[10]

    def get90PercentileFeatureValue(self) -> Any:  # noqa: N802
        """90th percentile, interpolated."""
        return self._percentiles[90]

    def getInterquartileRangeFeatureValue(self) -> Any:  # noqa: N802
        """75th less 25th percentile."""
        return self._percentiles[75] - self._percentiles[25]

    def getMinimumFeatureValue(self) -> Any:  # noqa: N802
        """Smallest value."""
        return self.targetVoxelArray.min(1)

    def getMaximumFeatureValue(self) -> Any:  # noqa: N802
        """Largest value."""
        return self.targetVoxelArray.max(1)

    def getRangeFeatureValue(self) -> Any:  # noqa: N802
        """Largest less smallest value."""
        return self.targetVoxelArray.max(1) - self.targetVoxelArray.min(1)

    def getMeanFeatureValue(self) -> Any:  # noqa: N802
        """Mean."""
        return self._mean

    def getMedianFeatureValue(self) -> Any:  # noqa: N802
        """Median."""
        return np.median(self.targetVoxelArray, axis=1)

    def getMeanAbsoluteDeviationFeatureValue(self) -> Any:  # noqa: N802
        """Mean distance from the mean."""
        return np.abs(self._centred).mean(1)

    def getRobustMeanAbsoluteDeviationFeatureValue(self) -> Any:  # noqa: N802
        """Mean distance from their mean, of the values from the 10th to the 90th percentile."""
        values = self.targetVoxelArray[0]
        kept = values[(values >= self._percentiles[10]) & (values <= self._percentiles[90])]
        return np.abs(kept - kept.mean()).mean(keepdims=True)

    def getRootMeanSquaredFeatureValue(self) -> Any:  # noqa: N802
        """Square root of the mean square, after the shift."""
        return np.sqrt(self._energy / float(self.targetVoxelArray.size))

    def getVarianceFeatureValue(self) -> Any:  # noqa: N802
        """Mean squared distance from the mean; the square of its root, as the library has it."""
        return np.sqrt(self._square.mean(1)) ** 2
