"""Grey level dependence matrix: voxels by level and by neighbours of about that level (Sun 1983; IBSI: NGLDM)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from radiomics.gldm import RadiomicsGLDM

from rtpipeline.extraction.region import OnRegion, Region


class Gldm(OnRegion, RadiomicsGLDM):
    """PyRadiomics' GLDM features of a region."""

    @staticmethod
    def covers(region: Region) -> bool:
        """Whether these settings are handled here; anything but a whole number as `gldm_a` is left to the library."""
        alpha = region.setting.get("gldm_a", 0)
        return isinstance(alpha, int) and alpha >= 0

    def _calculateMatrix(self, voxelCoordinates: None = None) -> NDArray[np.float64]:  # noqa: N802, N803  the library's names
        """Counts (1, level, dependent neighbours + 1), of the levels and the numbers that occur."""
        counts = self.region.neighbourhoods[0].astype(np.float64)
        occurs = counts.sum(0) != 0
        matrix = counts[None, self.region.level_counts != 0]
        matrix = matrix[:, :, occurs]  # in memory the numbers now come first: the order of the library's sums
        by_size = matrix.sum(1)
        self.coefficients |= {
            "Nz": by_size.sum(1),
            "pd": by_size,
            "pg": matrix.sum(2),
            "ivector": self.coefficients["grayLevels"].astype(float),
            "jvector": np.flatnonzero(occurs) + 1.0,
        }
        return matrix
