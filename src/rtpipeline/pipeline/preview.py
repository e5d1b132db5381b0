"""What a run would do with an input, course by course: nothing is organized before, and nothing is written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtpipeline.config import Configuration
from rtpipeline.course import CT_KEY, CohortFiles, Course, CourseDescription, CourseFiles
from rtpipeline.custom_structures import configured_structures, is_configured
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.rtstruct import read_roi_names
from rtpipeline.inference.tasks import labels_of
from rtpipeline.organize import preview_courses
from rtpipeline.pipeline.course_stage import stage_states
from rtpipeline.pipeline.estimates import CourseSize, Estimate, estimate, seconds_per_unit
from rtpipeline.pipeline.plan import RunPlan
from rtpipeline.pipeline.stages import Stage
from rtpipeline.pipeline.state import causes
from rtpipeline.radiomics_robustness.course import robustness_selection
from rtpipeline.radiomics_robustness.profiles import profile_states
from rtpipeline.segmentation import configured_tasks
from rtpipeline.structures import Structure, standard_name
from rtpipeline.structures.load import name_rules
from rtpipeline.structures.segments import segmentations_on
from rtpipeline.structures.selection import is_named, is_selected

_log = logging.getLogger("rtpipeline")


@dataclass(frozen=True)
class StagePreview:
    """One stage of one course.

    Attributes:
        stage: its name.
        because: why it would run; empty where its result holds.
        perhaps: its result holds so far, but a stage before it would run, and might change its input.
        structures: how many structures go through it; None where it has nothing to do with them.
        estimate: what it would take.
    """

    stage: str
    because: str
    perhaps: bool
    structures: int | None
    estimate: Estimate


@dataclass(frozen=True)
class CoursePreview:
    """One course, with its stages in the order of the graph.

    Attributes:
        key: `patient/course`; a number where names will be pseudonyms.
        slices: slices of its largest image series.
        input_bytes: size of its input files that are not copied yet.
        stages: what would be done with it.
    """

    key: str
    slices: int
    input_bytes: int
    stages: tuple[StagePreview, ...]


@dataclass(frozen=True)
class _Found:
    """A course before anything is known of its stages."""

    key: str
    course: Course
    structure_set: Path | None
    missing_bytes: int


def preview(
    configuration: Configuration, plan: RunPlan, report_progress: Callable[[int, int], None]
) -> list[CoursePreview]:
    """What a run would do; only headers are read.

    Raises:
        StageError: the input cannot be listed or read, or a file that the configuration names cannot be used.
    """
    root = configuration.dicom_root
    if root is None:
        found = list(_organized(CohortFiles(configuration.output_dir)))
    else:
        found = list(_in_input(root, configuration, plan.parallelization.budget, report_progress))
    drawn = [_drawn(one.structure_set, configuration) if one.structure_set is not None else [] for one in found]
    sizes = [_size(one.course.description, names, configuration) for one, names in zip(found, drawn, strict=True)]
    known = seconds_per_unit(
        (name, size, state.seconds * max(1, state.threads))
        for one, size in zip(found, sizes, strict=True)
        for name, state in stage_states(one.course).items()
        if state.status in ("ok", "partial")
    )
    return [
        CoursePreview(
            one.key, size.slices, one.missing_bytes, tuple(_stages(one.course, size, plan, configuration, known))
        )
        for one, size in zip(found, sizes, strict=True)
    ]


def _in_input(
    root: Path, configuration: Configuration, threads: int, report_progress: Callable[[int, int], None]
) -> Iterator[_Found]:
    """The courses that organizing would make of the input."""
    cohort = CohortFiles(configuration.output_dir)
    drafts = preview_courses(root, cohort, configuration, threads=threads, report_progress=report_progress)
    hidden = configuration.organize.pseudonymize is not None
    for number, draft in enumerate(drafts, start=1):
        folder = cohort.folder / draft.description.patient / draft.description.course
        course = Course(CourseFiles(folder), draft.description)
        structure_set = draft.files.get(course.files.structure_set.name)
        missing = sum(file.size for name, file in draft.files.items() if not (folder / name).exists())
        path = root / structure_set.path if structure_set is not None else None
        yield _Found(f"course {number}" if hidden else course.key, course, path, missing)


def _organized(cohort: CohortFiles) -> Iterator[_Found]:
    """The courses that are there already."""
    for course in cohort.manifest_courses():
        structure_set = course.files.structure_set
        yield _Found(course.key, course, structure_set if structure_set.is_file() else None, 0)


def _stages(
    course: Course, size: CourseSize, plan: RunPlan, configuration: Configuration, known: dict[str, float]
) -> Iterable[StagePreview]:
    states: dict[str, Any] = stage_states(course)
    open_stages: set[str] = set()
    for stage in plan.stages:
        because = next(causes(states.get(stage.name), stage, course, configuration), "")
        perhaps = not because and any(need in open_stages for need in plan.needs(stage))
        if because or perhaps:
            open_stages.add(stage.name)
        device = plan.slots[stage.slots].slots[0] if stage.slots else "cpu"
        tokens = plan.tokens(stage, configuration)
        guess = estimate(stage.name, size, tokens, device, configuration, known)
        yield StagePreview(stage.name, because, perhaps, size.structures.get(stage.name), guess)


def run_seconds(courses: Sequence[CoursePreview], plan: RunPlan, configuration: Configuration) -> float:
    """Roughly how long the stages that would run take together, with the pools of the plan."""
    by_name: dict[str, Stage] = {stage.name: stage for stage in plan.stages}
    shared = 0.0
    pooled: dict[str, float] = {}
    for course in courses:
        for one in course.stages:
            if not one.because:
                continue
            stage = by_name[one.stage]
            shared += one.estimate.thread_seconds / plan.parallelization.budget
            if stage.slots is not None:
                seconds = one.estimate.thread_seconds / plan.tokens(stage, configuration)
                pooled[stage.slots] = pooled.get(stage.slots, 0.0) + seconds / len(plan.slots[stage.slots].slots)
    return max([shared, *pooled.values()])


def _drawn(path: Path, configuration: Configuration) -> list[Structure]:
    """The structures of a structure set, without contours; none, with a word in the log, where it cannot be read."""
    rules = name_rules(configuration)
    try:
        return [
            Structure("manual", roi.number, roi.name, standard_name(roi.name, rules), roi.interpreted_type)
            for roi in read_roi_names(path)
        ]
    except DicomError as error:
        _log.warning("%s", error)
        return []


def _size(description: CourseDescription, drawn: Sequence[Structure], configuration: Configuration) -> CourseSize:
    slices = max((image.instance_count for image in description.images), default=0)
    made = _made(description, configuration)
    structures = [*drawn, *_given(description, configuration), *made]
    has_ct, has_dose = description.planning_ct is not None, any(dose.used for dose in description.doses)
    section = configuration.radiomics_robustness.segmentation_perturbation
    robust = robustness_selection(configuration)
    names = configuration.structures
    for_radiomics = sum(
        is_selected(structure, names.radiomics) and not is_named(structure, configuration.radiomics.skip_rois)
        for structure in structures
    )
    counts = {
        "auto_rtstruct": len(made),
        "dvh": sum(is_selected(structure, names.dvh) for structure in structures) if has_dose else 0,
        "radiomics": for_radiomics * (2 if configuration.radiomics.dose and has_dose else 1),
        "radiomics_robustness": sum(is_selected(structure, robust) for structure in structures) if has_ct else 0,
    }
    return CourseSize(slices, counts, len(profile_states(section)))


def _given(description: CourseDescription, configuration: Configuration) -> list[Structure]:
    """The segments of the export's DICOM segmentations, without voxels."""
    rules = name_rules(configuration)
    return [
        Structure(source, segment.number, segment.label, standard_name(segment.label, rules))
        for source, one in segmentations_on(description, CT_KEY)
        for segment in one.segments
    ]


def _made(description: CourseDescription, configuration: Configuration) -> list[Structure]:
    """The structures that the run itself would make: at most as many as the models and the user's file name."""
    made = []
    if configuration.segmentation.enabled and description.planning_ct is not None:
        for task in configured_tasks(configuration.segmentation):
            if not task.task.endswith("_mr"):
                made += [Structure("auto", int(number), name, "") for number, name in labels_of(task).items()]
    if is_configured(configuration) and description.planning_ct is not None:
        entries = configured_structures(configuration, lambda regions: "").definitions.entries
        made += [Structure("custom", number, entry.name, "") for number, entry in enumerate(entries, start=1)]
    return made
