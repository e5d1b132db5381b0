"""The tasks of the profile `zwanenburg`: image and mask are resampled here, once, and extracted as they are.

The order is that of Zwanenburg et al., Scientific Reports 9:614, 2019: noise on the image's own voxels; rotation and
translation in one interpolation with the resampling; volume; contour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from rtpipeline.course import Course
from rtpipeline.imaging.grid import FloatArray, Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.outcome import StageError
from rtpipeline.radiomics_parallel import ExtractionJob, ImageOnDisk, store_image, store_mask
from rtpipeline.radiomics_robustness.chain import ChainState
from rtpipeline.radiomics_robustness.lattice import Lattice, resampled_image, resampled_mask
from rtpipeline.radiomics_robustness.noise import estimated_noise, with_noise
from rtpipeline.radiomics_robustness.region import Region
from rtpipeline.radiomics_robustness.seeds import random_for
from rtpipeline.radiomics_robustness.supervoxels import MARGIN_MM, redrawn, supervoxels
from rtpipeline.radiomics_robustness.task import NO_VOXEL, Row, Task
from rtpipeline.radiomics_robustness.volume import with_volume_change
from rtpipeline.structures import Structure, as_columns

Parameters = dict[str, Any]


@dataclass(frozen=True)
class _Drawn:
    """One structure: what its rows share, its mask on the image, and how its draws are named."""

    number: int
    columns: Row
    mask: Mask
    base_seed: int
    identity: tuple[str, ...]


def chain_tasks(
    course: Course,
    image: Volume,
    structures: Sequence[Structure],
    states: Sequence[ChainState],
    parameters: Parameters,
    base_seed: int,
    scratch: Path,
) -> Iterator[Task]:
    """Every structure in every state.

    Args:
        course: whose identifiers name rows and draws.
        image: the planning CT.
        structures: to be perturbed.
        states: from `chain_states`, in its order.
        parameters: of PyRadiomics; the image is resampled to their spacing by their interpolator.
        base_seed: of every draw.
        scratch: for images and masks.

    Raises:
        StageError: the parameters normalise images, which needs the whole image.
    """
    if parameters["setting"].get("normalize"):
        raise StageError("the profile zwanenburg cannot normalise images; set `normalize: false` in the parameter file")
    sigma = estimated_noise(image)
    drawn = [_drawn(course, number, structure, image, base_seed) for number, structure in enumerate(structures)]
    for draw, of_draw in groupby(states, key=lambda state: state.noise_draw):
        random = random_for(base_seed, *course.identifiers.values(), "estimated noise", str(draw))
        noisy = with_noise(image, sigma if draw else 0.0, random)
        same_draw = tuple(of_draw)
        for one in drawn:
            yield from _of_structure(one, noisy, same_draw, parameters, sigma, scratch)


def _drawn(course: Course, number: int, structure: Structure, image: Volume, base_seed: int) -> _Drawn:
    roi = (structure.source, str(structure.roi_number), structure.roi_name)
    columns: Row = {
        **course.identifiers,
        **as_columns(structure),
        "profile": "zwanenburg",
        "seed": base_seed,
    }
    identity = (*course.identifiers.values(), "supervoxels", *roi)
    return _Drawn(number, columns, structure.mask(image.grid), base_seed, identity)


def _of_structure(
    one: _Drawn, image: Volume, states: Sequence[ChainState], parameters: Parameters, sigma: float, scratch: Path
) -> Iterator[Task]:
    """All states of one structure on one noisy image."""
    if one.mask.is_empty:
        for state in states:
            row = {**one.columns, **_state_columns(state, sigma), "status": "skipped", "reason": NO_VOXEL}
            yield Task(row, None)
        return
    setting = parameters["setting"]
    spacing = _spacing(setting, image.grid)
    centre_mm = one.mask.centroid_mm
    for (draw, angle, shift), of_view in groupby(
        states, key=lambda state: (state.noise_draw, state.rotation_deg, state.shift_voxels)
    ):
        same_view = tuple(of_view)
        lattice = Lattice.of(image.grid, spacing).turned(angle, shift, centre_mm)
        around_mm = (setting["padDistance"] + 2) * float(spacing.max())
        if any(state.contour for state in same_view):
            around_mm = max(around_mm, MARGIN_MM)
        grid = lattice.box(one.mask, around_mm)
        view = resampled_image(image, grid, setting.get("interpolator") or "sitkBSpline")
        mask = resampled_mask(one.mask, image.grid, grid)
        name = f"view_{one.number}_{draw}_{angle:g}_{shift:g}"
        stored = store_image(scratch / f"{name}.npy", view)
        job_parameters = {**parameters, "setting": {**setting, "resampledPixelSpacing": [float(s) for s in spacing]}}
        yield from _of_view(one, view, mask, same_view, stored, job_parameters, sigma, scratch / name)


def _of_view(
    one: _Drawn,
    view: Volume,
    mask: Mask,
    states: Sequence[ChainState],
    stored: ImageOnDisk,
    parameters: Parameters,
    sigma: float,
    scratch: Path,
) -> Iterator[Task]:
    """The masks of one resampled image: volume, then contour."""
    labels = supervoxels(view, mask) if any(state.contour for state in states) and not mask.is_empty else None
    for number, state in enumerate(states):
        row: Row = {**one.columns, **_state_columns(state, sigma)}
        try:
            changed = _changed(mask, view.grid, state.volume_change)
        except ValueError as error:
            yield Task({**row, "status": "failed", "reason": str(error)}, None)
            continue
        if state.contour and labels is not None:
            random = random_for(one.base_seed, *one.identity, state.perturbation_id)
            changed = Mask(view.grid, redrawn(labels, changed.on(view.grid), random))
        row |= {"voxel_count": changed.voxel_count, "status": "ok", "reason": ""}
        file = store_mask(scratch / f"mask_{number}.npy", Mask.cropped(view.grid, changed.on(view.grid)), view.grid)
        key = f"{one.number} {state.perturbation_id}"
        yield Task(row, ExtractionJob(key, stored, file, parameters, size=changed.volume_cm3))


def _changed(mask: Mask, grid: Grid, change: float) -> Mask:
    """The mask with another volume.

    Raises:
        ValueError: nothing is left, or it would reach beyond the box.
    """
    if mask.is_empty:
        raise ValueError("no voxel of the resampled image lies inside the structure")
    region = with_volume_change(Region.of(Mask.cropped(grid, mask.values), grid), change)
    if not region.is_within(grid.shape):
        raise ValueError("the perturbed structure reaches beyond what was resampled around it")
    return region.mask(grid)


def _spacing(setting: Parameters, grid: Grid) -> FloatArray:
    """(x, y, z) that is resampled to; the image's own where the parameters ask for none."""
    own = np.array(grid.spacing_mm)
    asked = setting.get("resampledPixelSpacing")
    if asked is None:
        return own
    wanted = np.array(asked, dtype=float)
    return np.where(wanted == 0, own, wanted)


def _state_columns(state: ChainState, sigma: float) -> Row:
    return {
        "perturbation_id": state.perturbation_id,
        "noise_hu": sigma if state.noise_draw else 0.0,
        "noise_realisation": state.noise_draw,
        "rotation_deg": state.rotation_deg,
        "grid_shift_voxels": state.shift_voxels,
        "translation_x_mm": 0.0,
        "translation_y_mm": 0.0,
        "translation_z_mm": 0.0,
        "contour_realisation": state.contour,
        "volume_change": state.volume_change,
    }
