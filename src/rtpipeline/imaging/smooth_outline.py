"""Masks → smooth contours, for people who look at them; the exact ones are those of `polygons.outline`."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate, distance_transform_edt
from skimage.measure import find_contours

from rtpipeline.imaging.grid import FloatArray
from rtpipeline.imaging.mask import BoolArray, Mask

_BINOMIAL = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
_PASSES = 6
_CLEARANCE = 0.02
"""How far, in pixels, a contour stays away from pixel centres."""


def smooth_outline(mask: Mask) -> list[FloatArray]:
    """Contours without the steps of the voxels, around the same voxel centres as the mask.

    In every plane, the distance from the pixel edges between inside and outside is smoothed by a kernel that leaves
    straight and quadratic lines as they are, without ever changing the side of a pixel centre, and followed where it
    is zero (marching squares). So rasterising the contours gives the mask back; their area is only nearly that of the
    voxels.

    Returns:
        One (n, 3) array in world mm for each loop, by plane, without repeating the first vertex.
    """
    contours = []
    for plane in np.flatnonzero(mask.values.any(axis=(1, 2))):
        for loop in find_contours(_level(np.pad(mask.values[plane], 2)), 0.0, fully_connected="low"):
            row, column = (loop[:-1] - 2.0).T
            index = np.stack([column, row, np.full(len(row), float(plane))], axis=-1)
            contours.append(mask.grid.index_to_world(index))
    return contours


def _level(inside: BoolArray) -> FloatArray:
    """Positive inside, so that marching squares keeps pixels apart that touch at a corner."""
    level = np.where(inside, distance_transform_edt(inside) - 0.5, 0.5 - distance_transform_edt(~inside))
    for _ in range(_PASSES):
        once = correlate(level, _BINOMIAL, mode="nearest")
        smooth = 2 * once - correlate(once, _BINOMIAL, mode="nearest")
        level = np.where(inside, np.maximum(smooth, _CLEARANCE), np.minimum(smooth, -_CLEARANCE))
    return level
