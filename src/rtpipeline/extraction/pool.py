"""Worker processes for PyRadiomics, which holds the interpreter's lock: one job at a time each, started when needed.

They are spawned, never forked, in the process group of the service that holds them, so that they end with it. A worker
that dies costs only the job it had: that job is tried once more in a new worker.
"""

from __future__ import annotations

import logging
import multiprocessing
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection

from rtpipeline.extraction.engine import extract
from rtpipeline.extraction.jobs import ExtractionJob, JobResult
from rtpipeline.scheduling.memory_pressure import KILLED_EXIT_CODES

ATTEMPTS = 2
"""How often a job is given to a worker that dies of it."""

_MOST_WORKERS = 1024
_logger = logging.getLogger(__name__)


class WorkerLostError(Exception):
    """A worker process ended before it answered."""

    def __init__(self, exit_code: int | None) -> None:
        super().__init__(f"the worker process ended with exit code {exit_code}")
        self.exit_code = exit_code


class JobTimeoutError(Exception):
    """A worker did not answer in time, and was killed."""


class Worker:
    """One spawned process that extracts."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other_end = context.Pipe()
        self._process = context.Process(target=work, args=(other_end,), daemon=True)
        self._process.start()
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
        try:
            self._connection.send(job)
            if not self._connection.poll(timeout_s):
                self.kill()
                raise JobTimeoutError
            result: JobResult = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            self.kill()
            raise WorkerLostError(self._process.exitcode) from error
        return result

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.join()
        self._connection.close()


class WorkerPool:
    """As many workers as there are jobs under way; those who hand jobs in limit their number."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_MOST_WORKERS, thread_name_prefix="worker")
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._busy: list[Worker] = []

    def submit(self, job: ExtractionJob, timeout_s: float | None) -> Future[JobResult]:
        """Start one job; the future always gets a result, whatever happens to the worker."""
        return self._threads.submit(self._run, job, timeout_s)

    def pids(self) -> dict[str, list[int]]:
        """Process ids of the workers that are `busy` and `idle`."""
        with self._lock:
            workers = {"busy": self._busy, "idle": self._idle}
            return {state: [worker.pid for worker in those if worker.pid] for state, those in workers.items()}

    def _run(self, job: ExtractionJob, timeout_s: float | None) -> JobResult:
        reasons = []
        exit_code = None
        for _ in range(ATTEMPTS):
            try:
                return self._attempt(job, timeout_s)
            except JobTimeoutError:
                return JobResult(job.key, "timed out", {}, f"not done within {timeout_s:g} s")
            except WorkerLostError as error:
                _logger.warning("job %s: %s", job.key, error)
                reasons.append(str(error))
                exit_code = error.exit_code
        reason = f"{reasons[-1]}, {ATTEMPTS} times"
        return JobResult(job.key, "failed", {}, reason, memory_pressure=exit_code in KILLED_EXIT_CODES)

    def _attempt(self, job: ExtractionJob, timeout_s: float | None) -> JobResult:
        with self._lock:
            self._idle = [worker for worker in self._idle if worker.alive]
            worker = self._idle.pop() if self._idle else Worker()
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
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            result = JobResult(job.key, "ok", extract(job))
        except MemoryError as error:
            result = JobResult(job.key, "failed", {}, f"out of memory: {error}", memory_pressure=True)
        except (ValueError, RuntimeError, ArithmeticError, IndexError, OSError) as error:
            result = JobResult(job.key, "failed", {}, f"{type(error).__name__}: {error}")
        connection.send(result)
