"""A disk that is full: a clear error, nothing half written under a published name, and the next run goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pytest

from end_to_end.runs import result_tables, rtpipeline
from rtpipeline.demo.cohort import cohort_objects
from rtpipeline.tables.parquet import read_parquet

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system"),
]

QUICK = ("--no-segmentation", "--no-radiomics", "--no-robustness", "--config", "scheduler.reserved_cores=0")


@pytest.fixture(scope="module")
def dicom(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dicom")
    for number, dataset in enumerate(cohort_objects()):
        if dataset.PatientID == "DEMO-001":
            dataset.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture(scope="module")
def undisturbed(dicom, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "output"
    finished = rtpipeline("run", "--dicom-root", dicom, "--outdir", output, *QUICK)
    assert finished.returncode == 0, finished.stdout
    return output


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # also while a process that ends still has a file open


@pytest.mark.parametrize("fraction", [0.3, 0.8])
def test_full_disk_is_said_and_the_next_run_goes_on(fraction, dicom, undisturbed, small_disk, tmp_path):
    needed = sum(path.stat().st_blocks * 512 for path in undisturbed.rglob("*"))
    resize(small_disk, int(fraction * needed))
    flags = ("--dicom-root", dicom, "--outdir", small_disk / "output", "--logs", tmp_path / "logs", *QUICK)
    full = rtpipeline("run", *flags)
    assert full.returncode in (1, 3), full.stdout
    assert "No space left on device" in full.stdout
    assert "Traceback" not in full.stdout
    for name in result_tables(small_disk / "output"):
        path = small_disk / "output" / name
        if path.suffix == ".parquet":
            read_parquet(path)
        elif path.suffix == ".xlsx":
            openpyxl.load_workbook(path)

    resize(small_disk, 10 * needed)
    again = rtpipeline("run", *flags)
    assert again.returncode == 0, again.stdout
    assert result_tables(small_disk / "output") == result_tables(undisturbed)
    assert not list(small_disk.rglob("*.partial"))


def resize(folder: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
