"""Missing weights are said once, before any course is started; what does not need them goes on."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from dicom_factory import Patient
from pipeline.conftest import QUICK
from rtpipeline.config import load_configuration
from rtpipeline.pipeline.run import RunOptions, run


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
    expected = "segmentation will fail: weights of task total"
    about_weights = [number for number, text in enumerate(said) if text.startswith(expected)]
    started = [number for number, text in enumerate(said) if "started (" in text]
    assert len(about_weights) == 1
    assert "rtpipeline weights" in said[about_weights[0]]
    assert about_weights[0] < started[0]
    outcomes = {stage: outcome.status for (_, stage), outcome in result.outcomes.items()}
    assert outcomes["segmentation"] == "failed"
    assert outcomes["dvh"] == "ok"
