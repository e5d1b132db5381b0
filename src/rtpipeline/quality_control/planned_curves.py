"""Our dose-volume curves beside those that the planning system stored in the dose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rtpipeline.course import Course
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.stored_dvh import StoredDvh, StoredDvhs, read_stored_dvhs
from rtpipeline.quality_control.check import Check, each_or_pass, subject_of_row

Row = Mapping[str, Any]

VOLUME = "planning_system_volume"
MEAN_DOSE = "planning_system_mean_dose"
LARGEST_VOLUME_PERCENT = 5.0
LARGEST_DOSE_PERCENT = 1.0
"""Of the largest dose of the grid."""
SMALLEST_COMPARED_CM3 = 2.0
"""Planning systems measure smaller structures by the voxels of their dose grid."""


def planned_curves(course: Course, metrics: Sequence[Row], highest_gy: float) -> Iterator[Check]:
    """Volume and mean dose of every manual structure whose curve the dose brings with it.

    Args:
        course: with a readable dose.
        metrics: rows of dvh_metrics.
        highest_gy: the largest dose of the grid.
    """
    try:
        stored = read_stored_dvhs(course.files.dose)
    except DicomError as error:
        yield Check(VOLUME, "FAIL", "medium", course.within(str(error)))
        return
    reason = _why_not(course, stored)
    if reason:
        yield from (Check(name, "NOT_APPLICABLE", "medium", reason) for name in (VOLUME, MEAN_DOSE))
        return
    curves = {curve.roi_number: curve for curve in stored.curves}
    own = {
        (row["roi_number"], row["metric"]): row
        for row in metrics
        if row["segmentation_source"] == "manual"
        and (row["metric"], row["unit"]) in (("Volume", "cm3"), ("Dmean", "Gy"))
    }
    volumes = [
        (row, curves[number]) for (number, metric), row in own.items() if metric == "Volume" and number in curves
    ]
    means = [(row, curves[number]) for (number, metric), row in own.items() if metric == "Dmean" and number in curves]
    limit = LARGEST_DOSE_PERCENT / 100.0 * highest_gy
    yield from each_or_pass(
        VOLUME,
        "medium",
        (check for row, curve in volumes if (check := _volume(row, curve))),
        f"volumes agree within {LARGEST_VOLUME_PERCENT:g} %",
        bool(volumes),
    )
    yield from each_or_pass(
        MEAN_DOSE,
        "medium",
        (check for row, curve in means if (check := _mean(row, curve, limit))),
        f"mean doses agree within {limit:.2f} Gy ({LARGEST_DOSE_PERCENT:g} % of the largest dose)",
        bool(means),
    )


def _why_not(course: Course, stored: StoredDvhs) -> str:
    if not stored.curves:
        return "the dose brings no dose-volume curves of its planning system"
    primary = {entry.sop_instance_uid for entry in course.description.structure_sets if entry.primary}
    if stored.structure_set_uid and stored.structure_set_uid not in primary:
        return "the planning system's dose-volume curves are of another structure set"
    return ""


def _volume(row: Row, curve: StoredDvh) -> Check | None:
    if curve.volume_cm3 is None or min(curve.volume_cm3, row["value"]) < SMALLEST_COMPARED_CM3:
        return None
    difference = 100.0 * (row["value"] - curve.volume_cm3) / curve.volume_cm3
    if abs(difference) <= LARGEST_VOLUME_PERCENT:
        return None
    message = f"its volume is {row['value']:.2f} cm3, in the planning system {curve.volume_cm3:.2f} cm3"
    return Check(VOLUME, "WARNING", "medium", message, subject_of_row(row), difference, LARGEST_VOLUME_PERCENT, "%")


def _mean(row: Row, curve: StoredDvh, limit_gy: float) -> Check | None:
    if row["value"] is None or (curve.volume_cm3 is not None and curve.volume_cm3 < SMALLEST_COMPARED_CM3):
        return None
    difference = row["value"] - curve.mean_gy
    if abs(difference) <= limit_gy:
        return None
    message = f"its mean dose is {row['value']:.3f} Gy, in the planning system {curve.mean_gy:.3f} Gy"
    return Check(MEAN_DOSE, "WARNING", "medium", message, subject_of_row(row), difference, limit_gy, "Gy")
