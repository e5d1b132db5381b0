"""What a course's files hold, read for its report; what is not there says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from rtpipeline.config import Configuration
from rtpipeline.course import Course
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtdose import read_dose
from rtpipeline.outcome import StageError
from rtpipeline.report.dvh_plot import Curve, dvh_figure
from rtpipeline.report.figures import is_target
from rtpipeline.report.page import STAGE_LABELS, Absent
from rtpipeline.report.slices import Outline, slices_figure
from rtpipeline.structures import Structure, course_structures
from rtpipeline.tables.parquet import read_parquet

States = Mapping[str, Mapping[str, Any]]
"""What the state of each stage says: `status`, `reason`, `seconds`, `device`, `details`, …; by name of the stage."""

MOST_OUTLINES = 24
MOST_CURVES = 40
DRAWN_SOURCES = ("manual", "custom")
DVH_COLUMNS = {
    "Volume (cm³)": "volume",
    "DmeanGy": "Dmean",
    "D98Gy": "D98",
    "D95Gy": "D95",
    "D50Gy": "D50",
    "D2Gy": "D2",
    "DmaxGy": "Dmax",
    "V95%Rx (%)": "V95%Rx",
}
"""Metrics that the report shows, by the column that the table dvh_metrics gives them."""


def table_of(path: Path, stage: str, states: States) -> pa.Table | Absent:
    """A table of the course, or why it is not there."""
    state = states.get(stage)
    label = STAGE_LABELS.get(stage, stage)
    if state is None:
        return Absent(f"{label} has not run.")
    if state["status"] not in ("ok", "partial"):
        return Absent(f"{label}: {state['status']}. {state.get('reason', '')}".strip())
    try:
        return read_parquet(path)
    except FileNotFoundError:
        return Absent(f"{label} made no table of this course. {state.get('reason', '')}".strip())
    except (pa.ArrowInvalid, OSError) as error:
        return Absent(f"{path.name} cannot be read ({error}); run the stage {stage} again.")


def dvh_plot(course: Course, states: States, *, drawn: bool) -> Markup | Absent:
    """The dose-volume curves of drawn (manual, custom) or of segmented structures."""
    table = table_of(course.files.dvh_curves, "dvh", states)
    if isinstance(table, Absent):
        return table
    curves = [curve for source, curve in _curves(table) if (source in DRAWN_SOURCES) == drawn]
    if not curves:
        return Absent("There are no dose-volume curves of these structures.")
    curves.sort(key=lambda curve: not is_target(curve.name))
    left_out = len(curves) - MOST_CURVES
    description = f"Dose-volume curves of {len(curves)} structures of {course.key}"
    figure = dvh_figure(curves[:MOST_CURVES], course.description.prescription.total_dose_gy, description)
    note = f'<p class="note">{left_out} more structures are in the table.</p>' if left_out > 0 else ""
    return figure + Markup(note)


def dvh_rows(course: Course, states: States) -> list[dict[str, Any]] | Absent:
    """The metrics that the report shows: one row per structure, targets first."""
    table = table_of(course.files.dvh_metrics, "dvh", states)
    if isinstance(table, Absent):
        return table
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in table.to_pylist():
        key = (row["segmentation_source"], row["roi_number"], row["roi_name"])
        shown = rows.setdefault(
            key,
            {
                "source": row["segmentation_source"],
                "name": row["roi_name"],
                "standard_name": row["standard_name"],
                "coverage": row["dose_coverage_fraction"],
                **dict.fromkeys(DVH_COLUMNS),
            },
        )
        if row["column"] in DVH_COLUMNS:
            shown[row["column"]] = row["value"]
    return sorted(rows.values(), key=lambda row: not is_target(row["name"]))


def dvh_problems(course: Course, states: States) -> list[dict[str, Any]]:
    """The structures without a complete dose-volume curve, and why; drawn ones first."""
    table = table_of(course.files.dvh_status, "dvh", states)
    rows = [] if isinstance(table, Absent) else table.to_pylist()
    incomplete = [row for row in rows if row["status"] != "ok"]
    return sorted(incomplete, key=lambda row: row["segmentation_source"] not in DRAWN_SOURCES)


def slices(course: Course, configuration: Configuration) -> Markup | Absent:
    """CT planes through the middle of the target, or why there are none."""
    planning_ct = course.description.planning_ct
    if planning_ct is None:
        return Absent("The course has no planning CT.")
    try:
        image = load_image(course.path(planning_ct.folder))
        dose = read_dose(course.files.dose) if course.files.dose.exists() else None
        structures = _to_draw(course_structures(course, configuration))
        outlines = [Outline(structure.roi_name, structure.mask(image.grid)) for structure in structures]
    except (DicomError, StageError, OSError) as error:
        return Absent(f"The images cannot be shown: {error}")
    outlines = [outline for outline in outlines if not outline.mask.is_empty]
    middle = image.grid.index_to_world((np.array(image.grid.shape[::-1], float) - 1) / 2)
    through = outlines[0].mask.centroid_mm if outlines else middle
    return slices_figure(image, dose, outlines, through, f"CT planes of {course.key} with structures and dose")


def checks(course: Course, states: States) -> list[dict[str, Any]] | Absent:
    """The rows of quality control but for the overall one: what failed first, what passed last."""
    table = table_of(course.files.quality_control, "quality_control", states)
    if isinstance(table, Absent):
        return table
    order = {("FAIL", "high"): 0, ("FAIL", "medium"): 1, ("FAIL", "low"): 2, ("WARNING", "high"): 3}
    order |= {("WARNING", "medium"): 4, ("WARNING", "low"): 5, ("PASS", "high"): 6}
    rows = [row for row in table.to_pylist() if row["check"] != "overall"]
    return sorted(rows, key=lambda row: order.get((row["status"], row["severity"]), 7))


def radiomics(course: Course, states: States) -> dict[str, Any] | Absent:
    """How many structures have features, per image and source, and which have none and why."""
    table = table_of(course.files.radiomics_ledger, "radiomics", states)
    if isinstance(table, Absent):
        return table
    rows = table.to_pylist()
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for row in rows:
        key = (row["modality"], row["image_key"], row["segmentation_source"])
        counts.setdefault(key, Counter())[row["status"]] += 1
    return {
        "counts": [
            {"modality": key[0], "image": key[1], "source": key[2], "ok": count["ok"], "skipped": count["skipped"],
             "failed": count.total() - count["ok"] - count["skipped"]}
            for key, count in counts.items()
        ],
        "problems": [row for row in rows if row["status"] != "ok"],
    }  # fmt: skip


def robustness(course: Course, states: States) -> list[dict[str, Any]] | Absent:
    """Per structure: profile, number of perturbation states, and how many have values."""
    table = table_of(course.files.radiomics_robustness_ledger, "radiomics_robustness", states)
    if isinstance(table, Absent):
        return table
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for row in table.to_pylist():
        key = (row["segmentation_source"], row["roi_name"], row["profile"])
        counts.setdefault(key, Counter())[row["status"]] += 1
    return [
        {"source": key[0], "name": key[1], "profile": key[2], "states": count.total(), "ok": count["ok"]}
        for key, count in counts.items()
    ]


def _curves(table: pa.Table) -> list[tuple[str, Curve]]:
    """Source and curve of each structure; a name that two structures have is followed by its source."""
    points: dict[tuple[str, int, str], list[tuple[float, float]]] = {}
    names = ("segmentation_source", "roi_number", "roi_name", "dose_gy", "volume_percent")
    for *key, dose, volume in zip(*(table[name].to_pylist() for name in names), strict=True):
        points.setdefault(tuple(key), []).append((dose, volume))
    repeated = Counter(name for _, _, name in points)
    found = []
    for (source, number, name), values in points.items():
        dose, volume = np.array([(0.0, 100.0), *values], float).T
        label = name if repeated[name] == 1 else f"{name} ({source} {number})"
        found.append((source, Curve(label, dose, volume)))
    return found


def _to_draw(structures: Sequence[Structure]) -> list[Structure]:
    """Drawn structures, targets first; where nothing was drawn, segmented ones."""
    drawn = [structure for structure in structures if structure.source in DRAWN_SOURCES]
    return sorted(drawn or structures, key=_drawing_order)[:MOST_OUTLINES]


def _drawing_order(structure: Structure) -> tuple[int, int]:
    kinds = ("GTV", "CTV", "ITV", "PTV")
    name = structure.roi_name.upper()
    return next((i for i, kind in enumerate(kinds) if name.startswith(kind)), len(kinds)), structure.roi_number
