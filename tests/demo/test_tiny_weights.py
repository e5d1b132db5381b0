"""The hand-set networks decide exactly as their docstring says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtpipeline.demo.phantom_codes import CODE_TOLERANCE_HU, ORGAN_HU
from rtpipeline.demo.tiny_weights import write_tiny_nnunet_model, write_tiny_weights


def _labels_of(folder: Path, hu: np.ndarray) -> np.ndarray:
    """What the network of a model folder makes of voxels, computed by torch alone."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(folder), (0,), "checkpoint_final.pth")
    voxels = torch.tensor(np.clip(hu, -1024, 3000) / 100.0, dtype=torch.float32).reshape(1, 1, -1, 2, 2)
    with torch.no_grad():
        return predictor.network(voxels)[0].argmax(0).numpy().ravel()


def test_codes_are_far_enough_apart_for_their_intervals_not_to_meet() -> None:
    codes = sorted(ORGAN_HU.values())
    assert min(np.diff(codes)) > 2 * CODE_TOLERANCE_HU
    assert len(ORGAN_HU) >= 12


def test_every_hu_is_the_organ_within_its_tolerance_and_background_elsewhere(tmp_path: Path) -> None:
    write_tiny_nnunet_model(tmp_path / "model", ORGAN_HU)
    hu = np.repeat(np.arange(-1024.0, 1500.0, 3.0), 4)
    expected = np.zeros(len(hu), int)
    for label, code in enumerate(ORGAN_HU.values(), start=1):
        expected[np.abs(hu - code) < CODE_TOLERANCE_HU] = label
    decided = _labels_of(tmp_path / "model", hu)
    at_the_border = np.min(np.abs(np.abs(hu[:, None] - list(ORGAN_HU.values())) - CODE_TOLERANCE_HU), axis=1) < 0.01
    np.testing.assert_array_equal(decided[~at_the_border], expected[~at_the_border])


@pytest.mark.parametrize("hu", [-1000.0, -100.0, 0.0, 40.0, 100.0])
def test_air_fat_and_soft_tissue_are_background(tmp_path: Path, hu: float) -> None:
    write_tiny_nnunet_model(tmp_path / "model", ORGAN_HU)
    assert not _labels_of(tmp_path / "model", np.full(8, hu)).any()


def test_the_same_call_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_tiny_weights(tmp_path / name)
    files = [path.relative_to(tmp_path / "one") for path in sorted((tmp_path / "one").rglob("*")) if path.is_file()]
    assert len(files) == 9 * 3
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
    assert sum((tmp_path / "one" / file).stat().st_size for file in files) < 500_000
