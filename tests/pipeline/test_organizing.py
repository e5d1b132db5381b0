"""What a run does where organizing finds fewer courses than there could be."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from rtpipeline.course import CohortFiles
from rtpipeline.pipeline.run import RunOptions
from rtpipeline.tables.parquet import read_parquet


def unused_kinds(output: Path) -> dict[str, str]:
    rows = read_parquet(CohortFiles(output).table("unused_files")).to_pylist()
    return {row["path"]: row["kind"] for row in rows}


class RemoveWhenLogged(logging.Handler):
    """Takes a file away when a line about a course is logged."""

    def __init__(self, course: str, file: Path) -> None:
        super().__init__()
        self.course, self.file = course, file

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(self.course):
            self.file.unlink(missing_ok=True)


@pytest.fixture
def remove_when_logged(request: pytest.FixtureRequest):
    def add(course: str, file: Path) -> None:
        logger = logging.getLogger("rtpipeline")
        handler = RemoveWhenLogged(course, file)
        logger.addHandler(handler)
        request.addfinalizer(lambda: logger.removeHandler(handler))
        logger.setLevel(logging.INFO)

    return add


def test_a_file_that_cannot_be_copied_takes_only_its_course(pipeline, tmp_path, export, remove_when_logged):
    gone = export / "P2" / "plan.dcm"
    remove_when_logged("P1/", gone)
    result = pipeline(output_dir=tmp_path / "new")
    assert result.exit_code == 3
    assert [course.description.patient for course in result.courses] == ["P1"]
    outcome = result.outcomes["", "organize"]
    assert outcome.status == "partial"
    assert "1 courses could not be organized: P2/" in outcome.reason
    assert "P2/plan.dcm: cannot be read (No such file or directory)" in outcome.reason
    assert CohortFiles(tmp_path / "new").report.is_file()
    assert unused_kinds(tmp_path / "new") == {
        f"P2/{path.name}": "failed" for path in [*(export / "P2").iterdir(), gone]
    }


def test_a_filter_that_matches_nothing_says_so(pipeline, tmp_path, caplog):
    logging.getLogger("rtpipeline").propagate = True
    result = pipeline(output_dir=tmp_path / "new", **{"organize.course_filter": ["NOBODY"]})
    assert result.exit_code == 1
    assert "none of the 2 courses of the input is wanted: organize.course_filter names others" in result.message
    assert "no course of the input is called NOBODY" in caplog.text
    assert set(unused_kinds(tmp_path / "new").values()) == {"filtered"}


def test_images_that_are_gone_leave_their_course_as_it_was_unless_forced(pipeline, output, export):
    before = CohortFiles(output).manifest_courses()
    for path in (export / "P1").glob("ct*"):
        path.unlink()
    kept = pipeline()
    assert (kept.exit_code, list(kept.courses)) == (0, before)
    assert all(not outcome.computed for (course, _), outcome in kept.outcomes.items() if course)
    forced = pipeline(RunOptions(forced=frozenset({"organize"})))
    images = {course.description.patient: len(course.description.images) for course in forced.courses}
    assert images == {"P1": 0, "P2": 1}
