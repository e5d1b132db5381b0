"""One job: PyRadiomics' features of one mask on one image, without its work on the whole volume.

The values are those of `RadiomicsFeatureExtractor(parameters).execute(image, mask)` on the whole image. What is
prepared for a job is kept until the next one, because the parts of a job mostly follow each other.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from radiomics import imageoperations

from rtpipeline.extraction.diagnostics import diagnostics_of
from rtpipeline.extraction.extractor import Checked, PreparedExtractor
from rtpipeline.extraction.jobs import ExtractionJob, ImageOnDisk, JobResult, MaskOnDisk
from rtpipeline.extraction.prefilter import Prefilter
from rtpipeline.extraction.resampling import Box, output_grid, resampled, target_spacing
from rtpipeline.extraction.usable import UnusableStructureError

_prefilter = Prefilter()


def extract(job: ExtractionJob) -> JobResult:
    """The features of one job or part of a job, by PyRadiomics' names, in its order, and diagnostics if asked for.

    Returns:
        An `ok` result; None where a feature is undefined for this ROI (NaN or infinite).

    Raises:
        UnusableStructureError: the structure is empty, too small, or has too few dimensions, possibly once resampled.
        RuntimeError: ITK cannot filter the image.
        OSError: image or mask cannot be read.
    """
    parameters = json.dumps(dict(job.parameters), sort_keys=False)
    checked = _checked(job.image, job.mask, parameters)
    values = _extractor(parameters).features(checked, job.part)
    features = {name: _number(value) for name, value in values.items()}
    if not job.diagnostics or (job.part is not None and not job.part.first):
        return JobResult(job.key, "ok", features)
    return JobResult(job.key, "ok", features, diagnostics_of(job, checked))


@lru_cache(maxsize=1)
def _checked(image: ImageOnDisk, mask: MaskOnDisk, parameters: str) -> Checked:
    extractor = _extractor(parameters)
    return extractor.check(*prepared(image, mask, extractor))


def prepared(image: ImageOnDisk, mask: MaskOnDisk, extractor: PreparedExtractor) -> tuple[sitk.Image, sitk.Image]:
    """Image and mask as PyRadiomics' loading step leaves them: normalised, resampled, cut to a box around the mask.

    Raises:
        UnusableStructureError: the mask is empty.
    """
    setting = extractor.settings
    values = np.load(image.file, mmap_mode="r")
    if setting.get("normalize"):
        values = _normalised(image, json.dumps(setting))
    mask_values, mask_box = _tight_mask(mask)
    size, spacing = np.array(values.shape[::-1]), np.array(image.spacing_mm)
    template = _with_geometry(sitk.Image([1, 1, 1], sitk.sitkUInt8), image)

    if setting.get("interpolator") is None or setting.get("resampledPixelSpacing") is None:
        pad = _pad_without_resampling(extractor)
        box = Box(np.zeros(3, int), size) if pad is None else _padded(mask_box, pad, size)
        return _cut(values, mask_values, mask_box, box, image)
    spacing_mm = target_spacing(setting, spacing, mask_box.stop - mask_box.start)
    if np.allclose(spacing, spacing_mm):
        return _cut(values, mask_values, mask_box, _padded(mask_box, setting["padDistance"], size), image)
    grid = output_grid(spacing_mm, setting["padDistance"], size, spacing, mask_box)
    interpolator = _interpolator(setting["interpolator"])
    whole = None
    if interpolator == sitk.sitkBSpline:
        normalised = json.dumps(setting) if setting.get("normalize") else ""
        whole = _prefilter.of((image, normalised), values, lambda volume: _with_geometry(volume, image))
    return resampled(values, mask_values, mask_box, template, grid, interpolator, whole)


def _pad_without_resampling(extractor: PreparedExtractor) -> int | None:
    """Voxels around the mask that filters see; None where PyRadiomics filters the whole image."""
    if extractor.settings.get("preCrop"):
        return int(extractor.settings["padDistance"])
    return 0 if set(extractor.enabledImagetypes) == {"Original"} else None


def _cut(
    values: NDArray[Any], mask: NDArray[np.bool_], mask_box: Box, box: Box, image: ImageOnDisk
) -> tuple[sitk.Image, sitk.Image]:
    """The part of image and mask inside `box`, which holds `mask_box`, on the image's own grid."""
    part_values = np.ascontiguousarray(values[box.slices])
    labels = np.zeros(part_values.shape, np.uint32)
    inside = Box(mask_box.start - box.start, mask_box.stop - box.start)
    labels[inside.slices] = mask
    whole = _with_geometry(sitk.Image([1, 1, 1], sitk.sitkUInt8), image)
    origin = whole.TransformIndexToPhysicalPoint(box.start.tolist())
    parts = []
    for array in (part_values, labels):
        part = _with_geometry(sitk.GetImageFromArray(array), image)
        part.SetOrigin(origin)
        parts.append(part)
    return parts[0], parts[1]


def _tight_mask(mask: MaskOnDisk) -> tuple[NDArray[np.bool_], Box]:
    """The mask's voxels inside its bounding box, and that box on the image's grid."""
    stored = np.load(mask.file)
    if not stored.any():
        raise UnusableStructureError("it has no voxel")
    bounds = [np.flatnonzero(stored.any(axis=tuple({0, 1, 2} - {axis}))) for axis in (2, 1, 0)]
    start = np.array([int(indices[0]) for indices in bounds])
    stop = np.array([int(indices[-1]) + 1 for indices in bounds])
    offset = np.array(mask.offset[::-1])
    return stored[Box(start, stop).slices], Box(start + offset, stop + offset)


def _padded(box: Box, pad: int, size: NDArray[np.int64]) -> Box:
    return Box(np.maximum(box.start - pad, 0), np.minimum(box.stop + pad, size))


@lru_cache(maxsize=1)
def _normalised(image: ImageOnDisk, setting: str) -> NDArray[Any]:
    """The whole image normalised by PyRadiomics, over all of its voxels; the last one is kept."""
    whole = _with_geometry(sitk.GetImageFromArray(np.load(image.file, mmap_mode="r")), image)
    values: NDArray[Any] = sitk.GetArrayFromImage(imageoperations.normalizeImage(whole, **json.loads(setting)))
    return values


@lru_cache(maxsize=8)
def _extractor(parameters: str) -> PreparedExtractor:
    return PreparedExtractor(json.loads(parameters))


def _with_geometry(volume: sitk.Image, image: ImageOnDisk) -> sitk.Image:
    volume.SetOrigin(image.origin_mm)
    volume.SetSpacing(image.spacing_mm)
    volume.SetDirection(image.direction)
    return volume


def _interpolator(name: str | int) -> int:
    """SimpleITK's interpolator of this name or number."""
    return int(getattr(sitk, name) if isinstance(name, str) else name)


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
