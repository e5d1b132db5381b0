"""One result of one check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rtpipeline.structures import Structure, as_columns

Status = Literal["PASS", "WARNING", "FAIL", "NOT_APPLICABLE"]
Severity = Literal["low", "medium", "high"]

_WORST_FIRST: tuple[Status, ...] = ("FAIL", "WARNING", "PASS", "NOT_APPLICABLE")


@dataclass(frozen=True)
class Check:
    """What was checked, and what came out; columns of the table `qc_reports`."""

    check: str
    status: Status
    severity: Severity
    message: str
    subject: str | None = None
    value: float | None = None
    limit: float | None = None
    unit: str | None = None


def subject_of(structure: Structure) -> str:
    """How checks name a structure."""
    return subject_of_row(as_columns(structure))


def subject_of_row(row: Mapping[str, Any]) -> str:
    """How checks name the structure that a row of a table is of."""
    return f"{row['segmentation_source']}: {row['roi_name']}"


def each_or_pass(check: str, severity: Severity, found: Iterable[Check], passed: str, applicable: bool) -> list[Check]:
    """The findings of a check that looks at many things; one PASS without findings; NOT_APPLICABLE without things."""
    findings = list(found)
    if findings:
        return findings
    if not applicable:
        return [Check(check, "NOT_APPLICABLE", severity, "there is nothing to check")]
    return [Check(check, "PASS", severity, passed)]


def overall(checks: Sequence[Check]) -> Check:
    """The worst status of a course."""
    statuses: list[Status] = [check.status for check in checks]
    worst: Status = next((status for status in _WORST_FIRST if status in statuses), "NOT_APPLICABLE")
    names = sorted({check.check for check in checks if check.status == worst})
    message = "every check passed" if worst == "PASS" else f"{worst}: {', '.join(names)}"
    return Check("overall", worst, "high", message, value=float(statuses.count(worst)))
