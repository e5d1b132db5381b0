"""Runs of the pipeline in the test's own process, without segmentation and radiomics, so that they are quick."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dicom_factory import Patient
from rtpipeline.config import Configuration, load_configuration
from rtpipeline.pipeline.run import RunOptions, RunResult, run

QUICK: Mapping[str, Any] = {
    "scheduler.reserved_cores": 0,
    "segmentation.enabled": False,
    "radiomics.enabled": False,
    "radiomics_robustness.enabled": False,
}


COHORT = {("", "aggregate"), ("", "report")}
STAGES = {"auto_rtstruct", "dvh", "metadata", "quality_control"}


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """An export of two patients with a plan and a dose each, and the results of a first run on it."""
    folder = tmp_path_factory.mktemp("finished")
    for patient_id in ("P1", "P2"):
        Patient(folder / "export" / patient_id, patient_id).make_course()
    folders = {"dicom_root": folder / "export", "output_dir": folder / "output"}
    configuration = load_configuration(overrides={**QUICK, **folders})
    result = run(configuration, RunOptions(), logger=logging.getLogger("rtpipeline"))
    assert computed(result) == {(patient, stage) for patient in ("P1", "P2") for stage in STAGES} | COHORT
    return folder


@pytest.fixture
def export(tmp_path: Path, finished: Path) -> Path:
    """The export, for this test alone."""
    return Path(shutil.copytree(finished / "export", tmp_path / "export"))


@pytest.fixture
def output(tmp_path: Path, finished: Path) -> Path:
    """What the first run made of it, for this test alone."""
    return Path(shutil.copytree(finished / "output", tmp_path / "output"))


@pytest.fixture
def settings(output: Path, export: Path) -> Callable[..., Configuration]:
    """The quick configuration, with further values by dotted key."""

    def configuration(**values: Any) -> Configuration:
        folders = {"dicom_root": export, "output_dir": output}
        return load_configuration(overrides={**QUICK, **folders, **values})

    return configuration


@pytest.fixture
def pipeline(settings) -> Callable[..., RunResult]:
    """Runs the pipeline again, with options of the run and values of the configuration."""

    def start(options: RunOptions | None = None, **values: Any) -> RunResult:
        return run(settings(**values), options or RunOptions(), logger=logging.getLogger("rtpipeline"))

    return start


def computed(result: RunResult) -> set[tuple[str, str]]:
    """Patient (empty for the cohort) and stage of everything that a run did, rather than left as it was."""
    return {(course.split("/")[0], stage) for (course, stage), outcome in result.outcomes.items() if outcome.computed}
