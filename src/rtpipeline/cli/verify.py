"""`rtpipeline verify OUT`: are all files as the run left them, and as they were when they were read?"""

from __future__ import annotations

import os
from dataclasses import asdict

import typer

from rtpipeline.cli.console import configuration_of_output, explained_errors, print_json
from rtpipeline.cli.flags import ConfigOfLastRun, Json, OutputFolder
from rtpipeline.course import CohortFiles
from rtpipeline.outcome import EXIT_FAILED
from rtpipeline.pipeline.verify import Finding, verify
from rtpipeline.scheduling.budget import worker_budget


def command(
    outdir: OutputFolder,
    config: ConfigOfLastRun = None,
    json_output: Json = False,
) -> None:
    """Compare every file of the results with what was recorded of it; ends with 1 where one differs."""
    configuration = configuration_of_output(outdir, config or [], os.environ)
    threads = worker_budget(configuration.cores, configuration.scheduler.reserved_cores, configuration.max_workers)
    cohort = CohortFiles(outdir)
    findings: list[Finding] = []
    files = 0
    with explained_errors():
        courses = [course.key for course in cohort.manifest_courses()]
        for name, found in zip([*courses, "cohort tables"], verify(cohort, configuration, threads), strict=True):
            files += found.files
            findings += found.findings
            if not json_output:
                typer.echo(f"{name}: {found.files} files, {len(found.findings) or 'no'} differences")
    if json_output:
        result = {"files": files, "ok": not findings, "findings": [asdict(finding) for finding in findings]}
        print_json(result)
    else:
        for finding in findings:
            typer.echo(str(finding))
        typer.echo(f"{files} files compared, {len(findings) or 'no'} differences")
    if findings:
        raise typer.Exit(EXIT_FAILED)
