"""A boolean volume on a part of a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtpipeline.imaging.grid import POSITION_TOLERANCE_MM, FloatArray, Grid

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Mask:
    """Which voxels of a grid belong to a structure.

    Attributes:
        grid: usually the part of an image's grid around the structure (see `cropped`).
        values: (planes, rows, columns), True inside the structure.
    """

    grid: Grid
    values: BoolArray

    def __post_init__(self) -> None:
        if self.values.dtype != np.bool_:
            raise ValueError(f"a mask needs boolean values, not {self.values.dtype}")
        if self.values.shape != self.grid.shape:
            raise ValueError(f"values of shape {self.values.shape} do not fit a grid of shape {self.grid.shape}")

    @classmethod
    def cropped(cls, grid: Grid, values: BoolArray) -> Mask:
        """The mask `values` on `grid`, kept only in the bounding box of its True voxels.

        Planes that are not equally spaced are all kept, because each needs its neighbours to know its thickness.
        An empty mask keeps one voxel.
        """
        if values.shape != grid.shape:
            raise ValueError(f"values of shape {values.shape} do not fit a grid of shape {grid.shape}")
        box = bounding_box(values)
        if not grid.is_uniform:
            box = (slice(0, grid.planes), box[1], box[2])
        return cls(grid.crop(*box), np.ascontiguousarray(values[box], dtype=np.bool_))

    @property
    def voxel_count(self) -> int:
        """Number of voxels inside."""
        return int(np.count_nonzero(self.values))

    @property
    def is_empty(self) -> bool:
        """Whether no voxel is inside."""
        return not self.values.any()

    @property
    def volume_cm3(self) -> float:
        """Sum of the volumes of the voxels inside; planes count with `Grid.plane_thicknesses_mm`."""
        per_plane = np.count_nonzero(self.values, axis=(1, 2))
        area_mm2 = self.grid.pixel_spacing_mm[0] * self.grid.pixel_spacing_mm[1]
        return float(per_plane @ self.grid.plane_thicknesses_mm) * area_mm2 / 1000.0

    @property
    def centroid_mm(self) -> FloatArray:
        """(3,) world position of the centre of mass; NaN for an empty mask."""
        planes, rows, columns = (axis.astype(float) for axis in np.nonzero(self.values))
        if len(planes) == 0:
            return np.full(3, np.nan)
        weights = self.grid.plane_thicknesses_mm[planes.astype(int)]
        world = self.grid.index_to_world(np.stack([columns, rows, planes], axis=-1))
        return np.average(world, axis=0, weights=weights)

    def on(self, grid: Grid) -> BoolArray:
        """The same mask as an array on the grid that it was cropped from.

        Raises:
            ValueError: this mask's voxels are not voxels of `grid`.
        """
        values = np.zeros(grid.shape, dtype=np.bool_)
        values[self.box_on(grid)] = self.values
        return values

    def box_on(self, grid: Grid) -> tuple[slice, slice, slice]:
        """Slices (planes, rows, columns) of this mask's own array on the grid that it was cropped from.

        Raises:
            ValueError: this mask's voxels are not voxels of `grid`.
        """
        first = grid.world_to_index(self.grid.origin_mm)
        column, row, plane = (int(index) for index in np.rint(first))
        box = (
            slice(plane, plane + self.grid.planes),
            slice(row, row + self.grid.rows),
            slice(column, column + self.grid.columns),
        )
        inside = all(part.start >= 0 and part.stop <= size for part, size in zip(box, grid.shape, strict=True))
        if not inside or not _same_lattice(grid.crop(*box), self.grid):
            raise ValueError("the mask's voxels are not voxels of this grid; resample it first")
        return box


def bounding_box(values: BoolArray) -> tuple[slice, slice, slice]:
    """Slices (planes, rows, columns) of the True voxels of `values`; one voxel where there are none."""
    planes = _extent(values, (1, 2))
    flat = np.asarray(values[planes].any(axis=0))
    return (planes, _extent(flat, (1,)), _extent(flat, (0,)))


def _extent(values: BoolArray, others: tuple[int, ...]) -> slice:
    """From the first to the last True value along the axis that is not among `others`."""
    found = np.flatnonzero(values.any(axis=others))
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 1)


def _same_lattice(part: Grid, own: Grid) -> bool:
    """Like `Grid.same_as`, with a tolerance that grows to a hundredth of a voxel."""
    tolerance = max(POSITION_TOLERANCE_MM, 0.01 * min(own.pixel_spacing_mm))
    corner = np.array([own.columns - 1, own.rows - 1, own.planes - 1], float)
    return bool(
        part.shape == own.shape
        and np.allclose(part.plane_offsets_mm, own.plane_offsets_mm, atol=tolerance)
        and np.allclose(part.origin_mm, own.origin_mm, atol=tolerance)
        and np.allclose(part.index_to_world(corner), own.index_to_world(corner), atol=tolerance)
    )
