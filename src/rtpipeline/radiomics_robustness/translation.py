"""T: the mask shifted against the image, by whole voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtpipeline.imaging.grid import Grid
from rtpipeline.radiomics_robustness.region import Index, Region
from rtpipeline.radiomics_robustness.states import Translation


@dataclass(frozen=True)
class VoxelShift:
    """A translation as the grid allows it.

    Attributes:
        steps: whole voxels (z, y, x).
        applied_mm: the shift that they are, (x, y, z) in patient coordinates.
    """

    steps: Index
    applied_mm: Translation

    @property
    def is_none(self) -> bool:
        """Whether nothing moves."""
        return not any(self.steps)

    def apply(self, region: Region) -> Region:
        """The shifted region."""
        return region.moved(self.steps)


def voxel_shift(requested_mm: Translation, grid: Grid) -> VoxelShift:
    """The whole-voxel shift nearest to `requested_mm` (x, y, z, patient coordinates), each axis of the grid by itself.

    A mask has no values between its voxels, so a shift of 4 mm is one of 3 mm on slices of 3 mm, and none at all on
    slices of more than 8 mm; what was applied is what must be reported. Halves are rounded away from zero, so that
    opposite shifts stay opposite.
    """
    spacing = np.asarray(grid.spacing_mm)
    steps = (np.asarray(requested_mm) @ grid.direction) / spacing
    whole = np.copysign(np.floor(np.abs(steps) + 0.5 + 1e-9), steps)
    x, y, z = (float(value) + 0.0 for value in np.round(grid.direction @ (whole * spacing), 6))
    column, row, plane = (int(value) for value in whole)
    return VoxelShift((plane, row, column), (x, y, z))
