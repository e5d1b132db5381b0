"""The stage that segments a course's CT and MR series with TotalSegmentator: one inference per task and series."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtpipeline.config import Configuration, SegmentationSection
from rtpipeline.course import CT_KEY, Course, CourseFiles, ImageSeries
from rtpipeline.dicom.errors import DicomError
from rtpipeline.imaging.grid import Grid
from rtpipeline.inference.body_regions import account
from rtpipeline.inference.carrying import carry
from rtpipeline.inference.images import PreparedImage, TooLowError, prepare
from rtpipeline.inference.label_volumes import (
    copy_stored,
    read_label_map,
    store_labels,
    structure_count,
    unchanged,
    write_binary_masks,
)
from rtpipeline.inference.phase_and_modality import phase_and_modality
from rtpipeline.inference.postprocessing import Cleaning, configured_cleaning
from rtpipeline.inference.predictor import same_model
from rtpipeline.inference.task_inference import infer_task
from rtpipeline.inference.tasks import (
    FIND_THE_BODY,
    TASKS,
    NeededTask,
    TaskOptions,
    dataset_folders,
    dataset_place,
    labels_of,
    missing_models,
    options,
    weights_folder,
)
from rtpipeline.outcome import Outcome, StageError, failed, skipped
from rtpipeline.scheduling.memory_pressure import is_memory_pressure
from rtpipeline.scheduling.resources import Resources
from rtpipeline.scheduling.worker_process import WorkerError
from rtpipeline.structures.links import NotCarriedError, link_to_planning_ct

CONE_BEAM = "cone_beam_ct"
"""`ImageSeries.series_class` of a cone-beam CT."""
FUNCTIONAL_MR = "functional_mr"
"""That of diffusion, perfusion and echo-planar MR, whose pictures the models for MR were not trained on."""


@dataclass(frozen=True)
class _Job:
    """One inference: one task on one image series."""

    image: ImageSeries
    task: TaskOptions

    @property
    def name(self) -> str:
        return f"{self.task.task} on {self.image.key}"


@dataclass
class _Account:
    """What became of the inferences of a course."""

    results: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    too_low: list[str] = field(default_factory=list)
    carried: dict[str, str] = field(default_factory=dict)
    memory_pressure: bool = False
    worth_trying_again: bool = False

    def outcome(self) -> Outcome:
        """`skipped` where every image is too low; what failed leaves what is there."""
        reason = "; ".join(dict.fromkeys([*self.problems, *self.too_low]))
        details: dict[str, Any] = {"inferences": self.results, "try_again": self.worth_trying_again}
        if self.carried:
            details["carried_onto_the_planning_ct"] = self.carried
        if self.results:
            status = "partial" if reason else "ok"
            return Outcome(status, reason, self.memory_pressure, details)  # type: ignore[arg-type]
        if self.problems:
            return failed(reason, memory_pressure=self.memory_pressure, **details)
        return skipped(reason)


def run(course: Course, configuration: Configuration, resources: Resources) -> Outcome:
    """Segment the planning CT and, if configured, every MR series of a course that is not functional.

    Writes, for each image `NIFTI/<key>.nii.gz`, for each task on it a multilabel NIfTI of uint8 labels on the image's
    own grid with its label map, the labels of an MR once more on the voxels of the planning CT where both are linked,
    the binary masks that are asked for, and `qc_reports/body_regions.json`. One failing
    task or image leaves the others. A task whose image, options, weights and versions are those of an earlier result
    is not run again; nor where the weights are gone, and image and options are the same.

    Raises:
        StageError: the configuration names a task that does not exist.
    """
    jobs = _jobs(course, configuration.segmentation)
    if not jobs:
        return skipped("the course has no planning CT and no MR series to segment")
    weights = weights_folder(configuration.segmentation.weights)
    done = _Account()
    for image, image_jobs in _by_image(jobs):
        if image.series_class == CONE_BEAM and any(job.task != job.task.within_the_body() for job in image_jobs):
            resources.logger.warning("%s: %s", image.key, _find_the_body(weights).message)
        runnable = [
            job
            for job in image_jobs
            if not missing_models(weights, job.task) or course.files.segmentation(image.key, job.task.task).is_file()
        ]
        done.problems += [_needed(job.task, weights).message for job in image_jobs if job not in runnable]
        if not runnable:
            continue
        try:
            prepared = prepare(course.path(image.folder), CourseFiles(resources.staging).image_nifti(image.key))
        except DicomError as error:
            done.problems.append(f"{image.key} cannot be segmented: {error}")
            continue
        except TooLowError as error:
            done.too_low.append(f"{image.key} is not segmented: {error}")
            continue
        for job in runnable:
            try:
                done.results[job.name] = _segmented(course, job, prepared, weights, configuration, resources)
            except (WorkerError, StageError) as error:
                done.problems.append(f"{job.name} failed: {error}")
                done.memory_pressure = done.memory_pressure or is_memory_pressure(error)
                done.worth_trying_again = True
            resources.report_progress(len(done.results) + len(done.problems), len(jobs))
        if image.modality == "MR":
            _carry(course, [job for job in runnable if job.name in done.results], resources, done)
    _write_body_regions(course, weights, resources)
    return done.outcome()


def needed_tasks(configuration: Configuration) -> list[NeededTask]:
    """The configured tasks, and the task that finds the body in a cone-beam CT.

    Raises:
        StageError: the configuration names a task that does not exist.
    """
    weights = weights_folder(configuration.segmentation.weights)
    tasks = configured_tasks(configuration.segmentation)
    needed = [_needed(task, weights) for task in tasks]
    if any(task.within_the_body() != task for task in tasks):
        needed.append(_find_the_body(weights))
    return needed


def _find_the_body(weights: Path) -> NeededTask:
    return NeededTask(FIND_THE_BODY, weights, "cone-beam CTs are segmented in the whole image", sometimes=True)


def _needed(task: TaskOptions, weights: Path) -> NeededTask:
    mr = TASKS[task.task].modality == "MR"
    return NeededTask(task, weights, "MR series are not segmented" if mr else "", sometimes=mr)


def weight_folders(configuration: Configuration) -> tuple[Path, ...]:
    """The folder of every nnU-Net dataset that the stage may load; where it is missing, where it would be.

    Raises:
        StageError: the configuration names a task that does not exist.
    """
    weights = weights_folder(configuration.segmentation.weights)
    models = sorted({model for needed in needed_tasks(configuration) for model in needed.task.models})
    return tuple(dataset_place(weights, model) for model in models)


def configured_tasks(section: SegmentationSection) -> list[TaskOptions]:
    """The configured tasks, without repetition: `total` first, then the extra ones, `total_mr` if MR is wanted.

    Raises:
        StageError: a task does not exist, or `roi_subset` names a structure that no task has.
    """
    names = ["total", *section.extra_models, *(["total_mr"] if section.mr else [])]
    unknown = sorted({name for name in names if name not in TASKS})
    if unknown:
        raise StageError(
            f"segmentation.extra_models: TotalSegmentator has no task {', '.join(unknown)}; "
            f"its tasks are {', '.join(sorted(TASKS))}"
        )
    subset = section.roi_subset
    if subset:
        known = {name for task in ("total", "total_mr") for name in labels_of(options(task)).values()}
        if strangers := sorted(set(subset) - known):
            raise StageError(
                f"segmentation.roi_subset: no task has {', '.join(strangers)}; "
                "the names are those of TotalSegmentator's tasks total and total_mr"
            )
    tasks = [options(name, fast=section.fast, roi_subset=subset) for name in dict.fromkeys(names)]
    return [task for task in tasks if labels_of(task)] if subset else tasks


def _jobs(course: Course, section: SegmentationSection) -> list[_Job]:
    """CT tasks on the planning CT; MR tasks on every MR series that is not functional, if MR is wanted."""
    tasks = configured_tasks(section)
    weights = weights_folder(section.weights)
    images = [
        image
        for image in course.description.images
        if image.modality == "MR" and image.series_class != FUNCTIONAL_MR and section.mr
    ]
    if course.description.planning_ct is not None:
        images.insert(0, course.description.planning_ct)
    return [
        _Job(image, _within_the_body(task, weights) if image.series_class == CONE_BEAM else task)
        for image in images
        for task in tasks
        if TASKS[task.task].modality == image.modality
    ]


def _within_the_body(task: TaskOptions, weights: Path) -> TaskOptions:
    """The task in the body alone; in the whole image where only the weights that find the body are missing."""
    within = task.within_the_body()
    return task if missing_models(weights, within) and not missing_models(weights, task) else within


def _by_image(jobs: Sequence[_Job]) -> list[tuple[ImageSeries, list[_Job]]]:
    images = list(dict.fromkeys(job.image for job in jobs))
    return [(image, [job for job in jobs if job.image == image]) for image in images]


def _carry(course: Course, jobs: Sequence[_Job], resources: Resources, done: _Account) -> None:
    """Carry the labels of one MR series onto the planning CT, or say why not."""
    for job in jobs:
        try:
            link = link_to_planning_ct(course, job.image.frame_of_reference_uid)
            count = carry(course, job.image, job.task.task, link, CourseFiles(resources.staging))
        except NotCarriedError as error:
            done.carried[job.name] = f"not carried: {error}"
        else:
            done.carried[job.name] = f"{count} structures: {link.how}"
        resources.logger.info("%s onto the planning CT: %s", job.name, done.carried[job.name])


def _segmented(
    course: Course, job: _Job, image: PreparedImage, weights: Path, configuration: Configuration, resources: Resources
) -> dict[str, Any]:
    """One task on one image: its earlier result where that holds, else a new one; returns facts for the state file.

    Raises:
        WorkerError: TotalSegmentator failed, died or took too long.
        StageError: its result cannot be used, or the weights are gone and there is no earlier result that holds.
    """
    section = configuration.segmentation
    facts = _facts(job, section, image.grid)
    cleaning = configured_cleaning(section.postprocessing, facts["labels"])
    stored = course.files.segmentation(job.image.key, job.task.task)
    target = CourseFiles(resources.staging).segmentation(job.image.key, job.task.task)
    earlier = None if resources.forced else unchanged(stored, image, facts, cleaning)
    lacking = _needed(job.task, weights) if missing_models(weights, job.task) else None
    if lacking is not None and earlier is None:
        raise StageError(lacking.message)
    if lacking is not None:
        resources.logger.warning("the earlier result of %s stays: %s", job.name, lacking.message)
    if earlier is not None and (lacking is not None or same_model(earlier, dataset_folders(weights, job.task))):
        copy_stored(stored, target)
        result = {"structures": structure_count(earlier), "device": earlier["device"], "earlier_result": True}
    else:
        result = _infer(job, image, weights, configuration, resources, facts, cleaning)
    if section.binary_masks:
        folder = CourseFiles(resources.staging).binary_masks(job.image.key, job.task.task)
        write_binary_masks(target, folder, section.binary_masks, section.nr_threads_save)
    return result


def _infer(
    job: _Job,
    image: PreparedImage,
    weights: Path,
    configuration: Configuration,
    resources: Resources,
    facts: dict[str, Any],
    cleaning: dict[int, Cleaning],
) -> dict[str, Any]:
    """Run one inference, with less memory where it ran out, and store its labels.

    Raises:
        WorkerError: TotalSegmentator failed, died or took too long.
        StageError: its result cannot be used.
    """
    output = resources.scratch / f"{job.image.key}--{job.task.task}.nii"
    reply = infer_task(
        job.task,
        image,
        output,
        split=facts["options"]["force_split"],
        weights=weights,
        section=configuration.segmentation,
        timeout_s=configuration.segmentation.timeout_s,
        resources=resources,
    )
    file = CourseFiles(resources.staging).segmentation(job.image.key, job.task.task)
    structures = store_labels(output, file, image, facts, reply, cleaning)
    result = {"seconds": reply["seconds"], "device": reply["device"], "structures": structures}
    tried = reply.get("out_of_memory_on")
    return {**result, "out_of_memory_on": tried} if tried else result


def _facts(job: _Job, section: SegmentationSection, grid: Grid) -> dict[str, Any]:
    """What the label map says of the inference before it is made."""
    labels = labels_of(job.task)
    split = section.force_split and job.task.can_split(grid.planes * grid.plane_spacing_mm)
    return {
        "task": job.task.task,
        "image_key": job.image.key,
        "series_instance_uid": job.image.series_instance_uid,
        "labels": labels,
        "options": {
            "fast": job.task.fast,
            "roi_subset": list(job.task.roi_subset),
            "body_only": job.task.body_only,
            "force_split": split,
        },
    }


def _write_body_regions(course: Course, weights: Path, resources: Resources) -> None:
    """Say what the planning CT shows (regions, contrast phase), where it was segmented with the task `total`."""
    files = CourseFiles(resources.staging)
    label_map = read_label_map(files.segmentation(CT_KEY, "total"))
    if label_map is None:
        return
    files.body_regions.parent.mkdir(parents=True, exist_ok=True)
    classified = phase_and_modality(course.files.body_regions, files, weights, resources)
    files.body_regions.write_text(json.dumps(account(label_map, classified), indent=1) + "\n", encoding="utf-8")
