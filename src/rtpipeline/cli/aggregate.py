"""`rtpipeline aggregate OUT`: the cohort tables alone, from the courses as they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rtpipeline.cli.console import configuration_of_output, explained_errors
from rtpipeline.cli.run import run_and_say
from rtpipeline.pipeline.run import RunOptions

STAGE = "aggregate"


def command(
    outdir: Annotated[Path, typer.Argument(help="Output folder of a run.")],
    config: Annotated[
        list[str] | None, typer.Option(help="YAML file, or KEY=VALUE; repeatable [the last run's].")
    ] = None,
    clinical: Annotated[Path | None, typer.Option(help="CSV to join to the analysis table.")] = None,
    strict: Annotated[bool | None, typer.Option("--strict", help="Fail where a course is missing.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Do it again even where its result still holds.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details.")] = False,
) -> None:
    """Put the cohort tables together again from the courses; ends with 3 where some are missing."""
    flags = {"aggregation.clinical": clinical, "aggregation.strict": strict}
    configuration = configuration_of_output(outdir, config or [], os.environ, flags)
    options = RunOptions((STAGE,), frozenset((STAGE,) if force else ()))
    with explained_errors():
        result = run_and_say(configuration, options, configuration_file=None, verbose=verbose)
    raise typer.Exit(result.exit_code)
