"""`provenance.json`: which results these are, and what made them."""

from __future__ import annotations

import hashlib
import json

import numpy
import pytest
from typer.testing import CliRunner

from rtpipeline.cli.app import app
from rtpipeline.course import CohortFiles
from rtpipeline.pipeline.origin import _models


@pytest.fixture
def origin(output):
    return json.loads(CohortFiles(output).provenance.read_text(encoding="utf-8"))


def test_it_holds_versions_configuration_and_input(origin):
    assert origin["installed"]["numpy"] == numpy.__version__
    assert origin["configuration"]["segmentation"]["enabled"] is False
    assert len(origin["input_digest"]) == len(origin["rtpipeline"]["source_digest"]) == 64


def test_it_holds_the_digest_of_every_table(origin, output):
    cohort = CohortFiles(output)
    tables = origin["outputs"]["tables"]
    assert cohort.table("dvh_metrics").relative_to(output).as_posix() in tables
    for name, expected in tables.items():
        assert hashlib.sha256((output / name).read_bytes()).hexdigest() == expected
    assert set(origin["outputs"]["courses"]) == {course.key for course in cohort.manifest_courses()}


def test_another_result_has_another_digest(pipeline, origin, output):
    pipeline(**{"dvh.metrics": ["D42%"]})
    after = json.loads(CohortFiles(output).provenance.read_text(encoding="utf-8"))
    for course, stages in origin["outputs"]["courses"].items():
        assert after["outputs"]["courses"][course]["dvh"] != stages["dvh"]
        assert after["outputs"]["courses"][course]["metadata"] == stages["metadata"]


def test_models_are_named_with_their_weights_and_courses(output):
    courses = list(CohortFiles(output).manifest_courses())
    for course in courses:
        described = {"task": "total", "weights_digest": "ab", "versions": {"torch": "2"}, "labels": {"1": "spleen"}}
        files = [course.files.label_map(course.files.segmentation("CT", "total"))]
        if course is courses[0]:
            custom = course.files.label_map(course.files.custom_model_segmentation("mine"))
            files.append(custom)
        for file in files:
            file.parent.mkdir(parents=True)
            task = "total" if file == files[0] else "custom_model:mine"
            file.write_text(json.dumps({**described, "task": task}), encoding="utf-8")
    mine, total = _models(courses)
    assert (mine["task"], mine["courses"]) == ("custom_model:mine", [courses[0].key])
    assert (total["task"], total["weights_digest"], total["courses"]) == (
        "total",
        "ab",
        sorted(course.key for course in courses),
    )


@pytest.mark.parametrize("what", ["table", "input"])
def test_verify_finds_what_was_tampered_with(output, what):
    course = CohortFiles(output).manifest_courses()[0]
    file = CohortFiles(output).table("case_metadata", ".xlsx") if what == "table" else course.files.dose
    content = bytearray(file.read_bytes())
    content[-40] ^= 1
    file.write_bytes(content)
    result = CliRunner().invoke(app, ["verify", str(output)])
    assert result.exit_code == 1
    assert file.name in result.output
