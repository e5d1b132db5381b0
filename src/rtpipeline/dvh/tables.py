"""Results of the DVH stage as rows of its tables, and as a wide sheet for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from rtpipeline.config import DvhSection
from rtpipeline.config.dose_metrics import dose_metric
from rtpipeline.course import Course
from rtpipeline.dvh.conformity import IsodoseVolumes
from rtpipeline.dvh.metrics import metrics_of
from rtpipeline.dvh.prescribed import prescribed_to
from rtpipeline.dvh.structure_dvh import StructureDvh
from rtpipeline.imaging.grid import Volume
from rtpipeline.structures import Structure, as_columns, completeness_columns
from rtpipeline.tables.definitions.dvh import WIDE_DVH_ROW
from rtpipeline.tables.wide import wide

Row = dict[str, object]


def metric_rows(course: Course, results: Sequence[StructureDvh], *, dose: Volume, section: DvhSection) -> Iterator[Row]:
    """Rows of `dvh_metrics`; structures that are empty or failed have none.

    Args:
        course: its prescriptions are what relative metrics refer to.
        results: one per structure.
        dose: of the course.
        section: which metrics, and below which coverage metrics other than the volume are withheld.
    """
    measured = [(result, result.curve, prescribed_to(result.structure, course)) for result in results]
    levels = [found.dose_gy for result, _, found in measured if found is not None and result.structure.is_target]
    isodoses = IsodoseVolumes(dose, 0.5 * min(levels)) if levels else None
    requested = [dose_metric(text) for text in section.metrics]
    highest = float(dose.values.max())
    for result, curve, prescribed in measured:
        if curve is None:
            continue
        metrics = metrics_of(
            curve,
            highest_dose_gy=highest,
            prescription_gy=prescribed.dose_gy if prescribed else None,
            minimum_coverage_fraction=section.minimum_dose_coverage_fraction,
            isodoses=isodoses if result.structure.is_target else None,
            requested=requested,
            equieffective=result.equieffective,
        )
        for metric in metrics:
            yield {
                **_identity(course, result.structure),
                "metric": metric.name,
                "value": metric.value,
                "unit": metric.unit or None,
                "status": metric.status,
                "column": metric.column,
                **_completeness(result),
                "dose_coverage_fraction": curve.coverage_fraction,
                "prescription_gy": prescribed.dose_gy if prescribed else None,
                "prescription_source": prescribed.source if prescribed else None,
                "alpha_beta_gy": metric.alpha_beta_gy,
            }


def prescription_rows(course: Course) -> Iterator[Row]:
    """Rows of `prescriptions`: every prescription of every plan."""
    used = {plan.sop_instance_uid for plan in course.description.used_plans}
    for plan in course.description.plans:
        for number, target in enumerate(plan.prescriptions):
            yield {
                **course.identifiers,
                "plan_uid": plan.sop_instance_uid,
                "plan_label": plan.label or None,
                "number": number + 1,
                "roi_number": target.roi_number,
                "description": target.description or None,
                "dose_gy": target.dose_gy,
                "fractions_planned": plan.fractions_planned,
                "source": target.source,
                "used": plan.sop_instance_uid in used,
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
            **_completeness(result),
            "volume_cm3": result.curve.volume_total_cm3 if result.curve else None,
            "dose_coverage_fraction": result.curve.coverage_fraction if result.curve else None,
            "geometry": result.geometry,
            "curve_error_percent": 100.0 * result.curve.error if result.curve else None,
            "warnings": "; ".join(result.warnings) or None,
        }


def workbook_sheets(metrics: pa.Table, status: pa.Table, rows: Sequence[Row]) -> dict[str, pa.Table]:
    """The sheets of `dvh_metrics.xlsx`: one row per structure with its metrics, and the status table.

    Args:
        metrics: the long table.
        status: the status table.
        rows: the rows of the long table in the order in which the metrics' columns are to stand.
    """
    table = wide(metrics, WIDE_DVH_ROW, "column", "value")
    ordered = list(dict.fromkeys(str(row["column"]) for row in rows))
    return {"dvh_metrics": table.select([*WIDE_DVH_ROW, *ordered]), "dvh_status": status}


def _completeness(result: StructureDvh) -> Row:
    """Whether the structure may be less than the organ: at the edge of the image, which may be cut, or for lack of
    sources.
    """
    known = result.edge_sides is not None and result.status != "empty"
    columns = completeness_columns(result.structure, result.edge_sides if known else None)
    return {**columns, "image_cropped": result.image_cropped}


def _identity(course: Course, structure: Structure) -> Row:
    return {**course.identifiers, **as_columns(structure)}
