"""`rtpipeline demo`: write a small synthetic cohort and run the whole pipeline on it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from rtpipeline.cli.console import explained_errors
from rtpipeline.cli.run import run_and_say
from rtpipeline.course import CohortFiles
from rtpipeline.demo.cohort import write_demo_cohort
from rtpipeline.demo.settings import demo_configuration
from rtpipeline.demo.tiny_weights import write_tiny_weights
from rtpipeline.pipeline.run import RunOptions


def command(
    folder: Annotated[Path, typer.Option(help="Folder for the cohort, the weights and the results.")] = Path(
        "rtpipeline-demo"
    ),
) -> None:
    """Write a small synthetic cohort and run the whole pipeline on it."""
    dicom, weights, output = folder / "dicom", folder / "weights", folder / "output"
    with explained_errors():
        start = time.monotonic()
        typer.echo(f"writing a synthetic cohort to {dicom}")
        write_demo_cohort(dicom)
        typer.echo(f"writing small TotalSegmentator weights to {weights}")
        write_tiny_weights(weights)
        typer.echo(f"done in {time.monotonic() - start:.0f} s; running the pipeline")
        configuration = demo_configuration(dicom, weights, output)
        result = run_and_say(configuration, RunOptions(), configuration_file=None)
    cohort = CohortFiles(output)
    typer.echo("\nHow long each stage took, summed over the courses:")
    for stage, seconds in result.stage_seconds.items():
        typer.echo(f"  {stage:22} {seconds:7.1f} s")
    typer.echo(f"\nResults: {cohort.results.resolve()}\nReport:  {cohort.report.resolve()}")
    raise typer.Exit(result.exit_code)
