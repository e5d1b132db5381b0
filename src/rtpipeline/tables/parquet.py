"""Parquet is the truth: every table as it was computed, typed, unrounded, in a defined order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rtpipeline.atomic import replacing
from rtpipeline.tables.schema import Column, ColumnType, Table

ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "text": pa.string(),
    "number": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
}

Row = Mapping[str, object]

_MOST_ROWS_OF_A_GROUP = 131_072
_CELLS_OF_A_GROUP = 2_000_000
_MOST_PARTS_WAITING = 16
"""Columns of few rows take much more memory than their values; therefore parts are joined while they wait."""
_FORMAT: dict[str, Any] = {
    "version": "2.6",
    "data_page_version": "1.0",
    "compression": "zstd",
    "compression_level": 3,
    "use_dictionary": True,
    "write_statistics": True,
}
"""How every file is written; fixed, so that the same table gives the same bytes."""


def write_parquet(path: Path, table: Table, rows: Iterable[Row]) -> None:
    """Write `rows` as Parquet; the same rows give the same bytes.

    Args:
        path: replaced atomically; its folder is created.
        table: what the columns are. A column that a row lacks is null there.
        rows: one mapping per row. NaN becomes null. They are written in the order of `table.sort_by` (nulls last);
            rows that are equal in it keep their order.

    Raises:
        ValueError: a row has an unknown column or a value of the wrong type.
    """
    write_arrow(path, to_arrow(table, rows))


def write_arrow(path: Path, data: pa.Table, metadata: Mapping[str, str] | None = None) -> None:
    """Write an Arrow table as it is; the same table gives the same bytes.

    Args:
        path: replaced atomically; its folder is created.
        data: one table.
        metadata: kept in the file's schema, for example the program's version.
    """
    write_arrow_parts(path, data.schema, [data], metadata)


def write_arrow_parts(
    path: Path, schema: pa.Schema, parts: Iterable[pa.Table], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tables of one schema one after another, with the bytes that they would have as one table.

    Only few of their rows are in memory at a time. `path` is replaced atomically.
    """
    described = schema.with_metadata(dict(sorted(metadata.items())) if metadata else None)
    size = rows_of_a_group(len(schema))
    with replacing(path) as temporary, pq.ParquetWriter(temporary, described, **_FORMAT) as writer:
        for group in _groups(parts, described, size):
            writer.write_table(group, row_group_size=size)


def rows_of_a_group(column_count: int) -> int:
    """Rows that a file keeps together: the fewer the more columns it has, so that reading one group takes little."""
    return max(1, min(_MOST_ROWS_OF_A_GROUP, _CELLS_OF_A_GROUP // max(1, column_count)))


def _groups(parts: Iterable[pa.Table], schema: pa.Schema, size: int) -> Iterator[pa.Table]:
    """The rows of all parts in tables of `size` rows, the last one of what is left (or one without rows)."""
    waiting: list[pa.Table] = [schema.empty_table()]
    count, written = 0, False
    for part in parts:
        waiting.append(part.select(schema.names).cast(schema))
        count += part.num_rows
        if len(waiting) > _MOST_PARTS_WAITING:
            waiting = [pa.concat_tables(waiting).combine_chunks()]
        while count >= size:
            together = pa.concat_tables(waiting)
            yield together.slice(0, size).combine_chunks()
            waiting, count, written = [together.slice(size)], count - size, True
    if count or not written:
        yield pa.concat_tables(waiting).combine_chunks()


def read_parquet(path: Path) -> pa.Table:
    """Read one Parquet file.

    Raises:
        FileNotFoundError: there is no such file.
        pyarrow.ArrowInvalid: it is not a Parquet file, or a damaged one.
    """
    with pq.ParquetFile(path) as file:
        return file.read(use_threads=False)


def read_parts(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Read a file that `write_arrow_parts` wrote, one group of rows at a time; errors as `read_parquet`."""
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number, columns=columns, use_threads=False)


def read_schema(path: Path) -> pa.Schema:
    """Names and types of the columns of a Parquet file, from its footer alone; errors as `read_parquet`."""
    return pq.read_schema(path).remove_metadata()


def row_count(path: Path) -> int:
    """Number of rows of a Parquet file, from its footer alone; errors as `read_parquet`."""
    return int(pq.read_metadata(path).num_rows)


def to_arrow(table: Table, rows: Iterable[Row]) -> pa.Table:
    """Put `rows` into a sorted Arrow table with the types of `table`; see `write_parquet`."""
    given = list(rows)
    columns = [*table.columns, *_open_columns(table, given)]
    arrays = [_array(table, column, given) for column in columns]
    schema = pa.schema([pa.field(column.name, ARROW_TYPES[column.type]) for column in columns])
    return sort(pa.Table.from_arrays(arrays, schema=schema), table)


def sort(data: pa.Table, table: Table) -> pa.Table:
    """The rows in the order of `table.sort_by`, nulls last; equal rows keep their order."""
    if not table.sort_by or data.num_rows < 2:
        return data
    keys = [(name, "ascending") for name in table.sort_by]
    return data.take(pc.sort_indices(data, sort_keys=keys))


def with_columns(data: pa.Table, schema: pa.Schema) -> pa.Table:
    """The same rows with the columns of `schema`; those that they do not have are null."""
    have = set(data.column_names)
    columns = [data[field.name] if field.name in have else pa.nulls(data.num_rows, field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def empty(table: Table) -> pa.Table:
    """The header of `table`, without rows."""
    return to_arrow(table, ())


def _open_columns(table: Table, rows: list[Row]) -> list[Column]:
    """Columns that only the rows know: in the order of the first row, then those of later rows by name."""
    declared = {column.name for column in table.columns}
    first = [name for name in rows[0] if name not in declared] if rows else []
    later = sorted({name for row in rows for name in row} - declared - set(first))
    names = [*first, *later]
    if not names:
        return []
    if table.open_columns is None:
        raise ValueError(f"table {table.name}: unknown column {', '.join(map(repr, names))}")
    kind = table.open_columns
    return [Column(name, kind.type, kind.description, kind.unit) for name in names]


def _array(table: Table, column: Column, rows: list[Row]) -> pa.Array:
    convert = _CONVERTERS[column.type]
    values = []
    for number, row in enumerate(rows):
        value = row.get(column.name)
        try:
            values.append(None if value is None else convert(value))
        except TypeError as error:
            raise ValueError(
                f"table {table.name}, column {column.name}, row {number}: expected {column.type}, found {value!r}"
            ) from error
    return pa.array(values, ARROW_TYPES[column.type])


def _text(value: object) -> str:
    """Text that UTF-8 can hold: half a surrogate pair (from a wrong character set) becomes a visible escape."""
    if not isinstance(value, str):
        raise TypeError
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _number(value: object) -> float | None:
    if not isinstance(value, Real) or _is_boolean(value):
        raise TypeError
    number = float(value)
    return None if math.isnan(number) else number


def _integer(value: object) -> int:
    if not isinstance(value, Integral) or _is_boolean(value):
        raise TypeError
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise TypeError
    return number


def _boolean(value: object) -> bool:
    if not _is_boolean(value):
        raise TypeError
    return bool(value)


def _is_boolean(value: object) -> bool:
    """Whether it is Python's or NumPy's boolean."""
    return isinstance(value, (bool, np.bool_))


_CONVERTERS: dict[ColumnType, Callable[[object], object]] = {
    "text": _text,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
}
