"""Dates of a clinical table are moved whatever their form; what may be a date and cannot be moved is left out."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtpipeline.aggregate.clinical_dates import ClinicalColumn
from rtpipeline.pseudonyms import Key, Translation

HER = Translation(Key(b"a key of 32 bytes, as it must be"), "HOSP-4711")
FORMS = (
    "%Y-%m-%d",
    "%Y%m%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%d %b %Y",
    "%d-%B-%Y",
    "%b %d, %Y",
    "%Y-%m-%d 10:30",
)


def told(name: str, *values: str) -> list[str]:
    column = ClinicalColumn(name, frozenset(value for value in values if value))
    return [column.told(value, HER) for value in values]


def moved(date: str) -> str:
    return (datetime.date.fromisoformat(date) + datetime.timedelta(days=HER.days)).isoformat()


@given(st.dates(datetime.date(1865, 1, 1), datetime.date(2100, 12, 31)), st.sampled_from(FORMS))
def test_every_form_of_a_date_is_moved(date: datetime.date, form: str) -> None:
    expected = moved(date.isoformat()) + (" 10:30" if ":" in form else "")
    assert told("x", date.strftime(form), "") == [expected, ""]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        # the column tells which comes first, the day or the month
        ("day first", ["13/4/2024", "5/1/2024", "05022024"], [*map(moved, ("2024-04-13", "2024-01-05", "2024-02-05"))]),
        ("month first", ["12/25/2024", "5/1/2024"], [moved("2024-12-25"), moved("2024-05-01")]),
        ("open", ["5/1/2024", "4/4/2024"], ["", moved("2024-04-04")]),
        ("dots", ["5.1.2024", "6.2.2024"], [moved("2024-01-05"), moved("2024-02-06")]),
        ("two digits", ["05.01.24", "5 Jan 24"], ["", ""]),
        # numbers of eight digits
        ("viral_load", [str(number) for number in range(300, 320)] + ["20010512"], None),
        ("not many", ["345", "1200300", "20010512", "5"], ["345", "1200300", "", "5"]),
        ("missing", ["20240105", "99999999", ""], [moved("2024-01-05"), "", ""]),
        ("serial", ["20240230", "20249999", "12345678"], None),
        # names
        ("my_date", ["2024", "2024-01", "45296", "unknown", "20240105"], ["", "", "", "unknown", moved("2024-01-05")]),
        ("DateOfBirth", ["74"], [""]),
        ("update", ["74", "20"], None),
        # texts
        ("note", ["seen 5 Jan 2024", "none", "by phone"], [f"seen {moved('2024-01-05')}", "none", "by phone"]),
        ("mostly text", ["20240105", "lost", "moved away"], [moved("2024-01-05"), "lost", "moved away"]),
        ("id", ["4711", "HOSP-4711", "HOSP 4711 again"], ["4711", "X", "X again"]),
    ],
)  # fmt: skip
def test_what_a_cell_leaves_open_its_column_tells(name: str, values: list[str], expected: list[str] | None) -> None:
    assert told(name, *values) == (values if expected is None else expected)
