"""Stage auto_rtstruct: segmentations and custom structures → RT Structure Sets, and a DICOM segmentation if asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rtpipeline.config import Configuration
from rtpipeline.course import CT_KEY, Course, CourseFiles
from rtpipeline.custom_structures import CustomResult, evaluate, load_custom_structures
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import read_geometry
from rtpipeline.dicom.rtstruct import RoiToWrite, write_structure_set
from rtpipeline.dicom.segmentation_object import write_segmentation_object
from rtpipeline.imaging.grid import FloatArray, Grid
from rtpipeline.imaging.keyholes import keyholed_outline
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.smooth_outline import smooth_outline
from rtpipeline.outcome import Outcome, StageError, ok, partial, skipped
from rtpipeline.scheduling.resources import Resources
from rtpipeline.structures import Structure
from rtpipeline.structures.load import (
    CUSTOM_DESCRIPTION,
    REMARK_MARK,
    automatic_structures,
    carried_structures,
    custom_model_structures,
    custom_models,
    name_rules,
    source_structures,
)

Outline = Callable[[Mask], list[FloatArray]]

AUTOMATIC_LABEL = "RS_auto"
CUSTOM_LABEL = "RS_custom"
MODEL_LABEL = "custom_model"
LONGEST_DESCRIPTION = 1024
"""Characters of an ROIDescription (VR ST)."""


def run(course: Course, configuration: Configuration, resources: Resources) -> Outcome:
    """Write `RS_auto.dcm`, a structure set for each custom model, and `RS_custom.dcm`.

    `RS_auto.dcm` has every structure of every segmentation of the planning CT, and after them those that were carried
    there from MR series, whose ROIDescription says how. `RS_custom.dcm` has the manual
    structure set, or else the automatic one, as it is, and the custom structures after it; it is only written when
    the configuration names custom structures. `SEG_auto.dcm` has the automatic structures once more, where
    `segmentation.export_dicom_seg` asks for it.

    Raises:
        StageError: the planning CT, a segmentation, the manual structure set or the user's YAML cannot be used.
    """
    planning_ct = course.description.planning_ct
    rules = name_rules(configuration)
    automatic = automatic_structures(course.files, CT_KEY, rules) + carried_structures(course.files, rules)
    models = custom_models(course.files)
    if planning_ct is None:
        return skipped("the course has no planning CT to draw structures on")
    if not automatic and not models and configuration.custom_structures is None:
        return skipped("there is no segmentation of the planning CT, and no custom structures are configured")
    images = course.path(planning_ct.folder)
    staging = CourseFiles(resources.staging)
    draw: Outline = smooth_outline if configuration.segmentation.smooth_contours else keyholed_outline
    try:
        grid = read_geometry(images).grid
        if automatic:
            _write(staging.automatic_structure_set, images, automatic, grid, draw, AUTOMATIC_LABEL, "ORGAN")
            if configuration.segmentation.export_dicom_seg:
                _write_segmentation_objects(staging, images, automatic)
        for model in models:
            structures = custom_model_structures(course.files, model, rules)
            _write(staging.custom_model_structure_set(model), images, structures, grid, draw, MODEL_LABEL, "")
        counts = {"automatic": len(automatic), "custom_models": len(models)}
        if configuration.custom_structures is None:
            return ok(**counts)
        return _custom(course, configuration, staging, images, grid, counts)
    except DicomError as error:
        raise StageError(str(error)) from error


def _write(
    path: Path,
    images: Path,
    structures: Sequence[Structure],
    grid: Grid,
    draw: Outline,
    label: str,
    interpreted_type: str,
) -> None:
    """Write segmented structures as a structure set.

    Raises:
        StageError: the segmentation does not lie on the planning CT.
    """
    for volume in dict.fromkeys(structure.labels for structure in structures if structure.labels is not None):
        if not volume.volume.grid.same_as(grid):
            raise StageError(
                f"{volume.path} does not lie on the voxels of the planning CT in {images}; run the segmentation again"
            )
    rois = [
        RoiToWrite(
            structure.roi_name, draw(structure.mask(grid)), interpreted_type, description=_description(structure)
        )
        for structure in structures
    ]
    write_structure_set(path, images, rois, label=label)


def _description(structure: Structure) -> str:
    """From which image a structure was carried onto the planning CT, and how; empty where it was segmented there."""
    if structure.labels is None or not structure.labels.carried_by:
        return ""
    image_key = structure.source.partition(":")[2]
    return f"segmented on {image_key}, carried onto the planning CT: {structure.labels.carried_by}"[
        :LONGEST_DESCRIPTION
    ]


def _write_segmentation_objects(staging: CourseFiles, images: Path, structures: Sequence[Structure]) -> None:
    """Write one DICOM segmentation for each task, because the labels of two tasks may overlap."""
    volumes = dict.fromkeys(structure.labels for structure in structures if structure.labels is not None)
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
    counts: dict[str, int],
) -> Outcome:
    """Write `RS_custom.dcm` and the warnings about it."""
    if configuration.custom_structures is None:
        raise ValueError("no custom structures are configured")
    definitions = load_custom_structures(configuration.custom_structures)
    results = evaluate(definitions, source_structures(course, configuration), grid)
    made = [(result, result.mask) for result in results if result.mask is not None]
    _write_warnings(staging.custom_structure_warnings, results)
    bases = [base for base in (course.files.structure_set, staging.automatic_structure_set) if base.exists()]
    if made:
        rois = [_custom_roi(result, mask) for result, mask in made]
        base = bases[0] if bases else None
        write_structure_set(staging.custom_structure_set, images, rois, label=CUSTOM_LABEL, base=base)
    counts = {**counts, "custom": len(made)}
    incomplete = [result for result in results if result.status != "ok"]
    if incomplete:
        return partial(f"custom structures: {'; '.join(_sentence(result) for result in incomplete)}", **counts)
    return ok(**counts)


def _custom_roi(result: CustomResult, mask: Mask) -> RoiToWrite:
    """The ROI of a custom structure; its description says how it was made, and what it lacks."""
    definition = result.definition
    description = f"{CUSTOM_DESCRIPTION}: {definition.operation} of {', '.join(definition.source_structures)}"
    remarks = [f"without {missing}" for missing in result.missing_sources]
    if result.cropped_sides:
        remarks.append(f"touches the edge of the image ({', '.join(result.cropped_sides)})")
    if remarks:
        description += f"{REMARK_MARK}{'; '.join(remarks)}"
    roi_description = description[:LONGEST_DESCRIPTION]
    return RoiToWrite(definition.name, keyholed_outline(mask), algorithm="SEMIAUTOMATIC", description=roi_description)


def _sentence(result: CustomResult) -> str:
    if result.status == "skipped":
        return f"{result.definition.name} was skipped: {result.reason}"
    return f"{result.definition.name} lacks {'; '.join(result.missing_sources)}"


def _write_warnings(path: Path, results: Sequence[CustomResult]) -> None:
    """Write what is incomplete or cut off at the edge of the image; nothing where all is well."""
    entries = [
        {
            "structure": result.definition.name,
            "status": result.status,
            "reason": result.reason,
            "missing_sources": list(result.missing_sources),
            "cropped_sides": list(result.cropped_sides),
        }
        for result in results
        if result.status != "ok" or result.cropped_sides
    ]
    if not entries:
        return
    note = "Custom structures that were skipped, lack a source, or touch a side of the image, where they may go on."
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"note": note, "entries": entries}, indent=2, ensure_ascii=False), encoding="utf-8")
