"""The geometric part of the chain: V(C(T(mask))) for every translation, contour and volume change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from rtpipeline.imaging.grid import Grid
from rtpipeline.radiomics_robustness.contour import ContourOffset
from rtpipeline.radiomics_robustness.region import Region
from rtpipeline.radiomics_robustness.states import NO_TRANSLATION, Axes, State, Translation
from rtpipeline.radiomics_robustness.translation import voxel_shift
from rtpipeline.radiomics_robustness.volume import with_volume_change

Geometry = tuple[Translation, int, float]
"""Requested translation, contour realisation, volume change."""

DrawContour = Callable[[Translation, int], ContourOffset]
"""Draws the contour of a translation and a realisation."""


@dataclass(frozen=True)
class PerturbedMask:
    """A mask, or why there is none.

    Attributes:
        translation_mm: the shift that was applied (x, y, z).
        contour_offset_mm: the drawn offset of the surface; 0 for the contour as drawn.
        region: the voxels; None where the state cannot be made.
        status: `ok`; `skipped` where the grid does not allow the state; `failed` where its result is unusable.
        reason: why, in one sentence; with `ok` a remark, or empty.
    """

    translation_mm: Translation
    contour_offset_mm: float
    region: Region | None
    status: Literal["ok", "skipped", "failed"] = "ok"
    reason: str = ""


def geometry_of(state: State) -> Geometry:
    """The part of a state that concerns the mask."""
    return (state.translation_mm, state.contour, state.volume_change)


def perturbed_masks(original: Region, image: Grid, axes: Axes, draw: DrawContour) -> dict[Geometry, PerturbedMask]:
    """Every mask of the grid of states, from the structure as drawn.

    A random contour depends on its translation and its number alone, so another noise level or volume change has the
    same one.
    """
    masks: dict[Geometry, PerturbedMask] = {}
    for translation in axes.translations_mm:
        shift = voxel_shift(translation, image)
        impossible = translation != NO_TRANSLATION and shift.is_none
        moved = shift.apply(original)
        for contour, offset, region in _contours(moved, translation, axes, draw):
            for change in axes.volume_changes:
                if impossible:
                    made = PerturbedMask(shift.applied_mm, offset, None, "skipped", _too_coarse(translation, image))
                else:
                    made = _changed(region, shift.applied_mm, offset, change, image)
                    if contour and made.status == "ok" and region.same_as(moved):
                        remark = f"the drawn contour offset of {offset:+.2f} mm moves no voxel of this grid"
                        made = PerturbedMask(made.translation_mm, offset, made.region, "ok", remark)
                masks[translation, contour, change] = made
    return masks


def _contours(
    region: Region, translation: Translation, axes: Axes, draw: DrawContour
) -> Iterator[tuple[int, float, Region]]:
    """(number, offset, region) of the contour as drawn and of every random one."""
    yield 0, 0.0, region
    for number in range(1, axes.contour_realisations + 1):
        contour = draw(translation, number)
        yield number, contour.offset_mm, contour.apply(region)


def _changed(region: Region, shift_mm: Translation, offset_mm: float, change: float, image: Grid) -> PerturbedMask:
    """The last step of the chain, V, and the checks of its result."""
    if region.voxel_count == 0:
        reason = f"a contour offset of {offset_mm:+.2f} mm leaves nothing of the structure"
        return PerturbedMask(shift_mm, offset_mm, None, "failed", reason)
    try:
        changed = with_volume_change(region, change)
    except ValueError as error:
        return PerturbedMask(shift_mm, offset_mm, None, "failed", str(error))
    if not changed.is_within(image.shape):
        return PerturbedMask(shift_mm, offset_mm, None, "failed", "the perturbed structure reaches beyond the image")
    return PerturbedMask(shift_mm, offset_mm, changed)


def _too_coarse(translation: Translation, image: Grid) -> str:
    wanted = ", ".join(f"{value:g}" for value in translation)
    spacing = " x ".join(f"{value:g}" for value in image.spacing_mm)
    return f"a translation by ({wanted}) mm is less than half a voxel of this grid ({spacing} mm)"
