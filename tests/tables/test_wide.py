import pyarrow as pa
import pytest

from rtpipeline.tables.wide import natural, wide

LONG = pa.table(
    {
        "roi": ["b", "b", "a", "a"],
        "metric": ["V10Gy", "D2cc", "V5Gy", "V10Gy"],
        "value": pa.array([1.0, 2.0, 3.0, None]),
    }
)


def test_one_row_per_identity_in_order_of_appearance_and_naturally_ordered_columns() -> None:
    assert wide(LONG, ["roi"], "metric", "value").to_pylist() == [
        {"roi": "b", "D2cc": 2.0, "V5Gy": None, "V10Gy": 1.0},
        {"roi": "a", "D2cc": None, "V5Gy": 3.0, "V10Gy": None},
    ]


def test_two_values_for_one_cell_are_refused() -> None:
    with pytest.raises(ValueError, match="two values of V10Gy for roi b"):
        wide(pa.concat_tables([LONG, LONG]), ["roi"], "metric", "value")


def test_an_empty_table_keeps_its_identifiers() -> None:
    table = wide(LONG.slice(0, 0), ["roi"], "metric", "value")
    assert table.column_names == ["roi"]
    assert table.num_rows == 0


def test_natural_order() -> None:
    names = ["D50", "D2", "D0.1cc", "D1cc", "V10Gy", "V5Gy", "Dmean", "D2cc", "D"]
    assert sorted(names, key=natural) == ["D", "D0.1cc", "D1cc", "D2", "D2cc", "D50", "Dmean", "V5Gy", "V10Gy"]
