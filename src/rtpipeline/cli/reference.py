"""The reference of all commands and flags, written from the commands themselves.

`python -m rtpipeline.cli.reference FOLDER` writes `docs/reference/commands.md` below the project's folder; a test
holds it in step.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from rtpipeline.cli.app import COMMANDS, app

HEADER = """\
# Commands

`rtpipeline COMMAND --help` says the same on the terminal. Flags without a command mean `run`.

Exit codes of every command: 0 everything asked for is there (`doctor`, `validate`: nothing is wrong) · 1 failed ·
2 wrong usage or configuration, nothing was started · 3 partial: some course or stage failed, the rest is there ·
130 interrupted.

This page is written from the commands in `src/rtpipeline/cli/`.
"""


def markdown() -> str:
    """One section per command, with a table of its arguments and flags."""
    return HEADER + "".join(line for name in COMMANDS for line in _section(name))


def _section(name: str) -> Iterator[str]:
    program: Any = typer.main.get_command(app)
    _, command, _ = program.resolve_command(program.make_context("rtpipeline", ["run"]), [name])
    yield f"\n## `rtpipeline {name}`\n\n{COMMANDS[name].text}\n\n| flag | meaning |\n|---|---|\n"
    for parameter in command.params:
        if parameter.name != "help":
            meaning = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
            yield f"| {_written(parameter)} | {meaning} |\n"


def _written(parameter: Any) -> str:
    """How a user types it."""
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    value = f" {parameter.metavar}".replace("|", "\\|") if parameter.metavar else ""
    names = " ".join(f"`{name}{value}`" for name in (*parameter.opts, *parameter.secondary_opts))
    return f"{names} (required)" if parameter.required else names


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    (folder / "docs" / "reference" / "commands.md").write_text(markdown(), encoding="utf-8")
