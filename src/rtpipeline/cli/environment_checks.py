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

from rtpipeline.cli.checks import Check
from rtpipeline.cli.console import configuration_from
from rtpipeline.config import Configuration
from rtpipeline.inference.tasks import weights_folder
from rtpipeline.outcome import StageError
from rtpipeline.radiomics_conda import find_radiomics_python
from rtpipeline.segmentation import missing_weights


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
    """The weights of every TotalSegmentator task that the configuration asks for; MR's matter only to MR series."""
    name = "TotalSegmentator weights"
    section = configuration.segmentation
    without_mr = configuration.model_copy(update={"segmentation": section.model_copy(update={"mr": False})})
    try:
        missing, missing_without_mr = missing_weights(configuration), missing_weights(without_mr)
    except StageError as error:
        return Check(name, "problem", error.reason, "correct segmentation.extra_models")
    if missing_without_mr:
        return Check(name, "problem", *_detail_and_fix(missing))
    if missing:
        return Check(name, "note", *_detail_and_fix(missing))
    return Check(name, "ok", str(weights_folder(section.weights)))


def _detail_and_fix(messages: list[str]) -> tuple[str, str]:
    details, _, fixes = zip(*(message.partition("; ") for message in messages), strict=True)
    return "; ".join(details), fixes[0]


if __name__ == "__main__":
    try:
        found = environment_checks(configuration_from(sys.argv[1:], {}, os.environ)[0])
    except typer.Exit as end:
        sys.exit(end.exit_code)
    sys.stdout.write(json.dumps([asdict(check) for check in found]) + "\n")
