"""One cohort table from the courses' tables, and what is missing of it; few courses are in memory at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from rtpipeline.config import Configuration
from rtpipeline.course import Course, CourseFiles, recorded_state
from rtpipeline.outcome import StageError
from rtpipeline.tables.parquet import ARROW_TYPES, Row, read_parquet, sort, with_columns
from rtpipeline.tables.schema import Table

Result = TypeVar("Result")


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


_MOST_NAMES = 5

CourseKey = tuple[str, str]
"""patient_id and course_id."""


@dataclass(frozen=True)
class Survey:
    """What there is of a cohort table.

    Attributes:
        source: which table.
        schema: its columns: those of its definition, then those that only the courses' tables know.
        rows: rows of each course that has any part of it, in the order of the cohort table.
        coverage: a row of the coverage table for every course that it lacks something of.
    """

    source: Source
    schema: pa.Schema
    rows: Mapping[CourseKey, int]
    coverage: list[Row]

    @property
    def name(self) -> str:
        """Of the table."""
        return self.source.table.name


@dataclass(frozen=True)
class Part:
    """What a course has of a table, or why it has nothing.

    Attributes:
        data: its rows, in the order of the table; None where it has no part of it.
        status: as in the coverage table; `ok` where nothing is missing.
        reason: why it is not.
    """

    data: pa.Table | None
    status: str = "ok"
    reason: str = ""


def survey(source: Source, courses: Sequence[Course], configuration: Configuration, threads: int) -> Survey:
    """Read every course's part of one table, and keep only what it says about the whole.

    Args:
        source: which table.
        courses: the courses of the cohort, by patient_id and course_id.
        configuration: says whether the stage was asked for.
        threads: how many courses are read at once.
    """
    declared = [column.name for column in source.table.columns]
    first: list[str] = []
    later: set[str] = set()
    rows: dict[CourseKey, int] = {}
    coverage: list[Row] = []
    found = in_order(lambda course: read_part(source, course, configuration), courses, threads)
    for course, part in zip(courses, found, strict=True):
        if part.data is not None:
            rows[key_of(course)] = part.data.num_rows
            own = part.data.column_names[len(declared) :]
            first = first or own
            later.update(own)
        if part.status != "ok":
            what = {"table": source.table.name, "stage": source.stage, "status": part.status, "reason": part.reason}
            coverage.append({**course.identifiers, **what})
    fields = [pa.field(column.name, ARROW_TYPES[column.type]) for column in source.table.columns]
    if source.table.open_columns is not None:
        # In the order of the first course that has any; so they do not depend on the others where all have the same.
        names = [*first, *sorted(later.difference(first))]
        fields += [pa.field(name, ARROW_TYPES[source.table.open_columns.type]) for name in names]
    return Survey(source, pa.schema(fields), rows, coverage)


def collected(
    found: Survey, courses: Sequence[Course], configuration: Configuration, threads: int
) -> Iterator[pa.Table]:
    """The rows of the cohort table, course by course.

    Args:
        found: what `survey` found of it.
        courses: as given to `survey`.
        configuration: as given to `survey`.
        threads: how many courses are read at once.

    Raises:
        StageError: a course's part cannot be read any more.
    """
    having = [course for course in courses if key_of(course) in found.rows]
    parts = in_order(lambda course: read_part(found.source, course, configuration), having, threads)
    for course, part in zip(having, parts, strict=True):
        if part.data is None:
            raise StageError(f"{course.key}: {part.reason}; it changed while tables were put together, run it again")
        yield with_columns(part.data, found.schema)


def in_order(function: Callable[[Course], Result], courses: Iterable[Course], threads: int) -> Iterator[Result]:
    """What `function` makes of each course, in their order; `threads` are at work at once, and no more are waiting."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as executor:
        for course in courses:
            waiting.append(executor.submit(function, course))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def key_of(course: Course) -> CourseKey:
    """What a course is called in tables."""
    identifiers = course.identifiers
    return identifiers["patient_id"], identifiers["course_id"]


def read_part(source: Source, course: Course, configuration: Configuration) -> Part:
    """What a course has of a table."""
    state = recorded_state(course, source.stage)
    status, reason = state["status"], state["reason"]
    if status in ("skipped", "failed"):
        return Part(None, status, reason)
    if status not in ("ok", "partial"):
        if not source.enabled(configuration):
            return Part(None, "skipped", f"the stage {source.stage} is switched off")
        return Part(None, "missing", reason or f"the stage {source.stage} was interrupted; run it again")
    try:
        data = sort(_conforming(read_parquet(source.file(course.files)), source.table), source.table)
    except FileNotFoundError:
        if not source.always:
            return Part(
                None, "skipped" if status == "ok" else status, reason or "the course has nothing for this table"
            )
        return Part(None, "missing", f"{source.file(course.files).name} is gone; run the stage {source.stage} again")
    except (pa.ArrowInvalid, OSError) as error:
        reason = f"{source.file(course.files).name} cannot be read ({error}); run the stage {source.stage} again"
        return Part(None, "missing", reason)
    return Part(data, status, reason)


def _conforming(data: pa.Table, table: Table) -> pa.Table:
    """The table with the columns and types of its definition first, its open columns after them.

    Raises:
        pyarrow.ArrowInvalid: it was written by another definition.
    """
    declared = {column.name: ARROW_TYPES[column.type] for column in table.columns}
    missing = [name for name in declared if name not in data.column_names]
    unknown = [name for name in data.column_names if name not in declared]
    if table.open_columns is None:
        missing += unknown
    if missing:
        more = f" and {len(missing) - _MOST_NAMES} more" if len(missing) > _MOST_NAMES else ""
        raise pa.ArrowInvalid(f"unlike this version's columns: {', '.join(missing[:_MOST_NAMES])}{more}")
    types = {**declared, **{name: ARROW_TYPES[table.open_columns.type] for name in unknown if table.open_columns}}
    return data.select(list(types)).cast(pa.schema(list(types.items())))
