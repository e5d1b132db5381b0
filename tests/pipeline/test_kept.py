"""What a stage keeps for its next run: there after a failure, gone after a usable outcome or when it is forced."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtpipeline.course import CohortFiles
from rtpipeline.outcome import Outcome, failed, ok
from rtpipeline.pipeline.course_stage import RunContext, run_course_stage
from rtpipeline.pipeline.stages import stage_named
from rtpipeline.scheduling.adaptive_pool import Grant
from rtpipeline.scheduling.children import ChildProcesses


@pytest.mark.parametrize(("forced", "found"), [(frozenset(), ["done before"]), (frozenset({"metadata"}), [])])
def test_what_a_failed_stage_kept_is_there_for_the_next_run_alone(output, settings, tmp_path, forced, found):
    course, _ = CohortFiles(output).manifest_courses()
    course.files.state("metadata").unlink()
    context = RunContext(configuration=settings(), children=ChildProcesses(), logs=tmp_path, forced=forced)
    seen = []

    def first(course, configuration, resources) -> Outcome:
        resources.kept.mkdir()
        (resources.kept / "done before").touch()
        return failed("in the middle")

    def second(course, configuration, resources) -> Outcome:
        seen.extend(file.name for file in resources.kept.glob("*"))
        return ok()

    for function in (first, second):
        run_course_stage(replace(stage_named("metadata"), run=function), course, context, Grant(1, "cpu"))

    assert seen == found
    assert list(course.files.folder.glob(".kept-*")) == []
