"""Custom models with the real nnU-Net on networks of a few kilobytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from painted_course import LABELS, configuration, make_course, phantom, resources
from rtpipeline import custom_models
from rtpipeline.course import Course, CourseFiles
from rtpipeline.demo.phantom_codes import ORGAN_HU
from rtpipeline.demo.tiny_weights import write_tiny_nnunet_model
from rtpipeline.imaging.nifti import read_nifti
from rtpipeline.outcome import Outcome, StageError
from rtpipeline.scheduling.children import ChildProcesses

ORGANS = ("heart", "liver", "brain")
MODEL_FOLDER = "Dataset603_Three/nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with one of three organs."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_nnunet_model(
        folder / "three" / "nnUNet_results" / MODEL_FOLDER, {name: ORGAN_HU[name] for name in ORGANS}
    )
    _describe(folder / "three")
    return folder


@pytest.fixture(scope="module")
def warm() -> Iterator[ChildProcesses]:
    children = ChildProcesses()
    yield children
    children.close()


def _describe(folder: Path, **changes: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"nnunet": {"networks": [{"id": 603, "label_order": list(ORGANS)}]}, **changes}
    (folder / "custom_model.yaml").write_text(yaml.safe_dump(content))


def _run(course: Course, root: Path, children: ChildProcesses, **options: Any) -> Outcome:
    section = {"enabled": True, "root": root, **options}
    return custom_models.run(course, configuration(custom_models=section), resources(course.files.folder, children))


@pytest.mark.parametrize("position", ["HFS", "FFP", "oblique"])
def test_no_voxel_is_wrong_in_any_patient_position(
    tmp_path: Path, root: Path, warm: ChildProcesses, position: str
) -> None:
    painted = phantom(position)
    course = make_course(tmp_path, painted)
    outcome = _run(course, root, warm)
    assert outcome.status == "ok", outcome.reason
    expected = np.zeros_like(painted.organs)
    for label, name in enumerate(ORGANS, start=1):
        expected[painted.organs == LABELS[name]] = label
    segmented = read_nifti(course.files.custom_model_segmentation("three"))
    assert segmented.grid.same_as(painted.grid)
    np.testing.assert_array_equal(segmented.values, expected)
    label_map = json.loads(CourseFiles.label_map(course.files.custom_model_segmentation("three")).read_text())
    assert label_map["labels"] == {"1": "heart", "2": "liver", "3": "brain"}
    assert label_map["voxel_counts"]["2"] == np.count_nonzero(painted.organs == LABELS["liver"])


def test_a_model_that_cannot_be_used_leaves_the_others(tmp_path: Path, warm: ChildProcesses, root: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "three").symlink_to(root / "three")
    _describe(models / "old", nnunet={"interface": "nnunetv1", "networks": [{"id": 1, "label_order": ["a"]}]})
    _describe(models / "off", enabled=False)
    course = make_course(tmp_path / "course", phantom())
    outcome = _run(course, models, warm)
    assert outcome.status == "partial"
    assert "nnU-Net v1" in outcome.reason
    assert list(outcome.details["inferences"]) == ["three"]
    assert _run(course, models, warm, models=["Three"]).status == "ok"


def test_nothing_to_do_is_said(tmp_path: Path, root: Path, warm: ChildProcesses) -> None:
    assert "no planning CT" in _run(make_course(tmp_path / "empty", None), root, warm).reason
    course = make_course(tmp_path / "course", phantom(planes=4))
    (tmp_path / "none").mkdir()
    assert _run(course, tmp_path / "none", warm).status == "skipped"
    with pytest.raises(StageError, match="is not a folder"):
        _run(course, tmp_path / "nowhere", warm)
    with pytest.raises(StageError, match=r"two is not below.*there are: three"):
        _run(course, root, warm, models=["two"])


def test_damaged_weights_are_named(tmp_path: Path, warm: ChildProcesses) -> None:
    folder = tmp_path / "models" / "three"
    model = folder / "nnUNet_results" / MODEL_FOLDER
    write_tiny_nnunet_model(model, {name: ORGAN_HU[name] for name in ORGANS})
    _describe(folder)
    checkpoint = model / "fold_0" / "checkpoint_final.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[:3000])
    outcome = _run(make_course(tmp_path / "course", phantom(planes=8)), tmp_path / "models", warm)
    assert outcome.status == "failed"
    assert "cannot be loaded" in outcome.reason
    assert str(model) in outcome.reason
