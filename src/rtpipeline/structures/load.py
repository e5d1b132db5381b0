"""All structures of a course, from every source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rtpipeline.config import Configuration
from rtpipeline.course import CT_KEY, Course, CourseFiles, ImageSeries
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.rtstruct import Roi, read_structure_set
from rtpipeline.outcome import StageError
from rtpipeline.structures.name_mapping import NameRule, load_rules
from rtpipeline.structures.names import standard_name
from rtpipeline.structures.segments import given_structures
from rtpipeline.structures.structure import LabelVolume, Structure

CARRIED_SOURCE = "auto_mr"
"""Source of structures that were segmented on an MR series and carried onto the planning CT: `auto_mr:<image key>`."""
CUSTOM_DESCRIPTION = "rtpipeline custom structure"
"""ROIDescription of custom structures begins so; the other ROIs of `RS_custom.dcm` are those of other sources."""
REMARK_MARK = " | "
"""What follows it in the ROIDescription of a custom structure is what it lacks."""
MISSING_MARK = "without "
"""Remarks begin so where sources are missing."""


def course_structures(course: Course, configuration: Configuration) -> tuple[Structure, ...]:
    """The structures of the planning CT: manual, automatic, custom models', carried from MR, given as
    DICOM segmentations, custom; in this order.

    Manual ROIs without contours are among them, so that tables can say that they are empty.

    Raises:
        StageError: a structure set, segmentation or label map that is there cannot be read.
    """
    rules = name_rules(configuration)
    files = course.files
    structures = [*manual_structures(files, rules), *automatic_structures(files, CT_KEY, rules)]
    for model in custom_models(files):
        structures += custom_model_structures(files, model, rules)
    structures += carried_structures(files, rules)
    structures += given_structures(course, CT_KEY, rules)
    if files.custom_structure_set.exists():
        own = [roi for roi in _rois(files.custom_structure_set) if roi.description.startswith(CUSTOM_DESCRIPTION)]
        structures += _drawn(own, "custom", rules)
    return tuple(structures)


def image_structures(course: Course, image: ImageSeries, configuration: Configuration) -> tuple[Structure, ...]:
    """The structures of one image series: those of the planning CT, or what was drawn or segmented on an MR or PET.

    Raises:
        StageError: as `course_structures`.
    """
    if image.key == CT_KEY:
        return course_structures(course, configuration)
    rules = name_rules(configuration)
    structures: list[Structure] = []
    for structure_set in course.description.structure_sets:
        if structure_set.image_key == image.key:
            structures += _drawn(_rois(course.path(structure_set.file)), "manual", rules)
    structures += automatic_structures(course.files, image.key, rules)
    structures += given_structures(course, image.key, rules)
    return tuple(structures)


def name_rules(configuration: Configuration) -> tuple[NameRule, ...]:
    """The user's mapping of names (`structures.names`); empty where there is none."""
    return load_rules(configuration.structures.names) if configuration.structures.names else ()


def manual_structures(files: CourseFiles, rules: Sequence[NameRule] = ()) -> tuple[Structure, ...]:
    """The structures that were drawn on the planning CT.

    Raises:
        StageError: the structure set that is there cannot be read.
    """
    return tuple(_drawn(_rois(files.structure_set), "manual", rules)) if files.structure_set.exists() else ()


def automatic_structures(files: CourseFiles, image_key: str, rules: Sequence[NameRule] = ()) -> tuple[Structure, ...]:
    """The structures that TotalSegmentator found on one image, task `total` (or `total_mr`) first.

    A name that an earlier task has too goes on with `--<task>`.
    """
    structures: list[Structure] = []
    for task, path in _segmentations(files, image_key):
        known = {structure.roi_name for structure in structures}
        for structure in _labelled(path, "auto", rules):
            name = structure.roi_name
            structures.append(structure if name not in known else replace(structure, roi_name=f"{name}--{task}"))
    return tuple(structures)


def carried_structures(files: CourseFiles, rules: Sequence[NameRule] = ()) -> tuple[Structure, ...]:
    """The structures of MR series that lie on the voxels of the planning CT; their names end in `--<image key>`."""
    structures: list[Structure] = []
    for task, path in _segmentations(files, CT_KEY, carried=True):
        image_key = task.split("--", 1)[0]
        known = {structure.roi_name for structure in structures}
        for one in _labelled(path, f"{CARRIED_SOURCE}:{image_key}", rules):
            name = f"{one.roi_name}--{image_key}"
            name = name if name not in known else f"{one.roi_name}--{task}"
            notes = one.labels.remarks.get(one.roi_number, ()) if isinstance(one.labels, LabelVolume) else ()
            structures.append(replace(one, roi_name=name, notes=notes))
    return tuple(structures)


def custom_models(files: CourseFiles) -> tuple[str, ...]:
    """Names of the custom models that left a segmentation of this course."""
    folders = sorted(files.custom_models.iterdir()) if files.custom_models.is_dir() else []
    return tuple(folder.name for folder in folders if files.custom_model_segmentation(folder.name).exists())


def custom_model_structures(files: CourseFiles, model: str, rules: Sequence[NameRule] = ()) -> tuple[Structure, ...]:
    """The structures that one custom model found."""
    return tuple(_labelled(files.custom_model_segmentation(model), f"custom_model:{model}", rules))


def _segmentations(files: CourseFiles, image_key: str, *, carried: bool = False) -> list[tuple[str, Path]]:
    """(task, multilabel NIfTI) of one image; the task with all organs first, the others by name.

    Those that were carried there from another image, of which the task is `<image key>--<task>`, or the others.
    """
    folder = files.totalsegmentator
    paths = sorted(folder.glob(f"{image_key}--*.nii.gz")) if folder.is_dir() else []
    tasks = [(path.name.removesuffix(".nii.gz").split("--", 1)[1], path) for path in paths]
    tasks = [(task, path) for task, path in tasks if ("--" in task) is carried]
    return sorted(tasks, key=lambda entry: (entry[0] not in ("total", "total_mr"), entry[0]))


def _labelled(path: Path, source: str, rules: Sequence[NameRule]) -> list[Structure]:
    labels = LabelVolume(path, CourseFiles.label_map(path))
    return [
        Structure(source, label, name, standard_name(name, rules), labels=labels)
        for label, name in labels.names.items()
    ]


def _rois(path: Path) -> tuple[Roi, ...]:
    try:
        return read_structure_set(path).rois
    except DicomError as error:
        raise StageError(str(error)) from error


def _drawn(rois: Iterable[Roi], source: str, rules: Sequence[NameRule]) -> list[Structure]:
    return [
        Structure(
            source=source,
            roi_number=roi.number,
            roi_name=roi.name,
            standard_name=standard_name(roi.name, rules),
            interpreted_type=roi.interpreted_type,
            contours=roi.contours,
            notes=roi.ignored_contours + _remarks(roi),
            partial=any(remark.startswith(MISSING_MARK) for remark in _remarks(roi)),
        )
        for roi in rois
    ]


def _remarks(roi: Roi) -> tuple[str, ...]:
    """What a custom structure lacks, as its description says."""
    _, mark, remarks = roi.description.partition(REMARK_MARK)
    return (remarks,) if mark and roi.description.startswith(CUSTOM_DESCRIPTION) else ()
