"""N: Gaussian noise on the whole image."""

from __future__ import annotations

import numpy as np

from rtpipeline.imaging.grid import Volume


def with_noise(volume: Volume, standard_deviation: float, random: np.random.Generator) -> Volume:
    """The image as float32, with normally distributed noise added to every voxel.

    The image is float32 at level 0 too: integers would be resampled with another rounding, and the levels would differ
    by more than their noise.
    """
    values = np.asarray(volume.values, dtype=np.float32)
    if standard_deviation > 0:
        noise = random.standard_normal(values.shape, dtype=np.float32)
        noise *= np.float32(standard_deviation)
        values = values + noise
    return Volume(volume.grid, values)
