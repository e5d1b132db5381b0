"""Tables and lines on standard output: nothing is cut off, on a narrow terminal or in a file."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.table import Table

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
