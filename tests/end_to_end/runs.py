"""Runs of the installed program, and what they left."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rtpipeline.course import CohortFiles, Course
from rtpipeline.tables.parquet import read_parquet

RTPIPELINE = Path(sys.executable).with_name("rtpipeline")


@dataclass(frozen=True)
class FinishedRun:
    """A run that has ended: where it wrote, what it printed, how it ended."""

    output: Path
    printed: str
    exit_code: int

    @property
    def cohort(self) -> CohortFiles:
        return CohortFiles(self.output)

    @property
    def courses(self) -> dict[str, Course]:
        """The courses by patient; one course a patient."""
        return {course.description.patient: course for course in self.cohort.manifest_courses()}

    def rows(self, table: str) -> list[dict]:
        return read_parquet(self.cohort.table(table)).to_pylist()


def rtpipeline(*arguments: object, timeout_s: float = 1500) -> subprocess.CompletedProcess[str]:
    """Run the installed program and wait for it."""
    command = [str(RTPIPELINE), *map(str, arguments)]
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s, check=False
    )


def result_tables(output: Path) -> dict[str, bytes]:
    """Every table of a run, by its path below the output folder; the logs and what carries times are left out."""
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.suffix in (".parquet", ".xlsx", ".csv") and path.parent.name != "_COURSES"
    }
