"""`validate` finds what would stop a run, and starts nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rtpipeline.cli.validate import custom_model_checks, input_check, output_check
from rtpipeline.config import load_configuration


def validate(folder: Path, *arguments: str) -> tuple[int, dict[str, dict[str, str]], str]:
    command = [sys.executable, "-m", "rtpipeline.cli.app", "validate", "--json", *arguments]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    checks = json.loads(finished.stdout)["checks"] if finished.stdout else []
    return finished.returncode, {check["name"]: check for check in checks}, finished.stderr


def test_wrong_configuration_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("segmentation:\n  devise: cpu\n", encoding="utf-8")
    code, _, message = validate(tmp_path)
    assert code == 2
    assert "line 2: unknown key segmentation.devise; did you mean segmentation.device?" in message


def test_named_files_and_folders(tmp_path: Path) -> None:
    text = "custom_structures: own.yaml\ncustom_models: {enabled: true}\nsegmentation: {enabled: false}\n"
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    code, checks, _ = validate(tmp_path, "--dicom-root", str(tmp_path / "nowhere"))
    assert code == 1
    wrong = {name for name, check in checks.items() if check["status"] == "problem"}
    assert wrong >= {"DICOM root", "custom_structures", "custom_models"}
    assert not list(tmp_path.glob("Output*")), "nothing is written"


def test_custom_models(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "my_model"
    folder.mkdir(parents=True)
    example = Path(__file__).parents[2] / "configs" / "custom_model.yaml"
    (folder / "custom_model.yaml").write_bytes(example.read_bytes())
    overrides = {"custom_models.enabled": True, "custom_models.root": tmp_path / "models"}
    (missing_weights,) = custom_model_checks(load_configuration(overrides=overrides))
    assert missing_weights.status == "problem"
    assert "no nnU-Net v2 model folder" in missing_weights.detail

    network = folder / "Dataset901_MyModel" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (network / "fold_0").mkdir(parents=True)
    (network / "fold_0" / "checkpoint_final.pth").touch()
    (network / "plans.json").write_text("{}", encoding="utf-8")
    dataset = {"labels": {"background": 0, "GTV": 1, "lymph_nodes": 2}, "channel_names": {"0": "CT"}}
    (network / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    (ready,) = custom_model_checks(load_configuration(overrides=overrides))
    assert (ready.status, ready.detail) == ("ok", "my_model: GTV, lymph_nodes")

    named = load_configuration(overrides={**overrides, "custom_models.models": ("other",)})
    (absent,) = custom_model_checks(named)
    assert absent.status == "problem"
    assert "other" in absent.detail
    (tmp_path / "models" / "copy").symlink_to(folder)
    called = {"name": "my_model", **yaml.safe_load(example.read_text(encoding="utf-8"))}
    (folder / "custom_model.yaml").write_text(yaml.safe_dump(called), encoding="utf-8")
    first, second = custom_model_checks(load_configuration(overrides=overrides))
    assert (first.status, second.status) == ("ok", "problem")
    assert "two models are called my_model" in second.detail
    (network / "plans.json").unlink()  # what is left out does not change with the weights that are there
    missing, second = custom_model_checks(load_configuration(overrides=overrides))
    assert "no nnU-Net v2 model folder" in missing.detail + second.detail
    assert "two models are called my_model" in missing.detail + second.detail


@pytest.mark.real_data
def test_real_data_is_found(test_data: Path) -> None:
    assert input_check(test_data).status == "ok"


def test_input_folder(tmp_path: Path) -> None:
    assert input_check(None).status == "note"
    assert input_check(tmp_path).status == "problem"
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    assert input_check(tmp_path).status == "note"
    assert input_check(tmp_path / "notes.txt").status == "problem"
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "IM1").write_bytes(bytes(128) + b"DICM")
    assert input_check(tmp_path).status == "ok"


def test_output_folder(tmp_path: Path) -> None:
    assert output_check(tmp_path / "new" / "deeper").status == "ok"
    assert output_check(Path("/proc/rtpipeline")).status == "problem"
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert output_check(tmp_path / "file").status == "problem"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file"]
