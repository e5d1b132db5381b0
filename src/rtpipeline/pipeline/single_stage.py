"""One stage of one course by itself: what `rtpipeline stage` and workflows call."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtpipeline.config import Configuration
from rtpipeline.course import CohortFiles, Course
from rtpipeline.outcome import Outcome, StageError
from rtpipeline.pipeline.course_stage import RunContext, run_course_stage
from rtpipeline.pipeline.plan import RunPlan
from rtpipeline.pipeline.stages import STAGES, stage_named
from rtpipeline.scheduling.adaptive_pool import Grant
from rtpipeline.scheduling.blas_threads import one_blas_thread
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.locks import LockedError, locked


def run_one_stage(
    name: str, course_folder: Path, configuration: Configuration, *, logger: logging.Logger, forced: bool = False
) -> Outcome:
    """Run one stage of one course, with the whole worker budget.

    Raises:
        StageError: `course_folder` is not a course, no stage has this name, or the configuration disables it.
    """
    plan = RunPlan.of(configuration)
    try:
        stage = stage_named(name)
    except KeyError as error:
        raise StageError(f"no stage {name!r}; the stages are {', '.join(one.name for one in STAGES)}") from error
    try:
        course = Course.load(course_folder)
    except FileNotFoundError as error:
        raise StageError(f"{course_folder}: not a course folder (it has no course.json)") from error
    if not stage.enabled(configuration):
        raise StageError(f"{stage.name} is disabled in the configuration")
    children = ChildProcesses()
    try:
        context = RunContext(
            configuration=configuration,
            children=children,
            logs=configuration.logs,
            forced=frozenset({stage.name} if forced else ()),
            logger=logger,
            slots=plan.device_names,
        )
        device = plan.slots[stage.slots].slots[0] if stage.slots else "cpu"
        with _beside_other_stages(CohortFiles(course_folder.resolve().parent.parent)), one_blas_thread():
            return run_course_stage(stage, course, context, Grant(plan.parallelization.budget, device))
    finally:
        children.close()


@contextmanager
def _beside_other_stages(cohort: CohortFiles) -> Iterator[None]:
    """Keep runs out of the output folder, but not other single stages."""
    if not cohort.courses.is_dir():
        yield  # a course folder by itself
        return
    try:
        with locked(cohort.lock, shared=True):
            yield
    except LockedError as error:
        who = f" ({error.holder})" if error.holder is not None else ""
        raise StageError(f"{cohort.folder}: a run is at work there{who}; wait for it to end") from error
