"""Long tables made wide for people: one row per thing, one column per measured value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

_ROWS_AT_ONCE = 65_536
_NUMBERS = re.compile(r"(\d+(?:\.\d+)?)")


def wide(data: pa.Table, identifiers: Sequence[str], names: str, values: str) -> pa.Table:
    """Spread the column `values` over one column per distinct text in the column `names`.

    Args:
        data: the long table.
        identifiers: columns that together say which row a value belongs to; they are kept, in this order. Rows stand
            in the order in which they first appear.
        names: the column with the new columns' names; those are put into natural order (D2 before D50).
        values: the column with their values.

    Raises:
        ValueError: a row would get two values of one name.
    """
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for start in range(0, data.num_rows, _ROWS_AT_ONCE):
        part = data.slice(start, _ROWS_AT_ONCE)
        for *key, name, value in zip(
            *(part[column].to_pylist() for column in (*identifiers, names, values)), strict=True
        ):
            row = rows.setdefault(tuple(key), {})
            if name in row:
                where = ", ".join(f"{column} {piece}" for column, piece in zip(identifiers, key, strict=True))
                raise ValueError(f"two values of {name} for {where}")
            row[name] = value
    new = sorted({name for row in rows.values() for name in row}, key=natural)
    arrays = [pa.array([key[i] for key in rows], data.schema.field(name).type) for i, name in enumerate(identifiers)]
    arrays += [pa.array([row.get(name) for row in rows.values()], data.schema.field(values).type) for name in new]
    return pa.Table.from_arrays(arrays, names=[*identifiers, *new])


def wide_schema(schema: pa.Schema, identifiers: Sequence[str], values: str, columns: Iterable[str]) -> pa.Schema:
    """The schema of what `wide` makes of tables of `schema` that give values for these columns."""
    kept = [schema.field(name) for name in identifiers]
    return pa.schema([*kept, *(pa.field(name, schema.field(values).type) for name in columns)])


def natural(text: str) -> tuple[tuple[str, float], ...]:
    """A sorting key that compares the numbers in names as numbers: `V5Gy` before `V10Gy`."""
    pieces = _NUMBERS.split(text)
    numbers = [float(piece) for piece in pieces[1::2]]
    return tuple(zip(pieces[0::2], [*numbers, -1.0], strict=True))
