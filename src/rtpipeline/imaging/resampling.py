"""Values of a volume at other positions."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from rtpipeline.imaging.grid import FloatArray, Grid, Volume

Interpolation = Literal["linear", "nearest"]

EDGE_TOLERANCE = 1e-4
"""Positions outside the outermost voxel centres by less than this part of a voxel are on them."""


def resample(volume: Volume, grid: Grid, *, interpolation: Interpolation, outside: float) -> Volume:
    """The values of `volume` at the voxel centres of `grid`.

    Args:
        volume: any direction, also with planes that are not equally spaced.
        grid: where values are wanted, in the same patient coordinate system.
        interpolation: `linear` is trilinear and gives float64 (float32 for float32 input); `nearest` keeps the type.
        outside: the value for voxels outside `volume`: outside the box of its voxel centres for `linear`, more than
            half a voxel outside it for `nearest`.
    """
    if np.allclose(np.abs(volume.grid.direction.T @ grid.direction), np.eye(3), atol=1e-6):
        return Volume(grid, _resample_parallel(volume, grid, interpolation, outside))
    row, column = np.meshgrid(np.arange(grid.rows, dtype=float), np.arange(grid.columns, dtype=float), indexing="ij")
    values = np.empty(grid.shape, dtype=_result_type(volume, interpolation))
    for plane in range(grid.planes):
        world = grid.index_to_world(np.stack([column, row, np.full_like(row, plane)], axis=-1))
        values[plane] = _sample(volume, world, interpolation, outside)
    return Volume(grid, values)


def _result_type(volume: Volume, interpolation: Interpolation) -> np.dtype:
    if interpolation == "nearest":
        return volume.values.dtype
    return np.dtype(np.float32) if volume.values.dtype == np.float32 else np.dtype(np.float64)


def _sample(volume: Volume, world_mm: FloatArray, interpolation: Interpolation, outside: float) -> NDArray:
    shape = np.shape(world_mm)[:-1]
    index = volume.grid.world_to_index(np.reshape(world_mm, (-1, 3))).T[::-1]
    settled = [_settle(axis, size, interpolation) for axis, size in zip(index, volume.grid.shape, strict=True)]
    inside = settled[0][1] & settled[1][1] & settled[2][1]
    if interpolation == "nearest":
        planes, rows, columns = (axis.astype(np.intp) for axis, _ in settled)
        nearest = volume.values[planes, rows, columns]
        return np.where(inside, nearest, np.asarray(outside, volume.values.dtype)).reshape(shape)
    sampled = map_coordinates(
        volume.values, np.stack([axis for axis, _ in settled]), order=1, mode="nearest", output=np.float64
    )
    return np.where(inside, sampled, outside).reshape(shape)


def _settle(index: FloatArray, size: int, interpolation: Interpolation) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Indices moved into 0 … size - 1 (whole ones for `nearest`), and which of them belonged there.

    A single plane has no neighbour to interpolate with, and stands for half a voxel on either side.
    """
    reach = 0.5 if interpolation == "nearest" or size == 1 else 0.0
    inside = (index >= -reach - EDGE_TOLERANCE) & (index <= size - 1 + reach + EDGE_TOLERANCE)
    settled = np.clip(np.floor(index + 0.5) if interpolation == "nearest" else index, 0, size - 1)
    return settled, inside


def _resample_parallel(volume: Volume, grid: Grid, interpolation: Interpolation, outside: float) -> NDArray:
    """`resample` one axis after the other, for grids whose axes are parallel (or opposite)."""
    values = volume.values.astype(_result_type(volume, interpolation), copy=False)
    everywhere = []
    for axis, size in enumerate(grid.shape):
        positions = np.zeros((size, 3))
        positions[:, 2 - axis] = np.arange(size)
        index = volume.grid.world_to_index(grid.index_to_world(positions))[:, 2 - axis]
        settled, inside = _settle(index, volume.grid.shape[axis], interpolation)
        everywhere.append(inside)
        values = _take(values, settled, axis)
    values[~everywhere[0]] = outside
    values[:, ~everywhere[1]] = outside
    values[:, :, ~everywhere[2]] = outside
    return values


def _take(values: NDArray, index: FloatArray, axis: int) -> NDArray:
    """A new array with the values at fractional indices along one axis."""
    lower = np.minimum(np.floor(index), max(values.shape[axis] - 2, 0)).astype(np.intp)
    weight = index - lower
    below = np.take(values, lower, axis=axis)
    if not weight.any():
        return below
    upper = np.minimum(lower + 1, values.shape[axis] - 1)
    if np.all((weight == 0) | (weight == 1)):
        return np.take(values, np.where(weight == 1, upper, lower), axis=axis)
    shape = [1, 1, 1]
    shape[axis] = len(index)
    factor = weight.astype(values.dtype).reshape(shape)
    return below * (1 - factor) + np.take(values, upper, axis=axis) * factor
