"""`rtpipeline weights`: fetch TotalSegmentator's weights ahead, where there is a network."""

from __future__ import annotations

import os
import subprocess
import sys

import typer

from rtpipeline.cli.console import configuration_from, explained_errors
from rtpipeline.cli.flags import Config, TotalsegFast, TotalsegWeights
from rtpipeline.outcome import EXIT_FAILED
from rtpipeline.pipeline.weights import needed_tasks

_FETCH = """
import sys
from totalsegmentator.libs import download_pretrained_weights
sys.excepthook = lambda kind, error, trace: print(f"{kind.__name__}: {error}", file=sys.stderr)
download_pretrained_weights(int(sys.argv[1]))
"""


def command(
    config: Config = None,
    totalseg_weights: TotalsegWeights = None,
    totalseg_fast: TotalsegFast = False,
) -> None:
    """Fetch the weights of every TotalSegmentator task that the configuration or a custom model asks for."""
    flags = {"segmentation.weights": totalseg_weights, "segmentation.fast": True if totalseg_fast else None}
    configuration, _ = configuration_from(config or [], flags, os.environ)
    with explained_errors():
        tasks = needed_tasks(configuration)
    missing = sorted({(model, task.weights) for task in tasks for model in task.missing})
    for number, (model, place) in enumerate(missing, start=1):
        typer.echo(f"dataset {model} ({number} of {len(missing)}) to {place}")
        variables = {**os.environ, "TOTALSEG_WEIGHTS_PATH": str(place)}
        fetched = subprocess.run([sys.executable, "-c", _FETCH, str(model)], env=variables, check=False)
        if fetched.returncode != 0:
            typer.echo(
                f"rtpipeline: dataset {model} could not be fetched; try again where there is a network, or copy its "
                f"folder from another machine into {place}",
                err=True,
            )
            raise typer.Exit(EXIT_FAILED)
    for place in dict.fromkeys(task.weights for task in tasks):
        names = dict.fromkeys(needed.task.task for needed in tasks if needed.weights == place)
        typer.echo(f"the weights of {', '.join(names)} are in {place}")
    if not tasks:
        typer.echo("the configuration needs no weights of TotalSegmentator")
