"""The main side of the radiomics workers: images and masks handed over as files, jobs sent, results streamed back."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rtpipeline import extraction
from rtpipeline.config import Configuration
from rtpipeline.extraction.identity import source_digest
from rtpipeline.extraction.jobs import ExtractionJob, ImageOnDisk, JobResult, MaskOnDisk
from rtpipeline.extraction.kept import KeptResults
from rtpipeline.extraction.parts import in_parts, joined, next_part
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
_KEPT_FILE = "radiomics_results.jsonl"
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
    values = np.ascontiguousarray(volume.values, dtype=np.float32)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, values)
    return ImageOnDisk(
        file=file,
        origin_mm=(x_mm, y_mm, z_mm),
        spacing_mm=grid.spacing_mm,
        direction=tuple(float(value) for value in grid.direction.ravel()),
        digest=hashlib.sha1(values.data, usedforsecurity=False).hexdigest(),
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
    values = np.ascontiguousarray(mask.values)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, values)
    digest = hashlib.sha1(values.data, usedforsecurity=False)
    digest.update(str(values.shape).encode("ascii"))
    return MaskOnDisk(file, (planes.start, rows.start, columns.start), digest.hexdigest())


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
            reason = str(error).removeprefix("ParameterError: ")
            raise StageError(f"radiomics parameters: {reason}", memory_pressure=error.memory_pressure) from error

    def extract(
        self,
        jobs: Iterable[ExtractionJob],
        *,
        timeout_s: float | None,
        kept: Path | None = None,
        report_progress: Callable[[int, int], None] = lambda done, total: None,
        cancelled: threading.Event | None = None,
    ) -> Iterator[JobResult]:
        """Run jobs, the largest first, never more than `at_once` at a time; yield each result as it comes.

        Every job is answered exactly once. Large ones are divided among the workers (`extraction.parts`). A job whose
        worker dies is tried once more by the service; when the service itself dies, it is started again and its
        unfinished jobs are handed in once more.

        Args:
            jobs: with keys that differ.
            timeout_s: time limit of one job, counted from when a worker has it; None for no limit.
            kept: a folder that keeps results from one run to the next; None: none are kept.
            report_progress: called with (done, total) after each result.
            cancelled: set when the run is to stop.

        Raises:
            StageError: `cancelled` was set, or the service cannot be started.
            ValueError: two jobs have the same key.
        """
        asked = sorted(jobs, key=lambda job: (-job.size, job.key))
        if len({job.key for job in asked}) < len(asked):
            raise ValueError("two extraction jobs have the same key")
        origin = {**self.environment.versions, "source": source_digest()}
        results = KeptResults(kept / _KEPT_FILE if kept is not None else None, origin)
        remaining = []
        for job in asked:
            known = results.of(job)
            if known is None:
                remaining.append(job)
            else:
                yield known
        done = len(asked) - len(remaining)
        for job, result in self._run(remaining, timeout_s, cancelled or threading.Event()):
            results.add(job, result)
            done += 1
            report_progress(done, len(asked))
            yield result

    def _run(
        self, jobs: list[ExtractionJob], timeout_s: float | None, cancelled: threading.Event
    ) -> Iterator[tuple[ExtractionJob, JobResult]]:
        """Run jobs in their order, in parts where that helps; a result, or the first failure of a part, for each."""
        divided = [_Divided(job, parts) for job, parts in zip(jobs, in_parts(jobs, self.at_once), strict=True)]
        waiting = [_Piece(whole, number) for whole in divided for number in range(len(whole.parts))]
        under_way: dict[Future[Message], _Piece] = {}
        last: list[str] = []
        while waiting or under_way:
            if cancelled.is_set():
                raise StageError("cancelled; run again to finish")
            while waiting and len(under_way) < self.at_once:
                at_work = {piece.job.key for piece in under_way.values()}
                chosen = next_part([piece.job for piece in waiting], last.pop() if last else "", at_work)
                if chosen is None:
                    break
                piece = waiting.pop(chosen)
                piece.submissions += 1
                under_way[self._submit(piece.job, timeout_s)] = piece
            finished, _ = wait(under_way, timeout=_LOOK_UP_S, return_when=FIRST_COMPLETED)
            for future in finished:
                piece = under_way.pop(future)
                whole = piece.whole
                last.append(piece.job.key)
                if isinstance(future.exception(), WorkerDiedError) and piece.submissions < _SUBMISSIONS:
                    waiting.insert(0, piece)
                elif not whole.ended and whole.takes(piece.number, _result(piece.job, future)):
                    waiting = [other for other in waiting if other.whole is not whole]
                    yield whole.job, whole.result

    def _service(self) -> RadiomicsService:
        return self._children.shared(self._key, self._start)

    def _submit(self, job: ExtractionJob, timeout_s: float | None) -> Future[Message]:
        request = {"request": "extract", "job": job.as_message(), "timeout_s": timeout_s}
        return self._service().process.submit(request)


@dataclass
class _Divided:
    """A job, its parts, and what came of them."""

    job: ExtractionJob
    parts: list[ExtractionJob]
    results: dict[int, JobResult] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """All parts are done, or one has failed."""
        complete = len(self.results) == len(self.parts)
        return complete or any(result.status != "ok" for result in self.results.values())

    @property
    def result(self) -> JobResult:
        """Of the job, in the order of its parts."""
        return joined([result for _, result in sorted(self.results.items())])

    def takes(self, number: int, result: JobResult) -> bool:
        """Take the result of one part; whether the job has ended with it."""
        self.results[number] = result
        return self.ended


@dataclass
class _Piece:
    """One part of a job, and how often it was handed in."""

    whole: _Divided
    number: int
    submissions: int = 0

    @property
    def job(self) -> ExtractionJob:
        return self.whole.parts[self.number]


def _result(job: ExtractionJob, future: Future[Message]) -> JobResult:
    """The answer to a job, also where the service has none."""
    try:
        return JobResult.from_message(future.result())
    except WorkerError as error:
        return JobResult(job.key, "failed", {}, reason=str(error), memory_pressure=error.memory_pressure)
