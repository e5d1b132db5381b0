"""Curves of structures, with cells as small as the dose asks for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rtpipeline.dvh.curve import DoseVolumeCurve
from rtpipeline.dvh.histogram import DoseHistogram, SampledDose
from rtpipeline.imaging.grid import FloatArray
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.slabs import SlabStack

TOLERANCE = 1e-3
"""Cells are halved until a curve changes by less than this: of the volume, or of the largest dose of the grid."""
MEAN_TOLERANCE = 5e-3
"""And until the mean dose changes by less than this part of itself."""
FIRST_CELLS = 8_000
"""About as many cells as a structure is cut into at first; each halving makes eight of one."""
MOST_CELLS = 8_000_000
SMALLEST_EDGE_MM = 0.1
LARGEST_EDGE_MM = 8.0
_COMPARED = 10_000


def curve_of_slabs(stack: SlabStack, dose: SampledDose) -> DoseVolumeCurve:
    """The curve of a drawn structure, whose volume is that of its slabs."""
    volume = stack.volume_cm3
    first = float(np.clip((1000.0 * volume / FIRST_CELLS) ** (1 / 3), 2 * SMALLEST_EDGE_MM, LARGEST_EDGE_MM))

    def measure(level: int) -> DoseHistogram:
        histogram = DoseHistogram(dose)
        histogram.add_slabs(stack, first / 2**level)
        return histogram

    smallest = (1000.0 * volume / MOST_CELLS) ** (1 / 3)
    last = int(np.floor(np.log2(first / max(smallest, SMALLEST_EDGE_MM)) + 1e-9))
    return _refined(measure, max(last, 1), volume)


def curve_of_mask(mask: Mask, dose: SampledDose) -> DoseVolumeCurve:
    """The curve of a segmented structure, whose volume is that of its voxels."""
    sizes = np.array([*mask.grid.pixel_spacing_mm, float(mask.grid.plane_thicknesses_mm.max())])
    cuts = [(1, 1, 1), _halved(sizes, (1, 1, 1))]
    while mask.voxel_count * np.prod(_halved(sizes, cuts[-1])) <= MOST_CELLS:
        cuts.append(_halved(sizes, cuts[-1]))

    def measure(level: int) -> DoseHistogram:
        histogram = DoseHistogram(dose)
        histogram.add_mask(mask, cuts[level])
        return histogram

    return _refined(measure, len(cuts) - 1, mask.volume_cm3)


def _halved(sizes_mm: np.ndarray, parts: tuple[int, int, int]) -> tuple[int, int, int]:
    """Parts of a voxel along x, y, z where the longest edges of the present parts are cut in half."""
    edges = sizes_mm / parts
    factors = np.where(edges > 0.6 * edges.max(), 2, 1)
    return (parts[0] * int(factors[0]), parts[1] * int(factors[1]), parts[2] * int(factors[2]))


def _refined(measure: Callable[[int], DoseHistogram], last: int, volume_cm3: float) -> DoseVolumeCurve:
    """Measure with ever smaller cells until the curve no longer changes, or `last` is reached.

    The error of both the interpolation within a cell and its uniform spread falls with the square of the cell's
    edge, so that the change that a halving makes is three times the error that is left (Richardson).
    """
    coarse = measure(0)
    for level in range(1, last + 1):
        finer = measure(level)
        change = _distance(coarse.fractions, finer.fractions)
        same_mean = abs(finer.mean_gy - coarse.mean_gy) <= MEAN_TOLERANCE * abs(finer.mean_gy)
        if (change < TOLERANCE and same_mean) or level == last:
            break
        coarse = finer
    return finer.curve(volume_cm3, change / 3.0)


def _distance(one: FloatArray, other: FloatArray) -> float:
    """Lévy distance of two cumulative curves: fractions of volume over doses as fractions of the ladder.

    The smallest e such that each curve, moved by e along both axes, bounds the other; found by bisection to one of
    `_COMPARED` rungs.
    """
    stride = (len(one) - 1) // _COMPARED
    one, other = one[::stride], other[::stride]
    low, high = 0, _COMPARED
    while high - low > 1:
        middle = (low + high) // 2
        size = middle / _COMPARED
        rest = len(one) - middle
        near = np.all(one[middle:] - size <= other[:rest]) and np.all(other[middle:] - size <= one[:rest])
        low, high = (low, middle) if near else (middle, high)
    return high / _COMPARED
