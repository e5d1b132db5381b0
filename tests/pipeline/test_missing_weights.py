"""Which weights are needed; missing ones are said before any course is started; what does not need them goes on."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import yaml

from dicom_factory import Patient
from pipeline.conftest import QUICK
from rtpipeline.config import load_configuration
from rtpipeline.inference.tasks import weights_folder
from rtpipeline.pipeline.run import RunOptions, run
from rtpipeline.pipeline.weights import needed_tasks
from rtpipeline.segmentation import weight_folders


def test_missing_weights_are_said_before_any_course_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Patient(tmp_path / "export", "P1").make_course()
    section = {"segmentation.enabled": True, "segmentation.device": "cpu", "segmentation.mr": False}
    folders = {"dicom_root": tmp_path / "export", "output_dir": tmp_path / "output"}
    settings = load_configuration(
        overrides={**QUICK, **section, **folders, "segmentation.weights": str(tmp_path / "nowhere")}
    )
    with caplog.at_level(logging.INFO):
        result = run(settings, RunOptions(), logger=logging.getLogger("rtpipeline"))
    said = [record.getMessage() for record in caplog.records]
    expected = "new segmentations will fail: weights of task total"
    assert any(text.startswith("weights of task body (fast)") for text in said)
    about_weights = [number for number, text in enumerate(said) if text.startswith(expected)]
    started = [number for number, text in enumerate(said) if "started (" in text]
    assert len(about_weights) == 1
    assert "rtpipeline weights" in said[about_weights[0]]
    assert about_weights[0] < started[0]
    outcomes = {stage: outcome.status for (_, stage), outcome in result.outcomes.items()}
    assert outcomes["segmentation"] == "failed"
    assert outcomes["dvh"] == "ok"


TOTAL_FULL, BODY, CROP = {291, 292, 293, 294, 295}, {300}, {298}


@pytest.mark.parametrize(
    ("section", "datasets"),
    [
        ({}, TOTAL_FULL | BODY | {850, 851}),
        ({"mr": False}, TOTAL_FULL | BODY),
        ({"fast": True}, {297, 852} | BODY),
        ({"roi_subset": ["liver"], "mr": False}, TOTAL_FULL | CROP),
        ({"extra_models": ["lung_nodules"], "fast": True, "mr": False}, {297, 913} | CROP | BODY),
    ],
)
def test_the_needed_datasets_are_those_that_the_stage_loads_and_looks_at(
    section: dict[str, object], datasets: set[int]
) -> None:
    configuration = load_configuration(overrides={f"segmentation.{key}": value for key, value in section.items()})
    assert {model for needed in needed_tasks(configuration) for model in needed.task.models} == datasets
    looked_at = {int(folder.name.removeprefix("Dataset")[:3]) for folder in weight_folders(configuration)}
    assert looked_at == datasets


def test_only_stages_that_run_need_weights(tmp_path: Path) -> None:
    networks = [{"alias": "a", "task": "lung_vessels"}, {"alias": "b", "task": "total", "predict_args": "--fast"}]
    for name, env in (("vessels", {}), ("other", {"TOTALSEG_WEIGHTS_PATH": "own"})):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        described = {"nnunet": {"interface": "totalsegmentator", "networks": networks, "env": env}}
        (folder / "custom_model.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    no_segmentation = {"segmentation.enabled": False, "custom_models.root": tmp_path / "models"}
    assert needed_tasks(load_configuration(overrides=no_segmentation)) == []
    models = {**no_segmentation, "custom_models.enabled": True}
    needed = needed_tasks(load_configuration(overrides=models))
    places = {tmp_path / "models" / "other" / "own", weights_folder(None)}
    assert {(one.weights, model) for one in needed for model in one.task.models} == {
        (place, model) for place in places for model in (258, 298, 297)
    }
    one = needed_tasks(load_configuration(overrides={**models, "custom_models.models": ("Vessels",)}))
    assert {task.weights for task in one} == {weights_folder(None)}
