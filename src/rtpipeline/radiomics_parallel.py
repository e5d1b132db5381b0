"""The main side of the radiomics workers: images and masks handed over as files, jobs sent, results streamed back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rtpipeline import extraction
from rtpipeline.config import Configuration
from rtpipeline.extraction.jobs import ExtractionJob, ImageOnDisk, JobResult, MaskOnDisk
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.outcome import StageError
from rtpipeline.radiomics_conda import RadiomicsEnvironment, child_variables, find_radiomics_python
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.resources import Resources
from rtpipeline.scheduling.worker_process import Message, WorkerDiedError, WorkerError, WorkerProcess

__all__ = [
    "ExtractionJob",
    "ImageOnDisk",
    "JobResult",
    "MaskOnDisk",
    "RadiomicsClient",
    "packaged_parameters",
    "radiomics_client",
    "store_image",
    "store_mask",
]

_SERVICE = "rtpipeline.extraction.service"
_SUBMISSIONS = 2
"""How often a job is handed to a service that dies."""
_LOOK_UP_S = 0.2
_SHORT_REQUEST_TIMEOUT_S = 120.0


def store_image(file: Path, volume: Volume) -> ImageOnDisk:
    """Write an image for the workers, once for all of its jobs.

    Args:
        file: a new `.npy` in the stage's scratch folder.
        volume: values (z, y, x) on a uniform grid; stored as float32.

    Raises:
        ValueError: the planes of the grid are not equally spaced.
    """
    grid = volume.grid
    x_mm, y_mm, z_mm = (float(value) for value in grid.origin_mm)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, np.ascontiguousarray(volume.values, dtype=np.float32))
    return ImageOnDisk(
        file=file,
        origin_mm=(x_mm, y_mm, z_mm),
        spacing_mm=grid.spacing_mm,
        direction=tuple(float(value) for value in grid.direction.ravel()),
    )


def store_mask(file: Path, mask: Mask, grid: Grid) -> MaskOnDisk:
    """Write a mask for the workers.

    Args:
        file: a new `.npy` in the stage's scratch folder.
        mask: on a part of `grid`.
        grid: of the image that the mask belongs to.

    Raises:
        ValueError: the mask's voxels are not voxels of `grid`.
    """
    planes, rows, columns = mask.box_on(grid)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, mask.values)
    return MaskOnDisk(file, (planes.start, rows.start, columns.start))


def packaged_parameters(modality: Literal["CT", "MR", "PT", "RTDOSE"]) -> Path:
    """The parameter file, in PyRadiomics' format, that comes with this package."""
    names = {"CT": "ct.yaml", "MR": "mr.yaml", "PT": "pet.yaml", "RTDOSE": "dose.yaml"}
    return Path(extraction.__file__).with_name("parameters") / names[modality]


def radiomics_client(configuration: Configuration, resources: Resources) -> RadiomicsClient:
    """The run's radiomics service, started when it is not running, as one stage uses it.

    Raises:
        StageError: there is no working radiomics environment; the message says how to set it up.
    """
    threads_each = min(configuration.radiomics.thread_limit or 1, resources.threads)
    at_once = 1 if configuration.radiomics.sequential else max(1, resources.threads // threads_each)

    def start() -> RadiomicsService:
        environment = find_radiomics_python(configuration, os.environ)
        resources.run_logger.info("radiomics environment: %s", environment)
        process = WorkerProcess(
            _SERVICE,
            log_file=resources.logs / "radiomics_workers.log",
            python=environment.python,
            environment=child_variables(threads_each),
            logger=resources.run_logger,
        )
        return RadiomicsService(process, environment)

    return RadiomicsClient(resources.children, f"radiomics, {threads_each} threads", start, at_once)


class RadiomicsService:
    """The running service: its process, and the environment that it runs in."""

    def __init__(self, process: WorkerProcess, environment: RadiomicsEnvironment) -> None:
        self.process = process
        self.environment = environment

    @property
    def alive(self) -> bool:
        """Whether it can take another request."""
        return self.process.alive

    def close(self) -> None:
        """End it, with its workers."""
        self.process.close()


class RadiomicsClient:
    """How a stage has features extracted; the service behind it is shared by the stages of all courses.

    Args:
        children: the run's child processes.
        key: of the service among them.
        start: starts the service.
        at_once: how many jobs may be under way for this stage.
    """

    def __init__(self, children: ChildProcesses, key: str, start: Callable[[], RadiomicsService], at_once: int) -> None:
        self._children = children
        self._key = key
        self._start = start
        self.at_once = at_once

    @property
    def environment(self) -> RadiomicsEnvironment:
        """What computes.

        Raises:
            StageError: there is no working radiomics environment.
        """
        return self._service().environment

    def read_parameters(self, file: Path) -> dict[str, Any]:
        """A parameter file in PyRadiomics' format, validated by it, with its defaults filled in: for `ExtractionJob`.

        Raises:
            StageError: PyRadiomics refuses the file, or cannot be asked.
        """
        request = {"request": "parameters", "file": str(file.expanduser().resolve())}
        try:
            return self._service().process.call(request, _SHORT_REQUEST_TIMEOUT_S)
        except WorkerError as error:
            raise StageError(f"radiomics parameters: {error}", memory_pressure=error.memory_pressure) from error

    def extract(
        self,
        jobs: Iterable[ExtractionJob],
        *,
        timeout_s: float | None,
        report_progress: Callable[[int, int], None] = lambda done, total: None,
        cancelled: threading.Event | None = None,
    ) -> Iterator[JobResult]:
        """Run jobs, the largest first, never more than `at_once` at a time; yield each result as it comes.

        Every job is answered exactly once. A job whose worker dies is tried once more by the service; when the
        service itself dies, it is started again and its unfinished jobs are handed in once more.

        Args:
            jobs: with keys that differ.
            timeout_s: time limit of one job, counted from when a worker has it; None for no limit.
            report_progress: called with (done, total) after each result.
            cancelled: set when the run is to stop.

        Raises:
            StageError: `cancelled` was set, or the service cannot be started.
            ValueError: two jobs have the same key.
        """
        waiting = sorted(jobs, key=lambda job: (-job.size, job.key))
        total = len(waiting)
        if len({job.key for job in waiting}) < total:
            raise ValueError("two extraction jobs have the same key")
        done = 0
        submissions: dict[str, int] = {}
        under_way: dict[Future[Message], ExtractionJob] = {}
        while waiting or under_way:
            if cancelled is not None and cancelled.is_set():
                raise StageError("cancelled; run again to finish")
            while waiting and len(under_way) < self.at_once:
                job = waiting.pop(0)
                submissions[job.key] = submissions.get(job.key, 0) + 1
                under_way[self._submit(job, timeout_s)] = job
            finished, _ = wait(under_way, timeout=_LOOK_UP_S, return_when=FIRST_COMPLETED)
            for future in finished:
                job = under_way.pop(future)
                error = future.exception()
                if isinstance(error, WorkerDiedError) and submissions[job.key] < _SUBMISSIONS:
                    waiting.insert(0, job)
                    continue
                done += 1
                report_progress(done, total)
                yield _result(job, future)

    def _service(self) -> RadiomicsService:
        return self._children.shared(self._key, self._start)

    def _submit(self, job: ExtractionJob, timeout_s: float | None) -> Future[Message]:
        request = {"request": "extract", "job": job.as_message(), "timeout_s": timeout_s}
        return self._service().process.submit(request)


def _result(job: ExtractionJob, future: Future[Message]) -> JobResult:
    """The answer to a job, also where the service has none."""
    try:
        return JobResult.from_message(future.result())
    except WorkerError as error:
        return JobResult(job.key, "failed", {}, str(error), memory_pressure=error.memory_pressure)
