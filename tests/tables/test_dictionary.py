from rtpipeline.tables.definitions.cohort import COLUMN_DICTIONARY, COVERAGE
from rtpipeline.tables.dictionary import defined_tables, dictionary
from rtpipeline.tables.parquet import to_arrow
from rtpipeline.tables.schema import Column, Table

FEATURES = Table(
    "f", "One row.", (Column("a", "text", "A."),), ("a",), Column("<feature>", "number", "A feature.", "mm")
)


def test_every_defined_table_describes_itself_completely() -> None:
    tables = defined_tables()
    assert COVERAGE in tables
    for table in tables:
        names = [column.name for column in table.columns]
        assert len(names) == len(set(names)), table.name
        assert set(table.sort_by) <= set(names), table.name
        assert table.description.endswith("."), table.name
        for column in table.columns:
            assert column.description.endswith("."), f"{table.name}.{column.name}"


def test_the_dictionary_describes_itself_too() -> None:
    rows = to_arrow(COLUMN_DICTIONARY, dictionary(defined_tables())).to_pylist()
    own = [row["column"] for row in rows if row["table"] == "column_dictionary"]
    assert own == [column.name for column in COLUMN_DICTIONARY.columns]


def test_open_columns_are_named_where_they_are_known() -> None:
    assert [row["column"] for row in dictionary([FEATURES])] == ["a", "<feature>"]
    rows = list(dictionary([FEATURES], {"f": ["a", "x", "y"]}))
    assert [(row["column"], row["position"], row["unit"]) for row in rows] == [
        ("a", 1, ""),
        ("x", 2, "mm"),
        ("y", 3, "mm"),
    ]
