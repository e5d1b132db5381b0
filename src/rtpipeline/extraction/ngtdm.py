"""Neighbouring grey tone difference matrix: how voxels differ from their surroundings (Amadasun 1989; IBSI: NGTDM)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from radiomics.ngtdm import RadiomicsNGTDM

from rtpipeline.extraction.region import OnRegion, Region


class Ngtdm(OnRegion, RadiomicsNGTDM):
    """PyRadiomics' NGTDM features of a region."""

    @staticmethod
    def covers(region: Region) -> bool:
        """All settings are handled here."""
        return True

    def _calculateMatrix(self, voxelCoordinates: None = None) -> NDArray[np.float64]:  # noqa: N802, N803  the library's names
        """For each level that occurs: its voxels, the sum of their differences, the level; shape (1, level, 3)."""
        present = self.region.present_levels
        columns = [self.region.level_counts[present - 1], self.region.neighbourhoods[1][present - 1], present]
        return np.stack(columns, axis=1).astype(np.float64)[None]
