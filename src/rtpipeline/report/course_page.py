"""The report of one course: whether its results can be believed, on one page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtpipeline.config import Configuration
from rtpipeline.course import Course
from rtpipeline.report import contents
from rtpipeline.report.contents import DRAWN_SOURCES, DVH_COLUMNS, States
from rtpipeline.report.methods import methods_text
from rtpipeline.report.page import STAGE_LABELS, Absent, counted, render

USABLE = ("ok", "partial")
_MOST_NAMES = 6


def course_report(course: Course, configuration: Configuration, states: States, provenance: Mapping[str, Any]) -> str:
    """The HTML page of a course, self-contained.

    Args:
        course: what is there of it is read; what is not there is said.
        configuration: of the run.
        states: by name of the stage, what its state says: `status`, `reason`, `seconds`, `device`, `details`.
        provenance: what `rtpipeline.provenance.provenance` says of the run.
    """
    checks = contents.checks(course, states)
    problems = contents.dvh_problems(course, states)
    used = [stage for stage, state in states.items() if state["status"] in USABLE]
    values = {
        "title": f"{course.key} · rtpipeline",
        "course": course.description,
        "key": course.key,
        "cohort_report": "../../_RESULTS/report.html",
        "provenance": provenance,
        "attention": _attention(course, states, checks, problems),
        "minor_warnings": 0 if isinstance(checks, Absent) else sum(row["status"] == "WARNING" for row in checks),
        "stages": [
            {"name": STAGE_LABELS.get(name, name), "seconds": None, "device": "", "reason": "", **dict(state)}
            for name, state in _ordered(states)
        ],
        "slices": contents.slices(course, configuration),
        "drawn_plot": contents.dvh_plot(course, states, drawn=True),
        "segmented_plot": contents.dvh_plot(course, states, drawn=False),
        "dvh_columns": DVH_COLUMNS,
        "dvh_rows": contents.dvh_rows(course, states),
        "dvh_problems": problems,
        "checks": checks,
        "radiomics": contents.radiomics(course, states),
        "robustness": contents.robustness(course, states),
        "text": methods_text(provenance, used, radiomics_environment(states)),
    }
    return render("course.html", values)


def radiomics_environment(states: States) -> Mapping[str, Any] | None:
    """The versions in the radiomics environment, as the stages that used it recorded them."""
    for stage in ("radiomics", "radiomics_robustness"):
        found = states.get(stage, {}).get("details", {}).get("radiomics_environment")
        if isinstance(found, Mapping):
            return found
    return None


def _ordered(states: States) -> list[tuple[str, Mapping[str, Any]]]:
    order = list(STAGE_LABELS)
    return sorted(states.items(), key=lambda item: (order.index(item[0]) if item[0] in order else len(order), item[0]))


def _attention(
    course: Course,
    states: States,
    checks: list[dict[str, Any]] | Absent,
    dvh_problems: list[dict[str, Any]],
) -> list[dict[str, str]]:
    """What a reader should look at before believing the rest: status and sentence each, worst first."""
    found = [
        {"status": str(state["status"]), "text": f"{STAGE_LABELS.get(name, name)}: {state.get('reason', '')}"}
        for name, state in _ordered(states)
        if state["status"] not in ("ok", "skipped")
    ]
    if not isinstance(checks, Absent):
        found += _weighty(checks)
    incomplete = [row["roi_name"] for row in dvh_problems if row["segmentation_source"] in DRAWN_SOURCES]
    if incomplete:
        number = counted(len(incomplete), "drawn structure")
        found.append({"status": "warning", "text": f"DVH: {number} without a complete curve: {_listed(incomplete)}"})
    found += [{"status": "warning", "text": warning} for warning in course.description.warnings]
    order = {"failed": 0, "missing": 0, "FAIL": 1, "partial": 2}
    return sorted(found, key=lambda item: order.get(item["status"], 3))


def _weighty(checks: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Failed checks and warnings that matter; the same finding of several structures is one item."""
    subjects: dict[tuple[str, str], list[str]] = {}
    for check in checks:
        if check["status"] == "FAIL" or (check["status"] == "WARNING" and check["severity"] != "low"):
            subjects.setdefault((check["status"], check["message"]), []).append(check["subject"] or "course")
    return [{"status": status, "text": f"{_listed(names)}: {message}"} for (status, message), names in subjects.items()]


def _listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
