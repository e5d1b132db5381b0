"""The sum of several dose grids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtpipeline.imaging.grid import POSITION_TOLERANCE_MM, FloatArray, Grid, Volume
from rtpipeline.imaging.resampling import resample

LARGEST_UNION = 2.0**28
"""Voxels: two meters at 3 mm in every direction. Doses that lie further apart are not of one patient."""
LARGEST_SIDE = 2**16 - 1
"""Rows and columns that DICOM can count (VR US)."""

_LATTICE_TOLERANCE = 1e-3
"""Two lattices are one if their voxel centres differ by less than this part of a voxel."""


def sum_of(doses: Sequence[Volume]) -> Volume:
    """Add doses on the union of their grids, in patient coordinates.

    The lattice is that of the first dose, so that doses on one lattice are added without interpolation; if another
    one has smaller voxels, the lattice has the direction and origin of the first dose and the smallest spacing.
    Doses are interpolated trilinearly; outside its grid a dose is taken as zero.

    Args:
        doses: in Gy, in one patient coordinate system.

    Raises:
        ValueError: no dose was given, or the union of their grids is larger than any dose is.
    """
    if not doses:
        raise ValueError("there are no doses to add")
    grid = union_grid([dose.grid for dose in doses])
    if np.prod(grid.shape, dtype=float) > LARGEST_UNION or max(grid.shape) > LARGEST_SIDE:
        raise ValueError(f"the grid that holds all of them would have {' x '.join(map(str, grid.shape))} voxels")
    total = np.zeros(grid.shape)
    for dose in doses:
        same = dose.grid.same_as(grid)  # interpolation at voxel centres of oblique grids rounds the last digits
        total += dose.values if same else resample(dose, grid, interpolation="linear", outside=0.0).values
    return Volume(grid, total)


def union_grid(grids: Sequence[Grid]) -> Grid:
    """The grid that `sum_of` adds on: it contains the voxel centres' boxes of all grids."""
    first = grids[0]
    if all(grid.same_as(first) for grid in grids):
        return first
    lattice = _lattice(grids)
    spacing = np.asarray(lattice.spacing_mm)
    corners = np.concatenate([_corners(grid) for grid in grids])
    index = (corners - lattice.origin_mm) @ lattice.direction / spacing
    low = np.floor(index.min(axis=0) + _LATTICE_TOLERANCE)
    high = np.ceil(index.max(axis=0) - _LATTICE_TOLERANCE)
    size = (high - low).astype(int) + 1
    return Grid.uniform(
        lattice.origin_mm + (low * spacing) @ lattice.direction.T,
        (float(spacing[0]), float(spacing[1]), float(spacing[2])),
        (int(size[0]), int(size[1]), int(size[2])),
        lattice.direction,
    )


def _lattice(grids: Sequence[Grid]) -> Grid:
    """Origin and direction of the first grid with the smallest spacing along each of its axes."""
    first = grids[0]
    spacing = np.array([*first.pixel_spacing_mm, _smallest_gap_mm(first)])
    for grid in grids[1:]:
        other = np.array([*grid.pixel_spacing_mm, _smallest_gap_mm(grid)])
        # each axis of the first grid is compared with the axis of the other one that is nearest to it
        nearest = np.abs(first.direction.T @ grid.direction).argmax(axis=1)
        finer = other[nearest] < spacing - POSITION_TOLERANCE_MM
        spacing = np.where(finer, other[nearest], spacing)
    return Grid.uniform(
        first.origin_mm, (float(spacing[0]), float(spacing[1]), float(spacing[2])), (1, 1, 1), first.direction
    )


def _smallest_gap_mm(grid: Grid) -> float:
    if grid.planes == 1:
        return grid.plane_thickness_mm
    return grid.plane_spacing_mm if grid.is_uniform else float(np.diff(grid.plane_offsets_mm).min())


def _corners(grid: Grid) -> FloatArray:
    """World positions (8, 3) of the outermost voxel centres."""
    ends = [(0, grid.columns - 1), (0, grid.rows - 1), (0, grid.planes - 1)]
    index = np.array([(x, y, z) for x in ends[0] for y in ends[1] for z in ends[2]], float)
    return grid.index_to_world(index)
