"""`rtpipeline pseudonyms`: who is who, for those who have the key."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated

import typer

from rtpipeline.cli.console import explained_errors
from rtpipeline.course import CohortFiles
from rtpipeline.organize.identifier_check import find_identifiers
from rtpipeline.organize.translation import patients, stored_pseudonyms, translate
from rtpipeline.outcome import EXIT_FAILED


def command(
    keyfile: Annotated[Path, typer.Argument(help="The key file that the results were made with.")],
    names: Annotated[
        list[str] | None, typer.Argument(help="Patients, UIDs or codes of files to translate; all patients if none.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(metavar="OUTDIR", help="Search this output folder for original identifiers.")
    ] = None,
) -> None:
    """Translate pseudonyms with their key, either way; or search an output folder for original identifiers."""
    with explained_errors():
        if check is not None:
            _check(keyfile, check)
            return
        header = ("name", "stands_for") if names else ("pseudonym", "patient_id", "date_shift_days")
        rows = list(translate(keyfile, names) if names else patients(keyfile))
        csv.writer(sys.stdout, lineterminator="\n").writerows([header, *rows])


def _check(keyfile: Path, outdir: Path) -> None:
    cohort = CohortFiles(outdir)
    findings = find_identifiers(cohort, outdir / "Logs", stored_pseudonyms(keyfile, outdir))
    for finding in findings:
        typer.echo(f"{finding.file}: {finding.kind}")
    typer.echo(f"{len(findings)} files and kinds of identifiers found" if findings else "no original identifier found")
    if findings:
        raise typer.Exit(EXIT_FAILED)
