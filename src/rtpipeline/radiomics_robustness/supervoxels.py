"""C of the chain after Zwanenburg: contours drawn at random along the edges of supervoxels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing
from skimage.segmentation import slic

from rtpipeline.imaging.grid import Volume
from rtpipeline.imaging.mask import BoolArray, Mask

MARGIN_MM = 25.0
"""Supervoxels are made of the structure and this much around it."""
VOLUME_MM3 = 500.0
LEAST_VOXELS = 20
COMPACTNESS = 0.05
"""Weight of distance against intensity (0 to 1 over the structure's range): supervoxels follow edges."""
RANGE_MARGIN = 0.1
"""Intensities count as far as this part of the structure's range beyond it."""
INSIDE_FROM = 0.9
OUTSIDE_BELOW = 0.2


def supervoxels(image: Volume, mask: Mask) -> NDArray[np.int64]:
    """Labels (z, y, x) from 1 on of supervoxels of about 0.5 cm³, by simple linear iterative clustering.

    Achanta et al., IEEE Transactions on Pattern Analysis and Machine Intelligence 34(11):2274-2282, 2012. Intensities
    are cut to the structure's range with a tenth of it on either side and brought to 0 to 1.

    Args:
        image: the structure with its surroundings.
        mask: on the same grid.
    """
    inside = image.values[mask.values]
    low, high = float(inside.min()), float(inside.max())
    margin = RANGE_MARGIN * (high - low)
    low, high = low - margin, high + margin
    if high > low:
        scaled = np.clip((image.values.astype(np.float64) - low) / (high - low), 0.0, 1.0)
    else:
        scaled = np.zeros(image.values.shape)
    spacing = image.grid.spacing_mm[::-1]
    size = max(LEAST_VOXELS, VOLUME_MM3 / float(np.prod(spacing)))
    labels = slic(
        scaled,
        n_segments=max(1, round(scaled.size / size)),
        compactness=COMPACTNESS,
        sigma=min(spacing),
        spacing=spacing,
        enforce_connectivity=True,
        channel_axis=None,
        start_label=1,
    )
    return np.asarray(labels, dtype=np.int64)


def chosen(overlap: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.bool_]:
    """Which supervoxels are the structure.

    Always from an overlap of 0.9 on, never below 0.2, else with a probability that is the overlap; the one with the
    largest overlap always, so that something is left (Zwanenburg et al., Scientific Reports 9:614, 2019).

    Args:
        overlap: (n,) part of each supervoxel's volume inside the structure, 0 to 1.
        random: one number is drawn for each supervoxel, whatever its overlap.
    """
    draws = random.random(len(overlap))
    inside = (overlap >= INSIDE_FROM) | ((overlap >= OUTSIDE_BELOW) & (draws < overlap))
    inside[np.argmax(overlap)] = True
    return inside


def redrawn(labels: NDArray[np.int64], mask: BoolArray, random: np.random.Generator) -> BoolArray:
    """The structure made of randomly chosen supervoxels, with gaps of a voxel closed.

    Args:
        labels: of `supervoxels`.
        mask: (z, y, x) the structure.
        random: of this realisation.
    """
    total = np.bincount(labels.ravel())
    within = np.bincount(labels.ravel(), weights=mask.ravel(), minlength=len(total))
    overlap = np.divide(within, total, out=np.zeros(len(total)), where=total > 0)
    drawn: BoolArray = chosen(overlap, random)[labels]
    padded = np.pad(drawn, 1)
    return np.asarray(binary_closing(padded)[1:-1, 1:-1, 1:-1] | drawn)
