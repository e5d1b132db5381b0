"""What a cohort's results hold, read for its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from rtpipeline.course import CohortFiles, Course
from rtpipeline.report.contents import States
from rtpipeline.report.dvh_plot import Curve, cohort_dvh_figure
from rtpipeline.report.page import STAGE_LABELS, Absent
from rtpipeline.tables.dictionary import defined_tables
from rtpipeline.tables.parquet import read_parquet, row_count

TARGETS = ("PTV", "CTV", "GTV")
"""Which target's curve stands for a course: the first kind that it has."""
MOST_COURSES_IN_FIGURE = 300
ROBUSTNESS_LABELS = ("robust", "acceptable", "poor", "not_evaluable")

CourseStates = Mapping[str, States]
"""What the states of each course's stages say, by `Course.key`."""


def table_of(cohort: CohortFiles, name: str) -> pa.Table | Absent:
    """A cohort table, or why it is not there."""
    try:
        return read_parquet(cohort.table(name))
    except FileNotFoundError:
        return Absent(f"There is no {name}.parquet; aggregate has not run, or its stage is switched off.")
    except (pa.ArrowInvalid, OSError) as error:
        return Absent(f"{name}.parquet cannot be read ({error}); run aggregate again.")


def matrix(courses: Sequence[Course], states: CourseStates) -> dict[str, Any]:
    """Status of every stage of every course, for the stages that any course has."""
    known = [name for name in STAGE_LABELS if any(name in states.get(course.key, {}) for course in courses)]
    rows = []
    for course in courses:
        own = states.get(course.key, {})
        rows.append(
            {
                "key": course.key,
                "link": f"../{course.key}/{course.files.report.name}",
                "kind": course.description.kind,
                "cells": [
                    {"status": own[name]["status"], "reason": own[name].get("reason", "")} if name in own else None
                    for name in known
                ],
            }
        )
    return {"stages": [STAGE_LABELS[name] for name in known], "rows": rows}


def problems(courses: Sequence[Course], cohort: CohortFiles, states: CourseStates) -> list[dict[str, Any]]:
    """Stages that are not complete, and checks that failed: each reason once, with the courses it holds for."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for course in courses:
        for name, state in states.get(course.key, {}).items():
            if state["status"] not in ("ok", "skipped"):
                key = (STAGE_LABELS.get(name, name), state["status"], state.get("reason", ""))
                found.setdefault(key, []).append(course.key)
    for course_key, message in _failed_checks(courses, cohort):
        found.setdefault((STAGE_LABELS["quality_control"], "fail", message), []).append(course_key)
    rows = [
        {"stage": stage, "status": status, "reason": reason, "courses": keys}
        for (stage, status, reason), keys in found.items()
    ]
    return sorted(rows, key=lambda row: (row["status"] == "partial", -len(row["courses"]), row["stage"]))


def times(courses: Sequence[Course], states: CourseStates, seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """How long each stage took when it was last computed: in all, per course, and the slowest course."""
    rows = []
    for name, label in STAGE_LABELS.items():
        took = {
            course.key: float(state["seconds"])
            for course in courses
            if (state := states.get(course.key, {}).get(name)) is not None and state.get("seconds")
        }
        total = sum(took.values()) if took else seconds.get(name)
        if total is None:
            continue
        slowest = max(took, key=lambda key: took[key]) if took else ""
        rows.append(
            {
                "stage": label,
                "total": total,
                "courses": len(took) or None,
                "median": median(took.values()) if took else None,
                "slowest": slowest,
                "longest": took.get(slowest),
            }
        )
    return rows


def dose_overview(courses: Sequence[Course], states: CourseStates) -> Markup | Absent:
    """One curve per course: that of its largest PTV, else CTV, else GTV, as drawn."""
    curves = []
    for course in courses[:MOST_COURSES_IN_FIGURE]:
        if states.get(course.key, {}).get("dvh", {}).get("status") in ("ok", "partial"):
            curve = _target_curve(course)
            if curve is not None:
                curves.append(curve)
    if not curves:
        return Absent("No course has a dose-volume curve of a target.")
    return cohort_dvh_figure(curves, f"Dose-volume curves of the targets of {len(curves)} courses")


def analysis_rows(cohort: CohortFiles) -> list[dict[str, Any]] | Absent:
    """The analysis table's rows, each with its `target`: the first kind that the course has."""
    table = table_of(cohort, "analysis_table")
    return table if isinstance(table, Absent) else [{**row, "target": _target(row)} for row in table.to_pylist()]


def _target(row: Mapping[str, Any]) -> dict[str, Any]:
    """Name, volume and doses of a course's target; None where `aggregation.analysis` left the column out."""
    kinds = (kind.lower() for kind in TARGETS)
    kind = next((kind for kind in kinds if row.get(f"{kind}_name")), "")
    return {figure: row.get(f"{kind}_{figure}") for figure in ("name", "volume_cm3", "dmean_gy", "d95_gy")}


def quality(cohort: CohortFiles) -> list[dict[str, Any]] | Absent:
    """Per check: how many courses failed, were warned of, passed; worst first."""
    table = table_of(cohort, "qc_reports")
    if isinstance(table, Absent):
        return table
    worst: dict[str, dict[tuple[str, str], str]] = {}
    order = ("NOT_APPLICABLE", "PASS", "WARNING", "FAIL")
    for row in table.to_pylist():
        of_check = worst.setdefault(row["check"], {})
        course = (row["patient_id"], row["course_id"])
        of_check[course] = max(of_check.get(course, order[0]), row["status"], key=order.index)
    counts = {check: Counter(of_check.values()) for check, of_check in worst.items() if check != "overall"}
    rows = [
        {"check": check, "fail": count["FAIL"], "warning": count["WARNING"], "pass": count["PASS"]}
        for check, count in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row["fail"], -row["warning"], row["check"]))


def unused(cohort: CohortFiles) -> list[dict[str, Any]] | Absent:
    """Input files that no course took: number and most frequent reason of each kind."""
    table = table_of(cohort, "unused_files")
    if isinstance(table, Absent):
        return Absent("There is no unused_files.parquet; organize has not run.")
    reasons: dict[tuple[str, str], Counter[str]] = {}
    for row in table.to_pylist():
        reasons.setdefault((row["kind"] or "", row["modality"] or ""), Counter())[row["reason"] or ""] += 1
    rows = [
        {"kind": kind, "modality": modality, "files": count.total(), "reason": count.most_common(1)[0][0]}
        for (kind, modality), count in reasons.items()
    ]
    return sorted(rows, key=lambda row: (-row["files"], row["kind"], row["modality"]))


def robustness(cohort: CohortFiles) -> list[dict[str, Any]] | Absent:
    """Per structure and source: how many features got which label."""
    table = table_of(cohort, "radiomics_robustness_summary")
    if isinstance(table, Absent):
        return table
    counts: dict[tuple[str, str], Counter[str]] = {}
    subjects: dict[tuple[str, str], int] = {}
    for row in table.to_pylist():
        key = (row["structure"], row["segmentation_source"])
        counts.setdefault(key, Counter())[row["robustness_label"]] += 1
        subjects[key] = max(subjects.get(key, 0), row["n_subjects"] or 0)
    return [
        {"structure": key[0], "source": key[1], "subjects": subjects[key], "features": count.total()}
        | {label: count[label] for label in ROBUSTNESS_LABELS}
        for key, count in counts.items()
    ]


def files(cohort: CohortFiles) -> list[dict[str, Any]]:
    """The tables in the results folder: what a row is, how many there are, and the files."""
    rows = []
    for table in defined_tables():
        path = cohort.table(table.name)
        try:
            count = row_count(path)
        except (FileNotFoundError, pa.ArrowInvalid):
            continue
        suffixes = [suffix for suffix in (".xlsx", ".csv", ".parquet") if path.with_suffix(suffix).is_file()]
        links = [{"name": suffix[1:], "file": path.with_suffix(suffix).name} for suffix in suffixes]
        rows.append({"name": table.name, "description": table.description, "rows": count, "links": links})
    return rows


def _failed_checks(courses: Sequence[Course], cohort: CohortFiles) -> list[tuple[str, str]]:
    """Key of the course and message of each check that failed."""
    table = table_of(cohort, "qc_reports")
    if isinstance(table, Absent):
        return []
    keys = {tuple(course.identifiers.values()): course.key for course in courses}
    return [
        (keys[row["patient_id"], row["course_id"]], f"{row['subject'] or 'course'}: {row['message']}")
        for row in table.to_pylist()
        if row["status"] == "FAIL" and row["check"] != "overall" and (row["patient_id"], row["course_id"]) in keys
    ]


def _target_curve(course: Course) -> Curve | None:
    try:
        table = read_parquet(course.files.dvh_curves)
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
    names = ("segmentation_source", "roi_number", "roi_name", "dose_gy", "volume_percent", "volume_cm3")
    points: dict[tuple[int, str], list[tuple[float, float, float]]] = {}
    for source, number, name, *values in zip(*(table[column].to_pylist() for column in names), strict=True):
        if source == "manual" and name.upper().startswith(TARGETS):
            points.setdefault((number, name), []).append(tuple(values))
    if not points:
        return None

    def rank(key: tuple[int, str]) -> tuple[int, float]:
        kind = next(i for i, target in enumerate(TARGETS) if key[1].upper().startswith(target))
        return kind, -max(volume for _, _, volume in points[key])

    chosen = min(points, key=rank)
    dose, percent, _ = np.array([(0.0, 100.0, 0.0), *points[chosen]], float).T
    return Curve(f"{course.key} {chosen[1]}", dose, percent)
