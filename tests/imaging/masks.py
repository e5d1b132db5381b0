"""Random masks and grids for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, gaussian_filter

from rtpipeline.imaging.grid import Grid


def random_direction(generator: np.random.Generator) -> NDArray[np.float64]:
    """A random rotation."""
    direction = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    direction[:, 2] = np.cross(direction[:, 0], direction[:, 1])
    return direction


def random_mask(generator: np.random.Generator) -> NDArray[np.bool_]:
    """One of: noise of any density, blobs, blobs with holes, islands in holes, single voxels, planes left out."""
    shape = tuple(generator.integers(1, 14, 3))
    kind = generator.integers(6)
    if kind == 0:
        return generator.random(shape) < generator.uniform(0.02, 1.0)
    smooth = gaussian_filter(generator.normal(size=shape), generator.uniform(0.6, 2.0), mode="wrap")
    blobs = smooth > np.quantile(smooth, generator.uniform(0.3, 0.9))
    if kind == 1:
        return blobs
    if kind == 2:
        return binary_fill_holes(blobs) & (generator.random(shape) < 0.9)
    if kind == 3:
        return blobs ^ (generator.random(shape) < 0.1)
    if kind == 4:
        values = np.zeros(shape, bool)
        values[tuple(generator.integers(size) for size in shape)] = True
        return values
    blobs[generator.random(shape[0]) < 0.5] = False
    return blobs


@st.composite
def masks_on_grids(draw: st.DrawFn) -> tuple[Grid, NDArray[np.bool_]]:
    """A random mask on a grid that lies straight or obliquely, up to 1.5 m from the origin."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = random_mask(generator)
    spacing = tuple(float(value) for value in generator.uniform(0.4, 4.0, 3))
    direction = random_direction(generator) if draw(st.booleans()) else None
    origin = generator.uniform(-1500, 1500, 3)
    return Grid.uniform(origin, spacing, values.shape[::-1], direction), values
