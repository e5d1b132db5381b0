"""Tables and lines on standard output: nothing is cut off, on a narrow terminal or in a file."""

from __future__ import annotations

import os
import sys

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_WIDTH_OF_FILES = 1000


def output_console() -> Console:
    """The console for results; as wide as anything needs where standard output is a file or a pipe."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(soft_wrap=True, highlight=False, width=None if known else _WIDTH_OF_FILES)


def table_of(first: str, *others: str) -> Table:
    """A table whose first column names the rows and keeps to one line; the others fold where there is no room.

    Headers with underscores (names of stages) wrap there.
    """
    table = Table()
    table.add_column(first, no_wrap=True, overflow="fold")
    for header in others:
        table.add_column(header.replace("_", " "), overflow="fold")
    return table


def print_table(console: Console, table: Table) -> None:
    """Print a table, or, where the terminal is too narrow for its words, what it says row by row."""
    needed = Measurement.get(console, console.options.update(max_width=_WIDTH_OF_FILES), table).minimum
    console.print(table if needed <= console.width else _row_by_row(table), soft_wrap=False)


def _row_by_row(table: Table) -> RenderableType:
    """The first cell of each row, and below it the others with their headers, as running text."""
    headers = [str(column.header) for column in table.columns[1:]]
    lines: list[RenderableType] = []
    for first, *others in zip(*(column.cells for column in table.columns), strict=True):
        pairs = [
            Text.assemble(f"{header}: ", _text(cell)) for header, cell in zip(headers, others, strict=True) if cell
        ]
        lines += [_text(first), Padding(Text(", ").join(pairs), (0, 0, 0, 2))]
    return Group(*lines)


def _text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text.from_markup(str(cell))
