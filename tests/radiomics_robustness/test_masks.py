import numpy as np
import pytest

from rtpipeline.config import SegmentationPerturbationSection
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.mask import Mask
from rtpipeline.radiomics_robustness.contour import ContourOffset
from rtpipeline.radiomics_robustness.masks import perturbed_masks
from rtpipeline.radiomics_robustness.region import Region
from rtpipeline.radiomics_robustness.states import NO_TRANSLATION, axes_of

GRID = Grid.uniform((0.0, 0.0, 0.0), (1.0, 1.0, 3.0), (40, 40, 14))
HEAD = (0.0, 0.0, 4.0)


def masks_of(first_plane: int, offsets: dict[int, float] | None = None, planes: int = 5, **keys):
    values = np.zeros(GRID.shape, bool)
    values[first_plane : first_plane + planes, 15:25, 15:25] = True
    axes = axes_of(SegmentationPerturbationSection(**keys))

    def draw(translation, realisation):
        return ContourOffset((offsets or {})[realisation])

    return perturbed_masks(Region.of(Mask.cropped(GRID, values), GRID), GRID, axes, draw)


def test_a_mask_that_would_leave_the_image_fails_and_the_others_do_not():
    made = masks_of(9, max_translation_mm=4)
    assert made[HEAD, 0, 0.0].status == "failed"
    assert "beyond the image" in made[HEAD, 0, 0.0].reason
    assert made[HEAD, 0, 0.0].region is None
    assert made[(0.0, 0.0, -4.0), 0, 0.0].status == "ok"
    assert made[NO_TRANSLATION, 0, 0.15].status == "ok"


def test_an_offset_that_leaves_nothing_fails():
    made = masks_of(4, {1: -6.0}, planes=1, n_random_contour_realizations=1)
    assert made[NO_TRANSLATION, 1, 0.0].status == "failed"
    assert "leaves nothing" in made[NO_TRANSLATION, 1, 0.0].reason
    assert made[NO_TRANSLATION, 0, 0.0].status == "ok"


def test_an_offset_below_the_grids_resolution_is_said_so():
    made = masks_of(4, {1: 0.4}, n_random_contour_realizations=1)
    assert made[NO_TRANSLATION, 1, 0.0].status == "ok"
    assert "moves no voxel" in made[NO_TRANSLATION, 1, 0.0].reason


@pytest.mark.parametrize("change", [-0.15, 0.15])
def test_volume_is_changed_after_translation_and_contour(change: float):
    made = masks_of(4, {1: 2.0}, max_translation_mm=4, n_random_contour_realizations=1)
    contour = made[HEAD, 1, 0.0]
    assert contour.translation_mm == (0.0, 0.0, 3.0)
    assert contour.region.voxel_count > made[HEAD, 0, 0.0].region.voxel_count
    assert made[HEAD, 1, change].region.voxel_count == round(contour.region.voxel_count * (1 + change))
    assert made[HEAD, 0, 0.0].region.trimmed().first[0] == 5
