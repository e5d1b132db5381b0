"""Keyed pseudonyms, and what is taken out of texts."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from rtpipeline.outcome import StageError
from rtpipeline.pseudonyms import Key, Translation, identifying_words, open_key

KEY = Key(bytes(range(32)))
EGON = Translation(KEY, "HOSP-4711", ("Zwiebelmann^Egon", "Dr. Li", "ALT 556677"))
DATES = st.dates(datetime.date(1901, 1, 1), datetime.date(2099, 12, 31))


def test_stays_the_same_for_good() -> None:
    """Values from `openssl dgst -sha256 -mac HMAC`: a change would give a study that goes on other names."""
    assert KEY.patient("HOSP-4711") == "P677061b2c0b8"
    assert KEY.uid("1.2.3") == "2.25.197235472747328251375459603941291095639"
    assert KEY.days("HOSP-4711") == -462


@given(st.text(), st.text())
def test_names_differ_with_patient_and_key(one: str, other: str) -> None:
    assert (KEY.patient(one) == KEY.patient(other)) == (one == other)
    assert KEY.patient(one) != Key(b"another key of 32 bytes, or not.").patient(one)


@given(st.from_regex(r"[1-9]\d{0,9}(\.[1-9]\d{0,9}){2,5}", fullmatch=True))
def test_uids_are_valid_and_the_standards_own_stay(uid: str) -> None:
    assert UID(KEY.uid(uid)).is_valid
    assert len(KEY.uid(uid)) <= 64
    assert KEY.uid(f"1.2.840.10008.{uid}") == f"1.2.840.10008.{uid}"


@given(st.text(max_size=20), DATES, DATES)
def test_intervals_and_days_of_the_week_are_kept(patient_id: str, one: datetime.date, other: datetime.date) -> None:
    translation = Translation(KEY, patient_id)
    moved = [datetime.date.fromisoformat(translation.date(date.isoformat())) for date in (one, other)]
    assert moved[1] - moved[0] == other - one
    assert moved[0].weekday() == one.weekday()
    assert 364 <= (one - moved[0]).days <= 3640


@given(DATES)
def test_dates_in_texts_move_as_dates_do(date: datetime.date) -> None:
    moved = EGON.date(date.isoformat())
    assert EGON.text(f"CT {date.isoformat()}_a") == f"CT {moved}_a"
    assert EGON.text(f"{date:%Y%m%d}") == moved.replace("-", "")
    assert EGON.text(f"vom {date:%d.%m.%Y}.") == f"vom {datetime.date.fromisoformat(moved):%d.%m.%Y}."
    assert EGON.text(f"{date.year}/{date.month}/{date.day}") == moved.replace("-", "/")
    for text in (
        f"{date:%d %b %Y}",
        f"{date:%d-%B-%Y}",
        f"{date:%b %d, %Y}",
        f"{date:%B}{date.day} {date.year}".upper(),
    ):
        assert EGON.text(f"CT of {text}") == f"CT of {moved}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plan of Zwiebelmann", "plan of X"),
        ("ZWIEBELMANN_egon", "X"),
        ("Zwiebelmann2", "X2"),
        ("Zwiebelmannsche Krankheit", "Zwiebelmannsche Krankheit"),
        ("HOSP_4711 boost", "X boost"),
        ("HOSP-47110", "HOSP-47110"),
        ("alt-556677", "X"),
        ("PTV 50.4 Gy, 1.8 Gy x 28", "PTV 50.4 Gy, 1.8 Gy x 28"),
        ("Lunge li", "Lunge li"),
        ("version 15.6.1.2", "version 15.6.1.2"),
    ],
)
def test_words_that_identify_are_taken_out(text: str, expected: str) -> None:
    assert EGON.text(text) == expected


def test_uids_in_texts_are_replaced() -> None:
    uid = "1.3.6.1.4.1.32722.99.99.2389"
    assert EGON.text(f"dose {uid}: undecided") == f"dose {KEY.uid(uid)}: undecided"
    again = KEY.uid(uid)
    assert EGON.text(f"plan {again}, newer") == f"plan {KEY.uid(again)}, newer"


def test_words_that_would_be_found_everywhere_are_left_out() -> None:
    assert identifying_words(["Phantom^Lung", "1", "0042", "Li^An"]) == ("li an",)
    assert identifying_words(["LUNG1-001"]) == ("lung1 001",)


def test_key_is_made_once_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    made = open_key(path, tmp_path / "out", create=True)
    assert open_key(path, tmp_path / "out", create=True) == made == open_key(path, None, create=False)
    assert len(made.secret) == 32
    assert made.secret.hex() not in repr(made)


def test_key_is_not_made_where_one_was_used(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no such key file"):
        open_key(tmp_path / "key", tmp_path / "out", create=False)
