"""What `doctor` and `validate` share: one finding per thing that was looked at, printed for people or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import typer

from rtpipeline.cli.printing import output_console

CheckStatus = Literal["ok", "note", "problem"]

_MARKS = {"ok": "[green]ok     [/]", "note": "[yellow]note   [/]", "problem": "[red]problem[/]"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        status: `ok`; `note` it works, and there is something to know; `problem` something will fail.
        detail: what was found.
        fix: what to do; empty when there is nothing to do.
    """

    name: str
    status: CheckStatus
    detail: str
    fix: str = ""


def report(checks: Sequence[Check], *, as_json: bool) -> None:
    """Print the findings, and end with code 0 when nothing is wrong, else 1.

    Raises:
        typer.Exit: always.
    """
    problems = sum(check.status == "problem" for check in checks)
    if as_json:
        sys.stdout.write(
            json.dumps({"ok": problems == 0, "checks": [asdict(check) for check in checks]}, indent=1) + "\n"
        )
    else:
        _print(checks, problems)
    raise typer.Exit(1 if problems else 0)


def _print(checks: Sequence[Check], problems: int) -> None:
    console = output_console()
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        console.print(f"{_MARKS[check.status]} {check.name:{width}} ", end="")
        console.print(check.detail, markup=False)
        if check.fix:
            console.print(f"        {'':{width}} → {check.fix}", markup=False)
    words = {0: "nothing is wrong", 1: "1 problem"}
    console.print(words.get(problems, f"{problems} problems"), markup=False)
