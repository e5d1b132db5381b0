"""Masks → voxel-edge polygons → masks."""

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
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.polygons import outline


@settings(max_examples=150, deadline=None)
@given(masks_on_grids())
def test_rasterising_the_outline_gives_the_mask_back_exactly(case: tuple[Grid, NDArray[np.bool_]]) -> None:
    grid, values = case
    contours = [np.round(contour, 4) for contour in outline(Mask.cropped(grid, values))]
    assert np.array_equal(rasterise(contours, grid).on(grid), values)


@settings(max_examples=50, deadline=None)
@given(masks_on_grids())
def test_the_area_of_the_outline_is_the_area_of_the_voxels(case: tuple[Grid, NDArray[np.bool_]]) -> None:
    grid, values = case
    mask = Mask.cropped(grid, values)
    signed = 0.0
    for contour in outline(mask):
        relative = contour - contour[0]
        area = np.cross(relative, np.roll(relative, -1, axis=0)).sum(axis=0) / 2
        signed += float(area @ np.cross(grid.direction[:, 0], grid.direction[:, 1]))
        assert polygon_area_mm2(contour) == pytest.approx(abs(np.linalg.norm(area)))
    assert signed * grid.spacing_mm[2] / 1000 == pytest.approx(mask.volume_cm3, abs=1e-9)


def test_other_even_odd_readers_see_the_same_mask() -> None:
    generator = np.random.default_rng(5)
    for _ in range(40):
        values = random_mask(generator)[:1]
        grid = Grid.uniform((0, 0, 0), (1, 1, 1), values.shape[::-1])
        polygons = [contour[:, :2] for contour in outline(Mask.cropped(grid, values))]
        rows, columns = values.shape[1:]
        centres = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
        matplotlib = np.zeros(rows * columns, bool)
        skimage = np.zeros((rows, columns), bool)
        for polygon in polygons:
            matplotlib ^= Polygon(polygon).contains_points(centres)
            skimage ^= polygon2mask((rows, columns), polygon[:, ::-1])
        assert np.array_equal(matplotlib.reshape(rows, columns), values[0])
        assert np.array_equal(skimage, values[0])


def test_a_single_voxel_is_a_rectangle_that_begins_at_its_first_corner() -> None:
    values = np.zeros((1, 4, 4), bool)
    values[0, 1, 2] = True
    contour = outline(Mask.cropped(Grid.uniform((0, 0, 7), (2, 3, 1), (4, 4, 1)), values))
    assert len(contour) == 1
    assert contour[0].tolist() == [[3, 1.5, 7], [5, 1.5, 7], [5, 4.5, 7], [3, 4.5, 7]]


def test_voxels_that_touch_at_a_corner_get_loops_of_their_own() -> None:
    values = np.eye(3, dtype=bool)[None]
    contours = outline(Mask(Grid.uniform((0, 0, 0), (1, 1, 1), (3, 3, 1)), values))
    assert [len(contour) for contour in contours] == [4, 4, 4]


def test_a_ring_has_an_outer_loop_and_a_hole_in_the_opposite_sense() -> None:
    values = np.ones((1, 5, 5), bool)
    values[0, 2, 2] = False
    outer, hole = outline(Mask(Grid.uniform((0, 0, 0), (1, 1, 1), (5, 5, 1)), values))

    def signed(contour: NDArray[np.float64]) -> float:
        x, y = contour[:, 0], contour[:, 1]
        return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2

    assert (signed(outer), signed(hole)) == (25.0, -1.0)


def test_an_empty_mask_has_no_outline() -> None:
    grid = Grid.uniform((0, 0, 0), (1, 1, 1), (3, 3, 3))
    assert outline(Mask.cropped(grid, np.zeros(grid.shape, bool))) == []
