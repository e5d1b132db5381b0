"""How much of the patient a plane stands for: one rule for contours, for their masks, and for image planes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtpipeline.imaging.grid import POSITION_TOLERANCE_MM

LARGE_GAP_RATIO = 1.5
"""Gaps between planes that are larger than this many median gaps are taken for spaces between two parts."""
SMALL_GAP_RATIO = 0.5
"""Gaps that are smaller than this many median gaps are unusual, and told."""


def slab_bounds_mm(
    offsets_mm: NDArray[np.float64], image_gap_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper bounds (n,) of the slabs that planes of contours stand for.

    Half of the gap to either neighbour, so that neighbours meet, also where gaps differ. A gap of more than
    `LARGE_GAP_RATIO` times the median is a space between two parts: there, and at the ends, a plane reaches as far
    as half of its other gap, but no more than half the median. Of two or three planes that lie further apart than
    two images, each stands for one image.

    Args:
        offsets_mm: (n,) strictly increasing positions of the planes along their normal.
        image_gap_mm: spacing of the images that they were drawn on; the thickness of a single plane.
    """
    gaps = np.diff(offsets_mm)
    typical = float(np.median(gaps)) if len(gaps) else image_gap_mm
    if 0 < len(gaps) < 3 and typical > 2 * image_gap_mm + POSITION_TOLERANCE_MM:
        typical = image_gap_mm
    joined = gaps <= LARGE_GAP_RATIO * typical
    below = np.concatenate([[np.nan], np.where(joined, gaps / 2, np.nan)])
    above = np.concatenate([np.where(joined, gaps / 2, np.nan), [np.nan]])
    free = np.fmin(np.fmin(below, above), typical / 2)
    below, above = np.where(np.isnan(below), free, below), np.where(np.isnan(above), free, above)
    return offsets_mm - below, offsets_mm + above


def gap_warnings(offsets_mm: NDArray[np.float64], image_gap_mm: float | None) -> list[str]:
    """A sentence for every gap that is not filled, and for what else is unusual about the distances of planes.

    Args:
        offsets_mm: as for `slab_bounds_mm`.
        image_gap_mm: spacing of the images; None where there are none.
    """
    if len(offsets_mm) == 1:
        return [f"a single plane of contours; its thickness is the CT's plane spacing, {image_gap_mm} mm"]
    gaps = np.diff(offsets_mm)
    median = float(np.median(gaps))
    warnings = [
        f"no contours between {offsets_mm[i]:.1f} and {offsets_mm[i + 1]:.1f} mm ({gap:.1f} mm; the median gap is "
        f"{median:.1f} mm): the space between is not filled"
        for i, gap in enumerate(gaps)
        if gap > LARGE_GAP_RATIO * median
    ]
    near = int(np.count_nonzero(gaps < SMALL_GAP_RATIO * median))
    if near:
        warnings.append(
            f"{near} gaps between planes of contours are less than half the median gap of {median:.1f} mm: where parts "
            "are drawn on planes of their own, the volume comes out too small"
        )
    if image_gap_mm is not None and median > LARGE_GAP_RATIO * image_gap_mm:
        warnings.append(f"contours only every {median:.1f} mm on images every {image_gap_mm:.1f} mm")
    return warnings
