"""Planes through a volume as people look at them, in patient directions whatever the volume's own are."""

from __future__ import annotations

from typing import Literal

import numpy as np

from rtpipeline.imaging.grid import FloatArray, Grid

View = Literal["axial", "coronal", "sagittal"]

VIEW_DIRECTIONS: dict[View, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
}
"""LPS directions to the right and down the picture: the patient's left is on the right, superior and anterior on top
(anterior on the left in the sagittal view), as radiologists look at a patient."""

PIXEL_MM = 1.0
"""Of the pictures, in both directions."""


def view_grid(grid: Grid, view: View, through_mm: FloatArray) -> Grid:
    """A grid of one plane through a point that covers `grid`: `resample` a volume on it to get the picture.

    Args:
        grid: what is to be covered, of any direction.
        view: which plane; row 0 of the result is the top of the picture, column 0 its left side.
        through_mm: (3,) world position of a point in the plane.
    """
    right, down = (np.array(direction, float) for direction in VIEW_DIRECTIONS[view])
    normal = np.cross(right, down)
    last = [grid.columns - 1, grid.rows - 1, grid.planes - 1]
    corners = grid.index_to_world(np.array(np.meshgrid(*[[0, end] for end in last]), float).reshape(3, -1).T)
    across, along = corners @ right, corners @ down
    origin = right * across.min() + down * along.min() + normal * (np.asarray(through_mm, float) @ normal)
    return Grid.uniform(
        origin,
        (PIXEL_MM, PIXEL_MM, PIXEL_MM),
        (int(np.ptp(across) / PIXEL_MM) + 1, int(np.ptp(along) / PIXEL_MM) + 1, 1),
        np.stack([right, down, normal], axis=1),
    )
