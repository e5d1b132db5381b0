"""Where the voxels of an array lie in the patient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

POSITION_TOLERANCE_MM = 0.01
"""Positions that differ by less than this are the same position."""

UNIFORMITY_TOLERANCE_MM = 0.1
"""Planes this close to their evenly spaced places are evenly spaced (and less for planes under 1 mm apart)."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A stack of parallel planes of equally spaced pixels.

    Attributes:
        origin_mm: (3,) world position of the centre of voxel (column 0, row 0, plane 0).
        direction: (3, 3); its columns are the world unit vectors along increasing column, row and plane index.
        pixel_spacing_mm: (between columns, between rows), that is (x, y); DICOM's PixelSpacing is (y, x).
        plane_offsets_mm: (planes,) strictly increasing distances of the planes from the first, along
            `direction[:, 2]`; they need not be uniform. Those that are within `UNIFORMITY_TOLERANCE_MM` of evenly
            spaced places are stored as evenly spaced.
        columns: number of columns (x).
        rows: number of rows (y).
        plane_thickness_mm: thickness of a plane where there is only one to measure spacing by.
    """

    origin_mm: FloatArray
    direction: FloatArray
    pixel_spacing_mm: tuple[float, float]
    plane_offsets_mm: FloatArray
    columns: int
    rows: int
    plane_thickness_mm: float = 1.0

    def __post_init__(self) -> None:
        if not np.allclose(self.direction.T @ self.direction, np.eye(3), atol=1e-4):
            raise ValueError(f"grid directions are not orthonormal: {self.direction.tolist()}")
        offsets = np.asarray(self.plane_offsets_mm, float)
        if len(offsets) == 0 or abs(offsets[0]) > 1e-6 or np.any(np.diff(offsets) <= 0):
            raise ValueError("plane offsets must begin with 0 and increase strictly")
        even = np.linspace(0.0, offsets[-1], len(offsets))
        if _evenly_spaced(offsets, even):
            object.__setattr__(self, "plane_offsets_mm", even)
        if min(self.pixel_spacing_mm) <= 0 or self.columns < 1 or self.rows < 1:
            raise ValueError("pixel spacing, rows and columns must be positive")

    @classmethod
    def uniform(
        cls,
        origin_mm: FloatArray | tuple[float, float, float],
        spacing_mm: tuple[float, float, float],
        size: tuple[int, int, int],
        direction: FloatArray | None = None,
    ) -> Grid:
        """Make a grid of equally spaced planes from x, y, z spacing and (columns, rows, planes)."""
        columns, rows, planes = size
        return cls(
            origin_mm=np.asarray(origin_mm, float),
            direction=np.eye(3) if direction is None else np.asarray(direction, float),
            pixel_spacing_mm=(float(spacing_mm[0]), float(spacing_mm[1])),
            plane_offsets_mm=np.arange(planes, dtype=np.float64) * float(spacing_mm[2]),
            columns=columns,
            rows=rows,
            plane_thickness_mm=float(spacing_mm[2]),
        )

    @property
    def planes(self) -> int:
        """Number of planes (z)."""
        return len(self.plane_offsets_mm)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an array on this grid: (planes, rows, columns)."""
        return (self.planes, self.rows, self.columns)

    @cached_property
    def is_uniform(self) -> bool:
        """Whether the planes are equally spaced."""
        return _evenly_spaced(self.plane_offsets_mm, np.linspace(0.0, self.plane_offsets_mm[-1], self.planes))

    @property
    def plane_spacing_mm(self) -> float:
        """The spacing of uniform planes.

        Raises:
            ValueError: the planes are not equally spaced.
        """
        if not self.is_uniform:
            raise ValueError("the planes of this grid are not equally spaced")
        if self.planes == 1:
            return self.plane_thickness_mm
        return float(self.plane_offsets_mm[-1] / (self.planes - 1))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing along (x, y, z) index axes; see `plane_spacing_mm`."""
        return (*self.pixel_spacing_mm, self.plane_spacing_mm)

    @property
    def plane_thicknesses_mm(self) -> FloatArray:
        """(planes,) how much of the patient each plane stands for.

        Half the way to each neighbour, but never more than half the median gap: what is beyond that was not
        imaged. A plane at an end counts as much outwards as inwards.
        """
        if self.is_uniform:
            return np.full(self.planes, self.plane_spacing_mm)
        gaps = np.diff(self.plane_offsets_mm)
        halves = np.minimum(gaps, np.median(gaps)) / 2
        return np.concatenate([halves[:1], halves]) + np.concatenate([halves, halves[-1:]])

    @property
    def voxel_volume_cm3(self) -> float:
        """Volume of one voxel of a uniform grid."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def index_to_world(self, index: FloatArray) -> FloatArray:
        """World positions (…, 3) of continuous (column, row, plane) indices (…, 3)."""
        index = np.asarray(index, float)
        steps = np.stack(
            [
                index[..., 0] * self.pixel_spacing_mm[0],
                index[..., 1] * self.pixel_spacing_mm[1],
                self._offset_of_plane(index[..., 2]),
            ],
            axis=-1,
        )
        return self.origin_mm + steps @ self.direction.T

    def world_to_index(self, world_mm: FloatArray) -> FloatArray:
        """Continuous (column, row, plane) indices (…, 3) of world positions (…, 3), also outside the grid."""
        steps = (np.asarray(world_mm, float) - self.origin_mm) @ self.direction
        return np.stack(
            [
                steps[..., 0] / self.pixel_spacing_mm[0],
                steps[..., 1] / self.pixel_spacing_mm[1],
                self._plane_of_offset(steps[..., 2]),
            ],
            axis=-1,
        )

    def _offset_of_plane(self, plane: FloatArray) -> FloatArray:
        if self.is_uniform:
            return plane * self.plane_spacing_mm
        return _piecewise_linear(plane, np.arange(self.planes, dtype=float), self.plane_offsets_mm)

    def _plane_of_offset(self, offset_mm: FloatArray) -> FloatArray:
        if self.is_uniform:
            return offset_mm / self.plane_spacing_mm
        return _piecewise_linear(offset_mm, self.plane_offsets_mm, np.arange(self.planes, dtype=float))

    def crop(self, planes: slice, rows: slice, columns: slice) -> Grid:
        """The part of this grid that `array[planes, rows, columns]` lies on; slices need start and stop, no step."""
        first = np.array([columns.start, rows.start, planes.start], float)
        offsets = self.plane_offsets_mm[planes]
        return Grid(
            origin_mm=self.index_to_world(first),
            direction=self.direction,
            pixel_spacing_mm=self.pixel_spacing_mm,
            plane_offsets_mm=offsets - offsets[0],
            columns=columns.stop - columns.start,
            rows=rows.stop - rows.start,
            plane_thickness_mm=self.plane_spacing_mm if self.is_uniform else self.plane_thickness_mm,
        )

    def moved(self, transform: FloatArray) -> Grid:
        """The same voxels, carried by a rigid transform: (4, 4) for column vectors (x, y, z, 1) in mm."""
        rotation = transform[:3, :3]
        return replace(
            self, origin_mm=rotation @ self.origin_mm + transform[:3, 3], direction=rotation @ self.direction
        )

    def same_as(self, other: Grid) -> bool:
        """Whether both grids put every voxel at the same place, within `POSITION_TOLERANCE_MM`."""
        if self.shape != other.shape:
            return False
        corner = np.array([self.columns - 1, self.rows - 1, self.planes - 1], float)
        return bool(
            np.allclose(self.plane_offsets_mm, other.plane_offsets_mm, atol=POSITION_TOLERANCE_MM)
            and np.allclose(self.origin_mm, other.origin_mm, atol=POSITION_TOLERANCE_MM)
            and np.allclose(self.index_to_world(corner), other.index_to_world(corner), atol=POSITION_TOLERANCE_MM)
            and np.allclose(self.direction, other.direction, atol=1e-4)
        )


@dataclass(frozen=True, eq=False)
class Volume:
    """Values (z, y, x) on a grid: HU, Gy, SUV, labels, or a boolean mask."""

    grid: Grid
    values: NDArray

    def __post_init__(self) -> None:
        if self.values.shape != self.grid.shape:
            raise ValueError(f"values of shape {self.values.shape} do not fit a grid of shape {self.grid.shape}")


def _evenly_spaced(offsets_mm: FloatArray, even_mm: FloatArray) -> bool:
    if len(offsets_mm) < 3:
        return True
    tolerance = min(UNIFORMITY_TOLERANCE_MM, 0.1 * float(even_mm[1]))
    return bool(np.abs(offsets_mm - even_mm).max() < tolerance)


def _piecewise_linear(x: FloatArray, xp: FloatArray, fp: FloatArray) -> FloatArray:
    """`numpy.interp` that goes on linearly past both ends."""
    inner = np.interp(x, xp, fp)
    before = fp[0] + (x - xp[0]) * (fp[1] - fp[0]) / (xp[1] - xp[0])
    after = fp[-1] + (x - xp[-1]) * (fp[-1] - fp[-2]) / (xp[-1] - xp[-2])
    return np.where(x < xp[0], before, np.where(x > xp[-1], after, inner))
