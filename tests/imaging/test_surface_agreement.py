"""Surface distances against closed forms and every pair of points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.surface_agreement import surface_agreement

SPACING = (1.0, 1.5, 3.0)


def _grid(size: int = 24) -> Grid:
    return Grid.uniform((5.0, -3.0, 40.0), SPACING, (size, size, size), np.eye(3))


def _mask(grid: Grid, *boxes: tuple[slice, slice, slice]) -> Mask:
    values = np.zeros(grid.shape, bool)
    for box in boxes:
        values[box] = True
    return Mask.cropped(grid, values)


def test_a_mask_agrees_with_itself_also_at_the_edge_of_the_image() -> None:
    grid = _grid()
    mask = _mask(grid, (slice(0, 9), slice(3, 12), slice(4, 24)))
    found = surface_agreement(mask, mask, grid)
    assert found is not None
    assert set(found.surface_dice.values()) == {1.0}
    assert (found.hausdorff_95_mm, found.mean_distance_mm, found.added_path_length_mm) == (0.0, 0.0, 0.0)


def test_two_plates_lie_as_far_apart_as_their_planes() -> None:
    """Plates of one voxel: every voxel is surface, and the next one of the other plate lies straight above it."""
    grid = _grid()
    low, high = (_mask(grid, (slice(plane, plane + 1), slice(4, 14), slice(4, 14))) for plane in (5, 7))
    found = surface_agreement(low, high, grid)
    assert found is not None
    assert found.hausdorff_95_mm == pytest.approx(6.0)
    assert found.mean_distance_mm == pytest.approx(6.0)
    assert set(found.surface_dice.values()) == {0.0}
    assert found.added_path_length_mm == pytest.approx(36 * np.sqrt(1.5))


def test_a_shift_within_a_tolerance_counts_as_agreement() -> None:
    grid = _grid()
    first, second = (_mask(grid, (slice(4, 12), slice(4, 14), slice(x, x + 8))) for x in (4, 6))
    found = surface_agreement(first, second, grid)
    assert found is not None
    assert found.surface_dice[1.0] < 1.0
    assert found.surface_dice[2.0] == found.surface_dice[3.0] == 1.0
    assert found.hausdorff_95_mm == pytest.approx(2.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_distances_are_those_of_every_pair_of_points(seed: int) -> None:
    random = np.random.default_rng(seed)
    grid = _grid(9)
    values = [random.random(grid.shape) < density for density in random.uniform(0.05, 0.7, 2)]
    for one in values:
        one[4, 4, 4] = True
    first, second = (Mask.cropped(grid, one) for one in values)
    points = [_surface_points(one) for one in values]
    between = cdist(*points)
    from_first, from_second = between.min(axis=1), between.min(axis=0)
    found = surface_agreement(first, second, grid)
    assert found is not None
    both = np.concatenate([from_first, from_second])
    assert found.mean_distance_mm == pytest.approx(both.mean(), abs=1e-4)
    expected = max(np.percentile(from_first, 95), np.percentile(from_second, 95))
    assert found.hausdorff_95_mm == pytest.approx(expected, abs=1e-4)
    for limit, value in found.surface_dice.items():
        assert value == pytest.approx(np.mean(both <= limit + 1e-9))


def _surface_points(values: np.ndarray) -> np.ndarray:
    """Millimetres (x, y, z) of the voxels with one of six neighbours outside, looked at one by one."""
    padded = np.pad(values, 1)
    steps = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    found = [
        (x * SPACING[0], y * SPACING[1], z * SPACING[2])
        for z, y, x in np.argwhere(values)
        if not all(padded[z + 1 + dz, y + 1 + dy, x + 1 + dx] for dz, dy, dx in steps)
    ]
    return np.array(found)


def test_nothing_is_said_of_planes_that_are_not_equally_spaced() -> None:
    offsets = np.array([0.0, 3.0, 6.0, 12.0])
    grid = Grid(np.zeros(3), np.eye(3), (1.0, 1.0), offsets, 8, 8, 3.0)
    mask = _mask(grid, (slice(1, 3), slice(2, 5), slice(2, 5)))
    assert surface_agreement(mask, mask, grid) is None
