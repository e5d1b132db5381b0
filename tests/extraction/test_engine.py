"""Every feature is the number that plain PyRadiomics computes on the whole image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from extraction import parity
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtstruct import read_structure_set
from rtpipeline.extraction.jobs import ExtractionJob
from rtpipeline.extraction.padding import with_padding
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


def assert_same(ours: Mapping[str, float | None], plain: Mapping[str, float]) -> None:
    """The same features in the same order: the same numbers, or as near as `parity` says."""
    assert list(ours) == list(plain)
    assert parity.differences(ours, plain) == {}


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
def test_every_feature_is_that_of_plain_pyradiomics(
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

    (result,) = client.extract([make_job(case, volume, mask, parameters)], timeout_s=600)

    assert result.status == "ok", result.reason
    assert len(result.features) == 14 + 11 * 93
    assert_same(result.features, plain_features(volume, mask, parameters))


NO_SHAPE = "featureClass: {firstorder: [], glcm: [], glrlm: [], glszm: [], gldm: [], ngtdm: []}"
SETTINGS = {
    # Left to the library's own classes.
    "weighted_euclidean": "setting: {weightingNorm: euclidean}",
    "weighted_infinity": "setting: {weightingNorm: infinity}",
    # Handled by ours.
    "distances": "setting: {distances: [1, 3]}",
    "one_direction": "setting: {symmetricalGLCM: false}",
    "in_planes": f"setting: {{force2D: true, force2Ddimension: 0}}\n{NO_SHAPE}",
    "across_planes": f"setting: {{force2D: true, force2Ddimension: 2}}\n{NO_SHAPE}",
    "dependence": "setting: {gldm_a: 2}",
    "shifted": "setting: {voxelArrayShift: 1000}",
    "bin_count": "setting: {binCount: 32}",
    "many_levels": "setting: {binWidth: 0.5}\n" + NO_SHAPE.replace("glcm: [], ", ""),
    "resegmented_shape": "setting: {resegmentRange: [-2, 2], resegmentMode: sigma, resegmentShape: true}",
    "filters": "imageType: {Square: {}, SquareRoot: {}, Logarithm: {}, Exponential: {}, Gradient: {binWidth: 10}}",
    "wavelet_levels": "imageType: {Wavelet: {wavelet: db2, level: 2, start_level: 1}}",
    "own_settings": "imageType: {Original: {label: 1, binWidth: 9, distances: [1, 2]}, Wavelet: {force2D: true}, "
    "Square: {symmetricalGLCM: false}, LoG: {sigma: [2], binCount: 9, weightingNorm: manhattan}}\n" + NO_SHAPE,
    "unresampled_along_x": "featureClass: {shape: , firstorder: [], glcm: [Contrast, Homogeneity1]}\n"
    "setting: {resampledPixelSpacing: [0, 2, 2], padDistance: 0, normalize: , binCount: , weightingNorm: no_weighting}",
    "chosen": "featureClass: {glcm: [MCC, ClusterShade], gldm: [DependenceEntropy], shape: [Sphericity, Flatness]}",
}


@pytest.mark.parametrize("case", SETTINGS)
def test_every_setting_of_a_parameter_file_is_followed(
    case: str,
    tmp_path: Path,
    client: RadiomicsClient,
    make_job: Callable[..., ExtractionJob],
    plain_features: Callable[..., dict[str, float]],
) -> None:
    image_grid = Grid.uniform((-10.0, 20.0, -30.0), (0.8, 1.1, 2.5), (60, 50, 30), OBLIQUE)
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(SETTINGS[case], encoding="utf-8")
    volume, mask = noisy_volume(image_grid), ellipsoid(image_grid, (15.0, 25.0, 30.0), (6.0, 12.0, 14.0))

    (result,) = client.extract([make_job(case, volume, mask, parameters)], timeout_s=600)

    assert result.status == "ok", result.reason
    assert_same(result.features, plain_features(volume, mask, parameters))


SHAPES = {
    "scattered": lambda indices: np.random.default_rng(3).random(indices.shape[1:]) < 0.004,
    # Along some directions no line meets a structure like these twice.
    "slanted_plane": lambda indices: (indices[0] * 2 == indices[2]) & (indices[1] > 9) & (indices[1] < 30),
    "staircase": lambda indices: (indices[0] == indices[1]) & (indices[1] == indices[2]),
    "one_plane": lambda indices: (indices[0] == 10) & (np.hypot(indices[1] - 25, indices[2] - 30) < 12),
    "box_with_a_hole": lambda indices: (abs(indices - 14).max(0) < 9) & (abs(indices - 13).max(0) > 3),
}
SHAPE_SETTINGS = {"one_plane": "setting: {force2D: true, force2Ddimension: 0}"}  # with features of shape2D


@pytest.mark.parametrize("case", SHAPES)
def test_odd_structures_have_the_features_of_plain_pyradiomics(
    case: str,
    tmp_path: Path,
    client: RadiomicsClient,
    make_job: Callable[..., ExtractionJob],
    plain_features: Callable[..., dict[str, float]],
) -> None:
    image_grid = Grid.uniform((-10.0, 20.0, -30.0), (0.8, 1.1, 2.5), (60, 50, 30), OBLIQUE)
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(SHAPE_SETTINGS.get(case, "setting: {distances: [1, 2]}"), encoding="utf-8")
    volume = noisy_volume(image_grid)
    mask = Mask.cropped(image_grid, SHAPES[case](np.indices(image_grid.shape)))

    (result,) = client.extract([make_job(case, volume, mask, parameters)], timeout_s=600)

    assert result.status == "ok", result.reason
    assert_same(result.features, plain_features(volume, mask, parameters))


@pytest.mark.parametrize(
    "text",
    [
        f"{ALL_IMAGES}  Square: {{}}\nsetting: {{{ONE_MM}}}\n",
        "imageType: {LoG: {sigma: [1.0]}, Wavelet: {level: 2}}\nsetting: {sigma: [2.0], resegmentRange: [-200, 200]}\n",
        f"imageType: {{Wavelet: {{wavelet: db3}}}}\nsetting: {{force2D: true, force2Ddimension: 1}}\n{NO_SHAPE}",
        "imageType: {Original: {}, Wavelet: {}}\nfeatureClass: {shape: [], glcm: [MCC]}\nsetting: {binCount: 9}",
        "featureClass: {shape: []}",
    ],
)
def test_parts_of_a_job_make_the_whole_to_the_last_bit_and_in_its_order(
    text: str, tmp_path: Path, client: RadiomicsClient, make_job: Callable[..., ExtractionJob]
) -> None:
    """Odd and even sizes; the packaged kinds of images, each with one that is not divided further."""
    image_grid = Grid.uniform((-10.0, 20.0, -30.0), (0.8, 1.1, 2.5), (60, 51, 30), OBLIQUE)
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(text, encoding="utf-8")
    mask = ellipsoid(image_grid, (15.0, 25.0, 30.0), (6.0, 12.0, 14.0))
    job = replace(make_job("one", noisy_volume(image_grid), mask, parameters), diagnostics=True)
    client.at_once = 1
    (whole,) = client.extract([job], timeout_s=600)
    client.at_once = 2

    (divided,) = client.extract([job], timeout_s=600)

    assert whole.status == "ok", whole.reason
    assert divided == whole
    assert list(divided.features) == list(whole.features)


@pytest.mark.parametrize("setting", ["binWidth: 25", f"{ONE_MM}, resegmentRange: [-150, 200], normalize: true"])
def test_diagnostics_are_those_of_plain_pyradiomics(
    setting: str,
    tmp_path: Path,
    client: RadiomicsClient,
    make_job: Callable[..., ExtractionJob],
    plain: Callable[..., dict[str, dict[str, Any]]],
) -> None:
    image_grid = Grid.uniform((-10.0, 20.0, -30.0), (0.8, 1.1, 2.5), (60, 51, 30), OBLIQUE)
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(f"featureClass: {{shape: [MeshVolume]}}\nsetting: {{{setting}}}\n", encoding="utf-8")
    volume, mask = noisy_volume(image_grid), ellipsoid(image_grid, (15.0, 25.0, 30.0), (6.0, 12.0, 14.0))
    job = replace(make_job("one", volume, mask, parameters), diagnostics=True)

    (result,) = client.extract([job], timeout_s=600)

    expected = plain(volume, mask, parameters)["diagnostics"]
    assert job.image.digest == expected["diagnostics_Image-original_Hash"]
    texts = ("Versions", "Configuration", "Image-original_Hash", "Image-original_Dim", "Mask-original_Hash")
    vectors = {
        name.removeprefix("diagnostics_"): np.atleast_1d(value)
        for name, value in expected.items()
        if not name.removeprefix("diagnostics_").startswith(texts)
    }
    assert len(result.diagnostics) == sum(map(len, vectors.values()))
    for name, vector in vectors.items():
        axes = ["_x", "_y", "_z", "_size_x", "_size_y", "_size_z"][: len(vector)] if len(vector) > 1 else [""]
        assert [result.diagnostics[name + axis] for axis in axes] == pytest.approx(vector, rel=1e-12, abs=1e-9), name


def test_with_four_sigma_of_padding_the_image_s_edge_has_no_effect_on_log(
    tmp_path: Path, client: RadiomicsClient, make_job: Callable[..., ExtractionJob]
) -> None:
    """Mean and extremes of a LoG of 3 mm beside those with three times the padding; five voxels are not enough."""
    image_grid = Grid.uniform((0.0, 0.0, 0.0), (1.0, 1.0, 2.5), (110, 110, 50), np.eye(3))
    file = tmp_path / "parameters.yaml"
    file.write_text(
        "imageType: {LoG: {sigma: [1.0, 3.0]}}\nfeatureClass: {firstorder: [Mean, Minimum, Maximum]}\n"
        "setting: {resampledPixelSpacing: [1, 1, 0], interpolator: sitkBSpline, minimumROISize: 64}\n",
        encoding="utf-8",
    )
    job = make_job("one", noisy_volume(image_grid), ellipsoid(image_grid, (25.0, 55.0, 55.0), (3.0, 8.0, 8.0)), file)

    def values(pad: int | None) -> np.ndarray:
        own = with_padding(job.parameters, "four_sigma" if pad is None else "pyradiomics", image_grid.spacing_mm)
        setting = {**own["setting"], **({} if pad is None else {"padDistance": pad})}
        (result,) = client.extract([replace(job, parameters={**own, "setting": setting})], timeout_s=600)
        return np.array([value for name, value in result.features.items() if "sigma-3" in name])

    far, profile, five = values(36), values(None), values(5)

    assert with_padding(job.parameters, "four_sigma", (1.0, 1.0, 2.5))["setting"]["padDistance"] == 12
    assert with_padding(job.parameters, "pyradiomics", (1.0, 1.0, 2.5)) == job.parameters
    assert np.abs(profile - far).max() < 1e-3 * np.ptp(far)
    assert np.abs(five - far).max() > 3e-3 * np.ptp(far)


def test_structures_that_follow_each_other_on_an_image_share_its_coefficients_and_change_nothing(
    tmp_path: Path,
    client: RadiomicsClient,
    make_job: Callable[..., ExtractionJob],
    plain_features: Callable[..., dict[str, float]],
) -> None:
    image_grid = grid((0.8, 1.1, 2.5))
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(f"setting: {{{ONE_MM}}}", encoding="utf-8")
    volume, mask = noisy_volume(image_grid), ellipsoid(image_grid, *MIDDLE)
    job = make_job("first", volume, mask, parameters)

    results = list(client.extract([replace(job, key=str(number)) for number in range(6)], timeout_s=600))

    assert all(result.features == results[0].features for result in results)
    assert_same(results[0].features, plain_features(volume, mask, parameters))


def test_another_image_under_the_same_name_is_not_taken_for_the_first(
    tmp_path: Path, client: RadiomicsClient, make_job: Callable[..., ExtractionJob]
) -> None:
    """Workers keep what they computed of an image; a later course may store its image in a file of the same name."""
    image_grid = grid((0.8, 1.1, 2.5))
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(f"setting: {{{ONE_MM}}}\nfeatureClass: {{firstorder: [Mean]}}", encoding="utf-8")
    volume, mask = noisy_volume(image_grid), ellipsoid(image_grid, *MIDDLE)

    def means(image: Volume) -> set[float | None]:
        job = make_job("image", image, mask, parameters)
        jobs = [replace(job, key=str(number)) for number in range(6)]
        return {result.features["original_firstorder_Mean"] for result in client.extract(jobs, timeout_s=600)}

    (first,) = means(volume)
    (second,) = means(Volume(image_grid, volume.values + 100))

    assert first is not None
    assert second == pytest.approx(first + 100, abs=1e-3)


TOO_SMALL = {
    # Box of voxels of 1 mm (z, y, x), settings, and the reason; without one, it is just large enough.
    "one_more_than_the_limit": ((5, 5, 5), "minimumROISize: 124", ""),
    "as_many_as_the_limit": ((5, 5, 5), "minimumROISize: 125", "125 voxels of 1 x 1 x 1 mm, and minimumROISize"),
    "a_line": ((1, 12, 1), "binWidth: 25", "12 voxels of 1 x 1 x 1 mm along 1 of the 3 axes, and minimumROIDimensions"),
    "a_plane": ((5, 1, 5), "minimumROIDimensions: 3", "along 2 of the 3 axes, and minimumROIDimensions"),
    "one_voxel": ((1, 1, 1), "minimumROIDimensions: 1", "1 voxel of 1 x 1 x 1 mm, and features need more"),
    "resampled": ((5, 5, 5), "resampledPixelSpacing: [2, 2, 2], minimumROISize: 64", "voxels of 2 x 2 x 2 mm, and"),
    "resampled_away": ((2, 2, 2), "resampledPixelSpacing: [9, 9, 9]", "0 voxels of 9 x 9 x 9 mm"),
    "resegmented": ((5, 5, 5), "resegmentRange: [0, 20], minimumROISize: 124", "within resegmentRange, and minimumROI"),
    "resegmented_away": ((5, 5, 5), "resegmentRange: [9000]", "no more than 1 voxel within resegmentRange"),
}


def test_a_structure_that_is_too_small_is_skipped_with_a_plain_reason(
    tmp_path: Path, client: RadiomicsClient, make_job: Callable[..., ExtractionJob]
) -> None:
    """Where PyRadiomics refuses the mask by an error of its own."""
    image_grid = Grid.uniform((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (40, 40, 40), np.eye(3))
    volume = noisy_volume(image_grid)
    jobs = []
    for key, (size, setting, _) in TOO_SMALL.items():
        parameters = tmp_path / f"{key}.yaml"
        parameters.write_text(f"featureClass: {{firstorder: [Mean]}}\nsetting: {{{setting}}}\n", encoding="utf-8")
        inside = np.zeros(image_grid.shape, bool)
        inside[tuple(slice(20, 20 + count) for count in size)] = True
        jobs.append(make_job(key, volume, Mask.cropped(image_grid, inside), parameters))

    results = {result.key: result for result in client.extract(jobs, timeout_s=600)}

    for key, (_, _, reason) in TOO_SMALL.items():
        result = results[key]
        assert (result.status, len(result.features)) == (("skipped", 0) if reason else ("ok", 1)), key
        assert reason in result.reason, key


def test_a_flat_region_has_undefined_features_and_they_are_null(
    tmp_path: Path, client: RadiomicsClient, make_job: Callable[..., ExtractionJob]
) -> None:
    image_grid = grid((1.0, 1.0, 1.0))
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text("featureClass: {firstorder: [Mean, Variance], glcm: [], ngtdm: []}\n", encoding="utf-8")
    volume = Volume(image_grid, np.full(image_grid.shape, 40.0, np.float32))

    (result,) = client.extract([make_job("flat", volume, ellipsoid(image_grid, *MIDDLE), parameters)], timeout_s=600)

    assert result.features["original_firstorder_Mean"] == 40.0
    assert result.features["original_firstorder_Variance"] == 0.0
    assert all(value is None or np.isfinite(value) for value in result.features.values())


@pytest.mark.real_data
@pytest.mark.end_to_end
@pytest.mark.parametrize("roi_name", ["GTV-1", "Spinal-Cord"])
def test_every_feature_of_a_real_structure_is_that_of_plain_pyradiomics(
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
    assert_same(result.features, plain_features(volume, mask, packaged_parameters("CT")))
