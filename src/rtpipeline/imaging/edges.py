"""At which sides of the patient something touches the edge of an image, where it may go on unseen."""

from __future__ import annotations

import numpy as np

from rtpipeline.imaging.grid import FloatArray, Grid
from rtpipeline.imaging.mask import Mask

_SIDES = ("left", "right", "posterior", "anterior", "superior", "inferior")
"""Towards larger and smaller x, y and z of the patient's coordinates."""


def touched_sides(mask: Mask, grid: Grid) -> tuple[str, ...]:
    """Sides at which the voxels of a mask on a part of `grid` are outermost ones; sorted.

    An axis of a single voxel has no sides.
    """
    if mask.is_empty:
        return ()
    first = np.rint(grid.world_to_index(mask.grid.origin_mm))
    filled = [np.flatnonzero(mask.values.any(axis=axes)) for axes in ((0, 1), (0, 2), (1, 2))]
    low = first + np.array([axis[0] for axis in filled])
    high = first + np.array([axis[-1] for axis in filled])
    return reached_sides(low, high, grid)


def reached_sides(low: FloatArray, high: FloatArray, grid: Grid) -> tuple[str, ...]:
    """Sides at which something between the (column, row, plane) indices `low` and `high` reaches outermost voxels."""
    sides = set()
    for axis, size in enumerate((grid.columns, grid.rows, grid.planes)):
        if size > 1 and low[axis] < 0.5:
            sides.add(_side(-grid.direction[:, axis]))
        if size > 1 and high[axis] > size - 1.5:
            sides.add(_side(grid.direction[:, axis]))
    return tuple(sorted(sides))


def _side(direction: FloatArray) -> str:
    """The side of the patient that a direction points to most."""
    axis = int(np.argmax(np.abs(direction)))
    return _SIDES[2 * axis + int(direction[axis] < 0)]
