"""Decimal strings (VR DS): numbers as text of at most 16 characters, separated by backslashes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from rtpipeline.imaging.grid import FloatArray

COORDINATE_DECIMALS = 4
"""Of contour points in mm: a tenth of a micrometre, and up to six digits before the point still fit."""


def decimal_string(value: float) -> str:
    """A number as a decimal string, as precise as 16 characters allow."""
    for digits in range(16, 5, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    raise ValueError(f"{value!r} does not fit a decimal string")


def coordinate_bytes(points_mm: FloatArray) -> bytes:
    """Points (n, 3) as the encoded value of ContourData, padded to an even length."""
    rounded = np.round(points_mm, COORDINATE_DECIMALS).ravel() + 0.0
    text = "\\".join(map(_coordinate, rounded.tolist()))
    return (text + " " * (len(text) % 2)).encode("ascii")


@lru_cache(maxsize=1 << 16)
def _coordinate(value: float) -> str:
    """Along voxel edges few values occur many times, and looking a text up is quicker than making it."""
    return f"{value:.{COORDINATE_DECIMALS}f}"


def coordinates(value: bytes) -> FloatArray:
    """Points (n, 3) of an encoded ContourData.

    Raises:
        ValueError: it is not a list of finite numbers, or their count is not a multiple of three.
    """
    numbers = np.array(value.rstrip(b" \0").split(b"\\"), dtype=np.float64)
    if len(numbers) % 3 or not np.all(np.isfinite(numbers)):
        raise ValueError(f"{len(numbers)} coordinates are not points in space")
    return numbers.reshape(-1, 3)
