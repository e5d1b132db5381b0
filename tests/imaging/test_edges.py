"""Sides at which a mask touches the edge of the image."""

import numpy as np
import pytest

from dicom_files import grid_of
from rtpipeline.imaging.edges import touched_sides
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.mask import Mask


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP", "HFDR", "sagittal"])
def test_sides_are_those_of_the_patient(position: str) -> None:
    grid = grid_of(position)
    plane, row, column = np.indices(grid.shape)
    world = grid.index_to_world(np.stack([column, row, plane], axis=-1).astype(float))
    for axis, (larger, smaller) in enumerate((("left", "right"), ("posterior", "anterior"), ("superior", "inferior"))):
        inner = np.ones(grid.shape, bool)
        for other in range(3):
            if other != axis:
                span = world[..., other]
                inner &= np.abs(span - span.mean()) < np.ptp(span) / 5
        middle = world[..., axis].mean()
        for side, half in ((larger, world[..., axis] > middle), (smaller, world[..., axis] < middle)):
            assert touched_sides(Mask.cropped(grid, inner & half), grid) == (side,)
        assert touched_sides(Mask.cropped(grid, inner), grid) == tuple(sorted((larger, smaller)))


def test_nothing_and_images_of_one_plane_touch_nothing() -> None:
    grid = Grid.uniform((0, 0, 0), (1, 1, 1), (5, 5, 1))
    assert touched_sides(Mask.cropped(grid, np.zeros(grid.shape, bool)), grid) == ()
    centre = np.zeros(grid.shape, bool)
    centre[0, 2, 2] = True
    assert touched_sides(Mask.cropped(grid, centre), grid) == ()
