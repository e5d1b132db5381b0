"""`rtpipeline report OUT`: the pages alone, from the results as they are."""

from __future__ import annotations

import os

import typer

from rtpipeline.cli.console import configuration_of_output, explained_errors
from rtpipeline.cli.flags import ConfigOfLastRun, OutputFolder, Verbose
from rtpipeline.cli.run import run_and_say
from rtpipeline.course import CohortFiles
from rtpipeline.pipeline.run import RunOptions

STAGE = "report"


def command(
    outdir: OutputFolder,
    config: ConfigOfLastRun = None,
    verbose: Verbose = False,
) -> None:
    """Write the reports again from the results."""
    configuration = configuration_of_output(outdir, config or [], os.environ)
    options = RunOptions((STAGE,), frozenset((STAGE,)))
    with explained_errors():
        result = run_and_say(configuration, options, configuration_file=None, verbose=verbose)
    typer.echo(CohortFiles(outdir).report)
    raise typer.Exit(result.exit_code)
