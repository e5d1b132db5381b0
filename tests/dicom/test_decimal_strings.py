"""Numbers as DICOM text, and identifiers from content."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from rtpipeline.dicom.decimal_strings import coordinate_bytes, coordinates, decimal_string
from rtpipeline.dicom.identifiers import derived_uid


@given(st.floats(-1e9, 1e9, allow_nan=False))
def test_decimal_strings_are_short_and_precise(value: float) -> None:
    text = decimal_string(value)
    assert len(text) <= 16
    assert float(text) == pytest.approx(value, rel=1e-8, abs=1e-300)


@given(st.lists(st.floats(-99_999, 99_999, allow_nan=False), min_size=9, max_size=9))
def test_coordinates_come_back_to_a_tenth_of_a_micrometre(values: list[float]) -> None:
    points = np.array(values).reshape(3, 3)
    encoded = coordinate_bytes(points)
    assert len(encoded) % 2 == 0
    assert b"-0.0000\\" not in encoded
    assert coordinates(encoded) == pytest.approx(points, abs=0.51e-4)


@pytest.mark.parametrize("value", [b"", b"1\\2", b"1\\2\\x", b"1\\2\\nan", b"1\\2\\inf", b"1\\\\3"])
def test_what_are_no_points_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"points in space|convert"):
        coordinates(value)


def test_spaces_around_numbers_do_not_matter() -> None:
    assert coordinates(b" 1.5 \\-2e1\\+3 ").tolist() == [[1.5, -20.0, 3.0]]


def test_identifiers_depend_on_all_their_sources_and_nothing_else() -> None:
    uids = {derived_uid("a", "b"), derived_uid("ab"), derived_uid("b", "a"), derived_uid("a", "b", "")}
    assert len(uids) == 4
    assert derived_uid("a", "b") == derived_uid("a", "b")
    assert all(UID(uid).is_valid for uid in uids)
