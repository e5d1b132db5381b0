"""One stage of one course: is it done, do it, publish it."""

from __future__ import annotations

import contextlib
import datetime
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rtpipeline import __version__
from rtpipeline.config import Configuration
from rtpipeline.course import Course
from rtpipeline.outcome import Outcome, StageError, failed
from rtpipeline.pipeline.stage_process import stage_outcome
from rtpipeline.pipeline.stages import STAGES, Stage
from rtpipeline.pipeline.state import (
    StageState,
    causes,
    input_records,
    inputs_digest,
    publish,
    stage_configuration,
    write_sentinel,
)
from rtpipeline.provenance import digest
from rtpipeline.scheduling.adaptive_pool import Grant
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.devices import gpu_uuids
from rtpipeline.scheduling.gpu_slots import held_device, lock_folder
from rtpipeline.scheduling.locks import LockedError, locked
from rtpipeline.scheduling.memory_watch import MemoryWatch
from rtpipeline.scheduling.progress import PoolView
from rtpipeline.scheduling.resources import Resources

_STAGING_PREFIX = ".staging-"
_SCRATCH_PREFIX = ".scratch-"
_KEPT_PREFIX = ".kept-"


@dataclass(frozen=True)
class RunContext:
    """What all stages of a run share.

    Attributes:
        configuration: the effective configuration.
        children: warm child processes of the run.
        logs: folder of the run's logs.
        forced: names of stages that are done again even where their result still holds.
        retry_failed: whether stages that failed before are tried again.
        cancelled: set when the run is to stop.
        logger: the run's logger.
        slots: devices by slot pool, one entry for each job that may run at once.
        memory: watches the memory in use.
        show: gets how far the pool is, where somebody looks.
    """

    configuration: Configuration
    children: ChildProcesses
    logs: Path
    forced: frozenset[str] = frozenset()
    retry_failed: bool = True
    cancelled: threading.Event = field(default_factory=threading.Event)
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("rtpipeline"))
    slots: Mapping[str, Sequence[str]] = field(default_factory=dict)
    memory: MemoryWatch = field(default_factory=MemoryWatch)
    show: Callable[[PoolView], None] | None = None


class CourseLogger(logging.LoggerAdapter[logging.Logger]):
    """Begins every line with the course's folder and the stage."""

    def process(self, msg: str, kwargs: Any) -> tuple[str, Any]:
        """Put `patient/course stage: ` before the message."""
        extra: Mapping[str, object] = self.extra or {}
        return f"{extra['course']} {extra['stage']}: {msg}", kwargs


def run_course_stage(stage: Stage, course: Course, context: RunContext, grant: Grant) -> Outcome:
    """Do a stage of a course unless its earlier result still holds, and publish what it made.

    A `StageError` in the stage is a failed outcome. Any other exception of the stage is one too, and its traceback is
    in the log: one course's defect does not stop the others.

    Raises:
        StageError: another process is at work on this stage of this course.
    """
    logger = CourseLogger(context.logger, {"course": course.key, "stage": stage.name})
    previous = StageState.load(course.files.state(stage.name))
    because = "asked for by --force"
    if stage.name not in context.forced:
        because = next(causes(previous, stage, course, context.configuration), "")
        if previous is not None and (not because or (previous.status == "failed" and not context.retry_failed)):
            logger.debug("up to date" if not because else "failed before, and is not tried again")
            if stage.sentinel is not None and not course.path(stage.sentinel).exists():
                write_sentinel(course.path(stage.sentinel), previous)  # a workflow system deletes it before it asks
            return replace(previous.outcome, computed=False)
    try:
        with locked(course.files.lock(stage.name)), _device(stage, context, grant, logger) as device:
            return _run_and_publish(stage, course, context, replace(grant, device=device), previous, because, logger)
    except LockedError as error:
        raise StageError(f"{course.key} {stage.name}: {error.holder or 'another process'} is at work on it") from error


def _run_and_publish(
    stage: Stage,
    course: Course,
    context: RunContext,
    grant: Grant,
    previous: StageState | None,
    because: str,
    logger: CourseLogger,
) -> Outcome:
    again = f", again: {because}" if previous is not None else ""
    logger.info("started (%d threads, %s)%s", grant.tokens, grant.device, again)
    started = datetime.datetime.now(datetime.timezone.utc)
    clock = time.monotonic()
    configured = stage_configuration(stage, context.configuration)
    records = input_records(stage, course, context.configuration, previous.inputs if previous else {})
    kept = course.path(f"{_KEPT_PREFIX}{stage.name}")
    if stage.name in context.forced:
        shutil.rmtree(kept, ignore_errors=True)
    with _folder(course, _STAGING_PREFIX, stage) as staging, _folder(course, _SCRATCH_PREFIX, stage) as scratch:
        resources = Resources(
            threads=grant.tokens,
            device=grant.device,
            staging=staging,
            scratch=scratch,
            logs=context.logs,
            children=context.children,
            logger=logger,
            kept=kept,
            forced=stage.name in context.forced,
            cancelled=context.cancelled,
        )
        with context.memory.peak() as peak:
            outcome = stage_outcome(stage, course, context.configuration, resources)
        if context.cancelled.is_set() and not outcome.usable:
            return failed("the run was stopped")
        if not outcome.usable:
            shutil.rmtree(staging)
        state = StageState(
            stage=stage.name,
            status=outcome.status,
            reason=outcome.reason,
            method_version=stage.method_version,
            rtpipeline_version=__version__,
            because=because,
            configuration=configured,
            configuration_digest=digest(configured, ordered=True),
            input_digest=inputs_digest(records),
            inputs=records,
            device=grant.device,
            threads=grant.tokens,
            started=started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - clock, 3),
            peak_memory_bytes=peak.bytes,
            details=outcome.details,
        )
        sentinel = course.path(stage.sentinel) if stage.sentinel else None
        state_file = course.files.state(stage.name)
        publish(staging, course.files.folder, previous.outputs if previous else (), state_file, sentinel, state)
    if outcome.usable:
        shutil.rmtree(kept, ignore_errors=True)
    _log_end(outcome, state.seconds, bool(previous and previous.outputs), logger)
    return outcome


def _log_end(outcome: Outcome, seconds: float, had_outputs: bool, logger: CourseLogger) -> None:
    level = logging.INFO if outcome.status in ("ok", "skipped") else logging.WARNING
    words = [outcome.reason, "" if outcome.usable or not had_outputs else "what it had made before is taken away"]
    said = "; ".join(filter(None, words))
    logger.log(level, "%s in %.1f s%s", outcome.status, seconds, f": {said}" if said else "")


def stage_states(course: Course) -> dict[str, StageState]:
    """What the state files say of every stage of a course that was ever run."""
    states = {stage.name: StageState.load(course.files.state(stage.name)) for stage in STAGES}
    return {name: state for name, state in states.items() if state is not None}


def remove_leftovers(course: Course) -> None:
    """Delete what a killed run left half made."""
    for prefix in (_STAGING_PREFIX, _SCRATCH_PREFIX):
        for folder in sorted(course.files.folder.glob(f"{prefix}*")):
            shutil.rmtree(folder)
    for stage in STAGES:
        course.files.lock(stage.name).unlink(missing_ok=True)


def _device(
    stage: Stage, context: RunContext, grant: Grant, logger: CourseLogger
) -> contextlib.AbstractContextManager[str]:
    """The device for a stage: the granted one, or another of the pool where jobs of other programs have that."""
    slots = context.slots.get(stage.slots or "", ())
    uuids = {f"gpu:{number}": uuid for number, uuid in enumerate(gpu_uuids() if grant.device.startswith("gpu") else ())}
    return held_device(slots, grant.device, uuids, folder=lock_folder(), cancelled=context.cancelled, logger=logger)


@contextmanager
def _folder(course: Course, prefix: str, stage: Stage) -> Iterator[Path]:
    """An empty hidden folder in the course folder, on its file system; it is gone afterwards."""
    folder = course.path(f"{prefix}{stage.name}")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    try:
        yield folder
    finally:
        if folder.exists():
            shutil.rmtree(folder)
