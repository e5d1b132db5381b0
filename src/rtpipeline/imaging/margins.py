"""Growing and shrinking a mask by millimetres."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from rtpipeline.imaging.grid import FloatArray, Grid
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.surface import within_reach

LARGEST_TILT_DEGREES = 5.0
"""Margins that differ by direction are for images whose axes are those of the patient, to within this."""

VOXELS_AROUND = 8
"""So many voxels beyond the edge of the image are looked at, where a structure reaches it."""


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
    """The voxels of `within` whose centre lies within the surface of the mask moved out (or in) by the margin.

    Distances are Euclidean, in mm, from the surface that the mask stands for (see `surface.within_reach`), not from
    the centres of its voxels. With a different margin for each direction of the patient, a point of the surface
    reaches the body made of eight octants of ellipsoids whose semi-axes are the margins. Negative margins remove the
    voxels that the outside would reach if it grew by as much from the other side; what lies beyond the mask's grid is
    outside. Where some are positive and some negative, growing comes first.

    Args:
        mask: on a part of `within`.
        margin_mm: one number for all directions, or a margin per direction.
        within: the whole grid; the result never leaves it.

    Raises:
        ValueError: the planes are not equally spaced, or margins differ by direction on oblique images.
    """
    margins = margin_mm if isinstance(margin_mm, Margins) else Margins.equal(margin_mm)
    if not within.is_uniform:
        raise ValueError("a margin needs equally spaced planes")
    if mask.is_empty:
        return mask
    up, down = _along_array_axes(margins, within)
    grown = _grow(mask, np.maximum(up, 0), np.maximum(down, 0), within)
    return _shrink(grown, np.maximum(-up, 0), np.maximum(-down, 0))


def _along_array_axes(margins: Margins, grid: Grid) -> tuple[FloatArray, FloatArray]:
    """(3,) margins towards larger and towards smaller planes, rows and columns."""
    increasing, decreasing = margins.increasing_mm, margins.decreasing_mm
    if np.ptp(np.concatenate([increasing, decreasing])) == 0:
        return increasing, decreasing
    axes = grid.direction.T[::-1]  # (plane, row, column) by (x, y, z)
    patient_axis = np.abs(axes).argmax(axis=1)
    cosines = axes[np.arange(3), patient_axis]
    if np.abs(cosines).min() < np.cos(np.radians(LARGEST_TILT_DEGREES)):
        raise ValueError("margins that differ by direction need images that are not oblique")
    up = np.where(cosines > 0, increasing[patient_axis], decreasing[patient_axis])
    down = np.where(cosines > 0, decreasing[patient_axis], increasing[patient_axis])
    return up, down


def _grow(mask: Mask, up_mm: FloatArray, down_mm: FloatArray, within: Grid) -> Mask:
    if not (up_mm.any() or down_mm.any()):
        return mask
    spacing_mm = within.spacing_mm[::-1]
    reach = np.ceil(max(up_mm.max(), down_mm.max()) / np.array(spacing_mm)).astype(int) + 1
    # Beyond the image nothing is wanted, but the surface of what touches its edge needs some surroundings.
    beyond = np.array(
        [[part.start, size - part.stop] for part, size in zip(mask.box_on(within), within.shape, strict=True)]
    )
    pads = np.minimum(reach[:, None], beyond + VOXELS_AROUND)
    around = Mask(_padded_grid(mask.grid, pads), np.pad(mask.values, pads))
    grown = around.values | within_reach(around.values, spacing_mm, up_mm, down_mm)
    first = np.rint(within.world_to_index(around.grid.origin_mm)).astype(int)[::-1]
    low, high = np.maximum(first, 0), np.minimum(first + grown.shape, within.shape)
    box = tuple(slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    own = tuple(slice(int(a), int(b)) for a, b in zip(low - first, high - first, strict=True))
    return Mask.cropped(within.crop(box[0], box[1], box[2]), grown[own])


def _padded_grid(grid: Grid, pads: NDArray[np.intp]) -> Grid:
    """The grid with `pads` voxels more, (3, 2): before and after the planes, rows and columns."""
    planes, rows, columns = pads.sum(axis=1).tolist()
    return Grid.uniform(
        grid.index_to_world(-pads[::-1, 0].astype(float)),
        grid.spacing_mm,
        (grid.columns + columns, grid.rows + rows, grid.planes + planes),
        grid.direction,
    )


def _shrink(mask: Mask, up_mm: FloatArray, down_mm: FloatArray) -> Mask:
    if mask.is_empty or not (up_mm.any() or down_mm.any()):
        return mask
    reached = within_reach(mask.values, mask.grid.spacing_mm[::-1], down_mm, up_mm)
    return Mask.cropped(mask.grid, mask.values & ~reached)
