"""Every feature is the number that plain PyRadiomics computes on the whole image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtstruct import read_structure_set
from rtpipeline.extraction.jobs import ExtractionJob
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.radiomics_parallel import RadiomicsClient, packaged_parameters

pytestmark = pytest.mark.radiomics_environment

OBLIQUE = Rotation.from_euler("xyz", [7, -12, 31], degrees=True).as_matrix()
ALL_IMAGES = "imageType:\n  Original: {}\n  LoG: {sigma: [1.0, 3.0]}\n  Wavelet: {wavelet: coif1}\n"
ONE_MM = "resampledPixelSpacing: [1, 1, 1], minimumROISize: 64"


def noisy_volume(grid: Grid) -> Volume:
    """A smooth random image with noise, CT-like values."""
    random = np.random.default_rng(7)
    smooth = ndimage.gaussian_filter(random.normal(size=grid.shape), 1.2) * 800
    return Volume(grid, (smooth + random.normal(0, 8, grid.shape)).astype(np.float32))


def ellipsoid(grid: Grid, centre: tuple[float, ...], radii: tuple[float, ...]) -> Mask:
    """Voxels within `radii` (voxels: z, y, x) of `centre` (z, y, x)."""
    indices = np.indices(grid.shape)
    parts = [((index - c) / r) ** 2 for index, c, r in zip(indices, centre, radii, strict=True)]
    return Mask.cropped(grid, sum(parts) <= 1)


def grid(spacing: tuple[float, float, float], direction: np.ndarray = OBLIQUE) -> Grid:
    return Grid.uniform((-100.3, 22.77, -681.5), spacing, (130, 120, 60), direction)


def differences(ours: Mapping[str, float | None], plain: Mapping[str, float]) -> dict[str, tuple[float | None, float]]:
    """Features that are not the same number; undefined counts as the same as not finite."""
    assert list(ours) == list(plain)
    return {
        name: (ours[name], value)
        for name, value in plain.items()
        if ours[name] != (value if np.isfinite(value) else None)
    }


MIDDLE = ((30.0, 60.0, 70.0), (6.0, 12.0, 14.0))
CASES = {
    "axis_aligned": (grid((0.977, 0.977, 3.0), np.eye(3)), MIDDLE, ONE_MM),
    # New voxel centres fall exactly between old ones, where rounding decides.
    "between_voxels": (grid((0.9765625, 0.9765625, 2.5), np.eye(3)), MIDDLE, ONE_MM),
    "oblique": (grid((0.8, 1.1, 2.5)), MIDDLE, ONE_MM),
    "at_the_edge": (grid((0.8, 1.1, 2.5)), ((2.0, 5.0, 120.0), (6.0, 12.0, 14.0)), ONE_MM),
    "linear": (grid((0.8, 1.1, 2.5)), MIDDLE, ONE_MM + ", interpolator: sitkLinear"),
    "normalised": (grid((0.8, 1.1, 2.5)), MIDDLE, ONE_MM + ", normalize: true, normalizeScale: 100, removeOutliers: 3"),
    "resegmented": (grid((0.8, 1.1, 2.5)), MIDDLE, ONE_MM + ", resegmentRange: [-100, 150]"),
    "only_in_plane": (grid((0.8, 1.1, 2.5)), MIDDLE, "resampledPixelSpacing: [1, 1, 0]"),
    "coarser": (grid((1.0, 1.0, 1.0)), ((30.0, 60.0, 70.0), (20.0, 26.0, 24.0)), "resampledPixelSpacing: [3, 3, 3]"),
    "as_it_is": (grid((1.0, 1.0, 1.0)), MIDDLE, ONE_MM),
    "one_plane": (grid((0.8, 1.1, 2.5)), ((30.0, 60.0, 70.0), (0.5, 12.0, 14.0)), ONE_MM),
    "no_resampling": (grid((0.8, 1.1, 2.5)), MIDDLE, "binWidth: 25"),
    "precrop": (grid((0.8, 1.1, 2.5)), MIDDLE, "preCrop: true"),
}


@pytest.mark.parametrize("case", CASES)
def test_every_feature_is_bit_identical_to_plain_pyradiomics(
    case: str,
    tmp_path: Path,
    client: RadiomicsClient,
    make_job: Callable[..., ExtractionJob],
    plain_features: Callable[..., dict[str, float]],
) -> None:
    image_grid, (centre, radii), setting = CASES[case]
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(f"{ALL_IMAGES}setting: {{{setting}}}\n", encoding="utf-8")
    volume, mask = noisy_volume(image_grid), ellipsoid(image_grid, centre, radii)

    (result,) = client.extract([make_job(case, volume, mask, parameters)], timeout_s=120)

    assert result.status == "ok", result.reason
    assert len(result.features) == 14 + 11 * 93
    assert differences(result.features, plain_features(volume, mask, parameters)) == {}


def test_a_mask_that_pyradiomics_refuses_fails_with_its_reason(
    tmp_path: Path, client: RadiomicsClient, make_job: Callable[..., ExtractionJob]
) -> None:
    image_grid = grid((0.8, 1.1, 2.5))
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text("setting: {resampledPixelSpacing: [1, 1, 1], minimumROISize: 5000}\n", encoding="utf-8")
    mask = ellipsoid(image_grid, (30, 60, 70), (2, 4, 4))

    (result,) = client.extract([make_job("small", noisy_volume(image_grid), mask, parameters)], timeout_s=60)

    assert result.status == "failed"
    assert "minimum size: 5000" in result.reason
    assert result.features == {}


def test_a_flat_region_has_undefined_features_and_they_are_null(
    tmp_path: Path, client: RadiomicsClient, make_job: Callable[..., ExtractionJob]
) -> None:
    image_grid = grid((1.0, 1.0, 1.0))
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text("featureClass: {firstorder: [Mean, Variance], glcm: [], ngtdm: []}\n", encoding="utf-8")
    volume = Volume(image_grid, np.full(image_grid.shape, 40.0, np.float32))

    (result,) = client.extract([make_job("flat", volume, ellipsoid(image_grid, *MIDDLE), parameters)], timeout_s=60)

    assert result.features["original_firstorder_Mean"] == 40.0
    assert result.features["original_firstorder_Variance"] == 0.0
    assert all(value is None or np.isfinite(value) for value in result.features.values())


@pytest.mark.real_data
@pytest.mark.end_to_end
@pytest.mark.parametrize("roi_name", ["GTV-1", "Spinal-Cord"])
def test_every_feature_of_a_real_structure_is_bit_identical_to_plain_pyradiomics(
    roi_name: str,
    test_data: Path,
    client: RadiomicsClient,
    make_job: Callable[..., ExtractionJob],
    plain_features: Callable[..., dict[str, float]],
) -> None:
    volume = load_image(test_data / "LUNG1-001" / "CT")
    rois = read_structure_set(test_data / "LUNG1-001" / "RTSTRUCT.dcm").rois
    mask = rasterise(next(roi for roi in rois if roi.name == roi_name).contours, volume.grid)

    (result,) = client.extract([make_job(roi_name, volume, mask, packaged_parameters("CT"))], timeout_s=600)

    assert len(result.features) == 1223
    assert differences(result.features, plain_features(volume, mask, packaged_parameters("CT"))) == {}
