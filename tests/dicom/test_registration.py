"""From one frame of reference to another by registrations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_files import rigid, write_registration
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.registration import RegistrationContent, read_registration, rigid_transform

CT, MR, OTHER = "1.2.3", "1.2.4", "1.2.5"
ONE = rigid((0.2, -0.5, 1.0), 12.0, (5.0, -6.0, 7.0))
TWO = rigid((1.0, 0.1, 0.0), -30.0, (-20.0, 3.0, 1.5))
FLIPPED = np.diag([-1.0, 1.0, 1.0, 1.0])
SCALED = np.diag([1.1, 1.1, 1.1, 1.0])


def _read(folder: Path, frame: str, *registered: tuple[str, list[np.ndarray]], name: str = "r") -> RegistrationContent:
    return read_registration(write_registration(folder / f"{name}.dcm", frame, registered))


def test_a_registration_carries_points_of_its_items_into_its_own_frame(tmp_path: Path) -> None:
    content = _read(tmp_path, CT, (CT, [np.eye(4)]), (MR, [ONE]))
    np.testing.assert_allclose(rigid_transform([content], MR, CT), ONE, atol=1e-9)
    np.testing.assert_allclose(rigid_transform([content], CT, MR), np.linalg.inv(ONE), atol=1e-9)


def test_matrices_of_one_item_are_applied_one_after_another(tmp_path: Path) -> None:
    content = _read(tmp_path, CT, (MR, [ONE, TWO]))
    np.testing.assert_allclose(rigid_transform([content], MR, CT), TWO @ ONE, atol=1e-9)


def test_two_frames_are_linked_by_the_frame_both_are_registered_with(tmp_path: Path) -> None:
    content = _read(tmp_path, OTHER, (CT, [ONE]), (MR, [TWO]))
    np.testing.assert_allclose(rigid_transform([content], MR, CT), np.linalg.inv(ONE) @ TWO, atol=1e-9)


def test_two_items_of_one_frame_are_not_applied_twice(tmp_path: Path) -> None:
    content = _read(tmp_path, CT, (MR, [ONE]), (MR, [ONE]))
    np.testing.assert_allclose(rigid_transform([content], MR, CT), ONE, atol=1e-9)


def test_without_both_frames_there_is_none(tmp_path: Path) -> None:
    content = _read(tmp_path, CT, (MR, [ONE]))
    assert rigid_transform([content], OTHER, CT) is None
    assert rigid_transform([], MR, CT) is None


def test_items_without_a_frame_link_nothing(tmp_path: Path) -> None:
    content = _read(tmp_path, CT, ("", [ONE]), ("", [TWO]), (MR, [ONE]))
    np.testing.assert_allclose(rigid_transform([content], MR, CT), ONE, atol=1e-9)


@pytest.mark.parametrize("matrix", [FLIPPED, SCALED], ids=["mirrored", "scaled"])
def test_what_is_not_rigid_is_refused(tmp_path: Path, matrix: np.ndarray) -> None:
    with pytest.raises(DicomError, match="not followed"):
        rigid_transform([_read(tmp_path, CT, (MR, [matrix]))], MR, CT)


def test_contradictions_are_refused(tmp_path: Path) -> None:
    one, two = _read(tmp_path, CT, (MR, [ONE])), _read(tmp_path, CT, (MR, [TWO]), name="s")
    with pytest.raises(DicomError, match="contradict each other"):
        rigid_transform([one, two], MR, CT)
    with pytest.raises(DicomError, match="contradicts itself"):
        rigid_transform([_read(tmp_path, CT, (MR, [ONE]), (MR, [TWO]))], MR, CT)
    with pytest.raises(DicomError, match="contradicts itself"):
        rigid_transform([_read(tmp_path, CT, (CT, [ONE]), (MR, [TWO]))], MR, CT)


@given(
    st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda axis: np.linalg.norm(axis) > 0.1),
    st.floats(-180, 180),
    st.tuples(*[st.floats(-500, 500)] * 3),
)
def test_there_and_back_is_where_it_was(tmp_path_factory, axis, angle_deg, shift_mm) -> None:  # type: ignore[no-untyped-def]
    content = _read(tmp_path_factory.getbasetemp(), CT, (MR, [rigid(axis, angle_deg, shift_mm)]))
    there, back = rigid_transform([content], MR, CT), rigid_transform([content], CT, MR)
    np.testing.assert_allclose(back @ there, np.eye(4), atol=1e-6)
