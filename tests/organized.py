"""What came out of organizing a small export."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rtpipeline.course import CohortFiles, Course
from rtpipeline.organize import OrganizeResult
from rtpipeline.tables.parquet import read_parquet


@dataclass(frozen=True)
class Organized:
    """The result of organizing, and the output folder."""

    result: OrganizeResult
    cohort: CohortFiles

    @property
    def courses(self) -> dict[str, Course]:
        """By `patient/course`."""
        return {course.key: course for course in self.result.courses}

    @property
    def only(self) -> Course:
        """The only course."""
        assert len(self.result.courses) == 1, [course.key for course in self.result.courses]
        return self.result.courses[0]

    @property
    def unused(self) -> dict[str, tuple[str, str]]:
        """Kind and reason by path."""
        rows = read_parquet(self.cohort.table("unused_files")).to_pylist()
        return {row["path"]: (row["kind"], row["reason"]) for row in rows}

    def snapshot(self) -> dict[str, bytes]:
        """Content of every file of the output, without state files and the index, which hold times."""
        return {
            path.relative_to(self.cohort.folder).as_posix(): path.read_bytes()
            for path in sorted(self.cohort.folder.rglob("*"))
            if path.is_file() and path.parent.name != "state" and path != self.cohort.index
        }


Organize = Callable[..., Organized]
