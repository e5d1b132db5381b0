"""Stage auto_rtstruct: segmentations and custom structures → RT Structure Sets, and a DICOM segmentation if asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rtpipeline.config import Configuration
from rtpipeline.course import CT_KEY, Course, CourseFiles
from rtpipeline.custom_structures import (
    CustomResult,
    configured_structures,
    evaluate,
    expression_text,
    is_configured,
)
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import read_geometry
from rtpipeline.dicom.rtstruct import RoiToWrite, write_structure_set
from rtpipeline.dicom.segmentation_object import write_segmentation_object
from rtpipeline.imaging.grid import FloatArray, Grid
from rtpipeline.imaging.keyholes import keyholed_outline
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.smooth_outline import smooth_outline
from rtpipeline.inference.body_regions import regions_shown, why_not
from rtpipeline.outcome import Outcome, StageError, ok, partial, skipped
from rtpipeline.scheduling.resources import Resources
from rtpipeline.structures import Structure
from rtpipeline.structures.load import (
    CUSTOM_DESCRIPTION,
    MISSING_MARK,
    REMARK_MARK,
    automatic_structures,
    carried_structures,
    custom_model_structures,
    custom_models,
    manual_structures,
    name_rules,
)
from rtpipeline.structures.priority import Priority, by_priority, same_thing
from rtpipeline.structures.segments import given_structures
from rtpipeline.structures.structure import LabelVolume

Outline = Callable[[Mask], list[FloatArray]]

AUTOMATIC_LABEL = "RS_auto"
CUSTOM_LABEL = "RS_custom"
MODEL_LABEL = "custom_model"
LONGEST_NAME = 64
"""Characters of an ROIName (VR LO)."""
LONGEST_DESCRIPTION = 1024
"""Characters of an ROIDescription (VR ST)."""
LONGEST_REMARKS = 512
"""Of these, what is kept for remarks on what a custom structure lacks."""
LEAST_CONFIDENCE = 0.5
"""How sure it must be that the CT shows a region that custom structures require."""


def run(course: Course, configuration: Configuration, resources: Resources) -> Outcome:
    """Write `RS_auto.dcm`, a structure set for each custom model, and `RS_custom.dcm`.

    `RS_auto.dcm` has every structure of every segmentation of the planning CT, and after them those that were carried
    there from MR series, whose ROIDescription says how. `RS_custom.dcm` has the manual structure set, or else the
    automatic one, as it is; then what segmentations made here have beyond it, as `structures.priority` says; then the
    custom structures, which may be made of DICOM segmentations of the export too. It is only written when there are
    custom structures. `SEG_auto.dcm` has the automatic structures once more, where `segmentation.export_dicom_seg`
    asks for it.

    Raises:
        StageError: the planning CT, a segmentation, the manual structure set or the user's YAML cannot be used.
    """
    planning_ct = course.description.planning_ct
    rules = name_rules(configuration)
    automatic = automatic_structures(course.files, CT_KEY, rules) + carried_structures(course.files, rules)
    models = custom_models(course.files)
    if planning_ct is None:
        return skipped("the course has no planning CT to draw structures on")
    if not automatic and not models and not is_configured(configuration):
        return skipped("there is no segmentation of the planning CT, and no custom structures are configured")
    images = course.path(planning_ct.folder)
    staging = CourseFiles(resources.staging)
    draw: Outline = smooth_outline if configuration.segmentation.smooth_contours else keyholed_outline
    try:
        grid = read_geometry(images).grid
        segmented: list[tuple[Structure, RoiToWrite]] = []
        if automatic:
            rois = _rois(automatic, images, grid, draw, "ORGAN")
            write_structure_set(staging.automatic_structure_set, images, rois, label=AUTOMATIC_LABEL)
            segmented += zip(automatic, rois, strict=True)
            if configuration.segmentation.export_dicom_seg:
                _write_segmentation_objects(staging, images, automatic)
        for model in models:
            structures = custom_model_structures(course.files, model, rules)
            rois = _rois(structures, images, grid, draw, "")
            write_structure_set(staging.custom_model_structure_set(model), images, rois, label=MODEL_LABEL)
            segmented += zip(structures, rois, strict=True)
        counts = {"automatic": len(automatic), "custom_models": len(models)}
        if not is_configured(configuration):
            return ok(**counts)
        return _custom(course, configuration, staging, images, grid, segmented, counts)
    except DicomError as error:
        raise StageError(str(error)) from error


def _rois(
    structures: Sequence[Structure], images: Path, grid: Grid, draw: Outline, interpreted_type: str
) -> list[RoiToWrite]:
    """Segmented structures, drawn.

    Raises:
        StageError: the segmentation does not lie on the planning CT.
    """
    for volume in dict.fromkeys(structure.labels for structure in structures if structure.labels is not None):
        if not volume.volume.grid.same_as(grid):
            raise StageError(
                f"{volume.path} does not lie on the voxels of the planning CT in {images}; run the segmentation again"
            )
    return [
        RoiToWrite(
            structure.roi_name, draw(structure.mask(grid)), interpreted_type, description=_description(structure)
        )
        for structure in structures
    ]


def _description(structure: Structure) -> str:
    """From which image a structure was carried onto the planning CT, how, and what may be missing; else empty."""
    if not isinstance(structure.labels, LabelVolume) or not structure.labels.carried_by:
        return ""
    image_key = structure.source.partition(":")[2]
    said = f"segmented on {image_key}, carried onto the planning CT: {structure.labels.carried_by}"
    return "; ".join([said, *structure.notes])[:LONGEST_DESCRIPTION]


def _write_segmentation_objects(staging: CourseFiles, images: Path, structures: Sequence[Structure]) -> None:
    """Write one DICOM segmentation for each task, because the labels of two tasks may overlap."""
    volumes = dict.fromkeys(one.labels for one in structures if isinstance(one.labels, LabelVolume))
    for position, labels in enumerate(volumes):
        names = {structure.roi_number: structure.roi_name for structure in structures if structure.labels is labels}
        task = labels.label_map.stem.split("--", 1)[-1]
        write_segmentation_object(
            staging.segmentation_object("" if position == 0 else task),
            images,
            labels.volume,
            names,
            algorithm=f"TotalSegmentator {task}",
            version=labels.version or "unknown",
        )


def _custom(
    course: Course,
    configuration: Configuration,
    staging: CourseFiles,
    images: Path,
    grid: Grid,
    segmented: Sequence[tuple[Structure, RoiToWrite]],
    counts: dict[str, Any],
) -> Outcome:
    """Write `RS_custom.dcm` and the warnings about it."""
    shown = regions_shown(course.files.body_regions)
    configured = configured_structures(configuration, lambda regions: why_not(shown, regions, LEAST_CONFIDENCE))
    manual = manual_structures(course.files, name_rules(configuration))
    priority = configuration.structures.priority
    made_here = [structure for structure, _ in segmented]
    given = given_structures(course, CT_KEY, name_rules(configuration))
    sources = [*manual, *made_here, *given]
    results = evaluate(configured.definitions, sources, grid, priority)
    made = [(result, result.mask) for result in results if result.mask is not None]
    _write_warnings(staging.custom_structure_warnings, results, configured.left_out)
    if made:
        manual_set, automatic_set = course.files.structure_set, staging.automatic_structure_set
        base = next((file for file in (manual_set, automatic_set) if file.exists()), None)
        in_base = manual if base == manual_set else [one for one in made_here if not _of_model(one)]
        rois = _beyond(in_base, segmented, priority) + [_custom_roi(result, mask) for result, mask in made]
        write_structure_set(staging.custom_structure_set, images, rois, label=CUSTOM_LABEL, base=base)
    counts = {**counts, "custom": len(made), "not_for_this_ct": list(configured.left_out)}
    incomplete = [
        result for result in results if result.status != "ok" and result.name not in configured.from_templates
    ]
    if incomplete:
        return partial(f"custom structures: {'; '.join(_sentence(result) for result in incomplete)}", **counts)
    return ok(**counts)


def _of_model(structure: Structure) -> bool:
    return structure.source.startswith("custom_model:")


def _beyond(
    base: Sequence[Structure], segmented: Sequence[tuple[Structure, RoiToWrite]], priority: Priority
) -> list[RoiToWrite]:
    """Segmented structures that the base of `RS_custom.dcm` lacks, or that come before its own.

    Of each thing the structure of the preferred source; those of a model are called `<model>_<name>`, and a name that
    is taken goes on with the source.
    """
    in_base = {id(structure) for structure in base}
    drawn = {id(structure): roi for structure, roi in segmented}
    things: dict[str, list[Structure]] = {}
    for structure in (*base, *(one for one, _ in segmented if id(one) not in in_base)):
        if structure.contours is None or structure.contours:
            things.setdefault(same_thing(structure), []).append(structure)
    taken = {structure.roi_name.lower() for structure in base}
    added: list[RoiToWrite] = []
    for thing in things.values():
        structure = by_priority(thing, priority)[0]
        if id(structure) in in_base:
            continue
        prefix = f"{structure.source.partition(':')[2]}_" if _of_model(structure) else ""
        name = f"{prefix}{structure.roi_name}"
        if name.lower() in taken:
            name = f"{name}_{structure.source.replace(':', '_')}"
        taken.add(name.lower())
        roi = drawn[id(structure)]
        description = "; ".join(filter(None, (f"source {structure.source}", roi.description)))
        added.append(replace(roi, name=name[:LONGEST_NAME], description=description))
    return added


def _custom_roi(result: CustomResult, mask: Mask) -> RoiToWrite:
    """The ROI of a custom structure; its description says how it was made, of what, and what it lacks."""
    description = f"{CUSTOM_DESCRIPTION}: {expression_text(result.definition)} [{', '.join(result.used)}]"
    remarks = [f"{MISSING_MARK}{missing}" for missing in result.missing_sources]
    if result.cropped_sides:
        remarks.append(f"touches the edge of the image ({', '.join(result.cropped_sides)})")
    remarks += result.remarks
    if remarks:
        room = max(0, LONGEST_DESCRIPTION - LONGEST_REMARKS)
        description = f"{description[:room]}{REMARK_MARK}{'; '.join(remarks)}"
    roi_description = description[:LONGEST_DESCRIPTION]
    return RoiToWrite(result.name, keyholed_outline(mask), algorithm="SEMIAUTOMATIC", description=roi_description)


def _sentence(result: CustomResult) -> str:
    if result.status == "skipped":
        return f"{result.name} was skipped: {result.reason}"
    return f"{result.name} lacks {'; '.join(result.missing_sources)}"


def _write_warnings(path: Path, results: Sequence[CustomResult], left_out: Sequence[str]) -> None:
    """Write what was left out, is incomplete or cut off at the edge of the image; nothing where all is well."""
    entries = [
        {
            "structure": result.name,
            "status": result.status,
            "reason": result.reason,
            "missing_sources": list(result.missing_sources),
            "cropped_sides": list(result.cropped_sides),
            "remarks": list(result.remarks),
            "made_of": list(result.used),
        }
        for result in results
        if result.status != "ok" or result.cropped_sides or result.remarks
    ]
    if not entries and not left_out:
        return
    note = "Custom structures that were skipped, lack a source, or touch a side of the image, where they may go on."
    content = {"note": note, "entries": entries, "left_out": list(left_out)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
