"""R and T of the chain after Zwanenburg: image and mask resampled once, on a rotated and shifted lattice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from rtpipeline.extraction.prefilter import coefficients
from rtpipeline.extraction.resampling import MARGIN
from rtpipeline.imaging.grid import FloatArray, Grid, Volume
from rtpipeline.imaging.mask import Mask


@dataclass(frozen=True, eq=False)
class Lattice:
    """The voxel centres that an image is resampled to, without an end.

    Attributes:
        origin_mm: (3,) world position of the voxel with index (0, 0, 0).
        spacing_mm: (3,) along x, y, z.
        direction: 3x3, columns are the world directions of the index axes x, y, z.
    """

    origin_mm: FloatArray
    spacing_mm: FloatArray
    direction: FloatArray

    @classmethod
    def of(cls, image: Grid, spacing_mm: FloatArray) -> Lattice:
        """The lattice that the extraction resamples `image` to: from the corner of its first voxel on."""
        first = 0.5 * (spacing_mm - np.array(image.spacing_mm)) / np.array(image.spacing_mm)
        return cls(image.index_to_world(first), np.asarray(spacing_mm, float), image.direction)

    def turned(self, angle_deg: float, shift_voxels: float, centre_mm: FloatArray) -> Lattice:
        """Rotated about `centre_mm` in the image's plane, then shifted by a part of a voxel along all its axes."""
        c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
        in_plane = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        rotation = self.direction @ in_plane @ self.direction.T
        shift_mm = self.direction @ (shift_voxels * self.spacing_mm)
        origin_mm = centre_mm + rotation @ (self.origin_mm + shift_mm - centre_mm)
        return Lattice(origin_mm, self.spacing_mm, rotation @ self.direction)

    def box(self, mask: Mask, margin_mm: float) -> Grid:
        """The part of the lattice that holds every voxel of `mask` and `margin_mm` around them."""
        planes, rows, columns = np.nonzero(mask.values)
        centres = mask.grid.index_to_world(np.stack([columns, rows, planes], axis=-1).astype(float))
        index = ((centres - self.origin_mm) @ self.direction) / self.spacing_mm
        half_voxel_mm = np.abs(self.direction.T @ mask.grid.direction) @ (np.array(mask.grid.spacing_mm) / 2.0)
        reach = (half_voxel_mm + margin_mm) / self.spacing_mm
        first = np.floor(index.min(axis=0) - reach).astype(int)
        last = np.ceil(index.max(axis=0) + reach).astype(int)
        columns_count, rows_count, planes_count = (int(count) for count in last - first + 1)
        x_mm, y_mm, z_mm = (float(step) for step in self.spacing_mm)
        return Grid.uniform(
            self.origin_mm + self.direction @ (first * self.spacing_mm),
            (x_mm, y_mm, z_mm),
            (columns_count, rows_count, planes_count),
            self.direction,
        )


def resampled_image(image: Volume, grid: Grid, interpolator: str | int) -> Volume:
    """The image on `grid`, float32, by one interpolation.

    Beyond its edges the image goes on with the values of its outermost voxels.

    Args:
        image: values (z, y, x) on a uniform grid of any direction.
        grid: uniform, of any direction.
        interpolator: SimpleITK's name or number, as PyRadiomics' parameter files have it.
    """
    number = int(getattr(sitk, interpolator) if isinstance(interpolator, str) else interpolator)
    corners = np.array(np.meshgrid([0, grid.columns - 1], [0, grid.rows - 1], [0, grid.planes - 1])).reshape(3, -1).T
    index = image.grid.world_to_index(grid.index_to_world(corners.astype(float)))
    first = np.floor(index.min(axis=0)).astype(int) - MARGIN
    last = np.ceil(index.max(axis=0)).astype(int) + MARGIN
    along = [
        np.clip(np.arange(a, b + 1), 0, size - 1) for a, b, size in zip(first, last, _size(image.grid), strict=True)
    ]
    part = np.asarray(image.values, dtype=np.float32)[np.ix_(along[2], along[1], along[0])]
    source = coefficients(part) if number == sitk.sitkBSpline else sitk.GetImageFromArray(part)
    _place(source, image.grid, first)
    resampler = _resampler(grid)
    resampler.SetInterpolator(sitk.sitkBSplineResampler if number == sitk.sitkBSpline else number)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    return Volume(grid, sitk.GetArrayFromImage(resampler.Execute(source)))


def resampled_mask(mask: Mask, image: Grid, grid: Grid) -> Mask:
    """The mask on `grid`, to the nearest voxel of `image`, as the extraction resamples masks."""
    planes, rows, columns = mask.box_on(image)
    source = sitk.GetImageFromArray(mask.values.astype(np.uint8))
    _place(source, image, np.array([columns.start, rows.start, planes.start]))
    resampler = _resampler(grid)
    resampler.SetInterpolator(sitk.sitkNearestNeighbor)
    return Mask(grid, sitk.GetArrayFromImage(resampler.Execute(source)).astype(np.bool_))


def _size(grid: Grid) -> tuple[int, int, int]:
    return (grid.columns, grid.rows, grid.planes)


def _place(part: sitk.Image, image: Grid, first: FloatArray) -> None:
    """Give a part of an image that begins at the index `first` (x, y, z) its geometry."""
    part.SetOrigin(image.index_to_world(np.zeros(3)).tolist())
    part.SetSpacing(image.spacing_mm)
    part.SetDirection(image.direction.ravel().tolist())
    part.SetOrigin(part.TransformContinuousIndexToPhysicalPoint([float(value) for value in first]))


def _resampler(grid: Grid) -> sitk.ResampleImageFilter:
    resampler = sitk.ResampleImageFilter()
    resampler.SetOutputOrigin(grid.origin_mm.tolist())
    resampler.SetOutputSpacing(grid.spacing_mm)
    resampler.SetOutputDirection(grid.direction.ravel().tolist())
    resampler.SetSize(_size(grid))
    return resampler
