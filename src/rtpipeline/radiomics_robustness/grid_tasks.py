"""The tasks of the profiles that are a grid of noise, translation, contour and volume on the image's own voxels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rtpipeline.config import Configuration
from rtpipeline.course import Course
from rtpipeline.imaging.grid import Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.radiomics_parallel import ExtractionJob, ImageOnDisk, MaskOnDisk, store_image, store_mask
from rtpipeline.radiomics_robustness.contour import ContourOffset
from rtpipeline.radiomics_robustness.masks import Geometry, PerturbedMask, geometry_of, perturbed_masks
from rtpipeline.radiomics_robustness.noise import with_noise
from rtpipeline.radiomics_robustness.region import Region
from rtpipeline.radiomics_robustness.seeds import random_for
from rtpipeline.radiomics_robustness.states import Axes, State, Translation
from rtpipeline.radiomics_robustness.task import NO_VOXEL, Row, Task
from rtpipeline.scheduling.resources import Resources
from rtpipeline.structures import Structure, as_columns


def grid_tasks(
    course: Course,
    configuration: Configuration,
    resources: Resources,
    image: Volume,
    structures: Sequence[Structure],
    axes: Axes,
    parameters: dict[str, Any],
) -> Iterator[Task]:
    """Every structure in every state, with its mask stored once for all noise levels."""
    section = configuration.radiomics_robustness
    images = _noisy_images(course, image, axes, section.base_seed, resources.scratch)
    for number, structure in enumerate(structures):
        masks = _masks(course, structure, image, axes, section.base_seed)
        files = {
            geometry: store_mask(resources.scratch / f"mask_{number}_{count}.npy", mask, image.grid)
            for count, (geometry, mask) in enumerate(_voxels(masks, image).items())
        }
        for state in axes.states():
            made = masks[geometry_of(state)] if masks else None
            row: Row = {
                **course.identifiers,
                **as_columns(structure),
                **_state_columns(state, made),
                "profile": section.segmentation_perturbation.profile,
                "seed": section.base_seed,
            }
            key = f"{number} {state.perturbation_id}"
            yield Task(row, _job(key, made, images[state.noise], files.get(geometry_of(state)), parameters))


def _noisy_images(course: Course, image: Volume, axes: Axes, base_seed: int, scratch: Path) -> dict[float, ImageOnDisk]:
    """The whole image at every noise level: one draw per course and level, whatever the structures are."""
    images = {}
    for number, level in enumerate(axes.noise_levels):
        random = random_for(base_seed, *course.identifiers.values(), "noise", f"{level:g}")
        images[level] = store_image(scratch / f"image_{number}.npy", with_noise(image, level, random))
    return images


def _masks(
    course: Course, structure: Structure, image: Volume, axes: Axes, base_seed: int
) -> dict[Geometry, PerturbedMask]:
    """All masks of one structure; none where it has no voxel."""
    original = structure.mask(image.grid)
    if original.is_empty:
        return {}

    def draw(translation: Translation, realisation: int) -> ContourOffset:
        roi = (structure.source, str(structure.roi_number), structure.roi_name)
        shift = ",".join(f"{value:g}" for value in translation)
        random = random_for(base_seed, *course.identifiers.values(), "contour", *roi, shift, str(realisation))
        return ContourOffset.draw(axes.contour_magnitude_mm, random)

    return perturbed_masks(Region.of(original, image.grid), image.grid, axes, draw)


def _voxels(masks: dict[Geometry, PerturbedMask], image: Volume) -> dict[Geometry, Mask]:
    return {geometry: made.region.mask(image.grid) for geometry, made in masks.items() if made.region is not None}


def _state_columns(state: State, made: PerturbedMask | None) -> Row:
    row: Row = {
        "perturbation_id": state.perturbation_id,
        "noise_hu": state.noise,
        "noise_realisation": 0,
        "rotation_deg": 0.0,
        "grid_shift_voxels": 0.0,
        "contour_realisation": state.contour,
        "volume_change": state.volume_change,
    }
    if made is None:
        return {**row, "status": "skipped", "reason": NO_VOXEL}
    x_mm, y_mm, z_mm = made.translation_mm
    return {
        **row,
        "translation_x_mm": x_mm,
        "translation_y_mm": y_mm,
        "translation_z_mm": z_mm,
        "contour_offset_mm": made.contour_offset_mm,
        "voxel_count": made.region.voxel_count if made.region is not None else None,
        "status": made.status,
        "reason": made.reason,
    }


def _job(
    key: str,
    made: PerturbedMask | None,
    image: ImageOnDisk,
    file: MaskOnDisk | None,
    parameters: dict[str, Any],
) -> ExtractionJob | None:
    if made is None or made.region is None or file is None:
        return None
    return ExtractionJob(key, image, file, parameters, size=made.region.volume_cm3)
