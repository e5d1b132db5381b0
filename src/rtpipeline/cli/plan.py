"""`rtpipeline plan` (also `run -n`): what a run would do, with its threads and pools; nothing is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from rtpipeline.cli.console import configuration_from, explained_errors
from rtpipeline.config import Configuration
from rtpipeline.course import CohortFiles
from rtpipeline.pipeline.course_stage import stage_states
from rtpipeline.pipeline.plan import RunPlan
from rtpipeline.pipeline.run import RunOptions


def command(
    outdir: Annotated[Path | None, typer.Option(help="Output folder of the run.")] = None,
    config: Annotated[list[str] | None, typer.Option(help="YAML file, or KEY=VALUE; repeatable.")] = None,
) -> None:
    """Show every course × stage with its threads and pools; write nothing."""
    configuration, _ = configuration_from(config or [], {"output_dir": outdir}, os.environ)
    with explained_errors():
        print_plan(configuration, RunOptions())


def print_plan(configuration: Configuration, options: RunOptions) -> None:
    """Print the parallelization, the pools, and each stage of each organized course with its last status."""
    console = Console()
    plan = RunPlan.of(configuration, options.stages)
    console.print(str(plan.parallelization), markup=False)
    for name, devices in plan.slots.items():
        console.print(f"{name} pool: {len(devices.slots)} at once on {', '.join(sorted(set(devices.slots)))}")
    for note in plan.notes:
        console.print(note, markup=False)
    cohort = CohortFiles(configuration.output_dir)
    courses = cohort.manifest_courses() if cohort.manifest.is_file() else []
    table = Table("stage", "threads", "waits for", "pool")
    for course in courses:
        table.add_column(course.key)
    states = [stage_states(course) for course in courses]
    for stage in plan.stages:
        table.add_row(
            stage.name,
            str(plan.tokens(stage, configuration)),
            ", ".join(plan.needs(stage)),
            stage.slots or "",
            *(state[stage.name].status if stage.name in state else "to do" for state in states),
        )
    console.print(table)
    if not courses:
        console.print("no course was organized in this output folder yet; the first run lists them")
