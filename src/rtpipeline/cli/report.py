"""`rtpipeline report OUT`: the pages alone, from the results as they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rtpipeline.cli.console import configuration_of_output, explained_errors
from rtpipeline.cli.run import run_and_say
from rtpipeline.course import CohortFiles
from rtpipeline.pipeline.run import RunOptions

STAGE = "report"


def command(
    outdir: Annotated[Path, typer.Argument(help="Output folder of a run.")],
    config: Annotated[
        list[str] | None, typer.Option(help="YAML file, or KEY=VALUE; repeatable [the last run's].")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details.")] = False,
) -> None:
    """Write the reports again from the results."""
    configuration = configuration_of_output(outdir, config or [], os.environ)
    options = RunOptions((STAGE,), frozenset((STAGE,)))
    with explained_errors():
        result = run_and_say(configuration, options, configuration_file=None, verbose=verbose)
    typer.echo(CohortFiles(outdir).report)
    raise typer.Exit(result.exit_code)
