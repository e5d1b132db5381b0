"""Which stored segmentations count as results, and which do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_files import grid_of
from rtpipeline.course import CourseFiles
from rtpipeline.imaging.grid import Volume
from rtpipeline.imaging.nifti import read_nifti, write_nifti
from rtpipeline.inference.images import PreparedImage
from rtpipeline.inference.label_volumes import store_labels, structure_count, unchanged
from rtpipeline.inference.postprocessing import Cleaning
from rtpipeline.outcome import StageError

GRID = grid_of("oblique")
FACTS = {"task": "total", "labels": {"1": "spleen", "2": "liver"}, "options": {"fast": True}}
REPLY = {"versions": {"TotalSegmentator": "2.12.0"}, "weights_digest": "w", "device": "gpu:1"}


@pytest.fixture
def image(tmp_path: Path) -> PreparedImage:
    return PreparedImage(tmp_path / "CT.nii.gz", GRID, "image digest")


def _store(folder: Path, image: PreparedImage, labels: np.ndarray) -> Path:
    file = folder / "CT--total.nii.gz"
    write_nifti(folder / "made.nii", Volume(GRID, labels.astype(np.uint8)))
    store_labels(folder / "made.nii", file, image, FACTS, REPLY, {})
    return file


def _labels() -> np.ndarray:
    labels = np.zeros(GRID.shape)
    labels[2:5, 3:6, 4:8] = 2
    return labels


def test_what_was_stored_is_found_again_with_its_versions_and_counts(tmp_path: Path, image: PreparedImage) -> None:
    file = _store(tmp_path, image, _labels())
    found = unchanged(file, image, FACTS, {})
    assert found is not None
    assert found["voxel_counts"] == {"1": 0, "2": 3 * 3 * 4}
    assert (found["versions"], found["device"]) == ({"TotalSegmentator": "2.12.0"}, "gpu")
    assert not (tmp_path / "made.nii").exists()
    np.testing.assert_array_equal(read_nifti(file).values, _labels())


def test_a_segmentation_without_any_structure_is_a_result_too(tmp_path: Path, image: PreparedImage) -> None:
    found = unchanged(_store(tmp_path, image, np.zeros(GRID.shape)), image, FACTS, {})
    assert found is not None
    assert structure_count(found) == 0


@pytest.mark.parametrize("content", [None, "", '{"labels":', "[]", "{}", '{"task": "total"}'])
def test_labels_whose_map_is_missing_or_damaged_are_no_result(
    tmp_path: Path, image: PreparedImage, content: str | None
) -> None:
    file = _store(tmp_path, image, _labels())
    label_map = CourseFiles.label_map(file)
    label_map.unlink()
    if content is not None:
        label_map.write_text(content)
    assert unchanged(file, image, FACTS, {}) is None


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_truncated_labels_are_no_result(tmp_path: Path, image: PreparedImage, keep: float) -> None:
    file = _store(tmp_path, image, _labels())
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])
    assert unchanged(file, image, FACTS, {}) is None


def test_a_map_without_labels_is_no_result(tmp_path: Path, image: PreparedImage) -> None:
    file = _store(tmp_path, image, _labels())
    file.unlink()
    assert unchanged(file, image, FACTS, {}) is None


@pytest.mark.parametrize(
    "change",
    [{"task": "total_mr"}, {"options": {"fast": False}}, {"labels": {"1": "spleen"}}],
)
def test_another_task_option_or_set_of_structures_is_another_result(
    tmp_path: Path, image: PreparedImage, change: dict[str, Any]
) -> None:
    assert unchanged(_store(tmp_path, image, _labels()), image, {**FACTS, **change}, {}) is None


def test_another_image_or_cleaning_is_another_result(tmp_path: Path, image: PreparedImage) -> None:
    file = _store(tmp_path, image, _labels())
    assert unchanged(file, PreparedImage(image.file, GRID, "another"), FACTS, {}) is None
    assert unchanged(file, image, FACTS, {2: Cleaning(keep_largest=True)}) is None


def test_labels_on_another_grid_or_without_a_name_are_refused(tmp_path: Path, image: PreparedImage) -> None:
    write_nifti(tmp_path / "made.nii", Volume(grid_of("HFS"), np.zeros(GRID.shape, np.uint8)))
    with pytest.raises(StageError, match="does not lie on the image's grid"):
        store_labels(tmp_path / "made.nii", tmp_path / "x.nii.gz", image, FACTS, REPLY, {})
    with pytest.raises(StageError, match="labels without a name: 7"):
        _store(tmp_path, image, np.where(_labels() == 2, 7, 0))
    assert not (tmp_path / "CT--total.nii.gz").exists()
