"""The stage that segments a course's CT and MR series with TotalSegmentator: one inference per task and series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtpipeline.config import Configuration
from rtpipeline.config.schema import SegmentationSection
from rtpipeline.course import Course, CourseFiles, ImageSeries
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.nifti_conversion import convert_to_nifti
from rtpipeline.imaging.grid import Grid
from rtpipeline.inference.children import TotalSegmentatorProcess, ask
from rtpipeline.inference.label_volumes import store_labels
from rtpipeline.inference.tasks import TASKS, TaskOptions, dataset_folder, missing_models, options, weights_folder
from rtpipeline.outcome import Outcome, StageError, failed, ok, partial, skipped
from rtpipeline.scheduling.memory_pressure import is_memory_pressure
from rtpipeline.scheduling.resources import Resources
from rtpipeline.scheduling.worker_process import Message, WorkerError


@dataclass(frozen=True)
class _Job:
    """One inference: one task on one image series."""

    image: ImageSeries
    task: TaskOptions

    @property
    def name(self) -> str:
        return f"{self.task.task} on {self.image.key}"


def run(course: Course, configuration: Configuration, resources: Resources) -> Outcome:
    """Segment the planning CT and, if configured, every MR series of a course.

    Writes, for each image `NIFTI/<key>.nii.gz`, and for each task on it a multilabel NIfTI of uint8 labels on the
    image's own grid with its label map. One failing task or image leaves the others.

    Raises:
        StageError: the configuration names a task that does not exist.
    """
    section = configuration.segmentation
    jobs = _jobs(course, section)
    if not jobs:
        return skipped("the course has no planning CT and no MR series to segment")
    weights = weights_folder(section.weights)
    results: dict[str, Any] = {}
    problems: list[str] = []
    memory_pressure = False
    for image, image_jobs in _by_image(jobs):
        runnable = [job for job in image_jobs if not missing_models(weights, job.task)]
        problems += [_missing_message(weights, job.task) for job in image_jobs if job not in runnable]
        if not runnable:
            continue
        try:
            grid = convert_to_nifti(course.path(image.folder), CourseFiles(resources.staging).image_nifti(image.key))
        except DicomError as error:
            problems.append(f"{image.key} cannot be segmented: {error}")
            continue
        for job in runnable:
            try:
                results[job.name] = _segment(job, grid, weights, configuration, resources)
            except (WorkerError, StageError) as error:
                problems.append(f"{job.name} failed: {error}")
                memory_pressure = memory_pressure or is_memory_pressure(error)
            resources.report_progress(len(results) + len(problems), len(jobs))
    reason = "; ".join(dict.fromkeys(problems))
    if memory_pressure or not results:
        return failed(reason, memory_pressure=memory_pressure, inferences=results)
    return partial(reason, inferences=results) if problems else ok(inferences=results)


def missing_weights(configuration: Configuration) -> list[str]:
    """One sentence for each configured task whose weights are not there (those for MR only matter to MR series).

    Raises:
        StageError: the configuration names a task that does not exist.
    """
    weights = weights_folder(configuration.segmentation.weights)
    tasks = configured_tasks(configuration.segmentation)
    return [_missing_message(weights, task) for task in tasks if missing_models(weights, task)]


def weight_folders(configuration: Configuration) -> tuple[Path, ...]:
    """The folder of every nnU-Net dataset that the configured tasks load; where it is missing, where it would be.

    Raises:
        StageError: the configuration names a task that does not exist.
    """
    weights = weights_folder(configuration.segmentation.weights)
    models = sorted({model for task in configured_tasks(configuration.segmentation) for model in task.models})
    return tuple(dataset_folder(weights, model) or weights / f"Dataset{model:03d}" for model in models)


def configured_tasks(section: SegmentationSection) -> list[TaskOptions]:
    """The configured tasks, without repetition: `total` first, then the extra ones, `total_mr` if MR is wanted."""
    names = ["total", *section.extra_models, *(["total_mr"] if section.mr else [])]
    unknown = sorted({name for name in names if name not in TASKS})
    if unknown:
        raise StageError(
            f"segmentation.extra_models: TotalSegmentator has no task {', '.join(unknown)}; "
            f"its tasks are {', '.join(sorted(TASKS))}"
        )
    return [options(name, fast=section.fast, roi_subset=section.roi_subset) for name in dict.fromkeys(names)]


def _jobs(course: Course, section: SegmentationSection) -> list[_Job]:
    """CT tasks on the planning CT; MR tasks on every MR series that is not functional, if MR is wanted."""
    tasks = configured_tasks(section)
    images = [
        image
        for image in course.description.images
        if image.modality == "MR" and image.series_class != "functional_mr" and section.mr
    ]
    if course.description.planning_ct is not None:
        images.insert(0, course.description.planning_ct)
    return [_Job(image, task) for image in images for task in tasks if TASKS[task.task].modality == image.modality]


def _by_image(jobs: Sequence[_Job]) -> list[tuple[ImageSeries, list[_Job]]]:
    images = list(dict.fromkeys(job.image for job in jobs))
    return [(image, [job for job in jobs if job.image == image]) for image in images]


def _segment(
    job: _Job, grid: Grid, weights: Path, configuration: Configuration, resources: Resources
) -> dict[str, Any]:
    """Run one inference and write its labels and label map; returns facts for the state file.

    Raises:
        WorkerError: TotalSegmentator failed, died or took too long.
        StageError: its result cannot be used.
    """
    target = CourseFiles(resources.staging)
    output = resources.scratch / f"{job.image.key}--{job.task.task}.nii"
    request = _request(job, grid, configuration.segmentation, resources)
    request |= {"image": str(target.image_nifti(job.image.key)), "output": str(output)}

    def start() -> TotalSegmentatorProcess:
        return TotalSegmentatorProcess(weights, request["threads"], resources.logs, resources.device, resources.logger)

    reply = ask("totalsegmentator", start, request, configuration.segmentation.timeout_s, resources)
    facts = {
        "task": job.task.task,
        "image_key": job.image.key,
        "series_instance_uid": job.image.series_instance_uid,
        "labels": reply["labels"],
        "options": {name: request[name] for name in ("fast", "roi_subset", "force_split")},
    }
    structures = store_labels(output, target.segmentation(job.image.key, job.task.task), grid, facts, reply)
    return {"seconds": reply["seconds"], "device": reply["device"], "structures": structures}


def _request(job: _Job, grid: Grid, section: SegmentationSection, resources: Resources) -> Message:
    return {
        "scratch": str(resources.scratch),
        "task": job.task.task,
        "fast": job.task.fast,
        "roi_subset": list(job.task.roi_subset),
        "force_split": section.force_split and job.task.can_split(grid.planes * grid.plane_spacing_mm),
        "device": resources.device,
        "threads": min(resources.threads, section.thread_limit or resources.threads),
        "nr_thr_resamp": section.nr_threads_resample,
        "nr_thr_saving": section.nr_threads_save,
        "num_proc_pre": section.num_proc_preprocessing,
        "num_proc_export": section.num_proc_export,
    }


def _missing_message(weights: Path, task: TaskOptions) -> str:
    models = ", ".join(str(model) for model in missing_models(weights, task))
    variant = f"{task.task} (fast)" if task.fast else task.task
    if TASKS[task.task].modality == "MR":
        variant += ", which only MR series need,"
    return (
        f"weights of task {variant} (datasets {models}) are not in {weights}; run `rtpipeline weights` where there is "
        "a network, or name the folder that has them with segmentation.weights"
    )
