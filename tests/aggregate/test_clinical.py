from pathlib import Path

import pyarrow as pa
import pytest

from rtpipeline.aggregate.clinical import read_clinical
from rtpipeline.outcome import StageError


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    file = folder / "clinical.csv"
    file.write_bytes(text.encode(encoding))
    return file


def test_types_are_taken_only_where_nothing_is_lost(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "patient_id,age,dose,hospital,stage,grade,late\n0012,61,1.5,000123,1e5,NA,\n7,,2,000124,1e6,3,\n",
    )
    data = read_clinical(file).data
    assert data.schema.types == [pa.string(), pa.int64(), pa.float64(), *[pa.string()] * 4]
    assert data.to_pylist()[0] == {
        "patient_id": "0012", "age": 61, "dose": 1.5, "hospital": "000123", "stage": "1e5", "grade": "NA", "late": None,
    }  # fmt: skip


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_quotes_and_byte_order_mark(tmp_path: Path, delimiter: str) -> None:
    lines = [["patient_id", "note"], ["a", f'"x{delimiter} y\nz"'], ["", ""]]
    file = write(tmp_path, "\ufeff" + "\r\n".join(delimiter.join(line) for line in lines) + "\r\n")
    assert read_clinical(file).data.to_pylist() == [{"patient_id": "a", "note": f"x{delimiter} y\nz"}]


def test_joined_by_patient_or_by_patient_and_course(tmp_path: Path) -> None:
    table = read_clinical(write(tmp_path, "patient_id,age\na,1\nb,2\n"))
    assert (table.row_of("b", "any"), table.row_of("c", "any")) == (1, None)
    table = read_clinical(write(tmp_path, "course_id,patient_id,age\n1,a,1\n2,a,2\n"))
    assert (table.row_of("a", "2"), table.row_of("a", "3")) == (1, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,age\n1,2\n", "no column patient_id; the columns are id, age"),
        ("patient_id,age\na,1\na,2\n", "rows 1 and 2 have one patient_id; keep one row for each"),
        ("patient_id,course_id\na,1\na,1\n", "rows 1 and 2 have one patient_id and course_id"),
        ("patient_id,x,x\na,1,2\n", "two columns are named 'x'"),
        ("patient_id,x\na\n", "row 1 has 1 cells where the header has 2"),
        ("", "is empty"),
    ],
)
def test_an_unusable_table_says_what_to_do(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StageError, match=message):
        read_clinical(write(tmp_path, text))


def test_another_encoding_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="save it as CSV UTF-8"):
        read_clinical(write(tmp_path, "patient_id\nÜ\n", "latin-1"))
    with pytest.raises(StageError, match="cannot be read"):
        read_clinical(tmp_path / "missing.csv")
