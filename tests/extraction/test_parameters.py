"""The packaged parameter files, read by PyRadiomics itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rtpipeline.extraction.jobs import ExtractionJob
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.outcome import StageError
from rtpipeline.radiomics_parallel import RadiomicsClient, packaged_parameters

pytestmark = pytest.mark.radiomics_environment


@pytest.mark.parametrize(("modality", "images"), [("CT", 1 + 4 + 8), ("MR", 1 + 3), ("PT", 1 + 2 + 8), ("RTDOSE", 1)])
def test_the_packaged_profiles_have_the_features_that_they_say(
    modality: str, images: int, client: RadiomicsClient, make_job: Callable[..., ExtractionJob]
) -> None:
    """14 of shape (but for the dose), and 18 + 24 + 16 + 16 + 14 + 5 = 93 of each image."""
    file = packaged_parameters(modality)  # type: ignore[arg-type]
    grid = Grid.uniform((0, 0, 0), (2, 2, 3), (40, 40, 30))
    values = np.random.default_rng(1).gamma(2.0, 3.0, grid.shape).astype(np.float32)
    mask = Mask.cropped(grid, np.linalg.norm(np.indices(grid.shape) - [[[[15]]], [[[20]]], [[[20]]]], axis=0) < 9)

    (result,) = client.extract([make_job(modality, Volume(grid, values), mask, file)], timeout_s=600)

    assert result.status == "ok", result.reason
    assert len(result.features) == (0 if modality == "RTDOSE" else 14) + images * 93
    assert None not in result.features.values()
    assert f"{len(result.features):,} features" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("featureClass: {fristorder: []}", "fristorder is not recognized"),
        ("featureClass: {firstorder: [Maen]}", "Maen"),
        ("imageType: {Orignal: {}}", "Orignal"),
        ("setting: {binWdth: 25}", "binWdth"),
        ("setting: {binWidth: wide}", "binWidth"),
        ("setting: {binWidth: [25}", r"line 1"),
        ("", "No source file"),
        # What PyRadiomics' own validation lets pass, and what then fails for every structure.
        ("setting: {binWidth: }", "setting/binWidth has no value"),
        ("imageType: {Wavelet: {binWidth: '25'}}", "imageType/Wavelet/binWidth is a text instead of a number"),
        ("setting: {binWidth: .inf}", "binWidth is not a finite number"),
        ("setting: {resampledPixelSpacing: [1, 1]}", "resampledPixelSpacing has 2 values instead of 3"),
        ("setting: {resegmentRange: [-100, 0, 100]}", "resegmentRange has 3 values instead of 1 or 2"),
        ("setting: {distances: []}", "distances has 0 values instead of 1 or more"),
    ],
)
def test_what_pyradiomics_refuses_is_named(tmp_path: Path, client: RadiomicsClient, text: str, reason: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(StageError, match=reason) as error:
        client.read_parameters(file)

    assert f"radiomics parameters: {file}: " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_parameter_file_that_is_not_there_is_named(tmp_path: Path, client: RadiomicsClient) -> None:
    with pytest.raises(StageError, match=r"nowhere\.yaml"):
        client.read_parameters(tmp_path / "nowhere.yaml")


def test_only_what_is_asked_for_is_extracted(
    tmp_path: Path, client: RadiomicsClient, make_job: Callable[..., ExtractionJob]
) -> None:
    file = tmp_path / "two.yaml"
    file.write_text("featureClass: {firstorder: [Mean], shape: [MeshVolume]}\nsetting: {geometryTolerance: 1e-6}\n")
    grid = Grid.uniform((0, 0, 0), (1, 1, 1), (20, 20, 20))
    mask = Mask.cropped(grid, np.indices(grid.shape)[0] > 9)

    (result,) = client.extract([make_job("two", Volume(grid, np.zeros(grid.shape)), mask, file)], timeout_s=600)

    assert list(result.features) == ["original_shape_MeshVolume", "original_firstorder_Mean"]
