"""`rtpipeline rois`: the names that structures were drawn under, as a table to edit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import pyarrow.csv as arrow_csv
import typer
from rich.text import Text

from rtpipeline.atomic import replacing
from rtpipeline.cli.console import configuration_of_output, explained_errors, usage_error
from rtpipeline.cli.flags import ConfigOfLastRun, OutputFolder
from rtpipeline.cli.printing import output_console, print_table, table_of
from rtpipeline.course import CohortFiles
from rtpipeline.structures.listing import name_rows
from rtpipeline.structures.load import course_structures, name_rules
from rtpipeline.tables.definitions.structures import STRUCTURE_NAMES
from rtpipeline.tables.excel import write_workbook
from rtpipeline.tables.parquet import to_arrow

SHEET = "structure_names"
DEFAULT_SOURCES = ["manual"]


def command(
    outdir: OutputFolder,
    output: Annotated[
        Path | None, typer.Option(help="Table to write, .xlsx or .csv [OUTDIR/_RESULTS/structure_names.xlsx].")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Source of structures, as a pattern; repeatable (else `manual`).")
    ] = None,
    config: ConfigOfLastRun = None,
) -> None:
    """List every drawn name with its standard name; edit the table and give it as structures.names."""
    configuration = configuration_of_output(outdir, config or [], os.environ)
    cohort = CohortFiles(outdir)
    path = output or cohort.table("structure_names", ".xlsx")
    if path.suffix.lower() not in (".csv", ".xlsx"):
        raise usage_error(f"--output {path}: the table must be a .xlsx or a .csv file")
    with explained_errors():
        structures = {course.key: course_structures(course, configuration) for course in cohort.manifest_courses()}
        rows = name_rows(structures, source or DEFAULT_SOURCES, name_rules(configuration))
        _write(path, rows)
    _show(rows)
    typer.echo(f"{len(rows)} names in {path}; edit the column standard_name, then run with")
    typer.echo(f"  --config structures.names={path}")


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    table = to_arrow(STRUCTURE_NAMES, rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".xlsx":
        write_workbook(path, {SHEET: table})
        return
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write("\ufeff".encode())  # spreadsheets take a text without this mark for one of the machine's code page
        arrow_csv.write_csv(table, file)


def _show(rows: list[dict[str, object]]) -> None:
    table = table_of("name", "structures", "courses", "standard name", "confidence", "reason")
    for row in rows:
        keys = ("roi_name", "structures", "courses", "proposed_name", "confidence", "reason")
        table.add_row(*(Text(str(row[key])) for key in keys))
    print_table(output_console(), table)
