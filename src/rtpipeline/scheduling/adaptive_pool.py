"""The adaptive pool: tasks with dependencies, one token budget, device slots, and fewer workers when memory runs out.

A task asks for all it needs at once (a worker, CPU tokens, a device slot) and holds nothing while it waits, so no
budget can deadlock. Tokens are given first come, first served. A task whose estimate of memory does not fit into what
is free waits until it does, or until nothing else runs. A task that fails for lack of memory halves the number of
workers and is tried again in smaller company; one that fails for memory while nothing else runs has failed. After
enough successes the pool grows back, one worker at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter

from rtpipeline.outcome import Outcome, StageError, failed
from rtpipeline.scheduling.admission import MemoryAdmission
from rtpipeline.scheduling.disk_space import disk_full_reason
from rtpipeline.scheduling.hints import Hints
from rtpipeline.scheduling.memory_pressure import is_memory_pressure
from rtpipeline.scheduling.progress import PoolView, StageProgress
from rtpipeline.scheduling.ready_tasks import ReadyTasks
from rtpipeline.scheduling.tasks import Grant, Task, WaitingTask

__all__ = ["AdaptivePool", "Grant", "Task"]

SUCCESSES_BEFORE_GROWTH = 3
HEARTBEAT_S = 60.0
SLOW_AFTER_S = 300.0
_POLL_S = 0.5

Logger = logging.Logger | logging.LoggerAdapter


@dataclass
class _Running:
    waited: WaitingTask
    grant: Grant
    started: float
    slow_said: bool = False

    @property
    def task(self) -> Task:
        return self.waited.task


@dataclass
class AdaptivePool:
    """Runs tasks on up to `budget` threads.

    Attributes:
        budget: CPU tokens, and the largest number of workers.
        slots: devices by slot pool, one entry for each task that may hold one at once.
        parallel_groups: see `Task.group`.
        logger: gets progress, pressure and slowness lines.
        cancelled: when set, nothing more is started.
        minimum_workers: the pool never shrinks below it.
        free_memory: bytes that are free now; None: estimates of memory do not count.
        free_gpu_memory: bytes that are free on a device, or None where that is not known.
        hints: gets to know of symptoms that a user can do something about.
        show: called twice a second and at every change with how far the pool is.
    """

    budget: int
    slots: Mapping[str, Sequence[str]] = field(default_factory=dict)
    parallel_groups: int | None = None
    logger: Logger = field(default_factory=lambda: logging.getLogger(__name__))
    cancelled: threading.Event = field(default_factory=threading.Event)
    minimum_workers: int = 1
    free_memory: Callable[[], int] | None = None
    free_gpu_memory: Callable[[str], int | None] = lambda device: None
    hints: Hints | None = None
    show: Callable[[PoolView], None] | None = None

    def run(self, tasks: Sequence[Task]) -> dict[str, Outcome]:
        """Run every task; returns the outcomes by key, in the order of `tasks`.

        Tasks that were not started because the run was cancelled have failed with that reason.

        Raises:
            ValueError: two tasks share a key, a task needs one that is not there, or they need each other.
        """
        _check_graph(tasks)
        state = _PoolState(self, tasks)
        with ThreadPoolExecutor(state.maximum_workers, thread_name_prefix="course") as executor:
            while state.unfinished:
                if not self.cancelled.is_set():
                    state.start_ready(executor)
                if not state.running:
                    break
                finished, _ = wait(state.running, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                for future in finished:
                    state.finish(future)
                state.watch()
        return {
            task.key: state.outcomes.get(task.key, failed("the run was stopped before this was started"))
            for task in tasks
        }


class _PoolState:
    """What one call of `AdaptivePool.run` knows; used by one thread alone."""

    def __init__(self, pool: AdaptivePool, tasks: Sequence[Task]) -> None:
        self._pool = pool
        self._log = pool.logger
        self.maximum_workers = max(1, pool.budget)
        self._workers = self.maximum_workers
        self._successes = 0
        self._ready = ReadyTasks(pool.parallel_groups)
        for index, task in enumerate(tasks):
            self._ready.add(WaitingTask(task, (task.priority, index), self.maximum_workers))
        self._free_slots = {name: list(devices) for name, devices in pool.slots.items()}
        self._progress = StageProgress(task.label for task in tasks)
        self._last_line = time.monotonic()
        self._total = len(tasks)
        self._admission = MemoryAdmission(pool.free_memory, pool.free_gpu_memory, pool.slots, pool.logger)
        self.running: dict[Future[Outcome], _Running] = {}
        self.outcomes: dict[str, Outcome] = {}

    @property
    def unfinished(self) -> bool:
        return len(self.outcomes) < self._total

    def start_ready(self, executor: ThreadPoolExecutor) -> None:
        """Start whatever fits; a task that waits for tokens lets nobody overtake it."""
        while (waiting := self._ready.first(lambda name: bool(self._free_slots[name]))) is not None:
            task = waiting.task
            if not self._fits_company(waiting) or self._tokens(task) > self._free_tokens:
                break
            device = self._free_slots[task.slots][0] if task.slots is not None else "cpu"
            if not self._admission.fits(task, device, [(one.task, one.grant) for one in self.running.values()]):
                break
            if task.slots is not None:
                self._free_slots[task.slots].remove(device)
            grant = Grant(self._tokens(task), device)
            self._ready.start(waiting)
            self._progress.start(task.label)
            future = executor.submit(task.run, grant)
            self.running[future] = _Running(waiting, grant, time.monotonic())

    def finish(self, future: Future[Outcome]) -> None:
        """Give back what a task held, and decide whether it is tried again."""
        ended = self.running.pop(future)
        task = ended.task
        self._ready.stop(task)
        if task.slots is not None:
            self._free_slots[task.slots].append(ended.grant.device)
            self._free_slots[task.slots].sort()
        outcome = self._outcome_of(future, task)
        if self._pool.hints is not None and outcome.computed and outcome.status in ("failed", "partial"):
            self._pool.hints.failed(outcome.reason)
        if outcome.status in ("failed", "partial") and outcome.memory_pressure and not self._pool.cancelled.is_set():
            if self._shrink(ended, outcome):
                return
        elif outcome.usable:
            self._grow()
        self.outcomes[task.key] = outcome
        self._ready.ended(task.key)
        self._last_line = time.monotonic()
        self._log.log(logging.INFO if outcome.computed else logging.DEBUG, "%s", self._progress.finish(task.label))

    def watch(self) -> None:
        """Say which tasks take long, and that the pool is alive when nothing else was said for a while."""
        now = time.monotonic()
        for one in self.running.values():
            if not one.slow_said and now - one.started > SLOW_AFTER_S:
                one.slow_said = True
                self._log.warning("%s is slow: %.0f s so far", one.task.key, now - one.started)
                if self._pool.hints is not None:
                    self._pool.hints.slow(one.task.label)
        if self._pool.hints is not None:
            self._pool.hints.look_around()
        if self._pool.show is not None:
            running = tuple((one.task.key, one.grant.device, now - one.started) for one in self.running.values())
            self._pool.show(PoolView(self._progress.counts, running))
        if now - self._last_line > HEARTBEAT_S:
            self._last_line = now
            at_work = ", ".join(f"{r.task.key} ({now - r.started:.0f} s)" for r in self.running.values())
            self._log.info("Still working, %d/%d done: %s", len(self.outcomes), self._total, at_work)

    @property
    def _free_tokens(self) -> int:
        return self._pool.budget - sum(running.grant.tokens for running in self.running.values())

    def _tokens(self, task: Task) -> int:
        return max(1, min(task.tokens, self._pool.budget))

    def _fits_company(self, waiting: WaitingTask) -> bool:
        limits = [self._workers, waiting.company, *(running.waited.company for running in self.running.values())]
        return len(self.running) < min(limits)

    def _outcome_of(self, future: Future[Outcome], task: Task) -> Outcome:
        error = future.exception()
        if error is None:
            return future.result()
        full = disk_full_reason(error)
        if full:
            return failed(full)
        if not isinstance(error, StageError):
            self._log.error("%s: defect in the program", task.key, exc_info=error)
        reason = error.reason if isinstance(error, StageError) else f"{type(error).__name__}: {error}"
        return failed(reason, memory_pressure=is_memory_pressure(error))

    def _shrink(self, ended: _Running, outcome: Outcome) -> bool:
        """Halve the workers and queue the task again; False when it was alone already and cannot be helped."""
        self._successes = 0
        before = self._workers
        in_company = min(before, ended.waited.company)
        if in_company <= self._pool.minimum_workers:
            self._log.error("%s: out of memory with one worker: %s", ended.task.key, outcome.reason)
            return False
        smaller = max(self._pool.minimum_workers, in_company // 2)
        self._workers = min(before, smaller)
        self._log.warning(
            "Memory pressure in %s: workers %d -> %d, it is tried again (%s)",
            ended.task.key, before, self._workers, outcome.reason,
        )  # fmt: skip
        self._ready.add(replace(ended.waited, company=smaller))
        return True

    def _grow(self) -> None:
        if self._workers == self.maximum_workers:
            return
        self._successes += 1
        if self._successes >= SUCCESSES_BEFORE_GROWTH:
            self._successes = 0
            self._workers += 1
            self._log.info("No memory pressure for a while: workers %d -> %d", self._workers - 1, self._workers)


def _check_graph(tasks: Sequence[Task]) -> None:
    needs = {task.key: task.needs for task in tasks}
    if len(needs) != len(tasks):
        raise ValueError("two tasks have the same key")
    missing = {need for task in tasks for need in task.needs if need not in needs}
    if missing:
        raise ValueError(f"tasks need others that are not there: {', '.join(sorted(missing))}")
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        raise ValueError(f"tasks need each other: {', '.join(error.args[1])}") from error
