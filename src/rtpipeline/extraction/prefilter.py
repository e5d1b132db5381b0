"""B-spline coefficients of a whole image, kept for the structures of one image that come one after another."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

LARGEST_VOXELS = 64_000_000
"""No coefficients are kept of larger images; at 8 bytes a voxel this is half a gigabyte for each worker."""


class Prefilter:
    """The coefficients of the image that was asked for last.

    They are computed when an image is asked for the second time: for a single structure, the box around it is enough.
    """

    def __init__(self) -> None:
        self._image: Hashable = None
        self._coefficients: sitk.Image | None = None

    def of(
        self, image: Hashable, values: NDArray[np.floating[Any]], place: Callable[[sitk.Image], object]
    ) -> sitk.Image | None:
        """The coefficients, float64, or None while those of a box will do.

        Args:
            image: names the image.
            values: of the whole image (z, y, x).
            place: gives an ITK image the geometry of the whole image.
        """
        if image != self._image:
            self._image, self._coefficients = image, None
            return None
        if self._coefficients is None and values.size <= LARGEST_VOXELS:
            self._coefficients = coefficients(values)
            place(self._coefficients)
        return self._coefficients


def coefficients(values: NDArray[np.floating[Any]]) -> sitk.Image:
    """B-spline coefficients (cubic, float64) of an array (z, y, x), as ITK's B-spline interpolator computes them."""
    volume = sitk.GetImageFromArray(np.ascontiguousarray(values))
    return sitk.BSplineDecomposition(sitk.Cast(volume, sitk.sitkFloat64))
