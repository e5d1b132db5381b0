"""Whole runs of the program, each made once for all tests that look at its results."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from end_to_end.runs import FinishedRun, rtpipeline
from rtpipeline.demo.tiny_weights import write_tiny_weights


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> FinishedRun:
    """The demo, from nothing."""
    folder = tmp_path_factory.mktemp("demo")
    finished = rtpipeline("demo", "--folder", folder)
    return FinishedRun(folder / "output", finished.stdout, finished.returncode)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory) -> Path:
    """TotalSegmentator weights that label a voxel by its HU."""
    folder = tmp_path_factory.mktemp("weights")
    write_tiny_weights(folder)
    return folder


@pytest.fixture(scope="session")
def lung(tmp_path_factory, test_data, tiny_weights) -> FinishedRun:
    """The real lung course; radiomics on two structures, to stay quick."""
    folder = tmp_path_factory.mktemp("lung")
    configuration = {
        "scheduler": {"reserved_cores": 0},
        "segmentation": {"device": "cpu", "fast": True, "weights": str(tiny_weights)},
        "structures": {"radiomics": {"include": ["GTV-1", "Spinal-Cord"], "sources": ["manual"]}},
        "radiomics_robustness": {"enabled": False},
    }
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(configuration))
    finished = rtpipeline(
        "run", "--dicom-root", test_data / "LUNG1-001", "--outdir", folder / "output", "--config", file
    )
    return FinishedRun(folder / "output", finished.stdout, finished.returncode)
