"""The `rtpipeline` program: finds the command, imports only its module, runs it.

Listing the commands here with their one-line help keeps `rtpipeline --help`, `doctor` and shell completion quick, and
working where the packages that a command needs are missing.
"""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from rtpipeline import __version__


class Listed(NamedTuple):
    """A command before its module is imported: the module in this package, and one line of help."""

    module: str
    text: str


GROUPS: dict[str, dict[str, Listed]] = {
    "Make results": {
        "run": Listed("run", "Organize, segment, measure: from a DICOM export to cohort tables."),
        "plan": Listed("plan", "Show every course × stage with its threads and pools; write nothing."),
        "aggregate": Listed("aggregate", "Put the cohort tables together again from the courses."),
        "report": Listed("report", "Write the reports again from the results."),
    },
    "Look at results": {
        "status": Listed("status", "Show which stages of which courses are done, and why others are not."),
        "explain": Listed("explain", "Say why each stage of a course ran, and whether it would run again."),
        "verify": Listed("verify", "Compare every file of the results with what was recorded of it."),
        "rois": Listed("rois", "List every drawn name with its proposed standard name, as a table to edit."),
        "pseudonyms": Listed("pseudonyms", "Translate pseudonyms with their key, or search an output for identifiers."),
    },
    "Single steps": {
        "stage": Listed("stage", "Run one stage of one course."),
        "radiomics-robustness": Listed("radiomics_robustness", "Perturb one course's structures and extract features."),
        "radiomics-robustness-aggregate": Listed(
            "radiomics_robustness_aggregate", "Judge the robustness of every feature over courses."
        ),
        "workflow": Listed(
            "workflow", "Run the stages by Snakemake, on one machine or a cluster; or say where its file is."
        ),
    },
    "Set up": {
        "demo": Listed("demo", "Write a small synthetic cohort and run the whole pipeline on it."),
        "weights": Listed("weights", "Fetch TotalSegmentator's weights ahead, where there is a network."),
        "doctor": Listed("doctor", "Check this machine, and say how to mend what is missing."),
        "validate": Listed("validate", "Check a configuration and an input folder; start nothing."),
    },
}

COMMANDS = {name: listed for group in GROUPS.values() for name, listed in group.items()}


class LazyCommands(TyperGroup):
    """Imports the module of a command when that command is run."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name=name, help=listed.text) for name, listed in COMMANDS.items()}

    def resolve_command(self, context: Any, arguments: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that `arguments` begin with, and load it."""
        name, _, rest = super().resolve_command(context, arguments)
        assert name is not None
        if sys.stderr.isatty() and not context.resilient_parsing and "--help" not in rest:
            typer.echo(f"rtpipeline {__version__} {name}", err=True)  # at once: importing a command takes a moment
        return name, _load(name), rest

    def format_commands(self, context: Any, formatter: Any) -> None:
        """Write the commands group by group."""
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, listed.text) for name, listed in group.items()])


app = typer.Typer(
    cls=LazyCommands,
    help="Radiotherapy DICOM exports in, publishable research tables out.",
    epilog="A bare `rtpipeline --dicom-root DIR --outdir DIR …` is `rtpipeline run …`.",
    no_args_is_help=True,
    rich_markup_mode=None,  # whose import would take longer than everything else here
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rtpipeline {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Radiotherapy DICOM exports in, publishable research tables out."""


def main(arguments: list[str] | None = None) -> None:
    """Run the program; flags without a command mean `run`."""
    given = sys.argv[1:] if arguments is None else arguments
    if given and given[0].startswith("-") and given[0] not in _PROGRAM_FLAGS:
        given = ["run", *given]
    app(args=given, prog_name="rtpipeline")


_PROGRAM_FLAGS = ("--help", "--version", "--install-completion", "--show-completion")


def _load(name: str) -> Any:
    """The command of this name, with its module imported.

    Raises:
        typer.Exit: with code 1, after saying what is missing, where a package that it needs is not installed.
    """
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    try:
        module = importlib.import_module(f"rtpipeline.cli.{COMMANDS[name].module}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "rtpipeline":
            raise
        packages = importlib.import_module("rtpipeline.cli.doctor").packages_check()
        typer.echo(
            f"rtpipeline {name}: the module {error.name} is not installed in {sys.executable} ({packages.detail}). "
            f"To mend it: {packages.fix}. `rtpipeline doctor` looks at everything else.",
            err=True,
        )
        raise typer.Exit(1) from error
    single.command(name, help=COMMANDS[name].text)(module.command)
    command: Any = typer.main.get_command(single)
    for parameter in command.params:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""  # Typer would write <bool>, as if a value had to follow
    return command


if __name__ == "__main__":
    main()
