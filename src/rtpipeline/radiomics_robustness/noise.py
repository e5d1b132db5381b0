"""N: Gaussian noise on the whole image, and how much of it an image has by itself."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import correlate1d, minimum_filter1d

from rtpipeline.imaging.grid import Volume

_ROOT = math.sqrt(7.0)
_COIF1_LOW_PASS = np.array([-3 + _ROOT, 1 - _ROOT, 14 - 2 * _ROOT, 14 + 2 * _ROOT, 5 + _ROOT, 1 - _ROOT]) / (
    16 * math.sqrt(2.0)
)
COIF1_HIGH_PASS = _COIF1_LOW_PASS[::-1] * np.array([-1, 1, -1, 1, -1, 1])
"""Coiflet of order 1 (Daubechies, Ten Lectures on Wavelets, 1992, table 8.1), of unit norm."""
_MEDIAN_OF_NORMAL = 0.6744897501960817
"""Median of the absolute value of a standard normal variable."""


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


def estimated_noise(volume: Volume) -> float:
    """Standard deviation of the noise that an image has, after Chang, Yu and Vetterli.

    `median(|w|) / 0.6745` over the coefficients w of the diagonal subband (high-pass along y and x of every plane) of
    one level of the undecimated coiflet transform (IEEE Transactions on Image Processing 9(9):1532-1546, 2000, eq. 24;
    used for this by Zwanenburg et al., Scientific Reports 9:614, 2019). Anatomy is smooth at that scale and leaves the
    median alone. Coefficients that touch the lowest value of the image do not count: scanners fill and clip with it,
    and it has no noise.

    Returns:
        In the image's unit; 0 for an image of one value.
    """
    lowest = volume.values.min()
    length = len(COIF1_HIGH_PASS)
    found = []
    for plane in volume.values:
        values = np.asarray(plane, dtype=np.float64)
        diagonal = correlate1d(correlate1d(values, COIF1_HIGH_PASS, axis=0), COIF1_HIGH_PASS, axis=1)
        least = minimum_filter1d(minimum_filter1d(values, length, axis=0), length, axis=1)
        inside = least > lowest
        inside[: length // 2], inside[-length // 2 :] = False, False
        inside[:, : length // 2], inside[:, -length // 2 :] = False, False
        found.append(np.abs(diagonal[inside]))
    coefficients = np.concatenate(found)
    return float(np.median(coefficients) / _MEDIAN_OF_NORMAL) if coefficients.size else 0.0
