"""Checks of structures against the planning CT: empty, cut off at the image's edge, volume of contours and voxels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rtpipeline.course import CT_KEY, Course, recorded_state
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.slabs import GeometryError, slab_stack
from rtpipeline.quality_control.check import Check, each_or_pass, subject_of
from rtpipeline.structures import Structure
from rtpipeline.structures.structure import LabelVolume

VOLUME_TOLERANCE_PERCENT = 10.0
SMALLEST_COMPARED_CM3 = 1.0
OUTER_STRUCTURE_TYPES = ("EXTERNAL", "SUPPORT", "BOLUS", "FIXATION")
OUTER_STRUCTURE_WORDS = ("body", "external", "skin", "couch", "table", "outline")
"""Structures of these types, or with these words in their names, reach the edge of the image by nature."""


def empty_structures(structures: Sequence[Structure]) -> list[Check]:
    """Structures without contours."""
    findings = (
        Check(
            "structure_empty",
            "WARNING",
            "low",
            structure.refusal or "it has no closed planar contours",
            subject=subject_of(structure),
        )
        for structure in structures
        if structure.labels is None and not structure.contours
    )
    return each_or_pass("structure_empty", "low", findings, "no structure is empty", bool(structures))


def contour_remarks(notes: Iterable[tuple[Structure, tuple[str, ...]]]) -> list[Check]:
    """What was left out of drawn structures, united or not filled on the way from their contours to voxels."""
    findings = []
    drawn = 0
    for structure, remarks in notes:
        drawn += structure.labels is None
        if structure.labels is None and remarks:
            message = "; ".join(remarks)
            findings.append(Check("contours_usable", "WARNING", "low", message, subject=subject_of(structure)))
    passed = "all contours of every structure were used as drawn"
    return each_or_pass("contours_usable", "low", findings, passed, drawn > 0)


def structures_at_edge(structures: Sequence[Structure], grid: Grid) -> list[Check]:
    """Structures that reach the edge of the planning CT, and so may be cut off there."""
    findings = []
    for structure in structures:
        sides = () if _is_outer(structure) else structure.sides_at_edge(grid)
        if sides:
            message = f"it reaches the edge of the planning CT ({', '.join(sides)}) and may be cut off there"
            findings.append(
                Check("structure_at_image_edge", "WARNING", "medium", message, subject=subject_of(structure))
            )
    return each_or_pass(
        "structure_at_image_edge", "medium", findings, "no structure reaches the edge of the CT", bool(structures)
    )


def volumes_agree(masks: Iterable[tuple[Structure, Mask]], image_plane_spacing_mm: float) -> list[Check]:
    """Whether the volume that the contours enclose is that of the voxels they become."""
    findings = []
    drawn = 0
    for structure, mask in masks:
        if not structure.contours:
            continue
        drawn += 1
        try:
            volume = slab_stack(structure.contours, image_plane_spacing_mm).volume_cm3
        except GeometryError as error:
            findings.append(Check("contour_volume", "FAIL", "medium", str(error), subject=subject_of(structure)))
            continue
        difference = 100.0 * (mask.volume_cm3 - volume) / volume if volume > 0 else 0.0
        if volume >= SMALLEST_COMPARED_CM3 and abs(difference) > VOLUME_TOLERANCE_PERCENT:
            findings.append(
                Check(
                    "contour_volume",
                    "WARNING",
                    "medium",
                    f"its contours enclose {volume:.2f} cm3, its voxels {mask.volume_cm3:.2f} cm3",
                    subject=subject_of(structure),
                    value=difference,
                    limit=VOLUME_TOLERANCE_PERCENT,
                    unit="%",
                )
            )
    passed = f"the volumes of contours and voxels agree within {VOLUME_TOLERANCE_PERCENT:g} %"
    return each_or_pass("contour_volume", "medium", findings, passed, drawn > 0)


def segmentation(course: Course, structures: Sequence[Structure], grid: Grid | None) -> Iterator[Check]:
    """Whether there is an automatic segmentation, and whether it lies on the planning CT's grid."""
    automatic = [structure for structure in structures if structure.source == "auto"]
    reason = _segmentation_failure(course)
    if automatic:
        message = f"{len(automatic)} structures"
        yield Check("segmentation_present", "PASS", "medium", message, value=float(len(automatic)))
    elif reason:
        yield Check("segmentation_present", "WARNING", "medium", reason)
    else:
        message = "there is no automatic segmentation of the planning CT"
        yield Check("segmentation_present", "NOT_APPLICABLE", "medium", message)
    own = (structure.labels for structure in structures if isinstance(structure.labels, LabelVolume))
    labels = {volume.path: volume for volume in own}
    findings = (
        Check(
            "segmentation_geometry",
            "FAIL",
            "high",
            "its voxels are not those of the planning CT",
            subject=path.relative_to(course.files.folder).as_posix(),
        )
        for path, volume in sorted(labels.items())
        if grid is not None and not volume.volume.grid.same_as(grid)
    )
    passed = "every segmentation has the voxels of the planning CT"
    yield from each_or_pass("segmentation_geometry", "high", findings, passed, bool(labels) and grid is not None)


def _segmentation_failure(course: Course) -> str:
    """Why segmentation failed, as its state says; empty where it did not, or was not asked for."""
    state = recorded_state(course, "segmentation")
    if state["status"] not in ("failed", "partial"):
        return ""
    return f"the segmentation of {CT_KEY} {state['status']}: {state['reason']}"


def _is_outer(structure: Structure) -> bool:
    name = structure.roi_name.lower()
    return structure.interpreted_type.upper() in OUTER_STRUCTURE_TYPES or any(
        word in name for word in OUTER_STRUCTURE_WORDS
    )
