"""The resampled box around a mask, voxel for voxel as PyRadiomics makes it from whole images.

`radiomics.imageoperations.resampleImage` (3.0.1) resamples only a box around the mask, but prepares the whole image
for it, each time: B-spline coefficients of every voxel, in float64. Here they are computed once for the structures
of an image (`prefilter`), or only those that the box depends on. The cubic B-spline filter forgets by a factor of
0.268 a voxel (Unser, IEEE Signal Processing Magazine 16(6), 1999: its pole is sqrt(3) - 2), so from `MARGIN` voxels
on nothing is left in float32.

The index arithmetic is ITK's, and its last bits depend on the origin of the input image. So the input keeps the
origin of the whole image: voxels between the origin and the box are there, but zero; those beyond the box are cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from rtpipeline.extraction.prefilter import coefficients

MARGIN = 32
"""Voxels around the box, on the image's own grid, from which its B-spline coefficients are computed."""


@dataclass(frozen=True)
class OutputGrid:
    """The grid that PyRadiomics resamples to: spacing (x, y, z) in mm, size and origin; direction is the image's."""

    spacing_mm: NDArray[np.float64]
    size: list[int]
    first_index: NDArray[np.float64]
    """Continuous index (x, y, z) in the image of the first voxel."""

    def native_box(self, image_size: NDArray[np.int64], image_spacing_mm: NDArray[np.float64]) -> Box:
        """The voxels of the image that this grid lies on, with `MARGIN` around them."""
        last_index = self.first_index + (np.array(self.size) - 1) * self.spacing_mm / image_spacing_mm
        start = np.maximum(np.floor(self.first_index).astype(int) - MARGIN, 0)
        stop = np.minimum(np.ceil(last_index).astype(int) + 1 + MARGIN, image_size)
        return Box(start, stop)


@dataclass(frozen=True)
class Box:
    """Voxels `start` (x, y, z) up to, not including, `stop` of an image."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    @property
    def slices(self) -> tuple[slice, ...]:
        """For an array (z, y, x)."""
        return tuple(slice(int(a), int(b)) for a, b in zip(self.start[::-1], self.stop[::-1], strict=True))


def target_spacing(
    setting: dict[str, Any], image_spacing_mm: NDArray[np.float64], mask_size: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The spacing asked for; the image's own where 0 is asked for, and along axes on which the mask has one voxel."""
    asked = np.array(setting["resampledPixelSpacing"], dtype=float)
    asked = np.where(asked == 0, image_spacing_mm, asked)
    return np.where(mask_size != 1, asked, image_spacing_mm)


def output_grid(
    spacing_mm: NDArray[np.float64],
    pad: int,
    image_size: NDArray[np.int64],
    image_spacing_mm: NDArray[np.float64],
    mask_box: Box,
) -> OutputGrid:
    """The box of the global resampled grid that holds the mask and `pad` voxels around it, within the image.

    The global grid begins at the corner of the image's first voxel (not at its centre), whatever the mask; this is
    the rule of `radiomics.imageoperations.resampleImage`, in its order of operations.

    Args:
        spacing_mm: of the resampled grid, (x, y, z).
        pad: PyRadiomics' `padDistance`, in resampled voxels.
        image_size: of the whole image, (x, y, z).
        image_spacing_mm: of the whole image, (x, y, z).
        mask_box: the mask's bounding box on the whole image's grid.
    """
    ratio = image_spacing_mm / spacing_mm
    lower = np.floor((mask_box.start - 0.5) * ratio - pad)
    upper = np.ceil((mask_box.stop - 0.5) * ratio + pad)
    lower = np.maximum(lower, 0)
    upper = np.minimum(upper, np.ceil(image_size * ratio) - 1)
    return OutputGrid(
        spacing_mm=spacing_mm,
        size=[int(count) for count in upper - lower + 1],
        first_index=0.5 * (spacing_mm - image_spacing_mm) / image_spacing_mm + lower / ratio,
    )


def resampled(
    image: NDArray[np.floating[Any]],
    mask: NDArray[np.bool_],
    mask_box: Box,
    template: sitk.Image,
    grid: OutputGrid,
    interpolator: int,
    whole_coefficients: sitk.Image | None,
) -> tuple[sitk.Image, sitk.Image]:
    """Image and mask on `grid`.

    Args:
        image: the whole image (z, y, x).
        mask: the mask's voxels inside `mask_box`.
        mask_box: where the mask lies.
        template: an image with the whole image's origin, spacing and direction.
        grid: from `output_grid`.
        interpolator: a SimpleITK interpolator, for the image; the mask is resampled by nearest neighbour.
        whole_coefficients: B-spline coefficients of the whole image, where they are known; for `sitkBSpline` alone.

    Returns:
        An image of the type of `image`, and a UInt32 mask with label 1.
    """
    size = np.array(image.shape[::-1])
    if whole_coefficients is not None:
        source = whole_coefficients
    else:
        box = grid.native_box(size, np.array(template.GetSpacing()))
        part = image[box.slices]
        values = coefficients(part) if interpolator == sitk.sitkBSpline else sitk.GetImageFromArray(part)
        source = _from_origin(values, box, size, template)
    pixel_type = sitk.GetImageFromArray(image[:1, :1, :1]).GetPixelID()

    origin = template.TransformContinuousIndexToPhysicalPoint(grid.first_index.tolist())
    resampler = sitk.ResampleImageFilter()
    resampler.SetOutputSpacing(grid.spacing_mm.tolist())
    resampler.SetOutputDirection(template.GetDirection())
    resampler.SetSize(grid.size)
    resampler.SetOutputOrigin(origin)

    resampler.SetOutputPixelType(pixel_type)
    resampler.SetInterpolator(sitk.sitkBSplineResampler if interpolator == sitk.sitkBSpline else interpolator)
    resampled_image = resampler.Execute(source)

    labels = sitk.GetImageFromArray(mask.astype(np.uint8))
    resampler.SetOutputPixelType(sitk.sitkUInt32)
    resampler.SetInterpolator(sitk.sitkNearestNeighbor)
    resampled_mask = resampler.Execute(_from_origin(labels, mask_box, size, template))
    return resampled_image, resampled_mask


def _from_origin(part: sitk.Image, box: Box, image_size: NDArray[np.int64], template: sitk.Image) -> sitk.Image:
    """An image from the whole image's origin to one voxel after `box`; zero outside the box."""
    stop = np.minimum(box.stop + 1, image_size)
    whole = sitk.Image(stop.tolist(), part.GetPixelID())
    whole.SetOrigin(template.GetOrigin())
    whole.SetSpacing(template.GetSpacing())
    whole.SetDirection(template.GetDirection())
    return sitk.Paste(whole, part, part.GetSize(), [0, 0, 0], box.start.tolist())
