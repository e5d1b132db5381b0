"""`rtpipeline run`: the whole job."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from rtpipeline.cli.console import configuration_from, explained_errors, start_logging
from rtpipeline.cli.flags import DryRun, Verbose, takes
from rtpipeline.cli.live_display import live_display
from rtpipeline.cli.plan import print_plan
from rtpipeline.cli.run_flags import RunFlags
from rtpipeline.config import Configuration
from rtpipeline.config.named_files import require_named_files
from rtpipeline.course import CohortFiles
from rtpipeline.outcome import EXIT_INTERRUPTED
from rtpipeline.pipeline.run import RunOptions, RunResult, input_folder, run


@takes(RunFlags)
def command(flags: RunFlags, dry_run: DryRun = False, verbose: Verbose = False) -> None:
    """Organize, segment, measure: from a DICOM export to cohort tables."""
    configuration, file = configuration_from(flags.config or [], flags.configuration_values(), os.environ)
    options = flags.options()
    with explained_errors():
        if dry_run:
            print_plan(configuration, options)
            return
        result = run_and_say(configuration, options, configuration_file=file, verbose=verbose)
    raise typer.Exit(result.exit_code)


def run_and_say(
    configuration: Configuration, options: RunOptions, *, configuration_file: Path | None, verbose: bool = False
) -> RunResult:
    """Run the pipeline with its log, and say at the end what came out and where."""
    if options.wants("organize"):
        input_folder(configuration)  # before anything is written
    if not options.only_results:
        require_named_files(configuration)
    logger = start_logging(configuration.logs, verbose=verbose)
    if configuration_file is not None:
        logger.info("configuration: %s", configuration_file)
    if configuration.organize.pseudonymize is None and not CohortFiles(configuration.output_dir).pseudonyms.is_file():
        logger.info("folders below %s carry the PatientID as it is in the files", configuration.output_dir)
    with live_display(logger) as show:
        result = run(configuration, options, logger=logger, show=show)
    for (course, stage), outcome in result.outcomes.items():
        if outcome.status in ("failed", "partial") and result.exit_code != EXIT_INTERRUPTED:
            logger.warning("%s %s %s: %s", course or "cohort", stage, outcome.status, outcome.reason)
    logger.info("%s (exit code %d)", result.message, result.exit_code)
    return result
