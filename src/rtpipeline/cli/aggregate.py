"""`rtpipeline aggregate OUT`: the cohort tables alone, from the courses as they are."""

from __future__ import annotations

import os

import typer

from rtpipeline.cli.console import configuration_of_output, explained_errors
from rtpipeline.cli.flags import Clinical, ConfigOfLastRun, ForceThis, OutputFolder, Strict, Verbose
from rtpipeline.cli.run import run_and_say
from rtpipeline.config.named_files import CLINICAL, require_named_files
from rtpipeline.pipeline.run import RunOptions

STAGE = "aggregate"


def command(
    outdir: OutputFolder,
    config: ConfigOfLastRun = None,
    clinical: Clinical = None,
    strict: Strict = None,
    force: ForceThis = False,
    verbose: Verbose = False,
) -> None:
    """Put the cohort tables together again from the courses; ends with 3 where some are missing."""
    flags = {"aggregation.clinical": clinical, "aggregation.strict": strict}
    configuration = configuration_of_output(outdir, config or [], os.environ, flags)
    options = RunOptions((STAGE,), frozenset((STAGE,) if force else ()))
    with explained_errors():
        if clinical is not None:
            require_named_files(configuration, [CLINICAL])
        result = run_and_say(configuration, options, configuration_file=None, verbose=verbose)
    raise typer.Exit(result.exit_code)
