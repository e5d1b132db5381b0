"""Cumulative dose-volume curves, put together from cells over which the dose is spread continuously."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtpipeline.dvh.cells import Cells
from rtpipeline.imaging.grid import FloatArray, Volume
from rtpipeline.imaging.interpolation import sample_with_gradient

DOSE_STEPS = 100_000
"""Number of steps from the smallest to the largest dose of the grid at which a curve is known exactly."""
CURVE_TOLERANCE = 2e-5
"""A thinned curve is nowhere further from the full one than this fraction of the volume."""


@dataclass(frozen=True, eq=False)
class DoseVolumeCurve:
    """How much of a structure gets at least which dose.

    Attributes:
        dose_gy: (m,) increasing doses.
        volume_cm3: (m,) covered volume that gets at least that dose, never increasing; linear in between.
        volume_total_cm3: volume of the structure, from its geometry.
        coverage_fraction: fraction of that volume that lies within the dose grid.
        minimum_gy: smallest dose in the covered part; NaN where nothing is covered.
        maximum_gy: largest dose in the covered part; NaN where nothing is covered.
        mean_gy: mean dose of the covered part; NaN where nothing is covered.
    """

    dose_gy: FloatArray
    volume_cm3: FloatArray
    volume_total_cm3: float
    coverage_fraction: float
    minimum_gy: float
    maximum_gy: float
    mean_gy: float

    @property
    def covered_cm3(self) -> float:
        """Volume within the dose grid."""
        return self.volume_total_cm3 * self.coverage_fraction

    def volume_at(self, dose_gy: float) -> float:
        """Volume in cm³ that gets at least `dose_gy`."""
        if dose_gy > self.maximum_gy:
            return 0.0
        if dose_gy <= self.minimum_gy:
            return self.covered_cm3
        return float(np.interp(dose_gy, self.dose_gy, self.volume_cm3))

    def dose_at(self, volume_cm3: float) -> float:
        """The highest dose that at least `volume_cm3` gets; between the smallest and the largest dose.

        Raises:
            ValueError: the covered part of the structure is smaller than `volume_cm3`.
        """
        if volume_cm3 > self.covered_cm3 * (1 + 1e-9):
            raise ValueError(f"{volume_cm3} cm³ is more than the structure's {self.covered_cm3} cm³")
        dose = np.interp(-volume_cm3, -self.volume_cm3, self.dose_gy)
        return float(np.clip(dose, self.minimum_gy, self.maximum_gy))

    def thinned(self) -> DoseVolumeCurve:
        """The same curve with as few points as keep it within `CURVE_TOLERANCE`; both ends stay."""
        kept = _thin(self.dose_gy, self.volume_cm3, CURVE_TOLERANCE * self.covered_cm3)
        return DoseVolumeCurve(
            self.dose_gy[kept],
            self.volume_cm3[kept],
            self.volume_total_cm3,
            self.coverage_fraction,
            self.minimum_gy,
            self.maximum_gy,
            self.mean_gy,
        )


def dose_volume_curve(cells: Iterable[Cells], dose: Volume, volume_cm3: float) -> DoseVolumeCurve:
    """The curve of a structure that is given as cells.

    In each cell the dose is taken for linear, with the value and the gradient of the trilinear dose at the cell's
    centroid. The doses of a box with a linear dose are the sum of three independent uniform spreads, one along each
    edge; they are represented by one uniform spread of the same mean and the same variance. It is exact where the
    dose changes along one edge, and keeps every mean exactly.

    Args:
        cells: all cells of the structure.
        dose: in Gy, on its own grid; nothing is resampled.
        volume_cm3: volume of the structure, from its geometry.
    """
    histogram = _SpreadHistogram(float(dose.values.min()), float(dose.values.max()))
    for part in (block for some in cells for block in some.blocks()):
        sampled = sample_with_gradient(dose, part.centroids_mm)
        along_edges = sampled.gradient_per_mm @ (dose.grid.direction.T @ part.edges_mm)
        halves = 0.5 * along_edges * part.scales
        spread = np.sqrt(np.einsum("ij,ij->i", halves, halves))
        histogram.add(
            sampled.values[sampled.inside],
            spread[sampled.inside],
            part.volumes_mm3[sampled.inside] / 1000.0,
            uncovered=float(part.volumes_mm3[~sampled.inside].sum()) / 1000.0,
        )
    return histogram.curve(volume_cm3)


class _SpreadHistogram:
    """The volume that gets at least each dose of an even ladder, exactly, for uniformly spread doses.

    A volume w spread evenly over [a, b] adds w/(b-a) · ((b-e)⁺ - (a-e)⁺) to the volume above each rung e. On an even
    ladder (p-e)⁺ is exactly the linear mix of those of the two rungs around p. So it is enough to collect, per rung,
    the slopes' changes; two running sums from the top give the curve. No sorting, and nothing depends on the order
    of magnitude of the number of cells.
    """

    def __init__(self, lowest_gy: float, highest_gy: float) -> None:
        self.lowest = lowest_gy
        self.highest = max(highest_gy, lowest_gy + 1e-6)
        self.step = (self.highest - self.lowest) / DOSE_STEPS
        self.changes = np.zeros(DOSE_STEPS + 2)
        self.covered = 0.0
        self.uncovered = 0.0
        self.dose_sum = 0.0
        self.minimum = np.inf
        self.maximum = -np.inf

    def add(self, doses: FloatArray, spreads: FloatArray, volumes: FloatArray, *, uncovered: float) -> None:
        """Add volumes whose doses are spread over `doses` ± `spreads`."""
        self.uncovered += uncovered
        if len(doses) == 0:
            return
        self.covered += float(volumes.sum())
        self.dose_sum += float((volumes * doses).sum())
        self.minimum = min(self.minimum, max(float((doses - spreads).min()), self.lowest))
        self.maximum = max(self.maximum, min(float((doses + spreads).max()), self.highest))
        low = np.maximum((doses - spreads - self.lowest) / self.step, 0.0)
        high = np.minimum((doses + spreads - self.lowest) / self.step, float(DOSE_STEPS))
        narrow = high - low < 1.0
        low[narrow] = np.clip(0.5 * (low + high)[narrow] - 0.5, 0.0, DOSE_STEPS - 1.0)
        high[narrow] = low[narrow] + 1.0
        slope = volumes / (high - low)
        self._collect(high, slope)
        self._collect(low, -slope)

    def _collect(self, position: FloatArray, amount: FloatArray) -> None:
        rung = position.astype(np.intp)
        upper = amount * (position - rung)
        np.add.at(self.changes, rung, amount - upper)
        np.add.at(self.changes, rung + 1, upper)

    def curve(self, volume_cm3: float) -> DoseVolumeCurve:
        """The curve of everything that was added."""
        above = np.cumsum(self.changes[::-1])[::-1]  # changes at this rung or higher
        volumes = np.append(np.cumsum(above[:0:-1])[::-1], 0.0)[: DOSE_STEPS + 1]
        volumes = np.maximum.accumulate(np.clip(volumes, 0.0, self.covered)[::-1])[::-1]
        doses = np.linspace(self.lowest, self.highest, DOSE_STEPS + 1)
        total = self.covered + self.uncovered
        covered = self.covered > 0
        fraction = self.covered / total if covered else 0.0
        scale = volume_cm3 * fraction / self.covered if covered else 1.0
        used = slice(*self._used_rungs()) if covered else slice(0, 0)
        return DoseVolumeCurve(
            dose_gy=doses[used],
            volume_cm3=volumes[used] * scale,
            volume_total_cm3=volume_cm3,
            coverage_fraction=fraction,
            minimum_gy=self.minimum if covered else float("nan"),
            maximum_gy=self.maximum if covered else float("nan"),
            mean_gy=self.dose_sum / self.covered if covered else float("nan"),
        )

    def _used_rungs(self) -> tuple[int, int]:
        """From the last rung that all of the volume reaches to the first that none reaches."""
        first = int((self.minimum - self.lowest) / self.step)
        last = int(np.ceil((self.maximum - self.lowest) / self.step))
        return max(first - 1, 0), min(last + 2, DOSE_STEPS + 1)


def _thin(x: FloatArray, y: FloatArray, tolerance: float) -> NDArray[np.intp]:
    """Indices of a polyline within `tolerance` of (x, y) in y (Ramer, Douglas and Peucker, in rounds)."""
    kept = np.array([0, len(x) - 1]) if len(x) > 1 else np.arange(len(x))
    while len(kept) > 1:
        deviation = np.abs(y - np.interp(x, x[kept], y[kept]))
        segment = np.searchsorted(kept, np.arange(len(x)), side="right") - 1
        order = np.lexsort((-deviation, segment))
        first = np.searchsorted(segment[order], np.arange(len(kept)))
        worst = order[first[first < len(x)]]
        added = worst[deviation[worst] > tolerance]
        if len(added) == 0:
            break
        kept = np.union1d(kept, added)
    return kept
