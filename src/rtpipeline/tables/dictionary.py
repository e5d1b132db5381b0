"""What every column of every table means, from the tables' own definitions."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rtpipeline.tables import definitions
from rtpipeline.tables.parquet import Row
from rtpipeline.tables.schema import Column, Table


def defined_tables() -> tuple[Table, ...]:
    """Every table that a module in `tables.definitions` defines, by name.

    Raises:
        ValueError: two different tables have the same name.
    """
    found: dict[str, Table] = {}
    for module_info in pkgutil.iter_modules(definitions.__path__):
        module = importlib.import_module(f"{definitions.__name__}.{module_info.name}")
        for value in vars(module).values():
            if isinstance(value, Table) and found.setdefault(value.name, value) != value:
                raise ValueError(f"two tables are named {value.name}")
    return tuple(found[name] for name in sorted(found))


def dictionary(tables: Iterable[Table], found: Mapping[str, Sequence[str]] | None = None) -> Iterator[Row]:
    """Rows of the `column_dictionary` table.

    Args:
        tables: the tables to describe.
        found: for tables with open columns, the names of all columns that were found, by table name. Where a table
            has none here, its open columns are one row with the name that the definition gives them.
    """
    for table in tables:
        declared = {column.name for column in table.columns}
        names = [name for name in (found or {}).get(table.name, ()) if name not in declared]
        columns = [*table.columns, *_open_columns(table, names)]
        for position, column in enumerate(columns, start=1):
            yield {
                "table": table.name,
                "position": position,
                "column": column.name,
                "type": column.type,
                "unit": column.unit,
                "description": column.description,
            }


def _open_columns(table: Table, names: Sequence[str]) -> Iterator[Column]:
    if table.open_columns is None:
        return
    kind = table.open_columns
    for name in names or (kind.name,):
        yield Column(name, kind.type, kind.description, kind.unit)
