"""`rtpipeline status`: what is done in an output folder, and why the rest is not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from rtpipeline.cli.console import explained_errors
from rtpipeline.course import CohortFiles
from rtpipeline.outcome import StageError
from rtpipeline.pipeline.course_stage import stage_states
from rtpipeline.pipeline.stages import STAGES

_STYLES = {"ok": "green", "partial": "yellow", "skipped": "dim", "failed": "red", "publishing": "yellow"}


def command(outdir: Annotated[Path, typer.Argument(help="Output folder of a run.")]) -> None:
    """Show which stages of which courses are done, and why others are not."""
    with explained_errors():
        cohort = CohortFiles(outdir)
        if not cohort.manifest.is_file():
            raise StageError(f"{outdir}: nothing was organized here yet (no {cohort.manifest.name})")
        console = Console()
        table = Table("course", *(stage.name for stage in STAGES))
        reasons = []
        for course in cohort.manifest_courses():
            states = stage_states(course)
            cells = []
            for stage in STAGES:
                status = states[stage.name].status if stage.name in states else "-"
                cells.append(f"[{_STYLES.get(status, 'dim')}]{status}[/]")
                if status in ("failed", "partial"):
                    reasons.append(f"{course.key} {stage.name} {status}: {states[stage.name].reason}")
            table.add_row(course.key, *cells)
        console.print(table)
        for reason in reasons:
            console.print(reason, markup=False)
