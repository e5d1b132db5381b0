"""`rtpipeline radiomics-robustness-aggregate`: judge the robustness of every feature over courses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from rtpipeline.cli.console import configuration_from, explained_errors, start_logging
from rtpipeline.cli.flags import Config, Strict, Verbose
from rtpipeline.cli.stage import exit_code_of
from rtpipeline.course import CohortFiles, CourseFiles
from rtpipeline.radiomics_robustness.cohort import aggregate_robustness


def command(
    inputs: Annotated[
        list[Path],
        typer.Option(help="Tables radiomics_robustness_ct.parquet, course folders or output folders; one or more."),
    ],
    output: Annotated[Path, typer.Option(help="The workbook to write (.xlsx); Parquet files go beside it.")],
    more_inputs: Annotated[list[Path] | None, typer.Argument(hidden=True)] = None,
    config: Config = None,
    strict: Strict = None,
    verbose: Verbose = False,
) -> None:
    """Judge the robustness of every feature over courses; ends with 3 where a course is missing."""
    configuration, _ = configuration_from(config or [], {"aggregation.strict": strict}, os.environ)
    with explained_errors():
        outcome = aggregate_robustness(
            list(tables_of([*inputs, *(more_inputs or ())])),
            configuration,
            workbook=output.with_suffix(".xlsx"),
            logs=output.parent / "Logs",
            logger=start_logging(None, verbose=verbose),
        )
    typer.echo(f"{outcome.status}: {outcome.reason or output.with_suffix('.xlsx')}")
    raise typer.Exit(exit_code_of(outcome))


def tables_of(inputs: Sequence[Path]) -> Iterator[Path]:
    """The course tables that tables, course folders and output folders stand for."""
    for path in inputs:
        if CohortFiles(path).manifest.is_file():
            yield from (course.files.radiomics_robustness for course in CohortFiles(path).manifest_courses())
        elif path.suffix == ".parquet":
            yield path
        else:
            yield CourseFiles(path).radiomics_robustness
