"""What a table's columns are: name, type, unit, meaning. Docs and the column dictionary come from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ColumnType = Literal["text", "number", "integer", "boolean"]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: with its unit at the end where it has one, for example `volume_cm3`.
        type: `text` (identifiers are always text), `number` (float64), `integer` (int64) or `boolean`.
        description: one sentence: what it is, and from where.
        unit: `cm3`, `Gy`, `mm`, `HU`, `%`, … or empty.
    """

    name: str
    type: ColumnType
    description: str
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """One kind of table, per course or for the cohort.

    Attributes:
        name: file name without suffix, for example `dvh_metrics`.
        description: what one row is.
        columns: in the order in which they are written.
        sort_by: the columns that identify a row; rows are written in their order.
        open_columns: what further columns are (their names are known only when they are computed, as those of
            features are); None where no further column is allowed.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    sort_by: tuple[str, ...]
    open_columns: Column | None = None


COURSE_COLUMNS = (
    Column("patient_id", "text", "PatientID, or its pseudonym."),
    Column("course_id", "text", "Name of the course folder."),
)
"""The columns that every table of a course begins with."""

STRUCTURE_COLUMNS = (
    Column(
        "segmentation_source", "text", "manual, auto, custom, custom_model:<name>, auto_mr:<MR series> or seg:<name>."
    ),
    Column("roi_number", "integer", "ROINumber in its structure set, or label in its segmentation."),
    Column("roi_name", "text", "The name as drawn."),
    Column("standard_name", "text", "AAPM TG-263 name where a rule gives one, else empty."),
)
"""The columns that name a structure."""

COMPLETENESS_COLUMNS = (
    Column(
        "structure_touches_edge",
        "boolean",
        "It reaches the edge of the image (in dose-volume tables, of the planning CT), or of the cropped part that is "
        "used: part of it may be missing. Empty where there is no image, or nothing of the structure.",
    ),
    Column(
        "edge_sides",
        "text",
        "The sides of the patient at which it does: left, right, anterior, posterior, inferior, superior.",
    ),
    Column("structure_partial", "boolean", "A custom structure that lacks some of the structures it is made of."),
)
"""The columns that say whether a structure may be less than the organ."""

IMAGE_CROPPED = Column(
    "image_cropped", "boolean", "The image was cut to a region of the anatomy before, and structures end where it does."
)
"""The column that says which field of view a row refers to."""
