"""The quality control stage: every check of a course as one tidy row."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from rtpipeline.atomic import write_text
from rtpipeline.config import Configuration
from rtpipeline.course import Course, CourseFiles
from rtpipeline.dicom.image_series import SeriesGeometry
from rtpipeline.imaging.mask import Mask
from rtpipeline.outcome import Outcome, StageError, ok
from rtpipeline.quality_control.check import Check, overall
from rtpipeline.quality_control.comparison import Pair, Row, comparison_row, dose_rows, pairs
from rtpipeline.quality_control.doses import dose_checks
from rtpipeline.quality_control.images import FEWEST_PLANES, planning_ct
from rtpipeline.quality_control.links import dose_attributes, frames_of_reference, prescription, presence, references
from rtpipeline.quality_control.names import repeated_names, sides
from rtpipeline.quality_control.structures_found import (
    contour_remarks,
    empty_structures,
    segmentation,
    structures_at_edge,
    volumes_agree,
)
from rtpipeline.scheduling.resources import Resources
from rtpipeline.structures import Structure, course_structures
from rtpipeline.tables.definitions.quality_control import (
    QUALITY_CONTROL,
    STRUCTURE_COMPARISON,
    STRUCTURE_COMPARISON_DOSE,
)
from rtpipeline.tables.excel import write_workbook
from rtpipeline.tables.parquet import read_parquet, to_arrow, write_parquet


def run(course: Course, configuration: Configuration, resources: Resources) -> Outcome:
    """Check a course; the outcome is `ok` when the checks were made, whatever they found."""
    geometry, checks = planning_ct(course)
    checks += [
        *presence(course),
        frames_of_reference(course),
        *references(course),
        *dose_attributes(course),
        *prescription(course),
    ]
    try:
        structures: tuple[Structure, ...] = course_structures(course, configuration)
    except StageError as error:
        structures = ()
        checks.append(Check("structures_readable", "FAIL", "high", course.within(error.reason)))
    found, compared, comparison = _structure_checks(course, structures, geometry, resources)
    checks += [*found, *dose_checks(course, structures)]
    checks.append(overall(checks))
    metrics = course.files.dvh_metrics
    dose = list(dose_rows(compared, read_parquet(metrics).to_pylist() if metrics.is_file() else []))
    _write(course, resources, checks, comparison, dose)
    counts = Counter(check.status for check in checks[:-1])
    return ok(overall=checks[-1].status, **{status.lower(): count for status, count in sorted(counts.items())})


def _structure_checks(
    course: Course, structures: Sequence[Structure], geometry: SeriesGeometry | None, resources: Resources
) -> tuple[list[Check], list[Pair], list[Row]]:
    grid = geometry.grid if geometry is not None else None
    checks = [*empty_structures(structures), *repeated_names(structures), *segmentation(course, structures, grid)]
    if grid is None:
        return checks, [], []
    checks += structures_at_edge(structures, grid)
    with ThreadPoolExecutor(max(1, resources.threads), thread_name_prefix="quality_control") as executor:
        drawn = list(executor.map(lambda structure: structure.mask_with_notes(grid), structures))
        masks: list[tuple[Structure, Mask]] = [
            (structure, mask) for structure, (mask, _) in zip(structures, drawn, strict=True)
        ]
        compared = list(pairs(masks))
        comparison = list(executor.map(lambda pair: comparison_row(pair, grid), compared))
    checks += contour_remarks([(structure, notes) for structure, (_, notes) in zip(structures, drawn, strict=True)])
    if grid.planes >= FEWEST_PLANES:
        checks += sides(masks)
        checks += volumes_agree(masks, float(np.median(grid.plane_thicknesses_mm)))
    return checks, compared, comparison


def _write(
    course: Course, resources: Resources, checks: Sequence[Check], comparison: Sequence[Row], dose: Sequence[Row]
) -> None:
    files = CourseFiles(resources.staging)
    rows = [{**course.identifiers, **dataclasses.asdict(check)} for check in checks]
    compared = [{**course.identifiers, **row} for row in comparison]
    compared_dose = [{**course.identifiers, **row} for row in dose]
    account = {
        **course.identifiers,
        "overall_status": checks[-1].status,
        "checks": [dataclasses.asdict(check) for check in checks],
    }
    write_text(files.quality_control_json, json.dumps(account, indent=1, ensure_ascii=False) + "\n")
    write_parquet(files.quality_control, QUALITY_CONTROL, rows)
    write_parquet(files.structure_comparison, STRUCTURE_COMPARISON, compared)
    write_parquet(files.structure_comparison_dose, STRUCTURE_COMPARISON_DOSE, compared_dose)
    sheets = {"qc_reports": to_arrow(QUALITY_CONTROL, rows)}
    if compared:
        sheets["structure_comparison"] = to_arrow(STRUCTURE_COMPARISON, compared)
    if compared_dose:
        sheets["structure_comparison_dose"] = to_arrow(STRUCTURE_COMPARISON_DOSE, compared_dose)
    write_workbook(files.workbook(files.quality_control), sheets)
