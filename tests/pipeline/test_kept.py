"""What a failed stage leaves: what it keeps for its next run, and nothing among the results."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtpipeline.course import CohortFiles, CourseFiles
from rtpipeline.outcome import Outcome, StageError, failed, ok, skipped
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


@pytest.mark.parametrize("ending", ["failed", "skipped", "raises"])
def test_nothing_that_an_unusable_stage_wrote_is_published_nor_stays_what_it_made_before(
    output, settings, tmp_path, ending
):
    course, _ = CohortFiles(output).manifest_courses()
    before = course.files.case_metadata
    given = {file: file.read_bytes() for file in course.files.dicom.rglob("*") if file.is_file()}
    assert before.is_file()

    def half(course, configuration, resources) -> Outcome:
        for file in (CourseFiles(resources.staging).case_metadata, resources.staging / "metadata" / "half.json"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("half made")
        if ending == "raises":
            raise StageError("in the middle")
        return failed("in the middle") if ending == "failed" else skipped("nothing to do")

    context = RunContext(settings(), ChildProcesses(), tmp_path, forced=frozenset({"metadata"}))
    outcome = run_course_stage(replace(stage_named("metadata"), run=half), course, context, Grant(1, "cpu"))
    assert outcome.status == ("skipped" if ending == "skipped" else "failed")
    assert not before.exists()
    assert not course.path("metadata/half.json").exists()
    assert list(course.files.folder.glob(".staging-*")) == []
    assert {file: file.read_bytes() for file in course.files.dicom.rglob("*") if file.is_file()} == given
