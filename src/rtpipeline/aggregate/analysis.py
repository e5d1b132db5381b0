"""The analysis table: one row per course, from the courses' tables, joined with a clinical table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rtpipeline.aggregate.clinical import ClinicalTable
from rtpipeline.config import AnalysisSection
from rtpipeline.course import Course, recorded_state
from rtpipeline.tables.definitions.analysis import STAGES, feature_column, matching, metric_column, plain
from rtpipeline.tables.definitions.radiomics import RADIOMICS_CT
from rtpipeline.tables.parquet import ARROW_TYPES, Row
from rtpipeline.tables.schema import Column, Table

_SOURCES = ("manual", "custom", "custom_model", "auto", "seg", "auto_mr")
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

_VOLUME = "Volume (cm³)"
_RADIOMICS_COLUMNS = frozenset(column.name for column in RADIOMICS_CT.columns)


@dataclass
class _Structure:
    """A structure with what was measured of it, by the name of the column that it has in Excel."""

    source: str
    roi_name: str
    standard_name: str
    values: dict[str, float | None] = field(default_factory=dict)
    withheld: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> _Structure:
        source = row["segmentation_source"].partition(":")[0]
        return cls(source, row["roi_name"] or "", row["standard_name"] or "")

    @property
    def volume(self) -> float:
        return self.values.get(_VOLUME) or 0.0

    def note(self) -> str:
        """Why some of its values are empty; nothing where all are there."""
        return f"{self.roi_name}: {', '.join(sorted(self.withheld))}" if self.withheld else ""


def analysis_row(course: Course, tables: Mapping[str, pa.Table | None], chosen: AnalysisSection) -> Row:
    """The row of one course.

    Args:
        course: the course.
        tables: its parts of `dvh_metrics`, `case_metadata`, `qc_reports` and of radiomics; None where
            it has none.
        chosen: which columns of structures there are.
    """
    row: dict[str, object] = {**course.identifiers, **_description(course), **_body_regions(course)}
    metadata = _rows(tables["case_metadata"])
    for name, source in {**_FROM_METADATA, **{name: name for name in chosen.case_metadata}}.items():
        row[name] = metadata[0][source] if metadata else None
    notes: list[str] = []
    if tables["dvh_metrics"] is not None:
        structures = _with_metrics(tables["dvh_metrics"], chosen)
        row.update(_targets(structures, chosen, notes))
        row.update(_organs(structures, chosen, notes))
        counts = Counter(structure.source for structure in structures)
        row.update({f"structures_{source}": counts[source] for source in _SOURCES})
    if tables["radiomics_ct"] is not None:
        row.update(_features(tables["radiomics_ct"], chosen, notes))
    for stage in STAGES:
        row[f"status_{stage}"] = recorded_state(course, stage)["status"]
    for name in RADIOMICS_TABLES:
        found = tables[name]
        row[f"{name}_rows"] = found.num_rows if found is not None else 0
    row["qc_status"] = next((one["status"] for one in _rows(tables["qc_reports"]) if one["check"] == "overall"), None)
    row["notes"] = "; ".join(note for note in notes if note)
    return row


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


def described(table: Table, data: pa.Table) -> Table:
    """The definition of the analysis table with the columns that joining added to it."""
    types = {arrow: name for name, arrow in ARROW_TYPES.items()}
    added = (
        Column(
            name,
            types[data.schema.field(name).type],
            "Whether the clinical table has a row for the course."
            if name == "clinical_matched"
            else "Column of the clinical table.",
        )
        for name in data.column_names[len(table.columns) :]
    )
    return replace(table, columns=(*table.columns, *added))


def _description(course: Course) -> Row:
    description = course.description
    labels = [plan.label or plan.name for plan in description.used_plans]
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
    if recorded_state(course, "segmentation")["status"] not in ("ok", "partial") or not file.is_file():
        return {}
    found = json.loads(file.read_text(encoding="utf-8"))
    return {
        "body_regions": ", ".join(found["regions_present"]),
        "contrast_phase": found["contrast_phase"],
        "modality_by_intensities": found["modality"],
    }


def _rows(data: pa.Table | None) -> list[dict[str, Any]]:
    return data.to_pylist() if data is not None else []


def asked_metrics(chosen: AnalysisSection) -> set[str]:
    """The columns of the wide table of dose-volume metrics that are chosen for any structure."""
    return {name for group in (*chosen.targets.values(), *chosen.organs.values()) for name in group}


def _with_metrics(metrics: pa.Table, chosen: AnalysisSection) -> list[_Structure]:
    """The structures of a course with the metrics that are chosen for any of them."""
    asked = asked_metrics(chosen)
    found: dict[tuple[Any, ...], _Structure] = {}
    for row in metrics.filter(
        pc.is_in(metrics["column"], pa.array(sorted({*asked, _VOLUME}), pa.string()))
    ).to_pylist():
        identity = (row["segmentation_source"], row["roi_number"], row["roi_name"])
        structure = found.setdefault(identity, _Structure.of(row))
        structure.values[row["column"]] = row["value"]
        if row["column"] in asked and row["value"] is None and row["status"] is not None:
            structure.withheld.add(row["status"])
    return list(found.values())


def _targets(structures: Sequence[_Structure], chosen: AnalysisSection, notes: list[str]) -> dict[str, object]:
    row: dict[str, object] = {}
    for target, metrics in chosen.targets.items():
        candidates = _named(structures, target)
        row[f"{plain(target)}_count"] = len(candidates)
        if candidates:
            largest = _largest(candidates)
            row[f"{plain(target)}_name"] = largest.roi_name
            row.update({metric_column(target, metric).name: largest.values.get(metric) for metric in metrics})
            notes.append(largest.note())
    return row


def _organs(structures: Sequence[_Structure], chosen: AnalysisSection, notes: list[str]) -> dict[str, object]:
    row: dict[str, object] = {}
    for organ, metrics in chosen.organs.items():
        structure = _only(structures, organ, notes)
        if structure is not None:
            row[f"{plain(organ)}_source"] = structure.source
            row.update({metric_column(organ, metric).name: structure.values.get(metric) for metric in metrics})
            notes.append(structure.note())
    return row


def _features(radiomics: pa.Table, chosen: AnalysisSection, notes: list[str]) -> dict[str, object]:
    """Features of the structures that stand for targets and organs in radiomics, by the rules that hold for doses."""
    row: dict[str, object] = {}
    names = [name for name in radiomics.column_names if name not in _RADIOMICS_COLUMNS]
    wanted = sorted({feature for patterns in chosen.features.values() for feature in matching(patterns, names)})
    there = [name for name in wanted if name in names]
    structures = []
    described = ["segmentation_source", "roi_name", "standard_name", "volume_cm3"]
    for one in radiomics.select([*described, *there]).to_pylist() if chosen.features else ():
        structure = _Structure.of(one)
        structure.values = {_VOLUME: one["volume_cm3"], **{name: one[name] for name in there}}
        structures.append(structure)
    for name, patterns in chosen.features.items():
        candidates = _named(structures, name)
        structure_of = _largest(candidates) if candidates else _only(structures, name, notes)
        if structure_of is not None:
            row[f"{plain(name)}_features_of"] = structure_of.roi_name
            for feature in matching(patterns, names):
                row[feature_column(name, feature)] = structure_of.values.get(feature)
    return row


def _named(structures: Sequence[_Structure], target: str) -> list[_Structure]:
    """The manual structures whose name begins as that of a target."""
    return [one for one in structures if one.source == "manual" and one.roi_name.upper().startswith(target.upper())]


def _largest(structures: Sequence[_Structure]) -> _Structure:
    return max(structures, key=lambda structure: (structure.volume, structure.roi_name))


def _only(structures: Sequence[_Structure], organ: str, notes: list[str]) -> _Structure | None:
    """The structure that stands for an organ; none, with a note, where the first source that has it has several."""
    of_organ = [structure for structure in structures if structure.standard_name == organ]
    source = next((name for name in _SOURCES if any(structure.source == name for structure in of_organ)), None)
    candidates = [structure for structure in of_organ if structure.source == source]
    if len(candidates) > 1:
        notes.append(f"{organ}: {len(candidates)} {source} structures, none chosen")
    return candidates[0] if len(candidates) == 1 else None
