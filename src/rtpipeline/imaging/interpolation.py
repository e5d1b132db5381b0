"""Values and gradients of a volume between its voxel centres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtpipeline.imaging.grid import POSITION_TOLERANCE_MM, FloatArray, Grid, Volume


@dataclass(frozen=True, eq=False)
class LocalSamples:
    """What a volume is at n points.

    Attributes:
        values: (n,) trilinearly interpolated; NaN at points outside the grid.
        gradient_per_mm: (n, 3) change of the value per mm along the grid's columns, rows and planes.
        inside: (n,) whether the point lies between voxel centres of the grid (within `POSITION_TOLERANCE_MM`).
    """

    values: FloatArray
    gradient_per_mm: FloatArray
    inside: NDArray[np.bool_]


def sample_with_gradient(volume: Volume, world_mm: FloatArray) -> LocalSamples:
    """Trilinear interpolation, and its derivative, at world positions (n, 3) in mm.

    Within a box of eight voxel centres the value is the product of three linear interpolations of the corner values
    c; the derivative along an axis is the difference of the values interpolated in its two opposite faces.
    Nothing is extrapolated: outside the box of all voxel centres the value is NaN and the gradient 0.
    """
    index = volume.grid.world_to_index(world_mm)
    base, fraction, inside = _cells(volume.grid, index)
    corners = _corners(volume, base)
    fx, fy, fz = fraction
    low_x, high_x = corners[..., 0], corners[..., 1]  # (n, z, y)
    rows = low_x + (high_x - low_x) * fx[:, None, None]
    planes = rows[..., 0] + (rows[..., 1] - rows[..., 0]) * fy[:, None]
    values = planes[:, 0] + (planes[:, 1] - planes[:, 0]) * fz
    slope_y = _lerp(rows[:, 0, 1] - rows[:, 0, 0], rows[:, 1, 1] - rows[:, 1, 0], fz)
    faces = high_x - low_x
    slope_x = _lerp(_lerp(faces[:, 0, 0], faces[:, 0, 1], fy), _lerp(faces[:, 1, 0], faces[:, 1, 1], fy), fz)
    slope_z = planes[:, 1] - planes[:, 0]
    gradient = np.stack([slope_x, slope_y, slope_z], axis=-1) / _step_mm(volume.grid, base[2])
    gradient[~inside] = 0.0
    return LocalSamples(np.where(inside, values, np.nan), gradient, inside)


def _lerp(low: FloatArray, high: FloatArray, fraction: FloatArray) -> FloatArray:
    return low + (high - low) * fraction


def _cells(grid: Grid, index: FloatArray) -> tuple[list[NDArray[np.intp]], list[FloatArray], NDArray[np.bool_]]:
    """Per axis (x, y, z): the lower voxel of the box around each point and the fraction of the way to the upper."""
    inside = np.ones(len(index), dtype=bool)
    base, fraction = [], []
    spacings = (*grid.pixel_spacing_mm, float(np.min(grid.plane_thicknesses_mm)))
    for axis, size in enumerate((grid.columns, grid.rows, grid.planes)):
        tolerance = POSITION_TOLERANCE_MM / spacings[axis]
        position = index[:, axis]
        inside &= (position >= -tolerance) & (position <= size - 1 + tolerance)
        position = np.clip(position, 0.0, size - 1.0)
        lower = np.minimum(position.astype(np.intp), max(size - 2, 0))
        base.append(lower)
        fraction.append(position - lower)
    return base, fraction, inside


def _corners(volume: Volume, base: list[NDArray[np.intp]]) -> FloatArray:
    """(n, 2, 2, 2) values at the corners, axes (point, z, y, x); a grid of one voxel along an axis repeats it."""
    planes, rows, columns = volume.values.shape
    flat = np.ascontiguousarray(volume.values).reshape(-1)
    start = (base[2] * rows + base[1]) * columns + base[0]
    steps = (
        rows * columns if planes > 1 else 0,
        columns if rows > 1 else 0,
        1 if columns > 1 else 0,
    )
    corners = np.empty((len(start), 2, 2, 2))
    for z in (0, 1):
        for y in (0, 1):
            for x in (0, 1):
                corners[:, z, y, x] = flat.take(start + (z * steps[0] + y * steps[1] + x * steps[2]))
    return corners


def _step_mm(grid: Grid, plane: NDArray[np.intp]) -> FloatArray:
    """(n, 3) distance of neighbouring voxel centres along x, y and z; z at the box that begins with `plane`."""
    if grid.planes == 1:
        gap = np.full(len(plane), grid.plane_thickness_mm)
    else:
        gap = np.diff(grid.plane_offsets_mm)[plane]
    x, y = grid.pixel_spacing_mm
    return np.stack([np.full(len(plane), x), np.full(len(plane), y), gap], axis=-1)
