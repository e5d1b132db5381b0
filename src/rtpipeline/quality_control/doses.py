"""Checks of the DVH stage's results against the dose grid and the prescription."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from rtpipeline.course import Course
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.rtdose import read_dose
from rtpipeline.quality_control.check import Check, Status, each_or_pass, subject_of_row
from rtpipeline.quality_control.planned_curves import MEAN_DOSE, VOLUME, planned_curves
from rtpipeline.structures import Structure
from rtpipeline.tables.parquet import read_parquet

Row = Mapping[str, Any]
StructureKey = tuple[str, int, str]

LOWEST_TARGET_RATIO = 0.9
HIGHEST_TARGET_RATIO = 1.2
IMPLAUSIBLE_RATIO = 1.5
FULL_COVERAGE = 0.999
DOSE_TOLERANCE_GY = 1e-6


def dose_checks(course: Course, structures: Iterable[Structure]) -> Iterator[Check]:
    """Checks of the dose and of the DVH tables; NOT_APPLICABLE rows where there is no dose.

    Args:
        course: with the tables of its DVH stage.
        structures: tell which rows are of targets.
    """
    files = course.files
    if not files.dose.exists():
        for name in (
            "dose_readable",
            "dvh_present",
            "target_covered_by_dose",
            "dvh_plausible",
            "target_mean_dose",
            VOLUME,
            MEAN_DOSE,
        ):
            yield Check(name, "NOT_APPLICABLE", "high", "the course has no dose")
        return
    try:
        highest = float(read_dose(files.dose).values.max())
    except DicomError as error:
        yield Check("dose_readable", "FAIL", "high", course.within(str(error)))
        return
    yield Check("dose_readable", "PASS", "high", f"its maximum is {highest:.2f} Gy", value=highest, unit="Gy")
    if not (files.dvh_status.exists() and files.dvh_metrics.exists() and files.dvh_curves.exists()):
        yield Check("dvh_present", "FAIL", "high", "there is a dose, but the DVH stage has left no tables")
        return
    status = read_parquet(files.dvh_status).to_pylist()
    metrics = read_parquet(files.dvh_metrics).to_pylist()
    targets = {(one.source, one.roi_number, one.roi_name) for one in structures if one.is_target}
    yield from _statuses(status)
    yield from _coverage(status, targets)
    yield from _plausible(metrics, read_parquet(files.dvh_curves).to_pylist(), highest)
    yield from _target_doses([row for row in metrics if _key(row) in targets])
    yield from planned_curves(course, metrics, highest)


def _statuses(status: list[Row]) -> list[Check]:
    findings = (
        Check(
            "dvh_present",
            "FAIL" if row["status"] == "failed" else "WARNING",
            "high",
            row["reason"],
            subject_of_row(row),
        )
        for row in status
        if row["status"] in ("failed", "outside")
    )
    return each_or_pass("dvh_present", "high", findings, "every structure with a volume has a DVH", bool(status))


def _coverage(status: list[Row], targets: set[StructureKey]) -> list[Check]:
    """Targets that the dose grid does not cover fail; other structures warn."""
    findings = []
    for row in status:
        fraction = row["dose_coverage_fraction"]
        if row["status"] not in ("ok", "partly_covered") or fraction is None or fraction >= FULL_COVERAGE:
            continue
        target = _key(row) in targets
        findings.append(
            Check(
                "target_covered_by_dose" if target else "structure_covered_by_dose",
                "FAIL" if target else "WARNING",
                "high" if target else "low",
                f"the dose grid covers {100 * fraction:.2f} % of it",
                subject=subject_of_row(row),
                value=fraction,
                limit=FULL_COVERAGE,
            )
        )
    missed = [check for check in findings if check.check == "target_covered_by_dose"]
    others = [check for check in findings if check.check == "structure_covered_by_dose"]
    return [
        *each_or_pass(
            "target_covered_by_dose",
            "high",
            missed,
            "the dose grid covers every target",
            any(_key(row) in targets for row in status),
        ),
        *each_or_pass("structure_covered_by_dose", "low", others, "the dose grid covers every structure", bool(status)),
    ]


def _plausible(metrics: list[Row], curves: list[Row], highest_gy: float) -> list[Check]:
    """Curves never rise, and no structure gets more than the grid holds."""
    findings = [
        Check(
            "dvh_plausible",
            "FAIL",
            "high",
            f"its maximum of {row['value']:.3f} Gy is above the dose grid's {highest_gy:.3f} Gy",
            subject=subject_of_row(row),
            value=row["value"],
            limit=highest_gy,
            unit="Gy",
        )
        for row in metrics
        if row["metric"] == "Dmax" and row["unit"] == "Gy" and (row["value"] or 0.0) > highest_gy + DOSE_TOLERANCE_GY
    ]
    by_structure: dict[str, list[float]] = {}
    for row in curves:
        by_structure.setdefault(subject_of_row(row), []).append(row["volume_cm3"])
    findings += [
        Check("dvh_plausible", "FAIL", "high", "its cumulative curve rises", subject=subject)
        for subject, volumes in by_structure.items()
        if np.any(np.diff(volumes) > 0)
    ]
    passed = "curves fall, and no structure gets more than the maximum of the grid"
    return each_or_pass("dvh_plausible", "high", findings, passed, bool(metrics))


def _target_doses(metrics: list[Row]) -> list[Check]:
    """Mean doses of targets in parts of the dose that was prescribed to them."""
    ratios = {
        subject_of_row(row): row["value"] / row["prescription_gy"]
        for row in metrics
        if row["metric"] == "Dmean" and row["unit"] == "Gy" and row["value"] is not None and row["prescription_gy"]
    }
    findings = []
    for subject, ratio in ratios.items():
        if LOWEST_TARGET_RATIO <= ratio <= HIGHEST_TARGET_RATIO:
            continue
        low = ratio < LOWEST_TARGET_RATIO
        status: Status = "FAIL" if ratio > IMPLAUSIBLE_RATIO else "WARNING"
        findings.append(
            Check(
                "target_mean_dose",
                status,
                "high",
                f"its mean dose is {100 * ratio:.1f} % of the prescribed dose",
                subject=subject,
                value=ratio,
                limit=LOWEST_TARGET_RATIO if low else HIGHEST_TARGET_RATIO,
            )
        )
    passed = "the mean doses of all targets fit the prescription"
    return each_or_pass("target_mean_dose", "high", findings, passed, bool(ratios))


def _key(row: Row) -> StructureKey:
    return row["segmentation_source"], row["roi_number"], row["roi_name"]
