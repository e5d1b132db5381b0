"""`rtpipeline workflow path|run`: the packaged Snakefile, for clusters."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from rtpipeline.atomic import write_text
from rtpipeline.cli.console import configuration_from, explained_errors, usage_error
from rtpipeline.cli.flags import Config, Cores, DicomRoot, DryRun, OutDir
from rtpipeline.config import Configuration, environment_keys
from rtpipeline.config.named_files import require_named_files
from rtpipeline.outcome import EXIT_INTERRUPTED, EXIT_OK, StageError
from rtpipeline.pipeline.run import input_folder
from rtpipeline.workflow import PROFILES, SNAKEFILE
from rtpipeline.workflow.jobs import Jobs, exit_code_of_courses


class Action(str, Enum):
    """What to do with the Snakefile."""

    path = "path"
    run = "run"


def command(
    action: Annotated[Action, typer.Argument(help="path: print where the Snakefile is. run: run Snakemake on it.")],
    cores: Cores = None,
    profile: Annotated[str | None, typer.Option(help="`slurm`, or a folder with a Snakemake profile.")] = None,
    dicom_root: DicomRoot = None,
    outdir: OutDir = None,
    config: Config = None,
    dry_run: DryRun = False,
    snakemake: Annotated[list[str] | None, typer.Argument(help="Further arguments for Snakemake, after --.")] = None,
) -> None:
    """The packaged Snakefile: where it is, or a run of it by Snakemake."""
    if action is Action.path:
        typer.echo(SNAKEFILE)
        return
    if cores is None and profile is None:
        raise usage_error("workflow run: give --cores N (or all), or --profile slurm")
    if importlib.util.find_spec("snakemake") is None:
        raise usage_error('Snakemake is not installed here: pip install "rtpipeline[workflow]"')
    flags = {"dicom_root": dicom_root, "output_dir": outdir}
    configuration, _ = configuration_from(config or [], flags, os.environ)
    arguments = [*(["--dry-run"] if dry_run else []), *(snakemake or [])]
    if cores is not None:
        arguments += ["--cores", cores]
    if profile is not None:
        arguments += [
            "--profile",
            str(PROFILES / profile if (PROFILES / profile).is_dir() else Path(profile).resolve()),
        ]
    with explained_errors():
        input_folder(configuration)
        require_named_files(configuration)
        code = _run_snakemake(configuration, arguments, dry_run=dry_run)
        if code == EXIT_OK and not dry_run:
            code = exit_code_of_courses(Jobs.of(configuration, None))
    raise typer.Exit(code)


def _run_snakemake(configuration: Configuration, arguments: list[str], *, dry_run: bool) -> int:
    """Run Snakemake on a configuration file that holds everything; returns an exit code of ours.

    Raises:
        StageError: Snakemake ended with an error.
    """
    # What the variables say is in the file by now, below what the flags say.
    environment = {name: value for name, value in os.environ.items() if name not in environment_keys()}
    with tempfile.TemporaryDirectory(prefix="rtpipeline-workflow-") as temporary:
        file = Path(temporary) / "config.yaml" if dry_run else Jobs.of(configuration, None).effective_configuration
        write_text(file, configuration.as_yaml())
        words = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--configfile", str(file)]
        process = subprocess.Popen([*words, *arguments], env=environment)
        code, interrupted = _wait(process)
    if interrupted:
        return EXIT_INTERRUPTED
    if code != 0:
        raise StageError(
            f"Snakemake ended with code {code}; the lines above name the job, and {configuration.logs} has its log"
        )
    return EXIT_OK


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, bool]:
    """The exit code of Snakemake, and whether it was interrupted: it ends its jobs itself, and is waited for."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if number == signal.SIGTERM:  # Ctrl-C reaches Snakemake by itself
            process.terminate()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return process.wait(), bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
