"""Trilinear interpolation and its gradient against functions that it reproduces exactly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.interpolation import sample_with_gradient
from rtpipeline.imaging.resampling import sample_linear

TILT = Rotation.from_euler("xyz", [12, -20, 35], degrees=True).as_matrix()


def linear_volume(grid: Grid, slope: np.ndarray, constant: float) -> Volume:
    z, y, x = np.indices(grid.shape).astype(float)
    world = grid.index_to_world(np.stack([x, y, z], axis=-1))
    return Volume(grid, world @ slope + constant)


@pytest.mark.parametrize("direction", [np.eye(3), np.diag([-1.0, -1.0, 1.0]), TILT])
def test_a_linear_field_is_reproduced_with_its_gradient(direction: np.ndarray) -> None:
    grid = Grid(np.array([-10.0, 5.0, 3.0]), direction, (2.0, 3.0), np.array([0.0, 2.0, 5.0, 6.0]), 9, 7)
    slope = np.array([0.4, -0.3, 1.1])
    points = grid.index_to_world(np.random.default_rng(1).uniform([0, 0, 0], [8, 6, 3], (200, 3)))
    found = sample_with_gradient(linear_volume(grid, slope, 7.0), points)
    assert found.inside.all()
    np.testing.assert_allclose(found.values, points @ slope + 7.0, atol=1e-9)
    np.testing.assert_allclose(found.gradient_per_mm @ direction.T, np.tile(slope, (200, 1)), atol=1e-9)


def test_values_are_those_of_sample_linear() -> None:
    generator = np.random.default_rng(2)
    grid = Grid.uniform((0.0, 0.0, 0.0), (2.0, 3.0, 4.0), (6, 5, 4), TILT)
    volume = Volume(grid, generator.normal(size=grid.shape))
    points = grid.index_to_world(generator.uniform(-1, 6, (500, 3)))
    found = sample_with_gradient(volume, points)
    expected = sample_linear(volume, points)
    np.testing.assert_array_equal(found.inside, np.isfinite(expected))
    np.testing.assert_allclose(found.values[found.inside], expected[found.inside], atol=1e-9)
    assert not found.inside.all()


def test_nothing_is_known_outside_the_outermost_voxel_centres() -> None:
    grid = Grid.uniform((0.0, 0.0, 0.0), (2.0, 2.0, 2.0), (3, 3, 3))
    found = sample_with_gradient(Volume(grid, np.ones(grid.shape)), np.array([[4.0, 4, 4], [4.5, 1, 1], [1, 1, -0.5]]))
    assert found.inside.tolist() == [True, False, False]
    assert np.isnan(found.values[1:]).all()
