"""The analysis table: one row per course, from the cohort's tables, joined with a clinical table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rtpipeline.aggregate.clinical import ClinicalTable
from rtpipeline.aggregate.collect import stage_state
from rtpipeline.course import Course
from rtpipeline.tables.definitions.analysis import (
    ANALYSIS_TABLE,
    ORGANS,
    STAGES,
    TARGET_METRICS,
    TARGETS,
    VOLUME,
    StructureMetric,
    column_name,
)
from rtpipeline.tables.parquet import Row, to_arrow

_SOURCES = ("manual", "custom", "custom_model", "auto")
"""Which source's structure stands for an organ: the first that has it."""

RADIOMICS_TABLES = ("radiomics_ct", "radiomics_mr", "radiomics_pet", "radiomics_dose")
_FROM_METADATA = {
    "patient_sex": "patient_sex",
    "patient_age_at_plan_years": "patient_age_at_plan_years",
    "fractions_delivered": "delivered_fractions",
    "first_treatment_date": "first_treatment_date",
    "last_treatment_date": "last_treatment_date",
    "technique_inferred": "technique_inferred",
}
"""Columns of the analysis table that are columns of case_metadata."""

CourseKey = tuple[str, str]


class _Structure:
    """The dose-volume metrics of one structure."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.source: str = row["segmentation_source"].partition(":")[0]
        self.roi_name: str = row["roi_name"] or ""
        self.standard_name: str = row["standard_name"] or ""
        self.values: dict[tuple[str, str], float | None] = {}
        self.withheld: set[str] = set()

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in a row of dvh_metrics."""
        self.values[row["metric"], row["unit"] or ""] = row["value"]
        if row["value"] is None and row["status"] is not None:
            self.withheld.add(row["status"])

    def value(self, metric: StructureMetric) -> float | None:
        return self.values.get((metric.metric, metric.unit))

    def note(self) -> str:
        """Why some of its values are empty; nothing where all are there."""
        return f"{self.roi_name}: {', '.join(sorted(self.withheld))}" if self.withheld else ""


def analysis_table(courses: Sequence[Course], tables: Mapping[str, pa.Table]) -> pa.Table:
    """One row per course.

    Args:
        courses: the courses of the manifest.
        tables: the cohort's tables by name (`dvh_metrics`, `fractions`, `radiomics_ct`, …).
    """
    structures = _structures_by_course(tables["dvh_metrics"])
    metadata = {_key(row): row for row in tables["case_metadata"].to_pylist()}
    overall = {_key(row): row["status"] for row in tables["qc_reports"].to_pylist() if row["check"] == "overall"}
    counts = {name: _rows_by_course(tables[name]) for name in RADIOMICS_TABLES}
    rows = []
    for course in courses:
        key = _key(course.identifiers)
        row: dict[str, object] = {**course.identifiers, **_description(course), **_body_regions(course)}
        row.update({name: metadata.get(key, {}).get(source) for name, source in _FROM_METADATA.items()})
        notes: list[str] = []
        if key in structures:
            row.update(_targets(structures[key], notes))
            row.update(_organs(structures[key], notes))
            row.update(_structure_counts(structures[key]))
        for stage in STAGES:
            row[f"status_{stage}"] = stage_state(course, stage)["status"]
        row.update({f"{name}_rows": found[key] for name, found in counts.items()})
        row["qc_status"] = overall.get(key)
        row["notes"] = "; ".join(note for note in notes if note)
        rows.append(row)
    return to_arrow(ANALYSIS_TABLE, rows)


def with_clinical(data: pa.Table, clinical: ClinicalTable) -> tuple[pa.Table, pa.Table]:
    """Join the clinical table to the analysis table.

    A clinical column that is named like one of the analysis table gets the prefix `clinical_`.

    Returns:
        the analysis table with the column `clinical_matched` and the clinical columns, and the clinical rows that
        belong to no course.
    """
    keys = zip(data["patient_id"].to_pylist(), data["course_id"].to_pylist(), strict=True)
    found = [clinical.row_of(*key) for key in keys]
    joined = data.append_column("clinical_matched", pa.array([row is not None for row in found], pa.bool_()))
    for name in clinical.data.column_names:
        if name not in clinical.keys:
            new = f"clinical_{name}" if name in joined.column_names else name
            joined = joined.append_column(new, clinical.data[name].combine_chunks().take(pa.array(found, pa.int64())))
    used = {row for row in found if row is not None}
    unmatched = [row for row in range(clinical.data.num_rows) if row not in used]
    return joined, clinical.data.take(pa.array(unmatched, pa.int64()))


def _key(row: Mapping[str, Any]) -> CourseKey:
    return row["patient_id"], row["course_id"]


def _description(course: Course) -> Row:
    description = course.description
    used = [plan for plan in description.plans if plan.sop_instance_uid in description.dose_decision.used_plan_uids]
    labels = [plan.label or plan.name for plan in used or description.plans]
    return {
        "kind": description.kind,
        "start_date": description.start_date,
        "plan_count": len(description.plans),
        "plan_labels": "; ".join(label for label in labels if label),
        "prescription_gy": description.prescription.total_dose_gy,
        "prescription_source": description.prescription.source,
        "fractions_planned": description.prescription.fractions,
        "dose_decision": description.dose_decision.label,
    }


def _body_regions(course: Course) -> Row:
    """What the planning CT shows, where the segmentation said so and its result still counts."""
    file = course.files.body_regions
    if stage_state(course, "segmentation")["status"] not in ("ok", "partial") or not file.is_file():
        return {}
    found = json.loads(file.read_text(encoding="utf-8"))
    return {
        "body_regions": ", ".join(found["regions_present"]),
        "contrast_phase": found["contrast_phase"],
        "modality_by_intensities": found["modality"],
    }


def _structures_by_course(metrics: pa.Table) -> dict[CourseKey, list[_Structure]]:
    """The structures of each course with the metrics that the analysis table needs."""
    needed = {metric.metric for group in (TARGET_METRICS, *ORGANS.values()) for metric in group}
    wanted = metrics.filter(pc.is_in(metrics["metric"], pa.array(sorted(needed))))
    found: dict[CourseKey, dict[tuple[Any, ...], _Structure]] = {}
    for row in wanted.to_pylist():
        identity = (row["segmentation_source"], row["roi_number"], row["roi_name"])
        of_course = found.setdefault(_key(row), {})
        of_course.setdefault(identity, _Structure(row)).add(row)
    return {key: list(structures.values()) for key, structures in found.items()}


def _rows_by_course(data: pa.Table) -> Counter[CourseKey]:
    return Counter(zip(data["patient_id"].to_pylist(), data["course_id"].to_pylist(), strict=True))


def _targets(structures: Sequence[_Structure], notes: list[str]) -> dict[str, object]:
    row: dict[str, object] = {}
    for target in TARGETS:
        candidates = [
            structure
            for structure in structures
            if structure.source == "manual" and structure.roi_name.upper().startswith(target)
        ]
        row[f"{target.lower()}_count"] = len(candidates)
        if candidates:
            chosen = max(candidates, key=lambda structure: (structure.value(VOLUME) or 0.0, structure.roi_name))
            row[f"{target.lower()}_name"] = chosen.roi_name
            row.update({column_name(target, metric): chosen.value(metric) for metric in TARGET_METRICS})
            notes.append(chosen.note())
    return row


def _organs(structures: Sequence[_Structure], notes: list[str]) -> dict[str, object]:
    row: dict[str, object] = {}
    for organ, metrics in ORGANS.items():
        of_organ = [structure for structure in structures if structure.standard_name == organ]
        source = next((name for name in _SOURCES if any(structure.source == name for structure in of_organ)), None)
        candidates = [structure for structure in of_organ if structure.source == source]
        if len(candidates) > 1:
            notes.append(f"{organ}: {len(candidates)} {source} structures, none chosen")
        elif candidates:
            row[f"{organ.lower()}_source"] = source
            row.update({column_name(organ, metric): candidates[0].value(metric) for metric in metrics})
            notes.append(candidates[0].note())
    return row


def _structure_counts(structures: Sequence[_Structure]) -> dict[str, object]:
    counts = Counter(structure.source for structure in structures)
    return {f"structures_{source}": counts[source] for source in _SOURCES}
