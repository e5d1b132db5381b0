import math
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtpipeline.tables import parquet
from rtpipeline.tables.parquet import (
    empty,
    read_parquet,
    read_parts,
    rows_of_a_group,
    to_arrow,
    write_arrow,
    write_arrow_parts,
    write_parquet,
)
from rtpipeline.tables.schema import Column, Table

CLOSED = Table(
    "example",
    "One row per example.",
    (
        Column("name", "text", "A name."),
        Column("volume_cm3", "number", "A volume.", "cm3"),
        Column("count", "integer", "A count."),
        Column("used", "boolean", "Whether it is used."),
    ),
    sort_by=("name", "count"),
)
OPEN = Table("features", "One row.", CLOSED.columns, ("name",), Column("", "number", "A feature."))


def test_values_come_back_exactly(tmp_path: Path) -> None:
    names = ["000123", "1e5", "NA", "=PTV-1cm", "control\x01", "x" * 40_000, "Ünï🫁", ""]
    rows = [{"name": name, "volume_cm3": 0.1 + 0.2, "count": 2**62, "used": True} for name in names]
    write_parquet(tmp_path / "t.parquet", CLOSED, rows)
    back = read_parquet(tmp_path / "t.parquet")
    assert back["name"].to_pylist() == sorted(names, key=str.encode)
    assert set(back["volume_cm3"].to_pylist()) == {0.1 + 0.2}
    assert back["count"].to_pylist()[0] == 2**62


def test_numpy_scalars_are_taken_and_nan_and_missing_are_null() -> None:
    rows = [
        {"name": "b", "volume_cm3": np.float32(0.5), "count": np.int16(3), "used": np.bool_(False)},
        {"name": "a", "volume_cm3": math.nan},
    ]
    table = to_arrow(CLOSED, rows)
    assert table.to_pylist() == [
        {"name": "a", "volume_cm3": None, "count": None, "used": None},
        {"name": "b", "volume_cm3": 0.5, "count": 3, "used": False},
    ]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", 123),
        ("volume_cm3", "1.5"),
        ("volume_cm3", True),
        ("count", 1.0),
        ("count", np.bool_(True)),
        ("count", 2**63),
        ("used", 1),
    ],
)
def test_a_wrong_type_is_refused_with_table_and_column(column: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"table example, column {column}, row 0"):
        to_arrow(CLOSED, [{column: value}])


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(ValueError, match="table example: unknown column 'Volume'"):
        to_arrow(CLOSED, [{"name": "a", "Volume": 1.0}])


def test_open_columns_keep_the_first_rows_order_and_later_ones_follow_by_name() -> None:
    table = to_arrow(OPEN, [{"name": "a", "z": 1.0, "b": 2.0}, {"name": "b", "y": 3.0, "c": 4.0}])
    assert table.column_names == ["name", "volume_cm3", "count", "used", "z", "b", "c", "y"]
    assert table["y"].to_pylist() == [None, 3.0]


def test_rows_are_sorted_with_nulls_last_and_equal_rows_keep_their_order() -> None:
    rows = [
        {"name": None, "volume_cm3": 1.0},
        {"name": "b", "count": 1, "volume_cm3": 2.0},
        {"name": "b", "volume_cm3": 3.0},
        {"name": "b", "count": 1, "volume_cm3": 4.0},
        {"name": "B", "volume_cm3": 5.0},
    ]
    assert to_arrow(CLOSED, rows)["volume_cm3"].to_pylist() == [5.0, 2.0, 4.0, 3.0, 1.0]


@given(st.permutations([{"name": f"n{i}", "count": i, "volume_cm3": i / 7} for i in range(12)]))
def test_the_order_of_rows_does_not_change_the_table(rows: list[dict[str, object]]) -> None:
    assert to_arrow(CLOSED, rows).equals(to_arrow(CLOSED, sorted(rows, key=lambda row: str(row["name"]))))


def test_same_rows_same_bytes_and_nothing_else_is_left(tmp_path: Path) -> None:
    rows = [{"name": f"n{i}", "count": i, "volume_cm3": i / 7} for i in range(1000)]
    for name in ("a", "b"):
        write_arrow(tmp_path / name / "t.parquet", to_arrow(CLOSED, rows), {"version": "1"})
    assert (tmp_path / "a/t.parquet").read_bytes() == (tmp_path / "b/t.parquet").read_bytes()
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["t.parquet"]
    assert read_parquet(tmp_path / "a/t.parquet").schema.metadata == {b"version": b"1"}


def test_no_pandas_metadata(tmp_path: Path) -> None:
    write_parquet(tmp_path / "t.parquet", CLOSED, [{"name": "a"}])
    assert read_parquet(tmp_path / "t.parquet").schema.metadata is None


def test_a_failing_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    write_parquet(file, CLOSED, [{"name": "old"}])
    with pytest.raises(ValueError, match="unknown column"):
        write_parquet(file, CLOSED, [{"nome": "new"}])
    assert read_parquet(file)["name"].to_pylist() == ["old"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.parquet"]


KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from rtpipeline.tables.parquet import write_arrow_parts

def parts():
    yield pa.table({"value": [float(number) for number in range(200_000)]})
    os.kill(os.getpid(), signal.SIGKILL)

write_arrow_parts(Path(sys.argv[1]), pa.schema([("value", pa.float64())]), parts())
"""


def test_a_writer_that_is_killed_leaves_the_old_file_and_the_next_one_clears_up(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    write_parquet(file, CLOSED, [{"name": "old"}])
    before = file.read_bytes()

    killed = subprocess.run([sys.executable, "-c", KILLED, str(file)], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert file.read_bytes() == before
    assert [entry.name for entry in (tmp_path / ".t.parquet.partial").iterdir()] == ["t.parquet"]
    write_parquet(file, CLOSED, [{"name": "new"}])
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.parquet"]


def test_what_a_killed_writer_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".t.parquet.partial").mkdir()
    (tmp_path / ".t.parquet.partial" / "junk").write_text("half")
    write_arrow(tmp_path / "t.parquet", empty(CLOSED))
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.parquet"]


def test_half_a_surrogate_pair_becomes_a_visible_escape() -> None:
    assert to_arrow(CLOSED, [{"name": "GTV\udce4"}])["name"].to_pylist() == ["GTV\\udce4"]


def test_an_empty_table_has_its_header(tmp_path: Path) -> None:
    write_parquet(tmp_path / "t.parquet", CLOSED, ())
    back = read_parquet(tmp_path / "t.parquet")
    assert back.num_rows == 0
    assert back.schema == empty(CLOSED).schema


def test_parts_give_the_bytes_of_the_whole(tmp_path: Path) -> None:
    whole = pa.table({"name": [f"n{i}" for i in range(500)], "value": [i / 7 for i in range(500)]})
    write_arrow(tmp_path / "whole.parquet", whole, {"a": "b"})
    parts = (whole.slice(start, 7) for start in range(0, 500, 7))
    write_arrow_parts(tmp_path / "parts.parquet", whole.schema, parts, {"a": "b"})
    assert (tmp_path / "parts.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_groups_of_rows_are_smaller_the_wider_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows_of_a_group(15) == 131_072
    assert rows_of_a_group(1_223) == 1_635
    monkeypatch.setattr(parquet, "_CELLS_OF_A_GROUP", 20)
    whole = pa.table({"a": range(25), "b": range(25)})
    write_arrow_parts(tmp_path / "t.parquet", whole.schema, [whole.slice(0, 3), whole.slice(3)])
    assert [part.num_rows for part in read_parts(tmp_path / "t.parquet")] == [10, 10, 5]
    assert read_parquet(tmp_path / "t.parquet").equals(whole)
