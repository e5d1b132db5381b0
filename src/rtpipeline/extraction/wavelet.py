"""One band of the stationary wavelet transform, without the seven others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pywt
import SimpleITK as sitk
from radiomics import imageoperations

BAND = "band"
"""Key in the settings of `Wavelet` that asks for one band by its letters (L: low pass, H: high pass), as `LLH`."""


def wavelet_images(
    image: sitk.Image, mask: sitk.Image, **setting: Any
) -> Iterator[tuple[sitk.Image, str, dict[str, Any]]]:
    """PyRadiomics' `getWaveletImage`, or the one image of it that `band` asks for: (image, name, settings).

    A band is one filter along each axis, x first, on the values that PyRadiomics pads to even sizes; so its values are
    those of the whole transform to the last bit, for three passes instead of fourteen.
    """
    band = setting.get(BAND)
    if band is None:
        yield from imageoperations.getWaveletImage(image, mask, **setting)
        return
    values = sitk.GetArrayFromImage(image)
    whole = tuple(slice(size) for size in values.shape)
    values = np.pad(values, [(0, size % 2) for size in values.shape], "wrap")
    for letter, axis in zip(band, filtered_axes(setting), strict=True):
        low, high = pywt.swt(values, setting.get("wavelet", "coif1"), level=1, axis=axis)[0]
        values = high if letter == "H" else low
    filtered = sitk.GetImageFromArray(np.ascontiguousarray(values[whole]))
    filtered.CopyInformation(image)
    yield filtered, f"wavelet-{band}", setting


def filtered_axes(setting: dict[str, Any]) -> list[int]:
    """Array axes (z, y, x) in the order in which they are filtered: x first, none across planes where `force2D` is."""
    across = setting.get("force2Ddimension", 0) if setting.get("force2D", False) else None
    return [axis for axis in (2, 1, 0) if axis != across]
