"""PyRadiomics' diagnostics of a job, as numbers: what the image and the mask were before and after resampling.

The library takes the statistics of the whole image and labels the whole mask for each structure. Here those of the
image are taken once, and the mask is labelled in its box; its position is that in the whole image again afterwards.
The image's SHA-1 is `ImageOnDisk.digest`; there is none of the mask, which the library has of all voxels outside too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import SimpleITK as sitk
from radiomics.generalinfo import GeneralInfo

from rtpipeline.extraction.extractor import Checked
from rtpipeline.extraction.jobs import ExtractionJob, ImageOnDisk

_PREFIX = "diagnostics_"
_TEXTS = ("Versions_", "Configuration_", "Image-original_Hash", "Image-original_Dimensionality", "Mask-original_Hash")


def diagnostics_of(job: ExtractionJob, checked: Checked) -> dict[str, float]:
    """Numbers by PyRadiomics' names without `diagnostics_`; vectors as `…_x`, `…_y`, `…_z`.

    The bounding box is that of the first voxel (`…_x`) and the size (`…_size_x`) along each axis.
    """
    setting = job.parameters["setting"]
    info = GeneralInfo()
    _add_original_mask(info, job)
    if setting.get("interpolator") is not None and setting.get("resampledPixelSpacing") is not None:
        info.addImageElements(checked.image, "interpolated")
        info.addMaskElements(checked.image, checked.whole_mask, 1, "interpolated")
    if checked.is_resegmented:
        info.addMaskElements(checked.image, checked.mask, 1, "resegmented")
    values = {**_of_image(job.image), **info.getGeneralInfo()}
    return {name: number for key in sorted(values) for name, number in _numbers(key, values[key])}


def _add_original_mask(info: GeneralInfo, job: ExtractionJob) -> None:
    """The mask is labelled in its own box, then said to be in the whole image."""
    image, offset = job.image, job.mask.offset[::-1]
    mask = sitk.GetImageFromArray(np.load(job.mask.file).astype(np.uint32))
    mask.SetSpacing(image.spacing_mm)
    mask.SetDirection(image.direction)
    mask.SetOrigin(image.origin_mm)
    mask.SetOrigin(mask.TransformIndexToPhysicalPoint([int(index) for index in offset]))
    info.addMaskElements(None, mask, 1, "original")
    found = info.generalInfo
    name = _PREFIX + "Mask-original_"
    box, centre = found[name + "BoundingBox"], found[name + "CenterOfMassIndex"]
    found[name + "BoundingBox"] = [*np.add(box[:3], offset), *box[3:]]
    found[name + "CenterOfMassIndex"] = np.add(centre, offset)
    found[name + "Size"] = np.load(image.file, mmap_mode="r").shape[::-1]


@lru_cache(maxsize=4)
def _of_image(image: ImageOnDisk) -> Mapping[str, Any]:
    """Of the whole image, before it is normalised."""
    values = np.load(image.file, mmap_mode="r")
    name = _PREFIX + "Image-original_"
    return {
        name + "Spacing": image.spacing_mm,
        name + "Size": values.shape[::-1],
        name + "Mean": np.mean(values, dtype=np.float64),
        name + "Minimum": np.min(values),
        name + "Maximum": np.max(values),
    }


def _numbers(key: str, value: Any) -> Iterator[tuple[str, float]]:
    name = key.removeprefix(_PREFIX)
    if name.startswith(_TEXTS):
        return
    if np.ndim(value) == 0:
        yield name, float(value)
        return
    axes = ("x", "y", "z", "size_x", "size_y", "size_z")[: len(value)]
    yield from ((f"{name}_{axis}", float(one)) for axis, one in zip(axes, value, strict=True))
