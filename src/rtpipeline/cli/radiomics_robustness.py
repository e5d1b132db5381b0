"""`rtpipeline radiomics-robustness`: perturb one course's structures and extract features."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from rtpipeline.cli.console import configuration_from, explained_errors
from rtpipeline.cli.flags import Config, ForceThis, MaxWorkers, Verbose
from rtpipeline.cli.stage import exit_code_of, run_stage
from rtpipeline.course import CourseFiles

STAGE = "radiomics_robustness"


def command(
    course_dir: Annotated[Path, typer.Option(help="Course folder.")],
    config: Config = None,
    output: Annotated[Path | None, typer.Option(help="Also put the table there, as Parquet.")] = None,
    max_workers: MaxWorkers = None,
    force: ForceThis = False,
    verbose: Verbose = False,
) -> None:
    """Perturb one course's structures and extract features; the table is part of the course folder."""
    flags = {
        "output_dir": course_dir.resolve().parent.parent,
        "max_workers": max_workers,
        "scheduler.reserved_cores": 0 if max_workers is not None else None,
    }
    configuration, _ = configuration_from(config or [], flags, os.environ)
    with explained_errors():
        outcome = run_stage(STAGE, course_dir, configuration, force=force, verbose=verbose)
        table = CourseFiles(course_dir).radiomics_robustness
        if outcome.usable and output is not None and output.resolve() != table.resolve():
            output.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(table, output)
    typer.echo(f"{outcome.status}: {outcome.reason or output or table}")
    raise typer.Exit(exit_code_of(outcome))
