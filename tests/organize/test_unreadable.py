"""Files and folders that may not be read are listed and warned about; everything else is organized."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dicom_factory import Patient
from organized import Organize
from rtpipeline.course import CohortFiles
from rtpipeline.organize import index
from rtpipeline.tables.parquet import read_parquet

AS_A_COMMON_USER = """
import ctypes, os, sys
if os.geteuid() == 0:
    # PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by which root reads everything
    for capability in (1, 2):
        assert ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


def organize_as_a_common_user(root: Path, out: Path) -> tuple[int, str]:
    """Exit code and what is printed."""
    program = [sys.executable, "-m", "rtpipeline.cli.app"]
    arguments = ["run", "--dicom-root", str(root), "--outdir", str(out), "--stage", "organize"]
    finished = subprocess.run(
        [sys.executable, "-c", AS_A_COMMON_USER, *program, *arguments],
        cwd=root.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return finished.returncode, finished.stdout


def reasons(out: Path) -> dict[str, tuple[str, str]]:
    rows = read_parquet(CohortFiles(out).table("unused_files")).to_pylist()
    return {row["path"]: (row["kind"], row["reason"]) for row in rows}


def test_what_may_not_be_read_is_listed_and_warned_about(export: Path, tmp_path: Path) -> None:
    for name in ("A", "B", "closed", "names only"):
        Patient(export / name, name).make_course()
    (export / "A" / "plan.dcm").chmod(0)
    (export / "closed").chmod(0)
    (export / "names only").chmod(0o444)
    code, printed = organize_as_a_common_user(export, tmp_path / "out")
    assert (code, printed.count("Traceback")) == (0, 0), printed
    assert "9 files or folders of the input cannot be read" in printed
    files = ("ct_000", "ct_001", "ct_002", "ct_003", "dose", "plan", "rs")
    may_not = ("unreadable", "cannot be read: Permission denied")
    assert reasons(tmp_path / "out") == {
        "A/plan.dcm": may_not,
        "closed/": ("unreadable", "a folder that cannot be listed, whatever is in it: Permission denied"),
        **{f"names only/{name}.dcm": may_not for name in files},
    }
    courses = {
        course.description.patient: course.description for course in CohortFiles(tmp_path / "out").manifest_courses()
    }
    assert {patient: len(course.plans) for patient, course in courses.items()} == {"A": 0, "B": 1}
    for path, mode in ((export / "A" / "plan.dcm", 0o644), (export / "closed", 0o755), (export / "names only", 0o755)):
        path.chmod(mode)
    code, printed = organize_as_a_common_user(export, tmp_path / "out")
    assert (code, "cannot be read" in printed) == (0, False), printed
    assert "28 files, 15 of them read now" in printed
    assert reasons(tmp_path / "out") == {}


def test_a_content_that_cannot_be_read_is_listed(
    patient: Patient, organized: Organize, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.make_course()
    patient.make_plan("other", SOPInstanceUID=patient.uid("plan"))
    broken = patient.folder / "other.dcm"
    digest = index.content_digest

    def of_a_failing_disk(path: Path) -> str:
        if path == broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO), os.fspath(path))
        return digest(path)

    monkeypatch.setattr(index, "content_digest", of_a_failing_disk)
    made = organized()
    assert len(made.only.description.plans) == 1
    assert made.unused == {
        "other.dcm": ("unreadable", "its header can be read, its content cannot: Input/output error")
    }
    monkeypatch.undo()
    assert organized().result.files_read == 1
