"""Slabs of contours: where they lie, how thick they are, and what is reported."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.slabs import GeometryError, slab_stack


def square(z: float, side: float = 10.0) -> np.ndarray:
    half = side / 2
    return np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]])


def test_every_plane_stands_for_half_the_gap_to_its_neighbours() -> None:
    stack = slab_stack([square(z) for z in (0.0, 3.0, 6.0)], 3.0)
    assert list(zip(stack.low_mm, stack.high_mm, strict=True)) == [(-1.5, 1.5), (1.5, 4.5), (4.5, 7.5)]
    assert stack.volume_cm3 == pytest.approx(0.9)
    assert stack.warnings == ()


@pytest.mark.parametrize("image_spacing", [3.0, None])
@pytest.mark.parametrize("moved", [0.01, 0.1])
def test_two_parts_that_are_not_quite_in_one_plane_are(moved: float, image_spacing: float | None) -> None:
    """Now the left one lies a little higher, now the right one."""
    left = [square(z) - np.array([20.0, 0.0, 0.0]) for z in (0.0, 3.0 + moved, 6.0, 9.0)]
    right = [square(z) + np.array([20.0, 0.0, 0.0]) for z in (0.0 + moved, 3.0, 6.0, 9.0 + moved)]
    parts = left + right
    stack = slab_stack(parts, image_spacing)
    assert stack.volume_cm3 == pytest.approx(2 * 1.2, rel=0.02)
    assert stack.warnings == ()
    mask = rasterise(parts, Grid.uniform((-29.5, -9.5, 0.0), (1.0, 1.0, 3.0), (60, 20, 4)))
    assert mask.volume_cm3 == pytest.approx(2 * 1.2)


def test_parts_on_planes_of_their_own_are_told() -> None:
    heights = (0.0, 3.0, 6.0, 9.0, 12.0)
    parts = [square(z) for z in heights] + [square(z + 0.8) + np.array([20.0, 0.0, 0.0]) for z in heights[1:4]]
    assert any("3 gaps" in warning for warning in slab_stack(parts, 3.0).warnings)


def test_contours_of_images_that_are_very_close_stay_apart() -> None:
    stack = slab_stack([square(z) for z in (0.0, 0.1, 0.2)], 0.1)
    assert stack.volume_cm3 == pytest.approx(0.03)
    assert len(stack.low_mm) == 3


def test_a_large_gap_is_not_filled_and_is_reported() -> None:
    stack = slab_stack([square(z) for z in (0.0, 3.0, 6.0, 15.0, 18.0)], 3.0)
    assert stack.volume_cm3 == pytest.approx(5 * 0.3)
    assert any("not filled" in warning and "6.0 and 15.0" in warning for warning in stack.warnings)


def test_a_single_plane_is_as_thick_as_the_images_and_says_so() -> None:
    stack = slab_stack([square(4.0)], 2.5)
    assert stack.volume_cm3 == pytest.approx(0.25)
    assert "plane spacing, 2.5 mm" in stack.warnings[0]


def test_a_single_plane_without_images_has_no_volume() -> None:
    with pytest.raises(GeometryError, match="single plane"):
        slab_stack([square(4.0)], None)


def test_repeated_and_overlapping_contours_are_reported() -> None:
    shifted = square(3.0) + np.array([5.0, 0.0, 0.0])
    stack = slab_stack([square(0.0), square(0.0), square(3.0), shifted, square(6.0)], 3.0)
    assert stack.volume_cm3 == pytest.approx(0.3 + 0.45 + 0.3)
    assert len(stack.warnings) == 2


@pytest.mark.parametrize("angles", [(90, 0, 0), (0, 90, 0), (25, 40, 10)])
def test_volume_does_not_depend_on_the_direction_of_the_planes(angles: tuple[int, int, int]) -> None:
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    contours = [square(z, 10 + z) @ turn.T + [100.0, -50.0, 20.0] for z in (0.0, 2.0, 4.0, 6.0)]
    expected = sum((10 + z) ** 2 * 2.0 for z in (0.0, 2.0, 4.0, 6.0)) / 1000
    assert slab_stack(contours, 2.0).volume_cm3 == pytest.approx(expected, rel=1e-9)


def test_contours_that_are_not_parallel_are_refused() -> None:
    with pytest.raises(GeometryError, match="parallel"):
        slab_stack([square(0.0), square(3.0)[:, [2, 1, 0]]], 3.0)


def test_contours_without_area_are_refused() -> None:
    with pytest.raises(GeometryError, match="no area"):
        slab_stack([np.zeros((3, 3))], 3.0)


def test_coordinates_that_no_patient_has_are_refused() -> None:
    with pytest.raises(GeometryError, match="cannot be right"):
        slab_stack([square(0.0), square(3.0, side=1e6)], 3.0)
