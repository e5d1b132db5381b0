"""Smooth contours enclose the same voxel centres as the mask."""

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from imaging.masks import masks_on_grids
from polygon_area import polygon_area_mm2
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.polygons import outline
from rtpipeline.imaging.smooth_outline import smooth_outline


@settings(max_examples=60, deadline=None)
@given(masks_on_grids())
def test_rasterising_gives_the_mask_back_plane_by_plane(case: tuple[Grid, NDArray[np.bool_]]) -> None:
    grid, values = case
    for plane in range(grid.planes):
        part = grid.crop(slice(plane, plane + 1), slice(0, grid.rows), slice(0, grid.columns))
        contours = [np.round(contour, 4) for contour in smooth_outline(Mask.cropped(part, values[plane : plane + 1]))]
        assert np.array_equal(rasterise(contours, part).on(part)[0], values[plane])


def test_a_disc_is_round() -> None:
    grid = Grid.uniform((0, 0, 0), (1, 1, 1), (41, 41, 1))
    row, column = np.indices((41, 41))
    mask = Mask.cropped(grid, (np.hypot(row - 20, column - 20) <= 15.3)[None])
    (contour,) = smooth_outline(mask)
    radius = np.linalg.norm(contour[:, :2] - 20, axis=1)
    assert np.ptp(radius) < 0.6
    assert polygon_area_mm2(contour) == pytest.approx(mask.voxel_count, rel=0.01)
    steps = np.linalg.norm(outline(mask)[0][:, :2] - 20, axis=1)
    assert np.ptp(steps) > np.ptp(radius)


def test_an_empty_mask_has_no_contours() -> None:
    grid = Grid.uniform((0, 0, 0), (1, 1, 1), (4, 4, 2))
    assert smooth_outline(Mask.cropped(grid, np.zeros(grid.shape, bool))) == []
