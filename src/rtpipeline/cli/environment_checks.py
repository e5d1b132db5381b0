"""The radiomics environment and TotalSegmentator's weights: `python -m rtpipeline.cli.environment_checks [FILE]`.

`validate` calls it; `doctor` starts it as a process, because it needs packages that `doctor` must do without. The
answer is one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import typer

from rtpipeline.cli.checks import Check
from rtpipeline.cli.console import configuration_from
from rtpipeline.config import Configuration, SegmentationSection
from rtpipeline.inference.tasks import TASKS, missing_models, options, weights_folder
from rtpipeline.outcome import StageError
from rtpipeline.radiomics_conda import find_radiomics_python

_NAMES_OF_FAST_WEIGHTS = {
    "total": "total_fast",
    "total_mr": "total_fast_mr",
    "body": "body_fast",
    "body_mr": "body_mr_fast",
}
"""What TotalSegmentator's own download command calls the weights of a task's fast variant."""


def environment_checks(configuration: Configuration) -> list[Check]:
    """What the stages that `configuration` enables need besides this environment."""
    checks = []
    if configuration.radiomics.enabled or configuration.radiomics_robustness.enabled:
        checks.append(radiomics_check(configuration))
    if configuration.segmentation.enabled:
        checks.append(weights_check(configuration))
    return checks


def radiomics_check(configuration: Configuration) -> Check:
    """The radiomics environment: found, started, and of the right versions."""
    try:
        return Check("radiomics environment", "ok", str(find_radiomics_python(configuration, os.environ)))
    except StageError as error:
        detail, _, fix = error.reason.partition("; ")
        return Check("radiomics environment", "problem", detail, fix)


def weights_check(configuration: Configuration) -> Check:
    """The weights of every TotalSegmentator task that the configuration asks for."""
    section = configuration.segmentation
    folder = weights_folder(section.weights)
    tasks = ("total", *(("total_mr",) if section.mr else ()), *section.extra_models)
    if unknown := [task for task in tasks if task not in TASKS]:
        return Check(
            "TotalSegmentator weights",
            "problem",
            f"segmentation.extra_models: TotalSegmentator has no task {', '.join(unknown)}",
            f"its tasks are {', '.join(sorted(TASKS))}",
        )
    missing = [
        task
        for task in tasks
        if missing_models(folder, options(task, fast=section.fast, roi_subset=section.roi_subset))
    ]
    if missing:
        detail = f"{', '.join(missing)}: not in {folder}"
        return Check("TotalSegmentator weights", "problem", detail, _fetch_commands(missing, section))
    return Check("TotalSegmentator weights", "ok", f"{', '.join(tasks)} in {folder}")


def _fetch_commands(tasks: list[str], section: SegmentationSection) -> str:
    program = Path(sys.executable).with_name("totalseg_download_weights")
    where = f"TOTALSEG_WEIGHTS_PATH={section.weights} " if section.weights else ""
    names = [_NAMES_OF_FAST_WEIGHTS.get(task, task) if section.fast else task for task in tasks]
    return "; ".join(f"{where}{program} -t {name}" for name in names)


if __name__ == "__main__":
    try:
        found = environment_checks(configuration_from(sys.argv[1:], {}, os.environ)[0])
    except typer.Exit as end:
        sys.exit(end.exit_code)
    sys.stdout.write(json.dumps([asdict(check) for check in found]) + "\n")
