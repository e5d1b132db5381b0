"""Cleaning label volumes."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.config import PostprocessingSection
from rtpipeline.inference.postprocessing import Cleaning, cleaned, configured_cleaning


@pytest.fixture
def labels() -> np.ndarray:
    """Label 1: a shell around a hole, an island of 8 voxels, one of a single voxel. Label 2: a block beside it."""
    values = np.zeros((20, 20, 20), np.uint8)
    values[2:9, 2:9, 2:9] = 1
    values[4:7, 4:7, 4:7] = 0
    values[12:14, 12:14, 12:14] = 1
    values[18, 18, 18] = 1
    values[2:9, 2:9, 12:15] = 2
    return values


def test_only_the_largest_part_is_kept(labels: np.ndarray) -> None:
    result = cleaned(labels, {1: Cleaning(keep_largest=True)}, 0.001)
    assert np.count_nonzero(result == 1) == 7**3 - 3**3
    assert np.count_nonzero(result == 2) == np.count_nonzero(labels == 2)


@pytest.mark.parametrize(("smallest_cm3", "islands"), [(0.001, 9), (0.008, 8), (0.0081, 0), (1.0, 0)])
def test_parts_below_a_volume_are_removed(labels: np.ndarray, smallest_cm3: float, islands: int) -> None:
    result = cleaned(labels, {1: Cleaning(smallest_part_cm3=smallest_cm3)}, 0.001)
    shell = 0 if smallest_cm3 > 0.5 else 7**3 - 3**3
    assert np.count_nonzero(result == 1) == shell + islands


def test_holes_are_filled_but_never_with_voxels_of_another_structure(labels: np.ndarray) -> None:
    labels[5, 5, 5] = 2
    result = cleaned(labels, {1: Cleaning(fill_holes=True)}, 0.001)
    assert result[5, 5, 5] == 2
    assert np.count_nonzero(result[2:9, 2:9, 2:9] == 1) == 7**3 - 1


def test_a_hole_that_opens_outwards_is_none(labels: np.ndarray) -> None:
    labels[2:5, 5, 5] = 0
    result = cleaned(labels, {1: Cleaning(fill_holes=True)}, 0.001)
    np.testing.assert_array_equal(result, labels)


def test_parts_that_touch_at_a_corner_are_one() -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = 1
    np.testing.assert_array_equal(cleaned(labels, {1: Cleaning(keep_largest=True)}, 1.0), labels)


def test_cleaning_twice_changes_nothing_more(labels: np.ndarray) -> None:
    rule = {1: Cleaning(True, 0.01, True), 3: Cleaning(keep_largest=True)}
    once = cleaned(labels, rule, 0.001)
    np.testing.assert_array_equal(cleaned(once, rule, 0.001), once)


def test_patterns_choose_the_structures() -> None:
    section = PostprocessingSection(keep_largest_component=("Lung_*",), remove_islands=("*_left",), fill_holes=("x",))
    names = {"1": "lung_left", "2": "lung_right", "3": "kidney_left", "4": "liver"}
    assert configured_cleaning(section, names) == {
        1: Cleaning(keep_largest=True, smallest_part_cm3=0.5),
        2: Cleaning(keep_largest=True),
        3: Cleaning(smallest_part_cm3=0.5),
    }


def test_each_structure_may_have_its_own_smallest_part() -> None:
    section = PostprocessingSection(remove_islands={"lung*": 5.0, "Brain": 0.0, "*": 0.25})
    names = {"1": "lung_left", "2": "brain", "3": "liver"}
    assert configured_cleaning(section, names) == {
        1: Cleaning(smallest_part_cm3=5.0),
        3: Cleaning(smallest_part_cm3=0.25),
    }
