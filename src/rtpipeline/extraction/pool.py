"""Worker processes for PyRadiomics, which holds the interpreter's lock: one job at a time each, started when needed.

They are spawned, never forked, in the process group of the service that holds them, so that they end with it. A worker
that dies costs only the job it had, which is tried again in a new worker: once where it died of the job, in smaller
company where memory had run out, and as often as it takes where somebody killed it.
"""

from __future__ import annotations

import logging
import multiprocessing
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from rtpipeline.extraction.company import NO_LIMIT, Company
from rtpipeline.extraction.engine import extract
from rtpipeline.extraction.jobs import ExtractionJob, JobResult
from rtpipeline.extraction.memory import estimated_bytes
from rtpipeline.extraction.usable import UnusableStructureError
from rtpipeline.scheduling.memory import free_memory_bytes, kernel_kill_count
from rtpipeline.scheduling.memory_pressure import KILLED_EXIT_CODES, mentions_memory_pressure

ATTEMPTS = 2
"""How often a job is given to a worker that dies of it."""

ATTEMPTS_KILLED = 50
"""How often a job is given to a worker that is killed from outside, or ends before it has the job."""

_MOST_WORKERS = 1024
_START_TIMEOUT_S = 120.0
_logger = logging.getLogger(__name__)


class WorkerLostError(Exception):
    """A worker process ended before it answered.

    Attributes:
        out_of_memory: the kernel ended it because memory had run out, or may have.
        from_outside: it was killed for another reason, or ended before it had a job: the job did nothing wrong.
    """

    def __init__(self, exit_code: int | None, *, started: bool, kernel_killed: bool) -> None:
        super().__init__(f"the worker process ended with exit code {exit_code}")
        killed = exit_code in KILLED_EXIT_CODES
        self.out_of_memory = killed and kernel_killed
        self.from_outside = not self.out_of_memory and (killed or not started)


class JobTimeoutError(Exception):
    """A worker did not answer in time, and was killed."""


class Worker:
    """One spawned process that extracts."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other_end = context.Pipe()
        self._process = context.Process(target=work, args=(other_end,), daemon=True)
        self._process.start()
        self.started = False
        self.last_key = ""
        other_end.close()

    @property
    def pid(self) -> int | None:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def extract(self, job: ExtractionJob, timeout_s: float | None) -> JobResult:
        """Run one job.

        Raises:
            WorkerLostError: the process ended.
            JobTimeoutError: it did not answer in `timeout_s` seconds, and was killed.
        """
        kernel_kills = kernel_kill_count()
        try:
            if not self.started:
                self._wait_until_started()
            self._connection.send(job)
            self.last_key = job.key
            result: JobResult = self._receive(timeout_s)
        except (EOFError, ConnectionError) as error:
            self.kill()
            kernel_killed = kernel_kills is None or kernel_kill_count() != kernel_kills
            code = self._process.exitcode
            raise WorkerLostError(code, started=self.started, kernel_killed=kernel_killed) from error
        return result

    def _wait_until_started(self) -> None:
        try:
            self._receive(_START_TIMEOUT_S)
        except JobTimeoutError as error:
            raise EOFError from error
        self.started = True

    def _receive(self, timeout_s: float | None) -> Any:
        if not self._connection.poll(timeout_s):
            self.kill()
            raise JobTimeoutError
        return self._connection.recv()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.join()
        self._connection.close()


class WorkerPool:
    """As many workers as there are jobs under way; those who hand jobs in limit their number, and so does memory."""

    def __init__(self) -> None:
        self.company = Company(free_memory_bytes)
        self._threads = ThreadPoolExecutor(_MOST_WORKERS, thread_name_prefix="worker")
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._busy: list[Worker] = []

    def submit(self, job: ExtractionJob, timeout_s: float | None) -> Future[JobResult]:
        """Start one job; the future always gets a result, whatever happens to the worker."""
        return self._threads.submit(self._run, job, timeout_s)

    def pids(self) -> dict[str, list[int]]:
        """Process ids of the workers that are `starting`, `busy` and `idle`."""
        with self._lock:
            pids: dict[str, list[int]] = {"starting": [], "busy": [], "idle": []}
            for worker in (*self._busy, *self._idle):
                state = "idle" if worker in self._idle else "busy" if worker.started else "starting"
                pids[state] += [worker.pid] if worker.pid else []
            return pids

    def _run(self, job: ExtractionJob, timeout_s: float | None) -> JobResult:
        try:
            needed_bytes = estimated_bytes(job)
        except (OSError, ValueError) as error:
            return JobResult(job.key, "failed", {}, reason=f"{type(error).__name__}: {error}")
        largest = NO_LIMIT
        attempts = killed = 0
        while True:
            with self.company.joined(needed_bytes, largest):
                try:
                    result = self._attempt(job, timeout_s)
                except JobTimeoutError:
                    return JobResult(job.key, "timed out", {}, reason=f"not done within {timeout_s:g} s")
                except WorkerLostError as error:
                    _logger.warning("job %s: %s", job.key, error)
                    attempts += not error.from_outside
                    killed += error.from_outside
                    given_up = attempts >= ATTEMPTS or killed >= ATTEMPTS_KILLED
                    reason = f"{error}, {attempts + killed} times"
                    result = JobResult(job.key, "failed", {}, reason=reason, memory_pressure=error.out_of_memory)
                    if not error.out_of_memory and not given_up:
                        continue
                if not result.memory_pressure:
                    self.company.grow()
                    return result
                self._close_idle()
                smaller = self.company.shrink(largest)
                if smaller is None:
                    return result
                largest = smaller

    def _idle_worker(self, key: str) -> Worker | None:
        """One that has nothing to do, best the one that has the image and mask of this job at hand."""
        self._idle.sort(key=lambda worker: worker.last_key == key)
        return self._idle.pop() if self._idle else None

    def _close_idle(self) -> None:
        """Give back the memory of workers that have nothing to do."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()

    def _attempt(self, job: ExtractionJob, timeout_s: float | None) -> JobResult:
        with self._lock:
            self._idle = [worker for worker in self._idle if worker.alive]
            worker = self._idle_worker(job.key) or Worker()
            self._busy.append(worker)
        usable = False
        try:
            result = worker.extract(job, timeout_s)
            usable = True
            return result
        finally:
            with self._lock:
                self._busy.remove(worker)
                if usable:
                    self._idle.append(worker)


def work(connection: Connection) -> None:
    """What a worker process does: answer jobs until its connection closes."""
    logging.getLogger("radiomics").setLevel(logging.ERROR)
    connection.send("ready")
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            result = extract(job)
        except UnusableStructureError as error:
            result = JobResult(job.key, "skipped", {}, reason=str(error))
        except MemoryError as error:
            result = JobResult(job.key, "failed", {}, reason=f"out of memory: {error}", memory_pressure=True)
        except (ValueError, RuntimeError, ArithmeticError, IndexError, OSError) as error:
            reason = f"{type(error).__name__}: {error}"
            pressure = mentions_memory_pressure(reason)
            result = JobResult(job.key, "failed", {}, reason=reason, memory_pressure=pressure)
        connection.send(result)
