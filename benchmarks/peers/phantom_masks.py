"""A hundred structures on 512 × 512 × 120 voxels, the same for every process: ellipsoids, a third of them hollow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

SHAPE = (120, 512, 512)
SPACING = (0.98, 0.98, 3.0)
ORIGIN = (-250.0, -250.0, -180.0)
STRUCTURES = 100


def names() -> list[str]:
    return [f"structure {number:03d}" for number in range(STRUCTURES)]


def masks() -> Iterator[np.ndarray]:
    """(planes, rows, columns), one after the other, because together they would take 3 GB."""
    generator = np.random.default_rng(12)
    for number in range(STRUCTURES):
        radius = generator.uniform(8, 90) if number % 5 else generator.uniform(90, 170)
        radii = (
            radius * generator.uniform(0.7, 1.3, 3) * np.array([0.35, 1.0, 1.0])
        )  # planes are three times as far apart
        centre = np.array([60, 256, 256]) + generator.uniform(-0.6, 0.6, 3) * np.array([40, 150, 150])
        z, y, x = (
            (np.arange(size) - middle) / extent for size, middle, extent in zip(SHAPE, centre, radii, strict=True)
        )
        distance = (z**2)[:, None, None] + (y**2)[None, :, None] + (x**2)[None, None, :]
        mask = distance <= 1.0
        if number % 3 == 0:
            mask &= distance > 0.3
        yield mask
