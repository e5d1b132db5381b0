"""Comparing results with what was recorded of them: every file that a stage read or wrote, hashed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rtpipeline.config import Configuration
from rtpipeline.course import CohortFiles, Course
from rtpipeline.pipeline.cohort_stages import AGGREGATE
from rtpipeline.pipeline.stages import STAGES
from rtpipeline.pipeline.state import PUBLISHING, FileRecord, StageState, input_records
from rtpipeline.provenance import file_digest


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was recorded.

    Attributes:
        course: `patient/course`, empty for the cohort.
        stage: the stage whose record it contradicts.
        file: the file, relative to the course (or output) folder; empty where no single file is meant.
        problem: what is wrong with it.
    """

    course: str
    stage: str
    file: str
    problem: str

    def __str__(self) -> str:
        where = " ".join(part for part in (self.course, self.stage, self.file) if part)
        return f"{where}: {self.problem}"


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what was found.

    Attributes:
        files: files that were compared.
        findings: what is not as it was recorded, by course and stage.
    """

    files: int
    findings: tuple[Finding, ...]


def verify(cohort: CohortFiles, configuration: Configuration, threads: int) -> Iterator[Verification]:
    """Compare course by course, and the cohort's tables at the end; nothing is written.

    Outputs must be byte for byte what the stage left. Inputs must be what the stage read; where they are not, its
    result is out of date.

    Args:
        cohort: the output folder.
        configuration: of the last run; names the files outside the output folder that stages read.
        threads: files hashed at once.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as executor:
        for course in cohort.manifest_courses():
            yield _course(course, configuration, executor)
        yield _tables(cohort, executor)


def _course(course: Course, configuration: Configuration, executor: ThreadPoolExecutor) -> Verification:
    findings: list[Finding] = []
    now: dict[str, str | None] = {}
    for stage in STAGES:
        state = StageState.load(course.files.state(stage.name))
        if state is None:
            if course.files.state(stage.name).exists():
                name = course.files.state(stage.name).relative_to(course.files.folder).as_posix()
                findings.append(
                    Finding(course.key, stage.name, name, "cannot be read; the next run does the stage again")
                )
            continue
        if state.status == PUBLISHING:
            findings.append(Finding(course.key, stage.name, "", "was interrupted while its files were replaced"))
            continue
        inside = [name for name in (*state.outputs, *state.inputs) if not name.startswith("external/")]
        new = [name for name in dict.fromkeys(inside) if name not in now]
        now.update(zip(new, executor.map(_digest, map(course.path, new)), strict=True))
        findings += _differences(course.key, stage.name, state.outputs, now)
        for name, record in state.inputs.items():
            if name in now and now[name] != record.digest:
                problem = "is gone" if now[name] is None else "changed"
                findings.append(Finding(course.key, stage.name, name, f"{problem} since the stage read it"))
        if stage.enabled(configuration):
            outside = input_records(stage, course, configuration, state.inputs)
            for name in sorted({*state.inputs, *outside}):
                before, after = state.inputs.get(name), outside.get(name)
                if name.startswith("external/") and (before and before.digest) != (after and after.digest):
                    findings.append(Finding(course.key, stage.name, name, "changed since the stage read it"))
    return Verification(len(now), tuple(findings))


def _tables(cohort: CohortFiles, executor: ThreadPoolExecutor) -> Verification:
    state = StageState.load(cohort.state(AGGREGATE))
    if state is None:
        return Verification(0, ())
    paths = [cohort.folder / name for name in state.outputs]
    now = dict(zip(state.outputs, executor.map(_digest, paths), strict=True))
    return Verification(len(now), tuple(_differences("", AGGREGATE, state.outputs, now)))


def _differences(
    course: str, stage: str, outputs: Mapping[str, FileRecord], now: Mapping[str, str | None]
) -> Iterator[Finding]:
    for name, record in outputs.items():
        if now[name] is None:
            yield Finding(course, stage, name, "is missing")
        elif now[name] != record.digest:
            yield Finding(course, stage, name, "is not what the stage left")


def _digest(path: Path) -> str | None:
    """Of the content, whatever size and time say; None where there is no file."""
    return file_digest(path) if path.is_file() else None
