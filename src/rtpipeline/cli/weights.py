"""`rtpipeline weights`: fetch TotalSegmentator's weights ahead, where there is a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from rtpipeline.cli.console import EXIT_FAILED, configuration_from, explained_errors
from rtpipeline.inference.tasks import missing_models, weights_folder
from rtpipeline.segmentation import configured_tasks

_FETCH = (
    "import sys; from totalsegmentator.libs import download_pretrained_weights;"
    " download_pretrained_weights(int(sys.argv[1]))"
)


def command(
    config: Annotated[list[str] | None, typer.Option(help="YAML file, or KEY=VALUE; repeatable.")] = None,
    totalseg_weights: Annotated[Path | None, typer.Option(help="Folder to fetch them to.")] = None,
    totalseg_fast: Annotated[bool, typer.Option("--totalseg-fast", help="Those of the 3 mm model.")] = False,
) -> None:
    """Fetch the weights of every TotalSegmentator task that the configuration asks for."""
    flags = {"segmentation.weights": totalseg_weights, "segmentation.fast": True if totalseg_fast else None}
    configuration, _ = configuration_from(config or [], flags, os.environ)
    folder = weights_folder(configuration.segmentation.weights)
    with explained_errors():
        tasks = configured_tasks(configuration.segmentation)
    missing = sorted({model for task in tasks for model in missing_models(folder, task)})
    for number, model in enumerate(missing, start=1):
        typer.echo(f"dataset {model} ({number} of {len(missing)}) to {folder}")
        variables = {**os.environ, "TOTALSEG_WEIGHTS_PATH": str(folder)}
        fetched = subprocess.run([sys.executable, "-c", _FETCH, str(model)], env=variables, check=False)
        if fetched.returncode != 0:
            typer.echo(
                f"rtpipeline: dataset {model} could not be fetched; try again where there is a network, or copy its "
                f"folder from another machine into {folder}",
                err=True,
            )
            raise typer.Exit(EXIT_FAILED)
    typer.echo(f"the weights of {', '.join(task.task for task in tasks)} are in {folder}")
