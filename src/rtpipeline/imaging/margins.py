"""Growing and shrinking a mask by millimetres."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy.ndimage import distance_transform_edt

from rtpipeline.imaging.grid import FloatArray, Grid
from rtpipeline.imaging.mask import BoolArray, Mask

_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Margins:
    """A margin in mm for each direction of the patient; negative ones shrink.

    DICOM patient coordinates increase towards the left, posterior and superior.
    """

    anterior_mm: float = 0.0
    posterior_mm: float = 0.0
    left_mm: float = 0.0
    right_mm: float = 0.0
    superior_mm: float = 0.0
    inferior_mm: float = 0.0

    @classmethod
    def equal(cls, margin_mm: float) -> Margins:
        """The same margin in every direction."""
        return cls(*(margin_mm for _ in fields(cls)))

    @property
    def increasing_mm(self) -> FloatArray:
        """(3,) margins along +x, +y, +z."""
        return np.array([self.left_mm, self.posterior_mm, self.superior_mm])

    @property
    def decreasing_mm(self) -> FloatArray:
        """(3,) margins along -x, -y, -z."""
        return np.array([self.right_mm, self.anterior_mm, self.inferior_mm])


def expand(mask: Mask, margin_mm: float | Margins, within: Grid) -> Mask:
    """The voxels of `within` whose centre is no further from a voxel centre of the mask than the margin.

    Distances are Euclidean, in mm. With a different margin for each direction of the patient, the reach is the body
    made of eight octants of ellipsoids whose semi-axes are the margins. Negative margins remove the voxels that
    the outside would reach if it grew by as much from the other side; what lies beyond the mask's grid is outside.
    Where some are positive and some negative, growing comes first.

    Args:
        mask: on a part of `within`.
        margin_mm: one number for all directions, or a margin per direction.
        within: the whole grid; the result never leaves it.

    Raises:
        ValueError: the planes are not equally spaced.
    """
    margins = margin_mm if isinstance(margin_mm, Margins) else Margins.equal(margin_mm)
    if not within.is_uniform:
        raise ValueError("a margin needs equally spaced planes")
    if mask.is_empty:
        return mask
    up, down = margins.increasing_mm, margins.decreasing_mm
    grown = _grow(mask, np.maximum(up, 0), np.maximum(down, 0), within)
    return _shrink(grown, np.maximum(-up, 0), np.maximum(-down, 0), within)


def _grow(mask: Mask, up_mm: FloatArray, down_mm: FloatArray, within: Grid) -> Mask:
    if not (up_mm.any() or down_mm.any()):
        return mask
    first = np.rint(within.world_to_index(mask.grid.origin_mm)).astype(int)[::-1]
    reach = np.ceil(max(up_mm.max(), down_mm.max()) / np.array(within.spacing_mm[::-1])).astype(int)
    low = np.maximum(first - reach, 0)
    high = np.minimum(first + mask.values.shape + reach, within.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    grid = within.crop(box[0], box[1], box[2])
    return Mask.cropped(grid, _reached(mask.on(grid), up_mm, down_mm, grid))


def _shrink(mask: Mask, up_mm: FloatArray, down_mm: FloatArray, within: Grid) -> Mask:
    if not (up_mm.any() or down_mm.any()):
        return mask
    outside = ~np.pad(mask.values, 1)
    reached = _reached(outside, down_mm, up_mm, mask.grid)[1:-1, 1:-1, 1:-1]
    return Mask.cropped(mask.grid, mask.values & ~reached)


def _reached(values: BoolArray, up_mm: FloatArray, down_mm: FloatArray, grid: Grid) -> BoolArray:
    """Voxels that a True voxel reaches; `up_mm` and `down_mm` are reaches along the patient's axes."""
    if np.ptp(np.concatenate([up_mm, down_mm])) == 0:
        distance = distance_transform_edt(~values, sampling=grid.spacing_mm[::-1])
        return distance <= up_mm[0] + _TOLERANCE
    reach = np.ceil(max(up_mm.max(), down_mm.max()) / np.array(grid.spacing_mm)).astype(int)
    columns = np.arange(-reach[0], reach[0] + 1)
    result = values.copy()
    for plane in range(-reach[2], reach[2] + 1):
        for row in range(-reach[1], reach[1] + 1):
            index = np.stack([columns, np.full_like(columns, row), np.full_like(columns, plane)], axis=-1)
            offset_mm = (index * np.array(grid.spacing_mm)) @ grid.direction.T
            hit = columns[_within_reach(offset_mm, up_mm, down_mm)]
            if len(hit):
                result |= _moved(_widened(values, int(hit[0]), int(hit[-1])), plane, row)
    return result


def _within_reach(offset_mm: FloatArray, up_mm: FloatArray, down_mm: FloatArray) -> BoolArray:
    """Which displacements (n, 3) lie in the octants of ellipsoids; a semi-axis of 0 allows no displacement."""
    reach = np.where(offset_mm > 0, up_mm, down_mm)
    moved = np.abs(offset_mm) > _TOLERANCE
    ratio = np.where(moved, np.abs(offset_mm) / np.where(reach > 0, reach, np.inf), 0.0)
    blocked = np.any(moved & (reach <= 0), axis=-1)
    return ~blocked & ((ratio**2).sum(axis=-1) <= 1 + _TOLERANCE)


def _widened(values: BoolArray, low: int, high: int) -> BoolArray:
    """Voxels that have a True voxel between `-high` and `-low` columns away."""
    width = values.shape[2]
    sums = np.zeros((*values.shape[:2], width + 1), dtype=np.int32)
    np.cumsum(values, axis=2, out=sums[:, :, 1:])
    start = np.clip(np.arange(width) - high, 0, width)
    stop = np.clip(np.arange(width) - low + 1, 0, width)
    return sums[:, :, stop] > sums[:, :, start]


def _moved(values: BoolArray, planes: int, rows: int) -> BoolArray:
    """`values` moved by whole planes and rows; what leaves the array is lost."""
    result = np.zeros_like(values)
    source, target = [], []
    for step, size in ((planes, values.shape[0]), (rows, values.shape[1])):
        source.append(slice(max(0, -step), max(0, size - max(0, step))))
        target.append(slice(max(0, step), max(0, size - max(0, -step))))
    result[target[0], target[1]] = values[source[0], source[1]]
    return result
