"""The dose-volume curve of one structure, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from rtpipeline.dvh.curve import DoseVolumeCurve
from rtpipeline.dvh.fractionation import Equieffective, Fractionation
from rtpipeline.dvh.histogram import SampledDose
from rtpipeline.dvh.refinement import curve_of_mask, curve_of_slabs
from rtpipeline.imaging.grid import FloatArray, Grid
from rtpipeline.imaging.slabs import GeometryError, slab_stack
from rtpipeline.structures import Structure

CONTOURS = "contours"
VOXELS = "voxels"


@dataclass(frozen=True, eq=False)
class StructureDvh:
    """What came out for one structure.

    Attributes:
        structure: whose.
        status: `ok`, `partly_covered`, `outside`, `empty` or `failed`.
        reason: why, where the status is not `ok`.
        geometry: `contours` or `voxels`: what its volume comes from.
        curve: None where the structure is empty or failed.
        warnings: what a reader of the values should know.
        equieffective: the curve of EQD2; None where the structure has no α/β or no curve.
        edge_sides: sides of the patient at which it reaches the edge of the planning CT; None where there is no CT.
        image_cropped: it was cut to the cropped planning CT.
    """

    structure: Structure
    status: str
    reason: str = ""
    geometry: str = ""
    curve: DoseVolumeCurve | None = None
    warnings: tuple[str, ...] = ()
    equieffective: Equieffective | None = None
    edge_sides: tuple[str, ...] | None = None
    image_cropped: bool = False


@dataclass(frozen=True, eq=False)
class Biology:
    """What equieffective doses of a structure need: the phases of the course and the structure's α/β."""

    fractionation: Fractionation
    alpha_beta_gy: float


def structure_dvh(
    structure: Structure,
    dose: SampledDose,
    *,
    image_plane_spacing_mm: float | None,
    minimum_coverage_fraction: float,
    frame_mismatch: str = "",
    within: Grid | None = None,
    made_on: Grid | None = None,
    biology: Biology | None = None,
) -> StructureDvh:
    """Compute one structure's dose-volume curve.

    Args:
        structure: drawn or segmented.
        dose: of the course, on its own grid.
        image_plane_spacing_mm: of the planning CT; None where there is none.
        minimum_coverage_fraction: below it, the status is `partly_covered`.
        frame_mismatch: why structure and dose have no common coordinates; empty where they have.
        within: of a cropped planning CT; what lies on planes that it lacks does not count. None: everything counts.
        made_on: the grid whose voxels a structure was made of before they were outlined; None: it was drawn.
        biology: for equieffective doses; None where the structure has no α/β.
    """
    voxels = made_on if structure.labels is None else structure.labels.volume.grid
    geometry = CONTOURS if voxels is None else VOXELS
    if structure.refusal:
        return StructureDvh(structure, "failed", structure.refusal, VOXELS, warnings=structure.notes)
    if frame_mismatch:
        return StructureDvh(structure, "failed", frame_mismatch, geometry, warnings=structure.notes)
    try:
        if voxels is None:
            result = _of_contours(structure, dose, image_plane_spacing_mm, within, biology)
        else:
            result = _of_voxels(structure, dose, voxels if within is None else within, within is not None, biology)
    except GeometryError as error:
        return StructureDvh(structure, "failed", str(error), geometry, warnings=structure.notes)
    return _judged(result, minimum_coverage_fraction)


def structure_dvhs(
    structures: Sequence[Structure], compute: Callable[[Structure], StructureDvh], threads: int
) -> Iterator[StructureDvh]:
    """Compute each structure's curve in `threads` threads; results in the order of the structures.

    The largest are begun first, so that no thread is left alone with one at the end.
    """
    largest_first = sorted(range(len(structures)), key=lambda index: -_extent(structures[index]))
    with ThreadPoolExecutor(max(1, threads), thread_name_prefix="dvh") as executor:
        futures = {index: executor.submit(compute, structures[index]) for index in largest_first}
        for index in range(len(structures)):
            yield futures[index].result()


def _extent(structure: Structure) -> float:
    """Volume of the box around a drawn structure in mm³, or of a segmented one in voxels."""
    if structure.labels is not None:
        box = structure.labels.box(structure.roi_number)
        return 0.0 if box is None else float(np.prod([part.stop - part.start for part in box]))
    if not structure.contours:
        return 0.0
    return float(np.prod(np.ptp(np.concatenate(structure.contours), axis=0)))


def _of_contours(
    structure: Structure,
    dose: SampledDose,
    image_plane_spacing_mm: float | None,
    within: Grid | None,
    biology: Biology | None,
) -> StructureDvh:
    contours = structure.contours or ()
    kept = contours if within is None else tuple(contour for contour in contours if _on_planes(contour, within))
    warnings = structure.notes
    if len(kept) < len(contours):
        warnings = (*warnings, f"{len(contours) - len(kept)} contours lie beyond the cropped CT and do not count")
    if not kept:
        reason = "all of its contours lie beyond the cropped CT" if contours else "it has no closed planar contours"
        return StructureDvh(structure, "empty", reason, CONTOURS, warnings=warnings)
    stack = slab_stack(kept, image_plane_spacing_mm)
    warnings = (*warnings, *stack.warnings)
    if not stack.volume_cm3 > 0:
        return StructureDvh(structure, "empty", "its contours enclose no area", CONTOURS, warnings=warnings)
    curve, equieffective = _measured(partial(curve_of_slabs, stack), dose, biology)
    return StructureDvh(structure, "ok", "", CONTOURS, curve, warnings, equieffective)


def _measured(
    measure: Callable[[SampledDose], DoseVolumeCurve], dose: SampledDose, biology: Biology | None
) -> tuple[DoseVolumeCurve, Equieffective | None]:
    curve = measure(dose)
    if biology is None:
        return curve, None
    return curve, biology.fractionation.equieffective(curve, biology.alpha_beta_gy, measure)


def _on_planes(contour: FloatArray, grid: Grid) -> bool:
    """Whether a contour lies on a plane of `grid`, or nearer to one than half the spacing."""
    plane = float(grid.world_to_index(contour)[:, 2].mean())
    return -0.5 <= plane <= grid.planes - 0.5


def _of_voxels(
    structure: Structure, dose: SampledDose, grid: Grid, cropped: bool, biology: Biology | None
) -> StructureDvh:
    mask = structure.mask(grid)
    if mask.is_empty:
        where = " of the cropped CT" if cropped else ""
        return StructureDvh(structure, "empty", f"no voxel{where} belongs to it", VOXELS, warnings=structure.notes)
    curve, equieffective = _measured(partial(curve_of_mask, mask), dose, biology)
    return StructureDvh(structure, "ok", "", VOXELS, curve, structure.notes, equieffective)


def _judged(result: StructureDvh, minimum_coverage_fraction: float) -> StructureDvh:
    """The same result with a status that says how much of the structure the dose grid covers."""
    if result.curve is None:
        return result
    fraction = result.curve.coverage_fraction
    if fraction <= 0:
        status, reason = "outside", "it lies outside the dose grid"
    elif fraction < minimum_coverage_fraction:
        status = "partly_covered"
        reason = (
            f"the dose grid covers {100 * fraction:.1f} % of it, less than the {100 * minimum_coverage_fraction:g} % "
            "that dvh.minimum_dose_coverage_fraction asks for: only its volume is given"
        )
    else:
        return result
    return replace(result, status=status, reason=reason)
