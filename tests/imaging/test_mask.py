"""Masks on parts of grids."""

import numpy as np
import pytest

from dicom_files import grid_of
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.mask import Mask


@pytest.mark.parametrize("position", ["HFS", "FFP", "oblique"])
def test_a_cropped_mask_comes_back_on_its_grid(position: str) -> None:
    grid = grid_of(position)
    values = np.zeros(grid.shape, bool)
    values[2:5, 3:9, 1:4] = True
    values[3, 5, 2] = False
    mask = Mask.cropped(grid, values)
    assert mask.values.shape == (3, 6, 3)
    assert np.array_equal(mask.on(grid), values)
    assert mask.volume_cm3 == pytest.approx(values.sum() * 1.3 * 0.9 * 2.5 / 1000)


def test_the_centroid_is_the_centre_of_the_box() -> None:
    grid = grid_of("FFS")
    values = np.zeros(grid.shape, bool)
    values[2:5, 3:9, 1:4] = True
    expected = grid.index_to_world(np.array([2.0, 5.5, 3.0]))
    assert Mask.cropped(grid, values).centroid_mm == pytest.approx(expected)


def test_an_empty_mask_has_no_volume_and_no_centroid() -> None:
    grid = grid_of()
    mask = Mask.cropped(grid, np.zeros(grid.shape, bool))
    assert mask.is_empty
    assert mask.volume_cm3 == 0
    assert np.isnan(mask.centroid_mm).all()
    assert not mask.on(grid).any()


def test_planes_that_are_not_equally_spaced_keep_their_thickness() -> None:
    grid = Grid(np.zeros(3), np.eye(3), (1.0, 1.0), np.array([0.0, 3.0, 6.0, 12.0, 15.0]), 4, 4)
    values = np.zeros(grid.shape, bool)
    values[3, 1:3, 1:3] = True
    mask = Mask.cropped(grid, values)
    assert mask.volume_cm3 == pytest.approx(4 * 3 / 1000)
    assert np.array_equal(mask.on(grid), values)


def test_a_mask_of_other_voxels_is_refused() -> None:
    grid = grid_of()
    values = np.ones(grid.shape, bool)
    shifted = Grid.uniform(grid.origin_mm + 0.3, grid.spacing_mm, (14, 11, 9))
    with pytest.raises(ValueError, match="not voxels of this grid"):
        Mask.cropped(shifted, values).on(grid)
    with pytest.raises(ValueError, match="not voxels of this grid"):
        Mask.cropped(grid, values).on(grid.crop(slice(1, 9), slice(0, 11), slice(0, 14)))


def test_values_must_be_boolean_and_fit() -> None:
    grid = grid_of()
    with pytest.raises(ValueError, match="boolean"):
        Mask(grid, np.zeros(grid.shape))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="do not fit"):
        Mask(grid, np.zeros((1, 2, 3), bool))
