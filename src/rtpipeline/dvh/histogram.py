"""Histograms of dose, collected from cells over which the dose is spread continuously."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtpipeline.dvh.curve import DoseVolumeCurve
from rtpipeline.imaging.cell_kernel import (
    COVERED,
    DOSE_SUM,
    UNCOVERED,
    Ladder,
    LinearField,
    Placement,
    add_slabs,
    add_voxels,
    linear_field,
)
from rtpipeline.imaging.grid import POSITION_TOLERANCE_MM, FloatArray, Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.slabs import SlabStack

DOSE_STEPS = 40_000
"""Number of steps from the smallest to the largest dose of the grid at which a curve is known exactly."""
LARGEST_LATTICE = 1_000_000
"""Most cells in the rectangle around one slab: thin structures that reach far get larger ones."""


class SampledDose:
    """A dose as the engine takes it; made once for all structures, and only read.

    Attributes:
        grid: where its voxels are.
        field: its values in Gy.
        lowest_gy: smallest dose of the grid.
        highest_gy: largest dose of the grid.
    """

    def __init__(self, dose: Volume) -> None:
        self.grid: Grid = dose.grid
        self.field: LinearField = linear_field(dose)
        self.lowest_gy = float(dose.values.min())
        self.highest_gy = float(dose.values.max())

    def placement(self, axes: FloatArray, origin_mm: FloatArray) -> Placement:
        """Where coordinates along the columns of `axes`, from `origin_mm`, lie in the dose grid."""
        turned = self.grid.direction.T
        return Placement(np.ascontiguousarray(turned @ axes), turned @ (origin_mm - self.grid.origin_mm))

    def contains(self, placement: Placement, low: FloatArray, high: FloatArray) -> NDArray[np.bool_]:
        """(n,) whether boxes in a structure's own coordinates lie in the box of the dose grid's voxel centres.

        Args:
            placement: of the structure.
            low: (n, 3) low corners.
            high: (n, 3) high corners.
        """
        centre = 0.5 * (low + high) @ placement.frame.T + placement.start
        reach = 0.5 * (high - low) @ np.abs(placement.frame).T
        x, y = self.grid.pixel_spacing_mm
        last = np.array([(self.grid.columns - 1) * x, (self.grid.rows - 1) * y, self.grid.plane_offsets_mm[-1]])
        inside = (centre - reach >= -POSITION_TOLERANCE_MM) & (centre + reach <= last + POSITION_TOLERANCE_MM)
        return np.asarray(inside.all(axis=1))


class DoseHistogram:
    """The volume that gets at least each dose of an even ladder, exactly, for uniformly spread doses.

    In each cell the dose is taken for linear, with the value and the gradient of the trilinear dose at the cell's
    centroid. The doses of a box with a linear dose are the sum of three independent uniform spreads, one along each
    edge; they are represented by one uniform spread of the same mean and the same variance. It is exact where the
    dose changes along one edge, and keeps every mean exactly.

    A volume w spread evenly over [a, b] adds w/(b-a) · ((b-e)⁺ - (a-e)⁺) to the volume above each rung e. On an even
    ladder (p-e)⁺ is exactly the linear mix of those of the two rungs around p. So it is enough to collect, per rung,
    the slopes' changes; two running sums from the top give the curve. No sorting, and nothing depends on the number
    of cells. What gets one dose throughout counts up to the next rung and drops on the way to the one after it, so
    that it is part of the volume that gets at least its dose.
    """

    def __init__(self, dose: SampledDose) -> None:
        self.dose = dose
        highest = max(dose.highest_gy, dose.lowest_gy + 1e-6)
        self.ladder = Ladder(
            changes=np.zeros(DOSE_STEPS + 3),
            totals=np.array([0.0, 0.0, 0.0, np.inf, -np.inf]),
            lowest_gy=dose.lowest_gy,
            per_gy=DOSE_STEPS / (highest - dose.lowest_gy),
        )

    def add_slabs(self, stack: SlabStack, edge_mm: float) -> None:
        """Add a structure made of slabs, cut into cells of about `edge_mm`."""
        placement = self.dose.placement(stack.axes, np.zeros(3))
        regions, thickness = stack.regions, stack.thickness_mm
        lattices = _lattices(regions.bounds, edge_mm)
        # Up to twice as thick as wide, because the dose is linear between its planes; and an even number, because dose
        # planes are often those of the contours: then no cell lies on both sides of one.
        counts = 2 * np.maximum(np.ceil(thickness / (4 * lattices[:, 2])), 1).astype(np.int64)
        low = np.column_stack([regions.bounds[:, :2], stack.low_mm])
        high = np.column_stack([regions.bounds[:, 2:], stack.high_mm])
        own = np.repeat(lattices, np.diff(regions.first), axis=0)
        add_slabs(
            self.dose.field,
            self.ladder,
            placement,
            (regions.pieces - own[:, [0, 1, 0, 1]]) / own[:, 2:3],
            regions.first,
            lattices,
            np.stack([stack.low_mm, thickness / counts], axis=1),
            counts,
            self.dose.contains(placement, low, high),
        )

    def add_mask(self, mask: Mask, parts: tuple[int, int, int]) -> None:
        """Add the voxels of a mask, each cut into `parts` along x, y and z."""
        grid = mask.grid
        placement = self.dose.placement(grid.direction, grid.origin_mm)
        x, y = grid.pixel_spacing_mm
        half = 0.5 * float(grid.plane_thicknesses_mm.max())
        low = np.array([[-0.5 * x, -0.5 * y, -half]])
        high = np.array([[(grid.columns - 0.5) * x, (grid.rows - 0.5) * y, grid.plane_offsets_mm[-1] + half]])
        add_voxels(
            self.dose.field,
            self.ladder,
            placement,
            np.ascontiguousarray(mask.values),
            np.ascontiguousarray(grid.plane_offsets_mm),
            np.ascontiguousarray(grid.plane_thicknesses_mm),
            x,
            y,
            parts,
            bool(self.dose.contains(placement, low, high)[0]),
        )

    @property
    def volume_mm3(self) -> float:
        """Volume of all cells that were added, within the dose grid or not."""
        return float(self.ladder.totals[COVERED] + self.ladder.totals[UNCOVERED])

    @property
    def mean_gy(self) -> float:
        """Mean dose of what lies within the dose grid; 0 where nothing does."""
        covered = float(self.ladder.totals[COVERED])
        return float(self.ladder.totals[DOSE_SUM]) / covered if covered > 0 else 0.0

    @property
    def fractions(self) -> FloatArray:
        """(DOSE_STEPS + 2,) fraction of the covered volume that gets at least the dose of each rung.

        The last rung is one step above the largest dose of the grid.
        """
        covered = self.ladder.totals[COVERED]
        if not covered > 0:
            return np.zeros(DOSE_STEPS + 2)
        above = np.cumsum(self.ladder.changes[::-1])  # from the top: changes at this rung or higher
        volumes = np.concatenate([[0.0], np.cumsum(above[1:-1])])  # the ladder has a spare rung above its top
        return np.maximum.accumulate(np.clip(volumes, 0.0, covered))[::-1] / covered

    def curve(self, volume_cm3: float, error: float) -> DoseVolumeCurve:
        """The curve of everything that was added, for a structure of this volume by its geometry."""
        covered, uncovered, dose_sum, lowest, highest = self.ladder.totals.tolist()
        if not covered > 0:
            nothing, nan = np.empty(0), float("nan")
            return DoseVolumeCurve(nothing, nothing, volume_cm3, 0.0, nan, nan, nan, error)
        fraction = covered / (covered + uncovered)
        # From the last rung that all of the volume reaches to the first that none reaches.
        used = slice(max(int(lowest) - 1, 0), int(np.ceil(highest)) + 2)
        return DoseVolumeCurve(
            dose_gy=self._dose_of(np.arange(DOSE_STEPS + 2.0)[used]),
            volume_cm3=self.fractions[used] * (volume_cm3 * fraction),
            volume_total_cm3=volume_cm3,
            coverage_fraction=fraction,
            minimum_gy=min(float(self._dose_of(lowest)), self.dose.highest_gy),
            maximum_gy=min(float(self._dose_of(highest)), self.dose.highest_gy),
            mean_gy=dose_sum / covered,
            error=error,
        )

    def _dose_of(self, rung: FloatArray) -> FloatArray:
        return self.ladder.lowest_gy + rung / self.ladder.per_gy


def _lattices(bounds: FloatArray, edge_mm: float) -> FloatArray:
    """(n, 5) low corner (x, y), edge, rows and columns of the lattice of cells around each slab."""
    low, high = bounds[:, :2], bounds[:, 2:]
    edge = np.maximum(edge_mm, np.sqrt(np.prod(high - low, axis=1) / LARGEST_LATTICE))[:, None]
    corner = np.floor(low / edge) * edge
    columns_rows = np.floor((high - corner) / edge) + 1
    return np.hstack([corner, edge, columns_rows[:, ::-1]])
