"""V: the mask grown or shrunk to an exact number of voxels."""

from __future__ import annotations

import numpy as np

from rtpipeline.imaging.surface import surface_distance
from rtpipeline.radiomics_robustness.region import Region


def target_voxels(count: int, change: float) -> int:
    """`count (1 + change)`, rounded half up; the float error of the product is not what decides a half."""
    return int(np.floor(round(count * (1.0 + change), 9) + 0.5))


def with_volume_change(region: Region, change: float) -> Region:
    """The region with `target_voxels(n, change)` voxels.

    Grown by the outside voxels nearest to the surface, or shrunk by the inside voxels nearest to it, in millimetres;
    among equals those with the lowest index (z, y, x) go first.

    Raises:
        ValueError: nothing would be left.
    """
    count = region.voxel_count
    wanted = target_voxels(count, change)
    if wanted < 1:
        raise ValueError(f"a volume change of {change:+.0%} leaves none of {count} voxels")
    if wanted == count:
        return region.trimmed()
    grows = wanted > count
    limit_mm = 2.0 * max(region.spacing_mm)
    while True:
        padded = region.padded(limit_mm)
        distance = surface_distance(padded.values, padded.spacing_mm, limit_mm)
        distance[padded.values == grows] = np.inf
        if np.count_nonzero(np.isfinite(distance)) >= abs(wanted - count):
            break
        limit_mm *= 2.0
    changed = np.argsort(distance, axis=None, kind="stable")[: abs(wanted - count)]
    values = padded.values.ravel().copy()
    values[changed] = grows
    return padded.with_values(values.reshape(padded.values.shape)).trimmed()
