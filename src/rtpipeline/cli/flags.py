"""Flags that several commands have: each is spelt, explained and grouped in one place. Only Typer is needed here."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_type_hints

import typer

INPUT = "Input and output"
STAGES = "Stages"
MACHINE = "Machine"
METHODS = "Methods"

_CONFIG = "FILE|KEY=VALUE"

OutputFolder: TypeAlias = Annotated[Path, typer.Argument(help="Output folder of a run.")]
DicomRoot: TypeAlias = Annotated[Path | None, typer.Option(help="Folder of the DICOM export.", rich_help_panel=INPUT)]
OutDir: TypeAlias = Annotated[Path | None, typer.Option(help="Folder for courses and results.", rich_help_panel=INPUT)]
Config: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar=_CONFIG, help="YAML file, or one key; repeatable.", rich_help_panel=INPUT),
]
ConfigOfLastRun: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar=_CONFIG, help="YAML file (else the last run's), or one key; repeatable.", rich_help_panel=INPUT
    ),
]
Clinical: TypeAlias = Annotated[
    Path | None, typer.Option(help="CSV to join to the analysis table.", rich_help_panel=INPUT)
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Verbose: TypeAlias = Annotated[bool, typer.Option("--verbose", "-v", help="Log details.")]
DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Show what would be done; write nothing.", rich_help_panel=STAGES)
]
ForceThis: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Do it again even where its result still holds.", rich_help_panel=STAGES)
]
Strict: TypeAlias = Annotated[
    bool | None, typer.Option("--strict", help="Fail where a course is missing.", rich_help_panel=STAGES)
]
Cores: TypeAlias = Annotated[
    str | None, typer.Option(metavar="N|all", help="CPU cores that may be used.", rich_help_panel=MACHINE)
]
MaxWorkers: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Largest worker budget: threads at once.", rich_help_panel=MACHINE)
]
TotalsegFast: TypeAlias = Annotated[
    bool, typer.Option("--totalseg-fast", help="The 3 mm model.", rich_help_panel=METHODS)
]
TotalsegWeights: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder of TotalSegmentator's weights.", rich_help_panel=METHODS)
]

Command: TypeAlias = Callable[..., None]


def takes(flags: type[Any]) -> Callable[[Command], Command]:
    """Give a command the fields of the dataclass `flags` as flags, before its own; it gets them as one object."""
    hints = get_type_hints(flags, include_extras=True)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    shared = [
        inspect.Parameter(field.name, kind, default=field.default, annotation=hints[field.name])
        for field in dataclasses.fields(flags)
    ]

    def decorate(function: Command) -> Command:
        _, *own = inspect.signature(function, eval_str=True).parameters.values()

        @functools.wraps(function)
        def command(**typed: Any) -> None:
            rest = {parameter.name: typed.pop(parameter.name) for parameter in own}
            function(flags(**typed), **rest)

        command.__signature__ = inspect.Signature([*shared, *own])  # type: ignore[attr-defined]
        return command

    return decorate
