"""How much memory a worker needs for a job, from its bounding box and its grey levels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from rtpipeline.extraction.jobs import ExtractionJob, ImageOnDisk, MaskOnDisk
from rtpipeline.extraction.prefilter import LARGEST_VOXELS

WORKER_BYTES = 300_000_000
"""A worker with its libraries, before its first job."""

COEFFICIENT_BYTES = 20
"""For each voxel of the whole image, while B-spline coefficients are computed: the image, and twice float64."""

BOX_BYTES = 90
"""For each voxel of the box that is resampled: image, mask, filtered image, ITK's and our copies of them."""

MATRIX_BYTES = 60
"""For each pair of grey levels and direction: counts, probabilities, and the products that features sum up."""

FILTER_RANGE = math.sqrt(2) ** 3
"""How much wider the range of a filtered image can be than the image's: that of the wavelet's low passes."""


def estimated_bytes(job: ExtractionJob) -> int:
    """Upper estimate of the memory of a worker that does this job.

    Raises:
        OSError: image or mask cannot be read.
    """
    voxels, box = _sizes(job.image, job.mask)
    setting = job.parameters["setting"]
    spacing = setting.get("resampledPixelSpacing") if setting.get("interpolator") is not None else None
    asked = np.array(job.image.spacing_mm if spacing is None else spacing, dtype=float)
    step = np.where(asked == 0, job.image.spacing_mm, asked)
    pad = 2 * int(setting.get("padDistance", 5)) + 2
    resampled = float(np.prod(np.ceil(np.array(box) * job.image.spacing_mm / step) + pad))
    coefficients = COEFFICIENT_BYTES * voxels if voxels <= LARGEST_VOXELS else 0
    return int(WORKER_BYTES + coefficients + BOX_BYTES * resampled + MATRIX_BYTES * _matrix_entries(job, setting))


def _matrix_entries(job: ExtractionJob, setting: Mapping[str, Any]) -> float:
    """Pairs of grey levels times directions, of the co-occurrence matrices."""
    distances = setting.get("distances", [1])
    directions = sum(((2 * distance + 1) ** 3 - (2 * distance - 1) ** 3) // 2 for distance in distances)
    return directions * _grey_levels(job, setting) ** 2


def _grey_levels(job: ExtractionJob, setting: Mapping[str, Any]) -> float:
    if setting.get("binCount") is not None:
        return float(setting["binCount"])
    if setting.get("normalize"):
        spread = 6.0 * setting.get("normalizeScale", 1)  # three standard deviations to either side
    else:
        spread = _spread(job.image, job.mask)
    return FILTER_RANGE * spread / setting.get("binWidth", 25) + 1


def _sizes(image: ImageOnDisk, mask: MaskOnDisk) -> tuple[int, tuple[int, ...]]:
    """Voxels of the image; size of the mask's box (x, y, z)."""
    whole, part = np.load(image.file, mmap_mode="r"), np.load(mask.file, mmap_mode="r")
    return int(whole.size), part.shape[::-1]


@lru_cache(maxsize=256)
def _spread(image: ImageOnDisk, mask: MaskOnDisk) -> float:
    """Largest less smallest value inside the mask."""
    inside = np.load(mask.file)
    box = tuple(slice(first, first + size) for first, size in zip(mask.offset, inside.shape, strict=True))
    values = np.load(image.file, mmap_mode="r")[box][inside]
    return float(values.max() - values.min()) if values.size else 0.0
