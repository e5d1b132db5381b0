"""Margins in millimetres of the patient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dicom_files import direction_of
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.margins import Margins, expand
from rtpipeline.imaging.mask import Mask


def grid_in(position: str = "HFS") -> Grid:
    size, spacing = (41, 37, 33), (1.0, 1.5, 2.0)
    direction = direction_of(position)
    return Grid.uniform(-direction @ ((np.array(size) - 1) * np.array(spacing) / 2), spacing, size, direction)


def positions(grid: Grid) -> NDArray[np.float64]:
    plane, row, column = np.meshgrid(*(np.arange(size) for size in grid.shape), indexing="ij")
    return grid.index_to_world(np.stack([column, row, plane], axis=-1))


def point_mask(grid: Grid) -> Mask:
    values = np.zeros(grid.shape, bool)
    values[16, 18, 20] = True
    return Mask.cropped(grid, values)


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "oblique"])
def test_a_point_grows_to_a_ball(position: str) -> None:
    grid = grid_in(position)
    grown = expand(point_mask(grid), 9.0, grid).on(grid)
    assert np.array_equal(grown, np.linalg.norm(positions(grid), axis=-1) <= 9.0 + 1e-9)


MARGINS = Margins(anterior_mm=10, posterior_mm=5, left_mm=7, right_mm=3, superior_mm=14, inferior_mm=6)


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP", "HFDR", "sagittal", "oblique"])
def test_a_point_grows_by_the_margin_of_each_direction_of_the_patient(position: str) -> None:
    grid = grid_in(position)
    grown = expand(point_mask(grid), MARGINS, grid).on(grid)
    world = positions(grid)
    reach = np.where(world > 0, [7, 5, 14], [3, 10, 6])
    assert np.array_equal(grown, ((world / reach) ** 2).sum(axis=-1) <= 1 + 1e-6)


def test_directions_are_those_of_the_patient() -> None:
    grid = grid_in("HFP")
    world = positions(grid)
    inside = world[expand(point_mask(grid), MARGINS, grid).on(grid)]
    assert inside.max(axis=0) == pytest.approx([7, 4.5, 14])
    assert inside.min(axis=0) == pytest.approx([-3, -9, -6])


def test_a_margin_in_one_direction_moves_nothing_else() -> None:
    grid = grid_in()
    grown = expand(point_mask(grid), Margins(superior_mm=6), grid).on(grid)
    assert sorted(zip(*(axis.tolist() for axis in np.nonzero(grown)), strict=True)) == [
        (plane, 18, 20) for plane in (16, 17, 18, 19)
    ]


@pytest.mark.parametrize("margin", [4.0, MARGINS])
def test_shrinking_undoes_growing_of_a_convex_body(margin: float | Margins) -> None:
    grid = grid_in()
    box = np.zeros(grid.shape, bool)
    box[10:22, 12:24, 12:28] = True
    mask = Mask.cropped(grid, box)
    grown = expand(mask, margin, grid)
    negative = -margin if isinstance(margin, float) else Margins(*(-value for value in vars(margin).values()))
    assert np.array_equal(expand(grown, negative, grid).on(grid), box)


def test_shrinking_a_side_takes_that_side() -> None:
    grid = grid_in()
    box = np.zeros(grid.shape, bool)
    box[10:22, 12:24, 12:28] = True
    shrunk = expand(Mask.cropped(grid, box), Margins(anterior_mm=-4.5, left_mm=-2), grid).on(grid)
    expected = np.zeros(grid.shape, bool)
    expected[10:22, 15:24, 12:26] = True
    assert np.array_equal(shrunk, expected)


def test_shrinking_more_than_there_is_leaves_nothing() -> None:
    grid = grid_in()
    assert expand(point_mask(grid), -1.0, grid).is_empty


def test_nothing_leaves_the_image() -> None:
    grid = grid_in()
    corner = np.zeros(grid.shape, bool)
    corner[0, 0, 0] = True
    grown = expand(Mask.cropped(grid, corner), 300.0, grid)
    assert grown.on(grid).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 6.0))
def test_both_ways_of_growing_agree(seed: int, margin: float) -> None:
    generator = np.random.default_rng(seed)
    grid = Grid.uniform((0, 0, 0), (1.0, 1.5, 2.0), (15, 12, 9))
    mask = Mask.cropped(grid, generator.random(grid.shape) < 0.02)
    nearly = Margins(margin, margin, margin, margin, margin, margin * (1 + 1e-9))
    assert np.array_equal(expand(mask, margin, grid).on(grid), expand(mask, nearly, grid).on(grid))


def test_unequal_planes_are_refused() -> None:
    grid = Grid(np.zeros(3), np.eye(3), (1.0, 1.0), np.array([0.0, 3.0, 9.0]), 4, 4)
    with pytest.raises(ValueError, match="equally spaced"):
        expand(Mask.cropped(grid, np.ones(grid.shape, bool)), 3.0, grid)
