"""How the function of a stage is called: in a thread or, where it has a time limit, in a process that can be killed.

`python -m rtpipeline.pipeline.stage_process` is that process: it stays warm, serves one stage at a time, and has child
processes of its own, which end with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from rtpipeline.config import Configuration
from rtpipeline.course import Course
from rtpipeline.outcome import Outcome, StageError, failed
from rtpipeline.pipeline.stages import Stage, stage_named
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.disk_space import disk_full_reason
from rtpipeline.scheduling.memory_pressure import is_memory_pressure
from rtpipeline.scheduling.resources import Resources
from rtpipeline.scheduling.thread_caps import thread_environment
from rtpipeline.scheduling.worker_process import Message, WorkerError, WorkerProcess, WorkerTimeoutError, serve

_MODULE = "rtpipeline.pipeline.stage_process"


def stage_outcome(stage: Stage, course: Course, configuration: Configuration, resources: Resources) -> Outcome:
    """What a stage returned, or why it failed: its error, a defect, or `scheduler.task_timeout_s`."""
    timeout_s = configuration.scheduler.task_timeout_s
    if timeout_s is None:
        return _call(stage.run, course, configuration, resources)
    try:
        with resources.children.borrow("stage process", lambda: _start(resources)) as process:
            process.logger = resources.logger
            request = _request(stage, course, configuration, resources)
            return Outcome(**process.call(request, timeout_s, resources.cancelled))
    except WorkerTimeoutError as error:
        limit = f"it took longer than scheduler.task_timeout_s ({timeout_s:g} s) and was killed"
        return failed("the run was stopped" if resources.cancelled.is_set() else limit, error=str(error))
    except WorkerError as error:
        return failed(str(error), memory_pressure=error.memory_pressure)


def _call(
    run: Callable[[Course, Configuration, Resources], Outcome],
    course: Course,
    configuration: Configuration,
    resources: Resources,
) -> Outcome:
    """What the function returned or raised; its own thread keeps a defect of one course from the others."""
    with ThreadPoolExecutor(1, thread_name_prefix=course.key) as executor:
        future = executor.submit(run, course, configuration, resources)
        error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, StageError):
        return failed(error.reason, memory_pressure=error.memory_pressure)
    full = disk_full_reason(error)
    if full:
        return failed(full)
    resources.logger.error("defect in the program", exc_info=error)
    reason = f"{type(error).__name__}: {error}; the traceback is in the log, please report it"
    return failed(reason, memory_pressure=is_memory_pressure(error))


def _start(resources: Resources) -> WorkerProcess:
    # Stages have threads of their own, each of which calls libraries that must not start more (see `blas_threads`).
    # Warnings of libraries may quote values of DICOM files, and would go to a log file.
    variables = {**thread_environment(1), "PYTHONWARNINGS": "ignore"}
    log_file = resources.logs / "stage_processes.log"
    process = WorkerProcess(_MODULE, log_file=log_file, environment=variables, logger=resources.logger)
    process.call({"stage": None}, cancelled=resources.cancelled)  # its start is no part of any stage's time
    return process


def _request(stage: Stage, course: Course, configuration: Configuration, resources: Resources) -> Message:
    return {
        "stage": stage.name,
        "course": str(course.files.folder),
        "configuration": configuration.model_dump_json(),
        "threads": resources.threads,
        "device": resources.device,
        "staging": str(resources.staging),
        "scratch": str(resources.scratch),
        "logs": str(resources.logs),
        "kept": str(resources.kept) if resources.kept is not None else None,
        "forced": resources.forced,
    }


def _answer(request: Message, children: ChildProcesses) -> Message:
    if request["stage"] is None:
        return {}
    resources = Resources(
        threads=request["threads"],
        device=request["device"],
        staging=Path(request["staging"]),
        scratch=Path(request["scratch"]),
        logs=Path(request["logs"]),
        children=children,
        logger=logging.getLogger("rtpipeline"),
        kept=Path(request["kept"]) if request["kept"] is not None else None,
        forced=request["forced"],
    )
    configuration = Configuration.model_validate_json(request["configuration"])
    course = Course.load(Path(request["course"]))
    return asdict(_call(stage_named(request["stage"]).run, course, configuration, resources))


def main() -> None:
    """Serve until the parent is gone."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    children = ChildProcesses()
    serve(lambda request: _answer(request, children))


if __name__ == "__main__":
    main()
