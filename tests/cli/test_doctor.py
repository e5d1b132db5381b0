"""`doctor` finds what is missing, and runs where it is missing."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import rtpipeline
from rtpipeline.cli.doctor import disk_check, memory_check, packages_check, shared_memory_check, torch_check
from rtpipeline.cli.environment_checks import weights_checks
from rtpipeline.config import load_configuration


def doctor(python: Path, folder: Path, *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    command = [str(python), "-m", "rtpipeline.cli.app", "doctor", "--json", *arguments]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = json.loads(finished.stdout)
    assert found["ok"] == (finished.returncode == 0)
    return finished.returncode, {check["name"]: check for check in found["checks"]}


@pytest.fixture
def bare_python(tmp_path: Path) -> Path:
    """An interpreter that has rtpipeline, Typer, Rich and what those need, and nothing else."""
    venv.create(tmp_path / "bare", with_pip=False)
    (site_packages,) = (tmp_path / "bare" / "lib").glob("python*/site-packages")
    wanted, seen = ["typer", "rich"], set[str]()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        distribution = importlib.metadata.distribution(name)
        for requirement in map(Requirement, distribution.requires or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                wanted.append(requirement.name)
        for top_level in {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}:
            source = Path(str(distribution.locate_file(top_level)))
            if source.exists() and not (site_packages / top_level).exists():
                (site_packages / top_level).symlink_to(source)
    source_folder = Path(rtpipeline.__file__).parents[1]
    (site_packages / "rtpipeline.pth").write_text(f"{source_folder}\n", encoding="utf-8")
    metadata = Path(str(importlib.metadata.distribution("rtpipeline").locate_file("")))
    (found,) = metadata.glob("rtpipeline-*.dist-info")
    (site_packages / found.name).symlink_to(found)
    return tmp_path / "bare" / "bin" / "python"


def test_runs_where_everything_is_missing_and_says_how_to_mend_it(bare_python: Path, tmp_path: Path) -> None:
    code, checks = doctor(bare_python, tmp_path)
    assert code == 1
    assert checks["packages"]["status"] == "problem"
    assert "pydicom" in checks["packages"]["detail"]
    assert checks["PyTorch"]["status"] == "problem"
    assert "torch" in checks["PyTorch"]["detail"]
    assert checks["environments"]["status"] == "problem"
    for check in checks.values():
        assert check["status"] != "problem" or check["fix"], check


@pytest.mark.parametrize("command", ["validate", "run", "status"])
def test_other_commands_say_there_what_is_missing(bare_python: Path, command: str) -> None:
    finished = subprocess.run(
        [str(bare_python), "-m", "rtpipeline.cli.app", command], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 1
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert line.startswith(f"rtpipeline {command}: the module ")
    assert "missing: " in line
    assert "nox -s setup" in line


def test_finds_missing_weights_and_environment(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(
        f"segmentation: {{weights: {tmp_path}/weights}}\nradiomics: {{python: {tmp_path}/python}}\n", encoding="utf-8"
    )
    code, checks = doctor(Path(sys.executable), tmp_path, "--config", str(file))
    assert code == 1
    assert checks["packages"]["status"] == "ok"
    assert checks["TotalSegmentator weights"]["status"] == "problem"
    assert "rtpipeline weights" in checks["TotalSegmentator weights"]["fix"]
    assert checks["radiomics environment"]["status"] == "problem"
    assert checks["radiomics environment"]["fix"]


def test_weights_that_only_some_images_need_are_a_note(tmp_path: Path) -> None:
    settings = {"segmentation.fast": True, "segmentation.weights": tmp_path}
    for dataset in (297, 300, 852):
        (missing,) = weights_checks(load_configuration(overrides=settings))
        assert missing.status == ("problem" if dataset == 297 else "note")
        assert f"datasets {dataset}" in missing.detail
        (tmp_path / f"Dataset{dataset}_x").mkdir()
    assert [(check.status, check.detail) for check in weights_checks(load_configuration(overrides=settings))] == [
        ("ok", str(tmp_path))
    ]


@pytest.mark.radiomics_environment
def test_nothing_wrong_ends_with_code_0(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("segmentation: {enabled: false}\n", encoding="utf-8")
    code, checks = doctor(Path(sys.executable), tmp_path, "--config", str(file))
    assert code == 0, checks
    assert "pyradiomics 3.0.1" in checks["radiomics environment"]["detail"]


def test_unusable_configuration_is_a_problem_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("max_workers: many\n", encoding="utf-8")
    code, checks = doctor(Path(sys.executable), tmp_path, "--config", str(file))
    assert code == 1
    assert "max_workers" in checks["environments"]["detail"]


def test_single_checks_on_this_machine(tmp_path: Path) -> None:
    assert packages_check().status == "ok"
    assert torch_check().status in ("ok", "note")
    assert memory_check().status in ("ok", "note")
    assert shared_memory_check().status in ("ok", "note")
    assert str(tmp_path) in disk_check(tmp_path / "not" / "there" / "yet").detail
