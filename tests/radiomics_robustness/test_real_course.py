"""Perturbed masks of a real tumour: 0.98 x 0.98 x 3 mm voxels."""

from pathlib import Path

import numpy as np
import pytest

from rtpipeline.config import SegmentationPerturbationSection
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtstruct import read_structure_set
from rtpipeline.imaging.contours import rasterise
from rtpipeline.radiomics_robustness.contour import ContourOffset
from rtpipeline.radiomics_robustness.masks import perturbed_masks
from rtpipeline.radiomics_robustness.region import Region
from rtpipeline.radiomics_robustness.states import axes_of
from rtpipeline.radiomics_robustness.volume import target_voxels

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def tumour(test_data: Path):
    image = load_image(test_data / "LUNG1-001" / "CT")
    rois = read_structure_set(test_data / "LUNG1-001" / "RTSTRUCT.dcm").rois
    return rasterise(next(roi.contours for roi in rois if roi.name == "GTV-1"), image.grid), image.grid


def test_every_state_of_the_aggressive_profile(tumour):
    mask, grid = tumour
    axes = axes_of(SegmentationPerturbationSection(profile="aggressive"))
    offsets = {1: ContourOffset(-1.4), 2: ContourOffset(1.4)}
    masks = perturbed_masks(Region.of(mask, grid), grid, axes, lambda translation, realisation: offsets[realisation])
    assert len(masks) == 7 * 3 * 5
    assert all(made.status == "ok" for made in masks.values())
    for (translation, contour, change), made in masks.items():
        assert made.region.voxel_count == target_voxels(masks[translation, contour, 0.0].region.voxel_count, change)
        if contour == 0 and change == 0.0:
            moved = made.region.mask(grid).centroid_mm - mask.centroid_mm
            np.testing.assert_allclose(moved, made.translation_mm, atol=1e-4)
            np.testing.assert_allclose(made.translation_mm, translation, atol=1.5)
    slices = {
        contour: np.count_nonzero(masks[(0.0, 0.0, 0.0), contour, 0.0].region.trimmed().values.any(axis=(1, 2)))
        for contour in (0, 1, 2)
    }
    assert slices[1] <= slices[0] == slices[2], "1.4 mm outwards must not add a slice of 3 mm"
    volumes = [masks[(0.0, 0.0, 0.0), contour, 0.0].region.voxel_count for contour in (1, 0, 2)]
    assert volumes[0] < volumes[1] < volumes[2]
    assert 0.75 * volumes[1] < volumes[0]
    assert volumes[2] < 1.25 * volumes[1]
