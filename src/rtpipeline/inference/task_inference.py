"""One inference of a TotalSegmentator task on one image, with less memory where it ran out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rtpipeline.config import SegmentationSection
from rtpipeline.imaging.grid import Grid
from rtpipeline.inference.children import TotalSegmentatorProcess, ask, first_that_fits
from rtpipeline.inference.images import PreparedImage
from rtpipeline.inference.tasks import TaskOptions
from rtpipeline.scheduling.resources import Resources
from rtpipeline.scheduling.worker_process import Message


def infer_task(
    task: TaskOptions,
    image: PreparedImage,
    output: Path,
    *,
    split: bool,
    weights: Path,
    section: SegmentationSection,
    timeout_s: float | None,
    resources: Resources,
) -> Message:
    """Run one task in a warm TotalSegmentator, again with less memory where it ran out.

    Args:
        task: with the options that it takes.
        image: what is segmented.
        output: NIfTI file of labels on the image's own grid.
        split: segment the volume in parts, which must be possible (`TaskOptions.can_split`).
        weights: the folder of TotalSegmentator's weights.
        section: threads and process counts, and whether the CPU may take over.
        timeout_s: time limit in seconds; None for none.
        resources: of the stage.

    Returns:
        The child's answer (see `inference.totalsegmentator`), with `out_of_memory_on` where memory ran out before.

    Raises:
        WorkerError: TotalSegmentator failed, died or took too long.
    """
    base = {**_request(task, section, resources), "image": str(image.file), "output": str(output)}

    def ask_in_this_way(way: Message) -> Message:
        device = way["device"]

        def start() -> TotalSegmentatorProcess:
            return TotalSegmentatorProcess(weights, base["threads"], resources.logs, device, resources.logger)

        return ask(f"totalsegmentator-{weights}", start, {**base, **way}, timeout_s, resources, device)

    ways = attempts(task, split, image.grid, section, resources.device)
    return first_that_fits(f"task {task.task}", ways, ask_in_this_way, resources)


def attempts(
    task: TaskOptions, split: bool, grid: Grid, section: SegmentationSection, device: str
) -> Iterator[Message]:
    """The configured way first; then, each needing less memory than the one before: in parts, and on the CPU."""
    yield {"force_split": split, "device": device}
    if not split and task.can_split(grid.planes * grid.plane_spacing_mm):
        split = True
        yield {"force_split": True, "device": device}
    if section.allow_cpu_fallback and device != "cpu":
        yield {"force_split": split, "device": "cpu"}


def _request(task: TaskOptions, section: SegmentationSection, resources: Resources) -> Message:
    return {
        "scratch": str(resources.scratch),
        "task": task.task,
        "fast": task.fast,
        "roi_subset": list(task.roi_subset),
        "body_only": task.body_only,
        "threads": min(resources.threads, section.thread_limit or resources.threads),
        "nr_thr_resamp": section.nr_threads_resample,
        "num_proc_pre": section.num_proc_preprocessing,
        "num_proc_export": section.num_proc_export,
    }
