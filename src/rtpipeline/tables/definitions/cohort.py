"""Tables that exist once for a cohort."""

from __future__ import annotations

from rtpipeline.tables.schema import COURSE_COLUMNS, Column, Table

COVERAGE = Table(
    "table_coverage",
    "One row per course and table that is not complete, with the reason.",
    (
        *COURSE_COLUMNS,
        Column("table", "text", "Name of the table."),
        Column("stage", "text", "The stage that makes the course's part of it."),
        Column(
            "status",
            "text",
            "skipped: there was nothing to do; partial: some rows are missing; failed: the stage failed; missing: no "
            "result of the stage can be read.",
        ),
        Column("reason", "text", "Why."),
    ),
    sort_by=("patient_id", "course_id", "table"),
)

COLUMN_DICTIONARY = Table(
    "column_dictionary",
    "One row per column of every table.",
    (
        Column("table", "text", "Name of the table: its file without suffix."),
        Column("position", "integer", "Place of the column in its table, from 1."),
        Column("column", "text", "Name of the column."),
        Column("type", "text", "text, number (64-bit floating point), integer (64-bit) or boolean."),
        Column("unit", "text", "Unit of its values, where they have one."),
        Column("description", "text", "What it is, and from where."),
    ),
    sort_by=("table", "position"),
)
