"""The reference of all tables, written from their definitions.

`python -m rtpipeline.tables.reference FOLDER` writes `docs/reference/tables.md` below the project's folder; a test
holds it in step.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from rtpipeline.tables.dictionary import defined_tables, dictionary
from rtpipeline.tables.schema import Table

HEADER = """\
# Tables

Every table that a run writes, with its columns. Rows are sorted by the columns that identify them. An empty cell means
unknown or not computable, never 0. A run's own `_RESULTS/column_dictionary.xlsx` says the same, with the names of all
features. This page is written from `src/rtpipeline/tables/definitions/`.
"""


def markdown() -> str:
    """One section per table."""
    return HEADER + "".join(line for table in defined_tables() for line in _section(table))


def _section(table: Table) -> Iterator[str]:
    yield f"\n## `{table.name}`\n\n{table.description} Identified by {', '.join(table.sort_by)}.\n\n"
    yield "| column | type | unit | meaning |\n|---|---|---|---|\n"
    for row in dictionary([table]):
        cells = [str(row[key]).replace("|", "\\|") for key in ("type", "unit", "description")]
        yield f"| `{row['column']}` | {' | '.join(cells)} |\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    (folder / "docs" / "reference" / "tables.md").write_text(markdown(), encoding="utf-8")
