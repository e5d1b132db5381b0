"""`rtpipeline stage NAME --course DIR`: one stage of one course; what workflow systems call."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rtpipeline.cli.console import configuration_from, explained_errors, start_logging, usage_error
from rtpipeline.cli.flags import Config, ForceThis, MaxWorkers, Verbose
from rtpipeline.config import Configuration
from rtpipeline.config.named_files import require_named_files
from rtpipeline.course import CourseFiles
from rtpipeline.outcome import EXIT_FAILED, EXIT_OK, EXIT_PARTIAL, Outcome
from rtpipeline.pipeline.single_stage import run_one_stage
from rtpipeline.pipeline.stages import STAGES


def _names() -> list[str]:
    """For shell completion."""
    return [stage.name for stage in STAGES]


def command(
    name: Annotated[str, typer.Argument(help="Name or alias of the stage.", autocompletion=_names)],
    course: Annotated[Path, typer.Option(help="Course folder.")],
    config: Config = None,
    max_workers: MaxWorkers = None,
    force: ForceThis = False,
    verbose: Verbose = False,
) -> None:
    """Run one stage of one course."""
    if name not in {known for stage in STAGES for known in (stage.name, *stage.aliases)}:
        raise usage_error(f"no stage of a course is called {name!r}; they are {', '.join(_names())}")
    # A course folder is OUTDIR/PATIENT/COURSE; the threads are given by the caller, so no core is reserved again.
    flags = {
        "output_dir": course.resolve().parent.parent,
        "max_workers": max_workers,
        "scheduler.reserved_cores": 0 if max_workers is not None else None,
    }
    configuration, _ = configuration_from(config or [], flags, os.environ)
    with explained_errors():
        outcome = run_stage(name, course, configuration, force=force, verbose=verbose)
    raise typer.Exit(exit_code_of(outcome))


def run_stage(name: str, course: Path, configuration: Configuration, *, force: bool, verbose: bool) -> Outcome:
    """Run one stage of one course with its log, and say so where there was nothing to do.

    Raises:
        typer.Exit: with code 2, where `course` is not a course folder.
        ConfigurationError: the configuration names a file that is not there.
        StageError: the stage could not be started.
    """
    if not CourseFiles(course).description.is_file():
        raise usage_error(f"{course}: not a course folder (it has no course.json)")  # before a log is made there
    require_named_files(configuration)
    logger = start_logging(configuration.logs, verbose=verbose)
    outcome = run_one_stage(name, course, configuration, logger=logger, forced=force)
    if not outcome.computed:
        logger.info("%s: nothing to do, its earlier result (%s) holds; --force does it again", name, outcome.status)
    return outcome


def exit_code_of(outcome: Outcome) -> int:
    """The exit code that tells a caller how a stage ended."""
    return {"ok": EXIT_OK, "skipped": EXIT_OK, "partial": EXIT_PARTIAL, "failed": EXIT_FAILED}[outcome.status]
