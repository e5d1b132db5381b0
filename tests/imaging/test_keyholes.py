"""Masks → polygons with keyholes → masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from imaging.masks import masks_on_grids, random_mask
from polygon_area import polygon_area_mm2
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.keyholes import keyholed_outline
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.polygons import outline


@settings(max_examples=150, deadline=None)
@given(masks_on_grids())
def test_rasterising_gives_the_mask_back_exactly(case: tuple[Grid, NDArray[np.bool_]]) -> None:
    grid, values = case
    contours = [np.round(contour, 4) for contour in keyholed_outline(Mask.cropped(grid, values))]
    assert np.array_equal(rasterise(contours, grid).on(grid), values)


@settings(max_examples=60, deadline=None)
@given(masks_on_grids())
def test_the_areas_add_up_to_the_voxels(case: tuple[Grid, NDArray[np.bool_]]) -> None:
    grid, values = case
    mask = Mask.cropped(grid, values)
    area = sum(polygon_area_mm2(contour) for contour in keyholed_outline(mask))
    assert area * grid.spacing_mm[2] / 1000 == pytest.approx(mask.volume_cm3, abs=1e-9)


def test_readers_see_the_same_mask_whether_they_unite_or_exclude() -> None:
    """Even-odd over all polygons, and the union of polygons filled one by one, in matplotlib and skimage."""
    generator = np.random.default_rng(7)
    for _ in range(40):
        values = random_mask(generator)[:1]
        grid = Grid.uniform((0, 0, 0), (1, 1, 1), values.shape[::-1])
        rows, columns = values.shape[1:]
        centres = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
        excluded, united = np.zeros((rows, columns), bool), np.zeros((rows, columns), bool)
        for contour in keyholed_outline(Mask.cropped(grid, values)):
            inside = Polygon(contour[:, :2]).contains_points(centres).reshape(rows, columns)
            assert np.array_equal(polygon2mask((rows, columns), contour[:, 1::-1]), inside)
            excluded ^= inside
            united |= inside
        assert np.array_equal(excluded, values[0])
        assert np.array_equal(united, values[0])


def test_a_chain_of_holes_and_an_island_become_one_polygon_each() -> None:
    values = np.ones((1, 9, 30), bool)
    values[0, 4, 2:28:2] = False
    values[0, 2:7, 20:27] = False
    values[0, 4, 23] = True
    grid = Grid.uniform((0, 0, 0), (1, 1, 1), (30, 9, 1))
    mask = Mask.cropped(grid, values)
    assert len(outline(mask)) == 12
    assert len(keyholed_outline(mask)) == 2
    assert np.array_equal(rasterise(keyholed_outline(mask), grid).on(grid), values)


def test_without_holes_it_is_the_outline() -> None:
    values = np.zeros((2, 5, 5), bool)
    values[:, 1:4, 1:3] = True
    mask = Mask.cropped(Grid.uniform((0, 0, 0), (1, 1, 1), (5, 5, 2)), values)
    for one, other in zip(outline(mask), keyholed_outline(mask), strict=True):
        assert np.array_equal(one, other)


def test_an_empty_mask_has_none() -> None:
    grid = Grid.uniform((0, 0, 0), (1, 1, 1), (3, 3, 3))
    assert keyholed_outline(Mask.cropped(grid, np.zeros(grid.shape, bool))) == []
