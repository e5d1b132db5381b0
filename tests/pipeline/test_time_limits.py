"""A stage that hangs is killed when its time is over, with all of its processes; the others go on."""

from __future__ import annotations

import json
import math
import os
import time

import psutil
import pytest

from rtpipeline.config import load_configuration
from rtpipeline.course import CohortFiles
from rtpipeline.outcome import EXIT_PARTIAL
from rtpipeline.pipeline.run import RunOptions
from waiting import command_line


def test_a_stage_that_hangs_is_killed_and_the_others_go_on(pipeline, output):
    """The dose of the first course never ends: whoever opens this pipe waits for a writer that never comes."""
    options = RunOptions(stages=("dvh",), forced=frozenset({"dvh"}))
    pipeline(options, **{"scheduler.task_timeout_s": 300})
    courses = CohortFiles(output).manifest_courses()
    took_s = max(json.loads(course.files.state("dvh").read_text())["seconds"] for course in courses)
    hanging, other = courses
    hanging.files.dose.unlink()
    os.mkfifo(hanging.files.dose)
    limit_s = 2 + math.ceil(2 * took_s)  # enough for the other course, however slow this machine is now
    begin = time.monotonic()
    result = pipeline(options, **{"scheduler.task_timeout_s": limit_s})
    assert time.monotonic() - begin >= limit_s
    assert result.exit_code == EXIT_PARTIAL
    hung = result.outcomes[hanging.key, "dvh"]
    assert hung.status == "failed"
    assert hung.reason == f"it took longer than scheduler.task_timeout_s ({limit_s} s) and was killed"
    assert result.outcomes[other.key, "dvh"].status == "ok"
    assert [one for one in psutil.Process().children(recursive=True) if "stage_process" in command_line(one)] == []
    assert list(output.rglob(".staging-*")) == []


def test_a_stage_in_a_process_of_its_own_makes_the_same_tables(pipeline, output):
    tables = ("dvh_metrics.parquet", "dvh_curves.parquet", "dvh_metrics.xlsx")
    folders = [course.files.folder for course in CohortFiles(output).manifest_courses()]
    before = {(folder, name): (folder / name).read_bytes() for folder in folders for name in tables}
    options = RunOptions(stages=("dvh",), forced=frozenset({"dvh"}))
    result = pipeline(options, **{"scheduler.task_timeout_s": 300})
    assert {outcome.status for outcome in result.outcomes.values()} == {"ok"}
    assert {(folder, name): (folder / name).read_bytes() for folder, name in before} == before


def test_errors_in_a_process_of_its_own_have_their_own_words(pipeline, output):
    (course, _) = CohortFiles(output).manifest_courses()
    course.files.dose.write_bytes(b"no DICOM")
    options = RunOptions(stages=("dvh",), forced=frozenset({"dvh"}))
    within, without = (
        pipeline(options, **{"scheduler.task_timeout_s": limit}).outcomes[course.key, "dvh"] for limit in (300, 0)
    )
    assert within.status == "failed"
    assert within == without


@pytest.mark.parametrize("key", ["scheduler.task_timeout_s", "segmentation.timeout_s", "radiomics.task_timeout_s"])
def test_zero_seconds_are_no_limit(key):
    assert load_configuration(overrides={key: 0}).value(key) is None
    assert load_configuration(overrides={key: 1.5}).value(key) == 1.5
