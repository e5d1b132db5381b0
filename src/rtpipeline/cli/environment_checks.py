"""The radiomics environment and TotalSegmentator's weights: `python -m rtpipeline.cli.environment_checks [CONFIG …]`.

`validate` calls it; `doctor` starts it as a process, because it needs packages that `doctor` must do without. The
answer is one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

import typer

from rtpipeline.cli.checks import Check, CheckStatus
from rtpipeline.cli.console import configuration_from
from rtpipeline.config import Configuration
from rtpipeline.outcome import StageError
from rtpipeline.pipeline.weights import needed_tasks
from rtpipeline.radiomics_conda import find_radiomics_python


def environment_checks(configuration: Configuration) -> list[Check]:
    """What the stages that `configuration` enables need besides this environment."""
    checks = []
    if configuration.radiomics.enabled or configuration.radiomics_robustness.enabled:
        checks.append(radiomics_check(configuration))
    return [*checks, *weights_checks(configuration)]


def radiomics_check(configuration: Configuration) -> Check:
    """The radiomics environment: found, started, and of the right versions."""
    try:
        return Check("radiomics environment", "ok", str(find_radiomics_python(configuration, os.environ)))
    except StageError as error:
        detail, _, fix = error.reason.partition("; ")
        return Check("radiomics environment", "problem", detail, fix)


def weights_checks(configuration: Configuration) -> list[Check]:
    """The weights of TotalSegmentator's tasks, if any is needed; those that only some images need may be missing."""
    name = "TotalSegmentator weights"
    try:
        tasks = needed_tasks(configuration)
    except StageError as error:
        return [Check(name, "problem", error.reason, "correct the configuration")]
    if missing := [task for task in tasks if task.missing]:
        status: CheckStatus = "note" if all(task.sometimes for task in missing) else "problem"
        details, _, fixes = zip(*(task.message.partition("; ") for task in missing), strict=True)
        return [Check(name, status, "; ".join(details), fixes[0])]
    places = dict.fromkeys(str(task.weights) for task in tasks)
    return [Check(name, "ok", ", ".join(places))] if places else []


if __name__ == "__main__":
    try:
        found = environment_checks(configuration_from(sys.argv[1:], {}, os.environ)[0])
    except typer.Exit as end:
        sys.exit(end.exit_code)
    sys.stdout.write(json.dumps([asdict(check) for check in found]) + "\n")
