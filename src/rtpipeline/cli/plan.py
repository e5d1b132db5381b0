"""`rtpipeline plan` (also `run -n`): what a run would do, with its threads and pools; nothing is written."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from typing import Any

import typer
from rich.table import Table

from rtpipeline.cli.console import configuration_from, explained_errors, print_json
from rtpipeline.cli.flags import Json, takes
from rtpipeline.cli.printing import output_console, print_table, table_of
from rtpipeline.cli.run_flags import RunFlags
from rtpipeline.config import Configuration
from rtpipeline.config.named_files import require_named_files
from rtpipeline.course import CohortFiles
from rtpipeline.pipeline.plan import RunPlan
from rtpipeline.pipeline.preview import CoursePreview, StagePreview, preview, run_seconds
from rtpipeline.pipeline.run import RunOptions, input_folder

SILENCE_S = 1.0


@takes(RunFlags)
def command(flags: RunFlags, json_output: Json = False) -> None:
    """Show every course × stage with its threads and pools; write nothing. Takes the flags of `run`."""
    configuration, _ = configuration_from(flags.config or [], flags.configuration_values(), os.environ)
    with explained_errors():
        print_plan(configuration, flags.options(), json_output=json_output)


def print_plan(configuration: Configuration, options: RunOptions, *, json_output: bool = False) -> None:
    """Print the parallelization and the pools, what each stage takes, and what is to do for each course.

    Raises:
        ConfigurationError: there is no input folder, and no course was organized before; or a file that the
            configuration names is not there.
    """
    if configuration.dicom_root is not None or not CohortFiles(configuration.output_dir).manifest.is_file():
        input_folder(configuration)
    if not options.only_results:
        require_named_files(configuration)
    plan = RunPlan.of(configuration, options.stages)
    courses = preview(configuration, plan, _say_progress())
    if options.forced:
        courses = [_forced(course, options.forced) for course in courses]
    plan = plan.for_courses(len(courses)) if courses else plan
    seconds = run_seconds(courses, plan, configuration)
    if json_output:
        print_json(_as_json(courses, plan, configuration, seconds))
        return
    console = output_console()
    console.print(str(plan.parallelization), markup=False)
    for name, devices in plan.slots.items():
        console.print(f"{name} pool: {len(devices.slots)} at once on {', '.join(sorted(set(devices.slots)))}")
    for note in plan.notes:
        console.print(note, markup=False)
    print_table(console, _stage_table(courses, plan, configuration))
    print_table(console, _course_table(courses, plan))
    disk = sum(course.input_bytes + sum(_to_do(course, "disk_bytes")) for course in courses)
    memory = max((value for course in courses for value in _to_do(course, "memory_bytes")), default=0)
    console.print(
        f"{len(courses)} courses; about {_duration(seconds)}, {_size(disk)} of disk, "
        f"{_size(memory)} of memory for the largest stage (rough estimates; nothing was written)"
    )


def _stage_table(courses: Sequence[CoursePreview], plan: RunPlan, configuration: Configuration) -> Table:
    """What each stage takes over all courses that it would run for."""
    table = table_of(
        "stage", "threads", "waits for", "pool", "courses to do", "ROIs", "one thread's time", "memory", "disk"
    )
    for number, stage in enumerate(plan.stages):
        here = [course.stages[number] for course in courses if course.stages[number].because]
        counted = [one.structures for one in here if one.structures is not None]
        table.add_row(
            stage.name,
            str(plan.tokens(stage, configuration)),
            ", ".join(plan.needs(stage)),
            stage.slots or "",
            f"{len(here)} of {len(courses)}",
            str(sum(counted)) if counted else "",
            _duration(sum(one.estimate.thread_seconds for one in here)),
            _size(max((one.estimate.memory_bytes for one in here), default=0)),
            _size(sum(one.estimate.disk_bytes for one in here)),
        )
    return table


def _course_table(courses: Sequence[CoursePreview], plan: RunPlan) -> Table:
    table = table_of("course", "slices", *(stage.name for stage in plan.stages))
    for course in courses:
        table.add_row(course.key, str(course.slices), *map(_cell, course.stages))
    return table


def _cell(one: StagePreview) -> str:
    if not one.because:
        return "perhaps" if one.perhaps else "done"
    return "to do" if one.structures is None else f"to do ({one.structures})"


def _as_json(
    courses: Sequence[CoursePreview], plan: RunPlan, configuration: Configuration, seconds: float
) -> dict[str, Any]:
    return {
        "budget": plan.parallelization.budget,
        "parallel_courses": plan.parallelization.courses,
        "threads_per_course": plan.parallelization.threads_per_course,
        "pools": {name: list(devices.slots) for name, devices in plan.slots.items()},
        "stages": {
            stage.name: {
                "threads": plan.tokens(stage, configuration),
                "pool": stage.slots,
                "waits_for": list(plan.needs(stage)),
            }
            for stage in plan.stages
        },
        "estimated_seconds": round(seconds, 1),
        "courses": [dataclasses.asdict(course) for course in courses],
    }


def _forced(course: CoursePreview, forced: frozenset[str]) -> CoursePreview:
    stages = tuple(
        dataclasses.replace(one, because="asked for by --force") if one.stage in forced else one
        for one in course.stages
    )
    return dataclasses.replace(course, stages=stages)


def _to_do(course: CoursePreview, figure: str) -> list[int]:
    return [getattr(one.estimate, figure) for one in course.stages if one.because]


def _say_progress() -> Any:
    """A line on standard error every second while headers are read."""
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= SILENCE_S:
            last = time.monotonic()
            typer.echo(f"reading headers: {done}/{total} files", err=True)

    return report


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
