"""The run of a cohort: organize, walk every course through the stages, put the tables together."""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from rtpipeline import __version__, custom_models, segmentation
from rtpipeline.atomic import write_text
from rtpipeline.config import Configuration, ConfigurationError
from rtpipeline.course import CohortFiles, Course
from rtpipeline.organize import OrganizeResult, organize
from rtpipeline.organize.identifier_check import without_identifiers
from rtpipeline.organize.pseudonymise import key_of
from rtpipeline.outcome import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_PARTIAL, Outcome, StageError, partial
from rtpipeline.pipeline.cohort_stages import aggregate_results, write_reports
from rtpipeline.pipeline.course_stage import (
    RunContext,
    remove_leftovers,
    run_course_stage,
    stage_states,
)
from rtpipeline.pipeline.estimates import GPU_MEMORY_BYTES, memory_bytes
from rtpipeline.pipeline.plan import RunPlan, priority, task_key
from rtpipeline.pipeline.stages import STAGES
from rtpipeline.scheduling.adaptive_pool import AdaptivePool, Task
from rtpipeline.scheduling.blas_threads import one_blas_thread
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.hints import Hints
from rtpipeline.scheduling.locks import LockedError, locked
from rtpipeline.scheduling.memory import free_gpu_memory_bytes, free_memory_bytes
from rtpipeline.scheduling.progress import PoolView

PROGRESS_EVERY_S = 2.0
"""Between lines of the log that say how far organizing is."""
_INTERRUPTED = "interrupted; the next run goes on from here"


@dataclass(frozen=True)
class RunOptions:
    """What a user asks of one run beyond the configuration.

    Attributes:
        stages: names of the stages to run, or None for all that are enabled.
        forced: stages to do again even where their result still holds.
        retry_failed: whether stages that failed before are tried again.
    """

    stages: tuple[str, ...] | None = None
    forced: frozenset[str] = frozenset()
    retry_failed: bool = True

    def wants(self, stage: str) -> bool:
        """Whether a stage is part of the run."""
        return self.stages is None or stage in self.stages

    @property
    def only_results(self) -> bool:
        """Whether only the cohort's results are asked for, made of the courses as they are."""
        return self.stages is not None and {*self.stages} <= {"aggregate", "report"}


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        exit_code: 0 everything is there, 1 failed, 3 partial, 130 interrupted.
        courses: the courses of the cohort.
        outcomes: outcome of each course stage by (course key, stage name), and of `aggregate` by ("", "aggregate").
        stage_seconds: wall-clock seconds that each stage took, summed over courses.
        message: one sentence for the end of the run.
    """

    exit_code: int
    message: str
    courses: tuple[Course, ...] = ()
    outcomes: Mapping[tuple[str, str], Outcome] = field(default_factory=dict)
    stage_seconds: Mapping[str, float] = field(default_factory=dict)


def run(
    configuration: Configuration,
    options: RunOptions,
    *,
    logger: logging.Logger,
    show: Callable[[PoolView], None] | None = None,
) -> RunResult:
    """Run the pipeline on `configuration.dicom_root` into `configuration.output_dir`.

    Raises:
        ConfigurationError: there is no input folder; nothing was started.
        StageError: nothing could be started (unwritable output, another run at work).
    """
    _require_compatible(configuration)
    cohort = CohortFiles(configuration.output_dir)
    plan = RunPlan.of(configuration, options.stages)
    context = RunContext(
        configuration=configuration,
        children=ChildProcesses(),
        logs=configuration.logs,
        forced=options.forced,
        retry_failed=options.retry_failed,
        logger=logger,
        slots=plan.device_names,
        show=show,
    )
    with only_run(cohort), _stop_on_signal(context), one_blas_thread():
        try:
            return _run(cohort, context, options, plan)
        except StageError:
            if context.cancelled.is_set():
                return RunResult(EXIT_INTERRUPTED, _INTERRUPTED)
            raise
        finally:
            context.children.close()


def _run(cohort: CohortFiles, context: RunContext, options: RunOptions, plan: RunPlan) -> RunResult:
    configuration, logger = context.configuration, context.logger
    if organizes(cohort, options):
        key_of(cohort, configuration.organize.pseudonymize)  # a wrong key ends the run before anything is logged
    source = "pseudonyms" if cohort.pseudonyms.is_file() else configuration.dicom_root
    logger.info("rtpipeline %s: %s -> %s", __version__, source, configuration.output_dir)
    logger.info("%s", plan.parallelization)
    _say_what_will_be_missing(configuration, plan, logger)
    # Names of input folders may name people.
    written = configuration.model_copy(update={"dicom_root": None}) if cohort.pseudonyms.is_file() else configuration
    write_text(cohort.effective_configuration, written.as_yaml())
    seconds: dict[str, float] = {}
    with _timed(seconds, "organize"):
        organized = _organize(cohort, context, options, plan)
    if context.cancelled.is_set():
        return RunResult(EXIT_INTERRUPTED, _INTERRUPTED)
    if not organized.courses:
        return RunResult(EXIT_FAILED, _no_courses_message(organized, cohort), outcomes=_organize_outcome(organized))
    logger.info("%d courses of %d patients", len(organized.courses), _patient_count(organized.courses))
    plan = plan.for_courses(len(organized.courses))
    outcomes = _run_courses(organized.courses, plan, context) | _organize_outcome(organized)
    if not context.cancelled.is_set():
        outcomes |= _finish(organized, cohort, context, options, plan, outcomes, seconds)
    if context.cancelled.is_set():
        return RunResult(EXIT_INTERRUPTED, _INTERRUPTED, organized.courses, outcomes)
    return _result(organized.courses, outcomes, {**_stage_seconds(organized.courses), **seconds})


def _organize(cohort: CohortFiles, context: RunContext, options: RunOptions, plan: RunPlan) -> OrganizeResult:
    configuration, logger = context.configuration, context.logger
    if not organizes(cohort, options):
        return OrganizeResult(tuple(cohort.manifest_courses()), files_read=0, files_total=0, changed=False, warnings=())
    result = organize(
        input_folder(configuration),
        cohort,
        configuration,
        threads=plan.parallelization.budget,
        logger=logger,
        report_progress=_periodic_progress(logger, "Organize"),
        cancelled=context.cancelled,
        force="organize" in options.forced,
    )
    logger.info("Organize: %d files, %d of them read now", result.files_total, result.files_read)
    for warning in result.warnings:
        logger.warning("%s", warning)
    for course in result.courses:
        for warning in course.description.warnings:
            logger.warning("%s organize: %s", course.key, warning)
    return result


def _organize_outcome(organized: OrganizeResult) -> dict[tuple[str, str], Outcome]:
    """Which courses could not be organized; nothing where all could."""
    if not organized.failures:
        return {}
    reasons = "; ".join(f"{course}: {reason}" for course, reason in organized.failures.items())
    return {("", "organize"): partial(f"{len(organized.failures)} courses could not be organized: {reasons}")}


def organizes(cohort: CohortFiles, options: RunOptions) -> bool:
    """Whether a run looks at the input: it is asked to, or there is nothing to go on with."""
    return options.wants("organize") or not cohort.manifest.is_file()


def input_folder(configuration: Configuration) -> Path:
    """The folder of the DICOM export.

    Raises:
        ConfigurationError: none is named, it is not there, or the results would go into it.
    """
    folder = configuration.dicom_root
    if folder is None:
        raise ConfigurationError("no input folder: give --dicom-root DIR, or dicom_root in the configuration")
    if not folder.is_dir():
        what = "a file" if folder.is_file() else "no such folder"
        raise ConfigurationError(f"{folder}: {what}; --dicom-root names the folder of the DICOM export")
    if folder.resolve() == configuration.output_dir.resolve():
        raise ConfigurationError(f"{folder}: the export itself, which is only read; choose another folder as --outdir")
    return folder


def _run_courses(courses: Sequence[Course], plan: RunPlan, context: RunContext) -> dict[tuple[str, str], Outcome]:
    for course in courses:
        remove_leftovers(course)
    tasks = []
    for number, course in enumerate(courses):
        slices = max((image.instance_count for image in course.description.images), default=0)
        for stage in plan.stages:
            tasks.append(
                Task(
                    key=task_key(course, stage),
                    label=stage.label,
                    run=functools.partial(run_course_stage, stage, course, context),
                    tokens=plan.tokens(stage, context.configuration),
                    slots=stage.slots,
                    needs=tuple(f"{course.key} {need}" for need in plan.needs(stage)),
                    priority=priority(number, stage),
                    group=course.key,
                    memory_bytes=memory_bytes(stage.name, slices, plan.tokens(stage, context.configuration)),
                    gpu_memory_bytes=GPU_MEMORY_BYTES if stage.slots is not None else 0,
                )
            )
    pool = AdaptivePool(
        budget=plan.parallelization.budget,
        slots=context.slots,
        parallel_groups=plan.parallelization.courses,
        logger=context.logger,
        cancelled=context.cancelled,
        free_memory=free_memory_bytes,
        free_gpu_memory=free_gpu_memory_bytes,
        show=context.show,
        hints=Hints(context.logger, _sequential_stages(context.configuration)),
    )
    ended = pool.run(tasks)
    return {(course.key, stage.name): ended[task_key(course, stage)] for course in courses for stage in plan.stages}


def _sequential_stages(configuration: Configuration) -> frozenset[str]:
    """Labels of the stages that take one structure after another."""
    names = ("radiomics", "radiomics_robustness") if configuration.radiomics.sequential else ()
    return frozenset(stage.label for stage in STAGES if stage.name in names)


def _finish(
    organized: OrganizeResult,
    cohort: CohortFiles,
    context: RunContext,
    options: RunOptions,
    plan: RunPlan,
    outcomes: Mapping[tuple[str, str], Outcome],
    seconds: dict[str, float],
) -> dict[tuple[str, str], Outcome]:
    """Cohort tables and reports; nothing is made again when nothing changed."""
    ended: dict[tuple[str, str], Outcome] = {}
    if options.wants("aggregate"):
        with _timed(seconds, "aggregate"):
            threads = plan.aggregation_threads(context.configuration)
            ended["", "aggregate"] = aggregate_results(organized.courses, cohort, context, threads=threads)
    if options.wants("report"):
        with _timed(seconds, "report"):
            ended["", "report"] = write_reports(organized.courses, cohort, context, {**outcomes, **ended}, seconds)
    if organized.pseudonyms is not None and (organized.changed or _anything_computed({**outcomes, **ended})):
        with _timed(seconds, "pseudonyms"):
            ended["", "pseudonyms"] = without_identifiers(cohort, context.logs, organized.pseudonyms)
    return ended


def _anything_computed(outcomes: Mapping[tuple[str, str], Outcome]) -> bool:
    return any(outcome.computed for outcome in outcomes.values())


def _result(
    courses: tuple[Course, ...], outcomes: Mapping[tuple[str, str], Outcome], seconds: Mapping[str, float]
) -> RunResult:
    statuses = [outcome.status for outcome in outcomes.values()]
    if not _anything_computed(outcomes):
        message = f"nothing to do: every stage of {len(courses)} courses is up to date"
    else:
        message = f"{len(courses)} courses: " + ", ".join(
            f"{statuses.count(status)} stages {status}"
            for status in ("ok", "partial", "skipped", "failed")
            if status in statuses
        )
    if statuses and all(status == "failed" for status in statuses):
        code = EXIT_FAILED
    elif "failed" in statuses or "partial" in statuses:
        code = EXIT_PARTIAL
    else:
        code = EXIT_OK
    return RunResult(code, message, courses, outcomes, seconds)


def _require_compatible(configuration: Configuration) -> None:
    if configuration.organize.pseudonymize is None:
        return
    if configuration.organize.use_hardlinks:
        raise ConfigurationError("--pseudonymize makes new files: organize.use_hardlinks cannot be true beside it")
    if configuration.metadata.include_identifiers:
        raise ConfigurationError("--pseudonymize and metadata.include_identifiers contradict each other; drop one")


def _say_what_will_be_missing(configuration: Configuration, plan: RunPlan, logger: logging.Logger) -> None:
    """What cannot work is said before anything starts, not after hours."""
    for note in plan.notes:
        if configuration.segmentation.require_gpu:
            raise StageError(f"segmentation.require_gpu is true, but {note}")
        logger.warning("%s", note)
    if any(stage.name == "segmentation" for stage in plan.stages):
        for needed in segmentation.needed_tasks(configuration):
            if needed.missing:
                logger.warning("%s%s", "" if needed.sometimes else "new segmentations will fail: ", needed.message)
    if any(stage.name == "custom_models" for stage in plan.stages):
        for message in custom_models.unusable_models(configuration):
            logger.warning("a custom model will fail: %s", message)


def _no_courses_message(organized: OrganizeResult, cohort: CohortFiles) -> str:
    for outcome in _organize_outcome(organized).values():
        return outcome.reason
    if organized.files_total == 0:
        return "the input folder has no files; --dicom-root must name the folder that holds the DICOM export"
    if organized.not_wanted:
        return (
            f"none of the {organized.not_wanted} courses of the input is wanted: organize.course_filter names others; "
            f"{cohort.table('unused_files')} lists them"
        )
    return (
        f"no course was found in {organized.files_total} files: none of them is usable DICOM of a CT, MR, PET, "
        f"structure set, plan or dose; {cohort.table('unused_files')} gives the reason for each file"
    )


def _stage_seconds(courses: Sequence[Course]) -> dict[str, float]:
    """Seconds that each stage took when it was last run, summed over the courses."""
    seconds: dict[str, float] = {}
    for course in courses:
        for name, state in stage_states(course).items():
            seconds[name] = seconds.get(name, 0.0) + state.seconds
    return {stage.name: seconds[stage.name] for stage in STAGES if stage.name in seconds}


def _patient_count(courses: Sequence[Course]) -> int:
    return len({course.description.patient for course in courses})


@contextmanager
def only_run(cohort: CohortFiles) -> Iterator[None]:
    """Hold the output folder, so that two runs never write into it at once; a dead process does not keep it.

    Raises:
        StageError: somebody else is at work there, or the folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(cohort.lock))
        except LockedError as error:
            who = f" ({error.holder})" if error.holder is not None else ""
            raise StageError(f"{cohort.folder}: another run is at work there{who}; wait for it to end") from error
        except OSError as error:
            raise StageError(
                f"{cohort.folder}: cannot write to the output folder ({error.strerror}); choose another --outdir or "
                "mend its permissions"
            ) from error
        yield


@contextmanager
def _stop_on_signal(context: RunContext) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the child processes and start nothing more; a second one ends the program at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread of a program can receive signals
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: FrameType | None) -> None:
        context.logger.warning("stopping: children end, the next run goes on from here; a second Ctrl-C ends at once")
        context.cancelled.set()
        for other, handler in previous.items():
            signal.signal(other, handler)
        threading.Thread(target=context.children.close, name="stop").start()

    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.monotonic() - start


def _periodic_progress(logger: logging.Logger, label: str) -> Callable[[int, int], None]:
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PROGRESS_EVERY_S:
            last = now
            logger.info("%s: %d/%d files", label, done, total)

    return report
