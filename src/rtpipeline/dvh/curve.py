"""Cumulative dose-volume curves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rtpipeline.imaging.grid import FloatArray

CURVE_TOLERANCE = 2e-5
"""A thinned curve is nowhere further from the full one than this fraction of the volume."""
SAME_DOSE = 1e-5
"""Doses that differ by less than this fraction are the same: they are stored as multiples of a small step."""


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
        error: estimate of how far the curve is from one of infinitely small cells: within this fraction of the volume
            or this fraction of the largest dose of the grid.
    """

    dose_gy: FloatArray
    volume_cm3: FloatArray
    volume_total_cm3: float
    coverage_fraction: float
    minimum_gy: float
    maximum_gy: float
    mean_gy: float
    error: float = 0.0

    @property
    def covered_cm3(self) -> float:
        """Volume within the dose grid."""
        return self.volume_total_cm3 * self.coverage_fraction

    def volume_at(self, dose_gy: float) -> float:
        """Volume in cm³ that gets at least `dose_gy`; none above the largest dose, all up to the smallest one."""
        if dose_gy > self.maximum_gy * (1.0 + SAME_DOSE):
            return 0.0
        if dose_gy <= self.minimum_gy * (1.0 + SAME_DOSE):
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
        return replace(self, dose_gy=self.dose_gy[kept], volume_cm3=self.volume_cm3[kept])


def _thin(x: FloatArray, y: FloatArray, tolerance: float) -> NDArray[np.intp]:
    """Indices of a polyline within `tolerance` of (x, y) in y (Ramer, Douglas and Peucker, in rounds)."""
    kept = np.array([0, len(x) - 1]) if len(x) > 1 else np.arange(len(x))
    while len(kept) > 1:
        deviation = np.abs(y - np.interp(x, x[kept], y[kept]))
        deviation[kept] = 0.0  # also where the curve drops at one dose, so that one of two points has another volume
        segment = np.searchsorted(kept, np.arange(len(x)), side="right") - 1
        order = np.lexsort((-deviation, segment))
        first = np.searchsorted(segment[order], np.arange(len(kept)))
        worst = order[first[first < len(x)]]
        added = worst[deviation[worst] > tolerance]
        if len(added) == 0:
            break
        kept = np.union1d(kept, added)
    return kept
