"""`rtpipeline explain COURSE`: why each stage of a course ran, and whether it would run again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from rtpipeline.cli.console import configuration_of_output, explained_errors, print_json, usage_error
from rtpipeline.cli.flags import ConfigOfLastRun, Json
from rtpipeline.config import Configuration
from rtpipeline.course import CohortFiles, Course
from rtpipeline.pipeline.stages import STAGES, Stage
from rtpipeline.pipeline.state import StageState, causes

MOST_CAUSES = 5


def command(
    course: Annotated[str, typer.Argument(help="PATIENT/COURSE, or the course folder.")],
    outdir: Annotated[
        Path | None, typer.Option(help="Output folder of the run; not needed with a course folder.")
    ] = None,
    config: ConfigOfLastRun = None,
    json_output: Json = False,
) -> None:
    """Say why each stage of a course ran, and whether it would run again."""
    if outdir is None and not Path(course).is_dir():
        raise usage_error(f"{course}: no such course folder; PATIENT/COURSE goes with --outdir OUT")
    folder = Path(course) if outdir is None else outdir / course
    output = outdir or folder.resolve().parent.parent
    configuration = configuration_of_output(output, config or [], os.environ)
    with explained_errors():
        found = _course(folder, CohortFiles(output))
        explained = [_explained(stage, found, configuration) for stage in STAGES]
    if json_output:
        print_json(explained)
        return
    for one in explained:
        typer.echo(_text(one))


def _course(folder: Path, cohort: CohortFiles) -> Course:
    try:
        return Course.load(folder)
    except FileNotFoundError as error:
        known = ", ".join(course.key for course in cohort.manifest_courses())
        message = f"{folder}: not a course folder (it has no course.json); the courses are: {known}"
        raise usage_error(message) from error


def _explained(stage: Stage, course: Course, configuration: Configuration) -> dict[str, Any]:
    """What is known of one stage of a course, JSON-ready."""
    state = StageState.load(course.files.state(stage.name))
    enabled = stage.enabled(configuration)
    return {
        "stage": stage.name,
        "status": "not run" if state is None else state.status,
        "reason": "" if state is None else state.reason,
        "started": "" if state is None else state.started,
        "seconds": None if state is None else state.seconds,
        "threads": None if state is None else state.threads,
        "device": "" if state is None else state.device,
        "ran_because": "" if state is None else state.because,
        "enabled": enabled,
        "would_run_because": list(causes(state, stage, course, configuration)) if enabled else [],
    }


def _text(one: dict[str, Any]) -> str:
    lines = [f"{one['stage']}: {one['status']}" + (f" ({one['reason']})" if one["reason"] else "")]
    if one["started"]:
        lines.append(f"    ran {one['started']} for {one['seconds']:.1f} s, {one['threads']} threads, {one['device']}")
    if one["ran_because"]:
        lines.append(f"    it ran because {one['ran_because']}")
    causes_now = one["would_run_because"]
    if not one["enabled"]:
        lines.append("    now: it is switched off in the configuration")
    elif not causes_now:
        lines.append("    now: its result holds, it would not run again")
    else:
        more = f"; and {len(causes_now) - MOST_CAUSES} more" if len(causes_now) > MOST_CAUSES else ""
        lines.append("    now: it would run, because " + "; ".join(causes_now[:MOST_CAUSES]) + more)
    return "\n".join(lines)
