"""Surfaces of masks: how far voxels lie from them, and which of them are within reach."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, distance_transform_edt, spline_filter1d

from rtpipeline.imaging.grid import FloatArray
from rtpipeline.imaging.mask import BoolArray
from rtpipeline.imaging.sharp_edges import with_sharp_edges

LatticeArray = NDArray[np.floating]

FINE_SPACING_MM = 0.75
"""Spacing at which surfaces are followed, where reach and memory allow."""
FINE_STEPS_OF_A_REACH = 16
"""Points of the surface that are this close together are as good as all of it: seen from there, the distance to the
nearest of them is too large by less than a thousandth."""
LARGEST_FINE_LATTICE = 30_000_000
_SMOOTHING_PASSES = 6
_DEEPEST_VOXELS = 3.0
_SPLINE_REACH = 12
"""Values beyond an end that a cubic spline can tell from others."""
_TOLERANCE = 1e-5


def within_reach(
    values: BoolArray, spacing_mm: tuple[float, float, float], up_mm: FloatArray, down_mm: FloatArray
) -> BoolArray:
    """Voxels whose centre the mask's surface reaches.

    A point of the surface reaches the body around it that is made of eight octants of ellipsoids, whose semi-axes are
    `up_mm` and `down_mm`: a ball where they are all the same. What lies beyond the array is outside the mask.

    The surface is that of `_level`, and known where it crosses the lines of a lattice of at most `FINE_SPACING_MM`
    (wider for large structures).

    Args:
        values: (z, y, x), True inside.
        spacing_mm: (z, y, x).
        up_mm: (3,) how far the surface reaches towards larger z, y, x.
        down_mm: (3,) the same towards smaller ones.

    Returns:
        (z, y, x), on both sides of the surface.
    """
    reaches = np.concatenate([up_mm, down_mm])
    parts = _parts(values.shape, spacing_mm, float(reaches[reaches > 0].min()))
    level = _level(values, parts)
    steps_mm = [spacing / count for spacing, count in zip(spacing_mm, parts, strict=True)]
    nearest = _nearest_crossing(level, steps_mm, up_mm, down_mm)
    centres = tuple(slice(count, -count, count) for count in parts)
    return nearest[centres] <= 1.0 + _TOLERANCE


def surface_distance(values: BoolArray, spacing_mm: tuple[float, float, float], limit_mm: float) -> FloatArray:
    """Distance (z, y, x) in mm of every voxel's centre from the mask's surface, as far as `limit_mm`.

    The surface is known at the points midway between the centres of an inside and an outside voxel that share a face,
    which is where interpolation of the mask crosses one half; the distance is that to the nearest of them. It is the
    same seen from inside and from outside (an outer slice of 5 mm lies 2.5 mm deep, not 0 and not 5), and the mask of
    a ball moved by it becomes nearly that of the larger or smaller ball.

    Args:
        values: (z, y, x), True inside.
        spacing_mm: (z, y, x).
        limit_mm: distances beyond are infinite.

    Returns:
        Distances without a sign; rounded to a nanometre, so that equal distances are equal numbers.
    """
    level = np.where(values, -0.5, 0.5)
    reach_mm = np.full(3, limit_mm)
    distance: FloatArray = np.round(limit_mm * np.sqrt(_nearest_crossing(level, spacing_mm, reach_mm, reach_mm)), 6)
    distance[distance > limit_mm] = np.inf
    return distance


def _parts(
    shape: tuple[int, ...], spacing_mm: tuple[float, float, float], shortest_reach_mm: float
) -> tuple[int, int, int]:
    """Into how many parts the spacing along each axis is cut."""
    fine_mm = max(FINE_SPACING_MM, shortest_reach_mm / FINE_STEPS_OF_A_REACH)
    while True:
        parts = tuple(max(1, int(np.ceil(spacing / fine_mm - 1e-6))) for spacing in spacing_mm)
        points = np.prod([(size + 1) * count + 1 for size, count in zip(shape, parts, strict=True)])
        if points <= LARGEST_FINE_LATTICE or max(parts) == 1:
            return (parts[0], parts[1], parts[2])
        fine_mm *= 1.25


def _level(values: BoolArray, parts: tuple[int, int, int]) -> LatticeArray:
    """A smooth function that is negative inside and zero on the surface, on the fine lattice.

    It starts as the distance from the faces between inside and outside voxels, in voxels, and is smoothed by a kernel
    that leaves planes and quadratic surfaces as they are (twice a binomial filter minus its square), so that the
    steps of the voxels vanish and curved surfaces stay where they are. No voxel centre changes sides, so that nothing
    thin is lost. It rounds sharp edges; those between flat faces, as of a box or at the end of a cylinder, are made
    sharp again (`sharp_edges`). The volume of the mask is kept.

    Returns:
        One voxel more on every side than `values`; voxel centres are every `parts`-th point.
    """
    padded = np.pad(values, 1)
    level = np.where(padded, 0.5 - distance_transform_edt(padded), distance_transform_edt(~padded) - 0.5)
    level = np.clip(level, -_DEEPEST_VOXELS, _DEEPEST_VOXELS).astype(np.float32)
    for _ in range(_SMOOTHING_PASSES):
        once = _binomial(level)
        smooth = 2 * once - _binomial(once)
        level = np.where(padded, np.minimum(smooth, 0), np.maximum(smooth, 0))
    for axis, count in enumerate(parts):
        level = _refined(level, axis, count)
    fine = with_sharp_edges(level, padded, parts)
    wanted = int(np.count_nonzero(values)) * int(np.prod(parts))
    fine -= np.partition(fine, wanted, axis=None)[wanted]
    # Keeping the volume moves the faces of small masks, by half a voxel and more where they are rounded most.
    centres = fine[:: parts[0], :: parts[1], :: parts[2]]
    centres[...] = np.where(padded, np.minimum(centres, -_TOLERANCE), np.maximum(centres, _TOLERANCE))
    return fine


def _refined(level: LatticeArray, axis: int, count: int) -> LatticeArray:
    """The cubic spline through the values along an axis, at `count` points per step (Unser, IEEE SPM 16, 1999).

    Beyond its ends the function goes on as it ends.
    """
    values = _along(level, axis)
    around = np.pad(values, [(_SPLINE_REACH, _SPLINE_REACH), (0, 0), (0, 0)], mode="edge")
    weights = spline_filter1d(around, axis=0, output=level.dtype)[_SPLINE_REACH - 1 :]
    steps = len(values) - 1
    fine = np.empty((steps * count + 1, *values.shape[1:]), level.dtype)
    fine[::count] = values
    for point in range(1, count):
        after = point / count
        before = 1.0 - after
        fine[point::count] = weights[:steps] * level.dtype.type(before**3 / 6)
        fine[point::count] += weights[1 : steps + 1] * level.dtype.type(2 / 3 - after**2 + after**3 / 2)
        fine[point::count] += weights[2 : steps + 2] * level.dtype.type(2 / 3 - before**2 + before**3 / 2)
        fine[point::count] += weights[3 : steps + 3] * level.dtype.type(after**3 / 6)
    return np.ascontiguousarray(np.moveaxis(fine, 0, axis))


def _binomial(level: LatticeArray) -> LatticeArray:
    for axis in range(3):
        level = correlate1d(level, [0.25, 0.5, 0.25], axis=axis, mode="nearest")
    return level


def _nearest_crossing(
    level: LatticeArray, steps_mm: Sequence[float], up_mm: FloatArray, down_mm: FloatArray
) -> LatticeArray:
    """Squared distance, in units of the reach, from the nearest crossing of the surface on any line of the lattice.

    Exact, because it is separable: one pass per axis for each direction of lines.

    Args:
        level: (z, y, x), at most 0 inside.
        steps_mm: (z, y, x) spacing of the lattice.
        up_mm: see `within_reach`.
        down_mm: see `within_reach`.
    """
    nearest = np.full(level.shape, np.inf, dtype=level.dtype)
    for normal in range(3):
        squared = _from_crossings(level, normal, steps_mm[normal], up_mm[normal], down_mm[normal])
        for axis in range(3):
            if axis != normal:
                squared = _spread(squared, axis, steps_mm[axis], up_mm[axis], down_mm[axis])
        np.minimum(nearest, squared, out=nearest)
    return nearest


def _from_crossings(level: LatticeArray, normal: int, step_mm: float, up_mm: float, down_mm: float) -> LatticeArray:
    """Squared distance, in units of the reach, from the nearest crossing of the surface on the line along `normal`."""
    lines = np.ascontiguousarray(_along(level, normal))
    size, stride = len(lines), lines[0].size
    crossed = np.flatnonzero((lines[:-1] <= 0) != (lines[1:] <= 0))
    values = lines.ravel()
    fraction = values[crossed] / (values[crossed] - values[crossed + stride])
    result = np.full(lines.size, np.inf, dtype=level.dtype)
    for count in _counts(step_mm, up_mm, down_mm, size):
        there = (crossed // stride + count >= 0) & (crossed // stride + count < size)
        to = crossed[there] + count * stride
        extra = _squared((count - fraction[there]) * level.dtype.type(step_mm), up_mm, down_mm)
        result[to] = np.fmin(result[to], extra)  # crossings are apart, so that no place is there twice
    return np.ascontiguousarray(np.moveaxis(result.reshape(lines.shape), 0, normal))


def _spread(squared: LatticeArray, axis: int, step_mm: float, up_mm: float, down_mm: float) -> LatticeArray:
    """`min over j of squared[j] + ((i - j) step / reach)^2` for every i along `axis`, as far as it is at most 1."""
    source = _along(squared, axis)
    result = source.copy()
    size = len(source)
    for count in _counts(step_mm, up_mm, down_mm, size):
        extra = float(_squared(np.array([count * step_mm]), up_mm, down_mm)[0])
        if count == 0 or extra > 1.0 + _TOLERANCE:
            continue
        to, off = slice(max(count, 0), size + min(count, 0)), slice(max(-count, 0), size - max(count, 0))
        np.minimum(result[to], source[off] + source.dtype.type(extra), out=result[to])
    return np.moveaxis(result, 0, axis)


def _along(array: NDArray, axis: int) -> NDArray:
    return np.moveaxis(array, axis, 0)


def _counts(step_mm: float, up_mm: float, down_mm: float, size: int) -> range:
    """Steps along an axis that may be within reach."""
    return range(-min(int(down_mm / step_mm) + 1, size - 1), min(int(up_mm / step_mm) + 2, size))


def _squared(offset_mm: NDArray, up_mm: float, down_mm: float) -> NDArray:
    """Squares of displacements in units of the reach; infinite where a displacement has no reach."""
    if up_mm == down_mm > 0:
        ratio = offset_mm / up_mm
        return ratio * ratio
    reach = np.where(offset_mm > 0, up_mm, down_mm)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(np.abs(offset_mm) <= _TOLERANCE, 0.0, offset_mm / reach)
    return (ratio * ratio).astype(offset_mm.dtype)
