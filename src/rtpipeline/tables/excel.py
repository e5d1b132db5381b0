"""Excel workbooks for people, written from Arrow tables; the Parquet beside each stays the truth.

Limits are Excel's own: 1,048,576 rows and 16,384 columns a sheet, 32,767 UTF-16 units a cell, 31 characters a sheet
name, numbers as IEEE doubles (Microsoft, "Excel specifications and limits").
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import xlsxwriter
from xlsxwriter.exceptions import FileCreateError
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from rtpipeline.atomic import replacing
from rtpipeline.tables.parquet import read_parts, read_schema, row_count
from rtpipeline.tables.schema import COURSE_COLUMNS, STRUCTURE_COLUMNS

MAXIMUM_ROWS = 1_048_576
MAXIMUM_COLUMNS = 16_384
MAXIMUM_CELL_LENGTH = 32_767
MAXIMUM_SHEET_NAME_LENGTH = 31
LARGEST_EXACT_INTEGER = 10**15
"""Excel shows 15 digits; an integer of more is written as text."""

CREATED = datetime(2000, 1, 1)
"""A fixed date inside every workbook, so that equal tables are equal bytes."""
IDENTIFIERS = frozenset(column.name for column in COURSE_COLUMNS + STRUCTURE_COLUMNS)
"""Columns that are repeated where a table with too many columns is split over sheets."""

_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")
_NOT_IN_SHEET_NAMES = re.compile(r"[\[\]:*?/\\\x00-\x1f]")
_WIDEST_COLUMN = 60
_ROWS_FOR_WIDTH = 200
_CELLS_AT_ONCE = 262_144


def write_workbook(path: Path, sheets: Mapping[str, pa.Table | Path], complete_in: str = "") -> None:
    """Write one workbook; the same tables give the same bytes.

    Text stays text whatever it looks like. A control character becomes a visible escape such as `\\x01`. A cell that
    is too long ends with a mark that names the Parquet file. A table too large for a sheet goes on in `name (2)`, …;
    where it is too wide, the columns that identify a row are repeated.

    Args:
        path: replaced atomically; its folder is created.
        sheets: sheet name → table (text, numbers, integers, booleans), in this order; a table may be a Parquet file,
            of which only a part is in memory at a time.
        complete_in: the file that has every value complete; the Parquet of the same name when empty.
    """
    complete_in = complete_in or path.with_suffix(".parquet").name
    with replacing(path) as temporary:
        options = {"constant_memory": True, "tmpdir": str(temporary.parent)}
        workbook = xlsxwriter.Workbook(str(temporary), options)
        workbook.set_properties({"created": CREATED})
        header = workbook.add_format({"bold": True, "bottom": 1, "bg_color": "#E8EEF4"})
        taken: set[str] = set()
        for name, table in sheets.items():
            for part in parts(table):
                worksheet = workbook.add_worksheet(_sheet_name(name, taken))
                _write_sheet(worksheet, part, header, complete_in)
        try:
            workbook.close()
        except FileCreateError as error:
            raise error.args[0] from error  # what the operating system said


@dataclass(frozen=True)
class Part:
    """What one sheet shows of a table: some of its columns, and rows from `start` on.

    Attributes:
        table: the table, or the Parquet file that it is in.
        columns: names of the columns.
        start: number of the first row.
        row_count: how many rows.
    """

    table: pa.Table | Path
    columns: list[str]
    start: int
    row_count: int

    def batches(self) -> Iterator[pa.Table]:
        """The rows, a part of them at a time; at least one table, without rows where there are none."""
        source = [self.table] if isinstance(self.table, pa.Table) else read_parts(self.table, self.columns)
        step = max(1, _CELLS_AT_ONCE // max(1, len(self.columns)))
        skipped, missing = self.start, self.row_count
        for group in source:
            rows = group.select(self.columns).slice(skipped, missing)
            skipped, missing = max(0, skipped - group.num_rows), missing - rows.num_rows
            for first in range(0, max(rows.num_rows, 1), step):
                yield rows.slice(first, step)
            if not missing:
                break


def parts(
    table: pa.Table | Path, maximum_rows: int = MAXIMUM_ROWS, maximum_columns: int = MAXIMUM_COLUMNS
) -> Iterator[Part]:
    """Cut a table into pieces that fit on a sheet with a header row: columns first, then rows."""
    names, count = (
        (table.column_names, table.num_rows)
        if isinstance(table, pa.Table)
        else (read_schema(table).names, row_count(table))
    )
    column_blocks = list(_column_blocks(names, maximum_columns))
    step = maximum_rows - 1
    for start in range(0, max(count, 1), step):
        for block in column_blocks:
            yield Part(table, block, start, min(step, count - start))


def _column_blocks(names: list[str], maximum: int) -> Iterator[list[str]]:
    if len(names) <= maximum:
        yield names
        return
    repeated = [name for name in names if name in IDENTIFIERS]
    others = [name for name in names if name not in IDENTIFIERS]
    step = maximum - len(repeated)
    for start in range(0, len(others), step):
        yield [*repeated, *others[start : start + step]]


def _write_sheet(worksheet: Worksheet, part: Part, header: Format, complete_in: str) -> None:
    batches = part.batches()
    first = next(batches)
    worksheet.freeze_panes(1, 0)
    for column, (name, width) in enumerate(zip(part.columns, _widths(first), strict=True)):
        worksheet.set_column(column, column, width)
        _write_text(worksheet, 0, column, name, complete_in, header)
    if part.columns:
        worksheet.autofilter(0, 0, part.row_count, len(part.columns) - 1)
        worksheet.ignore_errors({"number_stored_as_text": f"A1:XFD{MAXIMUM_ROWS}"})
    rows = (
        values
        for batch in itertools.chain([first], batches)
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    )
    for row, values in enumerate(rows, start=1):
        for column, value in enumerate(values):
            if value is not None:
                _write_value(worksheet, row, column, value, complete_in)


def _write_value(worksheet: Worksheet, row: int, column: int, value: Any, complete_in: str) -> None:
    if isinstance(value, bool):
        worksheet.write_boolean(row, column, value)
    elif isinstance(value, (int, float)) and _is_exact(value):
        worksheet.write_number(row, column, value)
    else:
        _write_text(worksheet, row, column, str(value), complete_in)


def _is_exact(value: int | float) -> bool:
    """Whether Excel can hold and show the number."""
    return math.isfinite(value) if isinstance(value, float) else abs(value) < LARGEST_EXACT_INTEGER


def _write_text(
    worksheet: Worksheet, row: int, column: int, text: str, complete_in: str, style: Format | None = None
) -> None:
    text = _fitting(visible(text), complete_in)
    if text.startswith("<r>") and text.endswith("</r>"):
        # XlsxWriter takes such a string for marked-up text; as plain pieces it stays what it is.
        pieces = (text[:1], text[1:2], text[2:])
        worksheet.write_rich_string(row, column, *pieces, *([style] if style else []))
    else:
        worksheet.write_string(row, column, text, style)


def visible(text: str) -> str:
    """`text` with every character that XML or Excel cannot hold as a visible escape, for example `\\x01`."""
    return _UNWRITABLE.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), text)


def _fitting(text: str, complete_in: str) -> str:
    """`text`, or as much of it as a cell holds with a mark that names the complete file."""
    if _utf16_length(text) <= MAXIMUM_CELL_LENGTH:
        return text
    mark = f" […cut here: the whole text is in {complete_in}]"
    room = MAXIMUM_CELL_LENGTH - _utf16_length(mark)
    return text.encode("utf-16-le")[: 2 * room].decode("utf-16-le", "ignore") + mark


def _utf16_length(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)


def _sheet_name(name: str, taken: set[str]) -> str:
    """A name that Excel takes: short, without its special characters, and like no other in any case."""
    safe = _NOT_IN_SHEET_NAMES.sub("_", name).strip("'") or "Sheet"
    candidate = safe[:MAXIMUM_SHEET_NAME_LENGTH].rstrip("'")
    number = 1
    while candidate.casefold() in taken or candidate.casefold() == "history":
        number += 1
        suffix = f" ({number})"
        candidate = safe[: MAXIMUM_SHEET_NAME_LENGTH - len(suffix)] + suffix
    taken.add(candidate.casefold())
    return candidate


def _widths(table: pa.Table) -> Iterator[int]:
    """Column widths in characters that show the header and most of the first rows."""
    head = table.slice(0, _ROWS_FOR_WIDTH)
    for name, column in zip(table.column_names, head.columns, strict=True):
        longest = max((len(_shown(value)) for value in column.to_pylist()), default=0)
        yield min(max(len(name) + 3, longest + 1, 8), _WIDEST_COLUMN)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.9g}" if isinstance(value, float) else str(value)
