"""`rtpipeline status`: what is done in an output folder, what runs, and why the rest is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from rtpipeline.cli.console import explained_errors, nothing_organized, print_json
from rtpipeline.cli.flags import Json, OutputFolder
from rtpipeline.cli.printing import output_console, print_table, table_of
from rtpipeline.config import load_configuration
from rtpipeline.course import CohortFiles, Course
from rtpipeline.pipeline.course_stage import stage_states
from rtpipeline.pipeline.stages import STAGES
from rtpipeline.scheduling.locks import holder_of

RUNNING = "running"
NOT_RUN = "-"
_STYLES = {"ok": "green", "partial": "yellow", "failed": "red", "publishing": "yellow", RUNNING: "cyan"}


def command(
    outdir: OutputFolder,
    json_output: Json = False,
) -> None:
    """Show which stages of which courses are done or running, and why others are not."""
    with explained_errors():
        cohort = CohortFiles(outdir)
        if not cohort.manifest.is_file():
            raise nothing_organized(cohort)
        courses: list[dict[str, Any]] = [
            {"course": course.key, "stages": _stages(course)} for course in cohort.manifest_courses()
        ]
        holder = holder_of(cohort.lock)
        running = holder is not None
        eta_s, unknown = _remaining_seconds(courses, _enabled_stages(cohort)) if running else (None, [])
    if json_output:
        run = str(holder) if holder is not None else ""
        print_json({"run": run, "eta_s": eta_s, "courses": courses})
        return
    console = output_console()
    print_table(console, _table(courses))
    for course in courses:
        for one in course["stages"]:
            if one["status"] in ("failed", "partial"):
                console.print(f"{course['course']} {one['stage']} {one['status']}: {one['reason']}", markup=False)
    peak = max((one["peak_memory_bytes"] or 0 for course in courses for one in course["stages"]), default=0)
    if peak:
        console.print(f"most memory that a run held at once: {peak / 1e9:.1f} GB")
    if holder is not None:
        eta = f"; about {eta_s:.0f} s to go" if eta_s is not None else ""
        if unknown:
            eta = f"; how long it will take shows when every stage ran once ({', '.join(unknown)} did not yet)"
        console.print(f"a run is at work here ({holder}){eta}", markup=False)
        for course in courses:
            for one in course["stages"]:
                if one["status"] == RUNNING:
                    console.print(f"{course['course']} {one['stage']} running ({one['holder']})", markup=False)


def _stages(course: Course) -> list[dict[str, Any]]:
    """State of every stage of a course, JSON-ready."""
    states = stage_states(course)
    found = []
    for stage in STAGES:
        state = states.get(stage.name)
        holder = holder_of(course.files.lock(stage.name))
        found.append(
            {
                "stage": stage.name,
                "status": RUNNING if holder is not None else state.status if state is not None else NOT_RUN,
                "reason": state.reason if state is not None and holder is None else "",
                "holder": str(holder) if holder is not None else "",
                "seconds": state.seconds if state is not None else None,
                "peak_memory_bytes": state.peak_memory_bytes if state is not None else None,
            }
        )
    return found


def _enabled_stages(cohort: CohortFiles) -> list[str]:
    """The stages of the last run's configuration."""
    file = cohort.effective_configuration
    configuration = load_configuration(file if file.is_file() else None)
    return [stage.name for stage in STAGES if stage.enabled(configuration)]


def _remaining_seconds(courses: Sequence[dict[str, Any]], enabled: Sequence[str]) -> tuple[float | None, list[str]]:
    """Mean time of each stage, for every course that has not had it, over what runs at once.

    Returns:
        seconds, or None where they are unknown; and the stages whose time is unknown because no course has had them.
    """
    remaining, running, unknown = 0.0, 0, []
    for number, stage in enumerate(STAGES):
        column = [course["stages"][number] for course in courses]
        took = [one["seconds"] for one in column if one["seconds"] is not None and one["status"] != RUNNING]
        running += sum(one["status"] == RUNNING for one in column)
        open_count = sum(one["status"] in (RUNNING, NOT_RUN) for one in column)
        if stage.name in enabled and open_count:
            if took:
                remaining += open_count * sum(took) / len(took)
            else:
                unknown.append(stage.name)
    return (round(remaining / running, 1) if running and not unknown else None), unknown


def _table(courses: Sequence[dict[str, Any]]) -> Table:
    table = table_of("course", *(stage.name for stage in STAGES))
    for course in courses:
        statuses = [one["status"] for one in course["stages"]]
        table.add_row(course["course"], *(f"[{_STYLES.get(status, 'dim')}]{status}[/]" for status in statuses))
    return table
