"""Every command says the same flag in the same words, and `plan` takes the flags of `run`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.text import Text
from typer.testing import CliRunner

from dicom_factory import Patient
from rtpipeline.cli.app import COMMANDS, app


def parameters(name: str) -> dict[str, Any]:
    program: Any = typer.main.get_command(app)
    _, command, _ = program.resolve_command(program.make_context("rtpipeline", ["run"]), [name])
    return {parameter.name: parameter for parameter in command.params if parameter.name != "help"}


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"})


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_flag(name: str) -> None:
    result = call(name, "--help")
    assert result.exit_code == 0, result.output
    for parameter in parameters(name).values():
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in result.output
            assert parameter.help
            assert not re.search(rf"{parameter.opts[0]} .*<bool>", result.output)  # a switch takes no value
            assert Text.from_markup(parameter.help).plain == parameter.help  # nothing is taken for a style and lost


def test_the_same_flag_means_the_same_everywhere() -> None:
    # `--force` names stages where there are several, and is a switch where there is one; what `explain`, `aggregate`
    # and the like start from is the configuration of the last run.
    different = {"--force", "--config"}
    # These commands write one table, and look at one disk.
    of_its_own = {("doctor", "--outdir"), ("rois", "--output"), ("explain", "--outdir")}
    helps: dict[str, set[str]] = {}
    for name in COMMANDS:
        for parameter in parameters(name).values():
            for written in parameter.opts if parameter.param_type_name == "option" else ():
                if written not in different and (name, written) not in of_its_own:
                    helps.setdefault(written, set()).add(parameter.help)
    several = {written: found for written, found in helps.items() if len(found) > 1}
    assert several == {
        "--output": {
            "Also put the table there, as Parquet.",
            "The workbook to write (.xlsx); Parquet files go beside it.",
        }
    }


def test_plan_takes_the_flags_of_run() -> None:
    assert set(parameters("run")) - set(parameters("plan")) == {"dry_run", "verbose"}


def test_the_list_of_commands_is_grouped_and_complete() -> None:
    shown = call("--help").output
    for group in ("Make results:", "Look at results:", "Single steps:", "Set up:"):
        assert group in shown
    for name, listed in COMMANDS.items():
        assert f"  {name} " in shown
        assert listed.text.split()[0] in shown


@pytest.mark.parametrize("arguments", [("run", "--cores", "0"), ("run", "--cores", "many"), ("run", "--stage", "dhv")])
def test_a_value_that_cannot_be_is_wrong_usage(arguments: tuple[str, ...]) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert arguments[-1] in result.output


def test_a_plan_of_some_stages_shows_those_alone_in_full_words(tmp_path: Any) -> None:
    Patient(tmp_path / "data").make_course()
    folders = ("--dicom-root", tmp_path / "data", "--outdir", tmp_path / "out")
    result = CliRunner().invoke(app, list(map(str, ("plan", *folders, "--no-radiomics", "--no-robustness", "--no-qc"))))
    assert result.exit_code == 0, result.output
    assert "quality" not in result.output
    assert "radiomics" not in result.output
    assert "segmentation" in result.output
    assert "…" not in result.output
    assert not (tmp_path / "out").exists()


BASH = """
source <(rtpipeline --show-completion bash)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_rtpipeline_completion rtpipeline
echo "${COMPREPLY[*]}"
"""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["st"], {"status", "stage"}),
        (["run", "--totalseg-"], {"--totalseg-device", "--totalseg-fast", "--totalseg-weights"}),
        (["run", "--totalseg-device", ""], {"gpu", "cpu", "mps"}),
        (["plan", "--stage", "radiomics"], {"radiomics", "radiomics_robustness"}),
        (["stage", "d"], {"dvh"}),
    ],
)
def test_bash_completes_what_was_begun(words: list[str], offered: set[str], tmp_path: Path) -> None:
    program = tmp_path / "rtpipeline"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m rtpipeline.cli.app \"$@\"\n", encoding="utf-8")
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SHELL": "/bin/bash"}
    answer = subprocess.run(
        ["bash", "-c", BASH, "bash", "rtpipeline", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(answer.stdout.split()) == offered, answer.stderr
