"""Results of the DVH stage as rows of its tables, and as a wide sheet for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from rtpipeline.course import Course
from rtpipeline.dvh.metrics import metrics_of
from rtpipeline.dvh.structure_dvh import StructureDvh
from rtpipeline.structures import Structure, as_columns
from rtpipeline.tables.schema import COURSE_COLUMNS, STRUCTURE_COLUMNS
from rtpipeline.tables.wide import wide

Row = dict[str, object]

_SAME_FOR_A_STRUCTURE = ("dose_coverage_fraction", "prescription_gy", "prescription_source")


def metric_rows(
    course: Course, results: Sequence[StructureDvh], *, highest_dose_gy: float, minimum_coverage_fraction: float
) -> Iterator[Row]:
    """Rows of `dvh_metrics`; structures that are empty or failed have none.

    Args:
        course: its prescription is what relative metrics refer to.
        results: one per structure.
        highest_dose_gy: of the dose grid.
        minimum_coverage_fraction: below it, metrics other than the volume are withheld.
    """
    prescription = course.description.prescription
    prescribed = prescription.total_dose_gy or None
    for result in results:
        if result.curve is None:
            continue
        metrics = metrics_of(
            result.curve,
            highest_dose_gy=highest_dose_gy,
            prescription_gy=prescribed,
            minimum_coverage_fraction=minimum_coverage_fraction,
        )
        for metric in metrics:
            yield {
                **_identity(course, result.structure),
                "metric": metric.name,
                "value": metric.value,
                "unit": metric.unit or None,
                "status": metric.status,
                "column": metric.column,
                "dose_coverage_fraction": result.curve.coverage_fraction,
                "prescription_gy": prescribed,
                "prescription_source": prescription.source or None,
            }


def curve_rows(course: Course, results: Sequence[StructureDvh]) -> Iterator[Row]:
    """Rows of `dvh_curves`: the thinned curves of structures whose metrics are not withheld."""
    for result in results:
        if result.curve is None or result.status != "ok":
            continue
        curve = result.curve.thinned()
        identity = _identity(course, result.structure)
        for dose, volume in zip(curve.dose_gy.tolist(), curve.volume_cm3.tolist(), strict=True):
            percent = 100.0 * volume / curve.covered_cm3
            yield {**identity, "dose_gy": dose, "volume_cm3": volume, "volume_percent": percent}


def status_rows(course: Course, results: Sequence[StructureDvh]) -> Iterator[Row]:
    """Rows of `dvh_status`: one per structure."""
    for result in results:
        yield {
            **_identity(course, result.structure),
            "status": result.status,
            "reason": result.reason or None,
            "volume_cm3": result.curve.volume_total_cm3 if result.curve else None,
            "dose_coverage_fraction": result.curve.coverage_fraction if result.curve else None,
            "geometry": result.geometry,
            "warnings": "; ".join(result.warnings) or None,
        }


def workbook_sheets(metrics: pa.Table, status: pa.Table, rows: Sequence[Row]) -> dict[str, pa.Table]:
    """The sheets of `dvh_metrics.xlsx`: one row per structure with its metrics, and the status table.

    Args:
        metrics: the long table.
        status: the status table.
        rows: the rows of the long table in the order in which the metrics' columns are to stand.
    """
    names = [column.name for column in (*COURSE_COLUMNS, *STRUCTURE_COLUMNS)]
    table = wide(metrics, [*names, *_SAME_FOR_A_STRUCTURE], "column", "value")
    ordered = list(dict.fromkeys(str(row["column"]) for row in rows))
    return {"dvh_metrics": table.select([*names, *_SAME_FOR_A_STRUCTURE, *ordered]), "dvh_status": status}


def _identity(course: Course, structure: Structure) -> Row:
    return {**course.identifiers, **as_columns(structure)}
