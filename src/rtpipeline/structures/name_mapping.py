"""The user's own names: a YAML file of patterns, or the table that `rtpipeline rois` wrote, edited."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import openpyxl
import yaml
from openpyxl.utils.exceptions import InvalidFileException

from rtpipeline.config.strict_yaml import read_yaml
from rtpipeline.outcome import StageError

NAME_COLUMN = "roi_name"
STANDARD_NAME_COLUMN = "standard_name"
TABLE_SUFFIXES = (".csv", ".xlsx")


@dataclass(frozen=True)
class NameRule:
    """One line of the user's mapping, without regard to case.

    Attributes:
        pattern: a shell pattern of drawn names, or one name.
        standard_name: what it stands for; empty for names that are to have none.
        exact: `pattern` is one name, whatever signs it has.
    """

    pattern: str
    standard_name: str
    exact: bool = False


@lru_cache(maxsize=8)
def load_rules(file: Path) -> tuple[NameRule, ...]:
    """Read the user's mapping: a YAML file of `pattern: standard name` lines, or a table with a row per drawn name.

    Of a table (`.csv` with commas or semicolons, or `.xlsx`) the columns `roi_name` and `standard_name` count, and
    every row is a decision: an empty cell means no standard name.

    Raises:
        StageError: the file cannot be read, or is not a mapping of texts to texts.
    """
    if file.suffix.lower() in TABLE_SUFFIXES:
        return tuple(_table_rules(file))
    try:
        content = read_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StageError(f"structures.names: {file} cannot be read as YAML: {error}") from error
    if content is None:
        return ()
    texts = isinstance(content, dict) and all(
        isinstance(key, str) and isinstance(value, str) for key, value in content.items()
    )
    if not texts:
        raise StageError(
            f"structures.names: {file} must hold lines of the form `pattern: standard name`; put both in quotes "
            "where they are not plain words"
        )
    return tuple(NameRule(pattern, name) for pattern, name in content.items())


def _table_rules(file: Path) -> Iterable[NameRule]:
    header, *rows = _rows(file) or [[]]
    if NAME_COLUMN not in header or STANDARD_NAME_COLUMN not in header:
        raise StageError(
            f"structures.names: {file} needs the columns {NAME_COLUMN} and {STANDARD_NAME_COLUMN}, as in the table "
            "that `rtpipeline rois` writes"
        )
    name, standard = header.index(NAME_COLUMN), header.index(STANDARD_NAME_COLUMN)
    for row in rows:
        if len(row) > name and row[name].strip():
            yield NameRule(row[name].strip(), row[standard].strip() if len(row) > standard else "", exact=True)


def _rows(file: Path) -> list[list[str]]:
    try:
        if file.suffix.lower() == ".xlsx":
            sheet = openpyxl.load_workbook(file, read_only=True).worksheets[0]
            return [["" if cell is None else str(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, BadZipFile, InvalidFileException, KeyError) as error:
        raise StageError(f"structures.names: {file} cannot be read: {error}") from error
    lines = text.splitlines()
    separator = ";" if lines and lines[0].count(";") > lines[0].count(",") else ","
    return list(csv.reader(lines, delimiter=separator))
