import time
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest

from rtpipeline.tables import excel, parquet
from rtpipeline.tables.excel import MAXIMUM_CELL_LENGTH, MAXIMUM_COLUMNS, MAXIMUM_ROWS, parts, write_workbook
from rtpipeline.tables.parquet import write_arrow

NASTY = [
    "000123",
    "1e5",
    "NA",
    "None",
    "=PTV-1cm",
    "+1",
    "-1",
    "@a",
    "http://example.org",
    " padded ",
    "<b>&\"'",
    "Ünï🫁",
]
MARKUP = ["<r>x</r>", "<r><t>x</t></r>", "_x0041_", "{=A1}", "a\nb", "a\tb"]


def cells(path: Path, sheet: str | None = None) -> list[list[Any]]:
    workbook = openpyxl.load_workbook(path)
    worksheet = workbook[sheet] if sheet else workbook.worksheets[0]
    return [[cell.value for cell in row] for row in worksheet.iter_rows()]


@pytest.mark.parametrize("text", NASTY + MARKUP)
def test_text_stays_text(tmp_path: Path, text: str) -> None:
    file = tmp_path / "t.xlsx"
    write_workbook(file, {"names": pa.table({"roi_name": [text]})})
    cell = openpyxl.load_workbook(file).worksheets[0]["A2"]
    assert cell.data_type in ("s", "inlineStr")
    assert cell.hyperlink is None
    # openpyxl does not undo Excel's own escape of an underscore, which Excel does when it opens the file
    assert str(cell.value).replace("_x005F_", "_") == text


def test_numbers_integers_booleans_and_nothing(tmp_path: Path) -> None:
    table = pa.table(
        {
            "number": pa.array([0.1 + 0.2, None, float("inf")], pa.float64()),
            "integer": pa.array([-5, 2**62, None], pa.int64()),
            "boolean": pa.array([True, None, False], pa.bool_()),
        }
    )
    write_workbook(tmp_path / "t.xlsx", {"t": table})
    assert cells(tmp_path / "t.xlsx")[1:] == [
        [pytest.approx(0.1 + 0.2, rel=1e-15), -5, True],
        [None, str(2**62), None],
        ["inf", None, False],
    ]


@pytest.mark.parametrize(("text", "shown"), [("a\x01b", "a\\x01b"), ("a\rb", "a\\rb"), ("a\ufffeb", "a\\ufffeb")])
def test_control_characters_become_visible(tmp_path: Path, text: str, shown: str) -> None:
    write_workbook(tmp_path / "t.xlsx", {"t": pa.table({text: [text]})})
    assert cells(tmp_path / "t.xlsx") == [[shown], [shown]]


@pytest.mark.parametrize("character", ["x", "🫁"])
def test_a_long_cell_ends_with_a_mark_that_names_the_parquet(tmp_path: Path, character: str) -> None:
    write_workbook(tmp_path / "qc_reports.xlsx", {"t": pa.table({"json": [character * 40_000]})})
    text = cells(tmp_path / "qc_reports.xlsx")[1][0]
    assert len(text.encode("utf-16-le")) // 2 in (MAXIMUM_CELL_LENGTH - 1, MAXIMUM_CELL_LENGTH)
    assert text.startswith(character * 10_000)
    assert text.endswith("[…cut here: the whole text is in qc_reports.parquet]")


def test_a_cell_of_exactly_the_limit_is_whole(tmp_path: Path) -> None:
    write_workbook(tmp_path / "t.xlsx", {"t": pa.table({"json": ["x" * MAXIMUM_CELL_LENGTH]})})
    assert cells(tmp_path / "t.xlsx")[1][0] == "x" * MAXIMUM_CELL_LENGTH


def test_same_tables_same_bytes(tmp_path: Path) -> None:
    table = pa.table({"name": [f"n{i}" for i in range(50)], "value": [i / 7 for i in range(50)]})
    for name in ("a.xlsx", "b.xlsx"):
        write_workbook(tmp_path / name, {"one": table, "two": table}, complete_in="t.parquet")
    assert (tmp_path / "a.xlsx").read_bytes() == (tmp_path / "b.xlsx").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.xlsx", "b.xlsx"]


def test_the_time_zone_does_not_change_a_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = []
    for zone in ("Pacific/Kiritimati", "America/Anchorage"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        write_workbook(tmp_path / "t.xlsx", {"t": pa.table({"a": [1]})})
        contents.append((tmp_path / "t.xlsx").read_bytes())
    monkeypatch.undo()
    time.tzset()
    assert contents[0] == contents[1]


def test_header_is_frozen_bold_and_filtered(tmp_path: Path) -> None:
    write_workbook(tmp_path / "t.xlsx", {"t": pa.table({"a": [1, 2], "b": ["x", "y"]})})
    worksheet = openpyxl.load_workbook(tmp_path / "t.xlsx").worksheets[0]
    assert worksheet.freeze_panes == "A2"
    assert worksheet["A1"].font.bold
    assert worksheet.auto_filter.ref == "A1:B3"


def test_a_table_without_rows_has_its_header(tmp_path: Path) -> None:
    write_workbook(tmp_path / "t.xlsx", {"t": pa.table({"a": pa.array([], pa.string())})})
    assert cells(tmp_path / "t.xlsx") == [["a"]]


def test_sheet_names_are_made_valid_and_unique(tmp_path: Path) -> None:
    table = pa.table({"a": [1]})
    names = ["a" * 40, "a" * 41, "A" * 31, "x/y:z", "History", "'q'", ""]
    write_workbook(tmp_path / "t.xlsx", dict.fromkeys(names, table))
    written = openpyxl.load_workbook(tmp_path / "t.xlsx").sheetnames
    assert len(written) == len(names)
    assert written[3:] == ["x_y_z", "History (2)", "q", "Sheet"]
    assert max(map(len, written)) == 31


def test_parts_cover_every_cell_once_and_repeat_the_identifiers() -> None:
    table = pa.table({"patient_id": [f"p{i}" for i in range(7)], **{f"f{j}": [j] * 7 for j in range(7)}})
    pieces = list(parts(table, maximum_rows=4, maximum_columns=4))
    assert [(piece.row_count, piece.columns) for piece in pieces[:3]] == [
        (3, ["patient_id", "f0", "f1", "f2"]),
        (3, ["patient_id", "f3", "f4", "f5"]),
        (3, ["patient_id", "f6"]),
    ]
    assert sum(piece.row_count for piece in pieces if "f6" in piece.columns) == 7
    (last,) = pieces[-1].batches()
    assert last["patient_id"].to_pylist() == ["p6"]


def test_a_sheet_from_a_parquet_file_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table(
        {"patient_id": [f"p{i}" for i in range(50)], **{f"f{j}": [j + i / 7 for i in range(50)] for j in range(5)}}
    )
    write_workbook(tmp_path / "table.xlsx", {"t": table}, complete_in="t.parquet")
    monkeypatch.setattr(parquet, "_CELLS_OF_A_GROUP", 60)
    monkeypatch.setattr(excel, "_CELLS_AT_ONCE", 25)
    write_arrow(tmp_path / "t.parquet", table)
    write_workbook(tmp_path / "file.xlsx", {"t": tmp_path / "t.parquet"}, complete_in="t.parquet")
    assert (tmp_path / "file.xlsx").read_bytes() == (tmp_path / "table.xlsx").read_bytes()
    pieces = list(parts(tmp_path / "t.parquet", maximum_rows=21, maximum_columns=4))
    assert [(piece.start, piece.row_count) for piece in pieces[::2]] == [(0, 20), (20, 20), (40, 10)]
    for piece in pieces:
        assert pa.concat_tables(piece.batches()).equals(table.select(piece.columns).slice(piece.start, piece.row_count))


def test_too_many_rows_and_columns_for_one_sheet(tmp_path: Path) -> None:
    tall = pa.table({"flag": pa.repeat(True, MAXIMUM_ROWS + 1)})
    wide = pa.table({"patient_id": ["000123"], **{f"c{i}": [i] for i in range(20_000)}})
    write_workbook(tmp_path / "t.xlsx", {"tall": tall, "wide": wide})
    workbook = openpyxl.load_workbook(tmp_path / "t.xlsx", read_only=True)
    assert workbook.sheetnames == ["tall", "tall (2)", "wide", "wide (2)"]
    assert workbook["tall"].max_row == MAXIMUM_ROWS
    assert workbook["tall (2)"].max_row == 3
    assert workbook["wide"].max_column == MAXIMUM_COLUMNS
    second = [list(row) for row in workbook["wide (2)"].iter_rows(values_only=True)]
    assert [row[0] for row in second] == ["patient_id", "000123"]
    assert second[1][-1] == 19_999
