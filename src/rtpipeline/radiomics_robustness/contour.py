"""C: the whole surface moved in or out by a random distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtpipeline.imaging.surface import surface_distance
from rtpipeline.radiomics_robustness.region import Region


@dataclass(frozen=True)
class ContourOffset:
    """A drawn contour realisation: by how many millimetres the surface moves, outwards where positive."""

    offset_mm: float

    @classmethod
    def draw(cls, magnitude_mm: float, random: np.random.Generator) -> ContourOffset:
        """A distance uniform between half of `magnitude_mm` and all of it, inwards or outwards with equal chance."""
        distance_mm = float(random.uniform(0.5 * magnitude_mm, magnitude_mm))
        return cls(-distance_mm if random.random() < 0.5 else distance_mm)

    def apply(self, region: Region) -> Region:
        """The region with every voxel whose centre lies within the moved surface (see `surface_distance`).

        A slice thicker than twice the offset is neither lost nor gained.
        """
        distance_mm = abs(self.offset_mm)
        padded = region.padded(distance_mm)
        near = surface_distance(padded.values, padded.spacing_mm, distance_mm)
        if self.offset_mm >= 0:
            return padded.with_values(padded.values | (near <= distance_mm)).trimmed()
        return padded.with_values(padded.values & (near >= distance_mm)).trimmed()
