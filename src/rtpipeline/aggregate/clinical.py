"""The clinical table of a study: a CSV file, one row per patient or per course, joined to the analysis table."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from rtpipeline.aggregate.clinical_dates import ClinicalColumn, clinical_columns
from rtpipeline.outcome import StageError
from rtpipeline.pseudonyms import Translation

PATIENT = "patient_id"
COURSE = "course_id"
_DELIMITERS = ",;\t"
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")


@dataclass(frozen=True)
class ClinicalTable:
    """A clinical table as read.

    Attributes:
        file: where it was read from.
        keys: the columns that it is joined by: patient_id, or patient_id and course_id.
        data: all columns. A column is of integers or numbers where every value is plainly one and none begins with a
            needless zero; identifiers and everything else are text. An empty cell is null.
        left_out: columns in which values were left out, because they may be dates that cannot be moved.
    """

    file: Path
    keys: tuple[str, ...]
    data: pa.Table
    left_out: tuple[str, ...] = ()

    def row_of(self, patient_id: str, course_id: str) -> int | None:
        """The number of the row of a course, or None."""
        return self.rows_by_key.get((patient_id, course_id)[: len(self.keys)])

    @cached_property
    def rows_by_key(self) -> dict[tuple[str, ...], int]:
        """Number of each row by the values of `keys`."""
        columns = [self.data[key].to_pylist() for key in self.keys]
        return {values: number for number, values in enumerate(zip(*columns, strict=True))}


@dataclass(frozen=True)
class ToPseudonyms:
    """How rows of original identifiers are told in results with pseudonyms.

    Attributes:
        courses: patient and course of each course of the results, as they are named there.
        translation_of: the translation of a patient, by the original PatientID.
    """

    courses: Collection[tuple[str, str]]
    translation_of: Callable[[str], Translation]

    def rows(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[list[str]], tuple[str, ...]]:
        """All rows as `row` tells them, and the columns in which something of a patient of the results was left out.

        Raises:
            StageError: the key is needed and cannot be read.
        """
        columns = clinical_columns(header, rows)
        told = [self.row(columns, row) for row in rows]
        patients = {patient for patient, _ in self.courses}
        here = [
            (before, after)
            for before, after in zip(rows, told, strict=True)
            if after[header.index(PATIENT)] in patients
        ]
        lost = [
            name
            for number, name in enumerate(header)
            if any(before[number] and not after[number] for before, after in here)
        ]
        return told, tuple(lost)

    def row(self, columns: Sequence[ClinicalColumn], cells: Sequence[str]) -> list[str]:
        """A row without original identifiers.

        A row of a pseudonym of the results stays as it is: whoever wrote the pseudonym prepared it. Of another row
        the patient and the course are translated, UIDs and dates in its cells too, and words that name the patient
        are taken out. Of a patient who is not in the results, nothing but the pseudonym is kept.

        Raises:
            StageError: the key is needed and cannot be read.
        """
        row = {column.name: cell for column, cell in zip(columns, cells, strict=True)}
        patients = {patient for patient, _ in self.courses}
        if row[PATIENT] in patients:
            return list(cells)
        translation = self.translation_of(row[PATIENT])
        told = {column.name: column.told(row[column.name], translation) for column in columns}
        if translation.patient not in patients:
            told = dict.fromkeys(row, "")
        told[PATIENT] = translation.patient
        if COURSE in row:
            told[COURSE] = self._course(translation, row[COURSE])
        return list(told.values())

    def _course(self, translation: Translation, course: str) -> str:
        ending = f"_{translation.key.course(course.rsplit('_', 1)[-1])}"
        own = [name for patient, name in self.courses if patient == translation.patient]
        return next((name for name in own if name == course or name.endswith(ending)), "unknown")


def read_clinical(file: Path, to_pseudonyms: ToPseudonyms | None = None) -> ClinicalTable:
    """Read a clinical CSV: UTF-8, a header line, separated by commas, semicolons or tabs.

    Args:
        file: the CSV; rows of original identifiers are translated in memory alone.
        to_pseudonyms: for results with pseudonyms.

    Raises:
        StageError: the file cannot be read, has no patient_id column, or has two rows for the same key; or a key is
            needed and cannot be read.
    """
    header, rows = _read_rows(file)
    if PATIENT not in header:
        raise StageError(f"{file}: there is no column {PATIENT}; the columns are {', '.join(header)}")
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise StageError(f"{file}: two columns are named {twice[0]!r}; give each its own name")
    left_out: tuple[str, ...] = ()
    if to_pseudonyms is not None:
        rows, left_out = to_pseudonyms.rows(header, rows)
    keys = (PATIENT, COURSE) if COURSE in header else (PATIENT,)
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    arrays = [_array(values, is_key=name in keys) for name, values in zip(header, columns, strict=True)]
    table = ClinicalTable(file, keys, pa.Table.from_arrays(arrays, names=header), left_out)
    if len(table.rows_by_key) < len(rows):
        positions = [header.index(key) for key in keys]
        found = [tuple(row[position] for position in positions) for row in rows]
        repeated = next(values for values, count in Counter(found).items() if count > 1)
        numbers = " and ".join(str(number) for number, values in enumerate(found, start=1) if values == repeated)
        raise StageError(f"{file}: rows {numbers} have one {' and '.join(keys)}; keep one row for each")
    return table


def _read_rows(file: Path) -> tuple[list[str], list[list[str]]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise StageError(f"{file}: the clinical table cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StageError(f"{file}: the clinical table is not UTF-8; save it as CSV UTF-8") from error
    first_line = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first_line.count)
    lines = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(keepends=True), delimiter=delimiter)]
    if not lines:
        raise StageError(f"{file}: the clinical table is empty")
    header, *rows = lines
    rows = [row for row in rows if any(row)]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise StageError(f"{file}: row {number} has {len(row)} cells where the header has {len(header)}")
    return header, rows


def _array(values: Sequence[str], *, is_key: bool) -> pa.Array:
    given = [value for value in values if value]
    convert: Any = str
    if given and not is_key and all(_INTEGER.fullmatch(value) for value in given):
        convert = int
    elif given and not is_key and all(_NUMBER.fullmatch(value) for value in given):
        convert = float
    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    return pa.array([convert(value) if value else None for value in values], types[convert])
