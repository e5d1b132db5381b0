"""One cohort table from the courses' tables, and what is missing of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from rtpipeline.config import Configuration
from rtpipeline.course import Course, CourseFiles
from rtpipeline.tables.parquet import ARROW_TYPES, Row, empty, read_parquet, sort
from rtpipeline.tables.schema import Table

INCOMPLETE = frozenset({"partial", "failed", "missing"})
"""Coverage statuses that make a cohort's results incomplete; `skipped` does not."""


@dataclass(frozen=True)
class Source:
    """Where the courses' parts of a cohort table come from.

    Attributes:
        table: what the table is.
        stage: the stage that writes it; its state says whether it may be read.
        file: the table of one course.
        enabled: whether the configuration asks for the stage.
        always: whether a course whose stage is done always has this table (that of MR features, for example, only
            courses with MR have).
    """

    table: Table
    stage: str
    file: Callable[[CourseFiles], Path]
    enabled: Callable[[Configuration], bool] = lambda configuration: True
    always: bool = True


@dataclass(frozen=True)
class Collected:
    """A cohort table, and a row of the coverage table for every course that it lacks something of."""

    data: pa.Table
    coverage: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class _Part:
    data: pa.Table | None
    status: str = "ok"
    reason: str = ""


def stage_state(course: Course, stage: str) -> dict[str, Any]:
    """What the state file of a stage says; `{"status": "missing", "reason": …}` where none can be read."""
    file = course.files.state(stage)
    try:
        state: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"status": "missing", "reason": f"the stage {stage} has not run"}
    except json.JSONDecodeError:
        return {"status": "missing", "reason": f"state/{file.name} is damaged; run the stage {stage} again"}
    return state


def collect(source: Source, courses: Sequence[Course], configuration: Configuration, threads: int) -> Collected:
    """Put together what the courses have of one table.

    Args:
        source: which table.
        courses: the courses of the manifest.
        configuration: says whether the stage was asked for.
        threads: how many courses are read at once.
    """
    with ThreadPoolExecutor(threads) as executor:
        parts = list(executor.map(lambda course: _read(source, course, configuration), courses))
    coverage: list[Row] = [
        {
            **course.identifiers,
            "table": source.table.name,
            "stage": source.stage,
            "status": part.status,
            "reason": part.reason,
        }
        for course, part in zip(courses, parts, strict=True)
        if part.status != "ok"
    ]
    tables = [empty(source.table), *(part.data for part in parts if part.data is not None)]
    return Collected(sort(_concatenated(tables), source.table), coverage)


def _read(source: Source, course: Course, configuration: Configuration) -> _Part:
    state = stage_state(course, source.stage)
    status, reason = state["status"], state["reason"]
    if status in ("skipped", "failed"):
        return _Part(None, status, reason)
    if status not in ("ok", "partial"):
        if not source.enabled(configuration):
            return _Part(None, "skipped", f"the stage {source.stage} is switched off")
        return _Part(None, "missing", reason or f"the stage {source.stage} was interrupted; run it again")
    try:
        data = _conforming(read_parquet(source.file(course.files)), source.table)
    except FileNotFoundError:
        if not source.always:
            return _Part(
                None, "skipped" if status == "ok" else status, reason or "the course has nothing for this table"
            )
        return _Part(None, "missing", f"{source.file(course.files).name} is gone; run the stage {source.stage} again")
    except (pa.ArrowInvalid, OSError) as error:
        reason = f"{source.file(course.files).name} cannot be read ({error}); run the stage {source.stage} again"
        return _Part(None, "missing", reason)
    return _Part(data, status, reason)


def _conforming(data: pa.Table, table: Table) -> pa.Table:
    """The table with the columns and types of its definition first, its open columns after them.

    Raises:
        pyarrow.ArrowInvalid: it was written by another definition.
    """
    declared = {column.name: ARROW_TYPES[column.type] for column in table.columns}
    missing = [name for name in declared if name not in data.column_names]
    unknown = [name for name in data.column_names if name not in declared]
    if missing or (unknown and table.open_columns is None):
        raise pa.ArrowInvalid(f"unlike this version's columns: {', '.join(missing + unknown)}")
    types = {**declared, **{name: ARROW_TYPES[table.open_columns.type] for name in unknown if table.open_columns}}
    return data.select(list(types)).cast(pa.schema(list(types.items())))


def _concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """All rows; a column that only some tables have is null in the others.

    Columns stand in the order of the first table that has any of its own; those that only later tables have follow
    by name, so that the order does not depend on which course comes first where all have the same columns.
    """
    known = set(tables[0].column_names)
    first = next((table for table in tables if len(table.column_names) > len(known)), tables[0])
    order = [*tables[0].column_names, *(name for name in first.column_names if name not in known)]
    later = sorted({name for table in tables for name in table.column_names} - set(order))
    return pa.concat_tables(tables, promote_options="default").select([*order, *later]).replace_schema_metadata(None)
