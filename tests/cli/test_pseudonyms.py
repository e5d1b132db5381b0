"""`run --pseudonymize`: what it refuses before anything is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dicom_factory import Patient


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rtpipeline.cli.app", "run", "--dicom-root", "export", "--outdir", "out"]
    return subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("setting", "word"),
    [("metadata.include_identifiers=true", "include_identifiers"), ("organize.use_hardlinks=true", "use_hardlinks")],
)
def test_settings_that_contradict_are_wrong_usage(tmp_path: Path, setting: str, word: str) -> None:
    Patient(tmp_path / "export").make_course()
    ended = run(tmp_path, "--pseudonymize", "study.key", "--config", setting)
    assert ended.returncode == 2
    assert word in ended.stderr
    assert not (tmp_path / "study.key").exists()


def test_key_in_the_output_ends_the_run(tmp_path: Path) -> None:
    Patient(tmp_path / "export").make_course()
    ended = run(tmp_path, "--pseudonymize", "out/study.key")
    assert ended.returncode == 1
    assert "keep it outside" in ended.stderr
    assert not (tmp_path / "out" / "study.key").exists()


def test_organizing_alone_is_searched_and_says_nothing_of_the_patient(tmp_path: Path) -> None:
    Patient(tmp_path / "export", "HOSP-4711").make_course(PatientName="Zwiebelmann^Egon")
    ended = run(tmp_path, "--pseudonymize", "safe/study.key", "--stage", "organize")
    assert ended.returncode == 0, ended.stderr
    log = (tmp_path / "out" / "Logs" / "rtpipeline.log").read_text(encoding="utf-8")
    assert "plan course" in log
    for text in (log, ended.stderr, ended.stdout):
        assert "HOSP" not in text
        assert "Zwiebelmann" not in text
        assert "carry the PatientID" not in text
    plain = run(tmp_path, "--outdir", "plain", "--stage", "organize")
    assert "carry the PatientID" in plain.stderr
