"""How thick the slab is that a plane stands for, in contours and in their masks alike."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.imaging.contours import rasterise_with_notes
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.slab_bounds import gap_warnings, slab_bounds_mm
from rtpipeline.imaging.slabs import slab_stack


@pytest.mark.parametrize(
    ("offsets", "thickness"),
    [
        ([0.0], [3.0]),
        ([0.0, 6.0, 12.0, 18.0], [6.0] * 4),
        ([0.0, 2.0, 4.0, 7.0, 10.0], [2.0, 2.0, 2.5, 3.0, 2.75]),  # the CT's spacing changes: nothing is lost between
        ([0.0, 3.0, 6.0, 24.0, 27.0, 30.0], [3.0] * 6),
        ([0.0, 30.0], [3.0, 3.0]),
        ([0.0, 6.0], [6.0, 6.0]),
        ([0.0, 3.0, 6.0, 9.0], [3.0] * 4),
        ([0.0, 1.0, 4.0, 7.0, 10.0], [1.0, 2.0, 3.0, 3.0, 3.0]),
    ],
)
def test_thickness_of_slabs(offsets: list[float], thickness: list[float]) -> None:
    low, high = slab_bounds_mm(np.array(offsets), 3.0)
    assert high - low == pytest.approx(thickness)
    assert np.all(low[1:] >= high[:-1] - 1e-9)


def test_gaps_that_are_not_filled_are_told() -> None:
    (warning,) = gap_warnings(np.array([0.0, 3.0, 6.0, 15.0, 18.0]), 3.0)
    assert "6.0 and 15.0" in warning
    assert gap_warnings(np.array([0.0, 3.0, 7.0, 10.0]), 3.0) == []
    assert "every 9.0 mm" in gap_warnings(np.array([0.0, 9.0, 18.0]), 3.0)[0]


@pytest.mark.parametrize(
    "offsets",
    [
        [10.0, 13.0, 16.0, 19.0],
        [10.0, 12.0, 14.0, 17.0, 20.0],
        [10.0, 16.0, 22.0, 28.0],
        [10.0, 13.0, 16.0, 30.0, 33.0, 36.0],
        [10.0, 14.0, 18.0, 22.0],
        [10.0, 40.0],
        [10.0],
    ],
)
def test_contours_and_their_masks_have_the_same_volume(offsets: list[float]) -> None:
    """Squares along voxel edges on images 0.1 mm apart: the mask samples the slabs to a tenth of a millimetre."""
    grid = Grid.uniform((-9.5, -9.5, 0.0), (1.0, 1.0, 0.1), (20, 20, 500))
    contours = [np.array([[-4.1, -4.1, z], [4.1, -4.1, z], [4.1, 4.1, z], [-4.1, 4.1, z]]) for z in offsets]
    image_gap = 3.0 if len(offsets) > 2 else 0.1
    low, high = slab_bounds_mm(np.array(offsets), image_gap)
    mask, _ = rasterise_with_notes(contours, grid)
    area = 8.2 * 8.2
    assert mask.volume_cm3 == pytest.approx(64 * (high - low).sum() / 1000, rel=0.02)
    assert slab_stack(contours, image_gap).volume_cm3 == pytest.approx(area * (high - low).sum() / 1000)
