"""What a run refuses, what it goes on without, and what it leaves for others to read."""

from __future__ import annotations

import logging
import shutil

import pytest
from threadpoolctl import threadpool_info, threadpool_limits
from typer.testing import CliRunner

from pipeline.conftest import STAGES, computed
from rtpipeline.cli.app import app
from rtpipeline.config import load_configuration
from rtpipeline.course import CohortFiles
from rtpipeline.outcome import EXIT_OK, EXIT_PARTIAL, StageError
from rtpipeline.pipeline.plan import RunPlan
from rtpipeline.pipeline.run import RunOptions
from rtpipeline.pipeline.stages import stage_named
from rtpipeline.scheduling import budget, devices

COURSE_STAGES = tuple(sorted(STAGES))


def test_stages_run_from_the_manifest_where_the_input_is_gone(pipeline, export):
    shutil.rmtree(export)
    options = RunOptions(stages=("dvh", "quality_control"), forced=frozenset({"dvh"}))
    result = pipeline(options)
    assert result.exit_code == EXIT_OK
    assert computed(result) == {("P1", "dvh"), ("P2", "dvh")}


class BlasThreads(logging.Handler):
    """Notes how many threads BLAS may use whenever something is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.seen |= {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_products_of_large_arrays_take_one_thread_during_a_run(pipeline, caplog):
    caplog.set_level(logging.INFO, logger="rtpipeline")
    logger, handler = logging.getLogger("rtpipeline"), BlasThreads()
    logger.addHandler(handler)
    with threadpool_limits(limits=2, user_api="blas"):
        try:
            logger.warning("before")
            assert handler.seen == {2}
            handler.seen.clear()
            pipeline(RunOptions(stages=("dvh",), forced=frozenset({"dvh"})))
        finally:
            logger.removeHandler(handler)
        assert handler.seen == {1}


def test_a_course_that_fails_takes_nothing_from_the_others_and_alone_is_tried_again(pipeline, output, caplog):
    (course, other) = CohortFiles(output).manifest_courses()
    intact = course.files.dose.read_bytes()
    course.files.dose.write_bytes(intact[:200])
    options = RunOptions(stages=COURSE_STAGES)
    first = pipeline(options)
    assert first.exit_code == EXIT_PARTIAL
    assert {key: out.status for key, out in first.outcomes.items() if out.status == "failed"} == {
        (course.key, "dvh"): "failed"
    }
    assert "RD.dcm" in first.outcomes[course.key, "dvh"].reason
    assert not course.files.dvh_metrics.exists()
    gone = "what it had made before is taken away"
    (said,) = (message for message in caplog.messages if gone in message)
    assert said.startswith(f"{course.key} dvh: failed in")
    assert course.path(".dvh_done").read_text().startswith("failed: ")
    assert other.path(".dvh_done").read_text() == "ok\n"
    patient = course.description.patient
    caplog.clear()
    assert computed(pipeline(options)) == {(patient, "dvh")}
    assert gone not in caplog.text
    course.files.dose.write_bytes(intact)
    mended = pipeline(options)
    assert mended.exit_code == EXIT_OK
    assert computed(mended) == {(patient, "dvh"), (patient, "quality_control")}


@pytest.mark.parametrize(
    ("flags", "values"),
    [
        (
            "--seg-workers 4 --max-workers 8 --totalseg-device gpu",
            {"segmentation.max_workers": 4, "max_workers": 8, "segmentation.device": "gpu"},
        ),
        (
            "--max-workers 2 --seg-workers 1 --seg-proc-threads 4 --radiomics-proc-threads 2 --sequential-radiomics",
            {
                "max_workers": 2,
                "segmentation.max_workers": 1,
                "segmentation.thread_limit": 4,
                "radiomics.thread_limit": 2,
                "radiomics.sequential": True,
            },
        ),
        (
            "--totalseg-device cpu --max-workers 8 --seg-workers 2 --cores all",
            {"segmentation.device": "cpu", "max_workers": 8, "segmentation.max_workers": 2, "cores": None},
        ),
    ],
)
def test_flags_as_typed_are_the_configuration_of_the_run(export, output, flags, values):
    words = ["run", "--dicom-root", str(export), "--outdir", str(output), "--stage", "metadata", *flags.split()]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == EXIT_OK, result.output
    effective = load_configuration(CohortFiles(output).effective_configuration)
    assert {key: effective.value(key) for key in values} == values


def test_a_required_gpu_that_is_missing_ends_the_run_before_anything_starts(pipeline, output, monkeypatch):
    monkeypatch.setattr(devices, "gpu_uuids", lambda: ())
    values = {"segmentation.enabled": True, "segmentation.device": "gpu", "segmentation.require_gpu": True}
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.json")}
    with pytest.raises(StageError, match="require_gpu is true, but no usable GPU was found"):
        pipeline(**values)
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.json")} == before


@pytest.mark.parametrize(
    ("values", "tokens"),
    [
        ({}, 6),
        ({"radiomics_threads_per_job": 3}, 3),
        ({"robustness_threads_per_job": 2}, 2),
        ({"robustness_threads_per_job": 64}, 15),
    ],
)
def test_robustness_has_the_threads_of_radiomics_unless_told_otherwise(monkeypatch, values, tokens):
    monkeypatch.setattr(budget, "usable_cpus", lambda: 16)
    configuration = load_configuration(overrides={f"scheduler.{key}": value for key, value in values.items()})
    assert RunPlan.of(configuration).tokens(stage_named("radiomics_robustness"), configuration) == tokens


@pytest.mark.parametrize(
    ("values", "tokens"),
    [
        ({"segmentation.device": "gpu"}, 1),  # what pre- and postprocessing take beside the GPU
        ({"segmentation.device": "gpu", "segmentation.nr_threads_resample": 4}, 4),
        ({"segmentation.device": "cpu"}, 5),  # a course's share of 15 threads
        ({"segmentation.device": "cpu", "segmentation.thread_limit": 7}, 7),
    ],
)
def test_segmentation_holds_the_threads_that_it_uses(monkeypatch, values, tokens):
    monkeypatch.setattr(budget, "usable_cpus", lambda: 16)
    monkeypatch.setattr(devices, "gpu_uuids", lambda: ("GPU-a",))
    configuration = load_configuration(overrides=values)
    assert RunPlan.of(configuration).tokens(stage_named("segmentation"), configuration) == tokens
