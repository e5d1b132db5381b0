"""Tables of the quality control stage."""

from __future__ import annotations

from rtpipeline.tables.schema import COURSE_COLUMNS, Column, Table

QUALITY_CONTROL = Table(
    "qc_reports",
    "One row per check of a course; where several structures or files fail one check, one row for each of them.",
    (
        *COURSE_COLUMNS,
        Column("check", "text", "What was checked; `overall` is the worst status of the course."),
        Column("subject", "text", "The structure (source and name) or file; empty where it is the course."),
        Column("status", "text", "PASS, WARNING, FAIL, or NOT_APPLICABLE where there is nothing to check."),
        Column("severity", "text", "How much results depend on it: low, medium or high."),
        Column("value", "number", "What was measured, where it is a number."),
        Column("limit", "number", "What it was compared with."),
        Column("unit", "text", "Unit of value and limit."),
        Column("message", "text", "What was found, in a sentence."),
    ),
    sort_by=("patient_id", "course_id", "check", "subject", "message"),
)

STRUCTURE_COMPARISON = Table(
    "structure_comparison",
    "One row per pair of structures of one course that have the same standard name and different sources.",
    (
        *COURSE_COLUMNS,
        Column("standard_name", "text", "AAPM TG-263 name that both have."),
        Column("source_a", "text", "Source of the first structure: manual, auto, custom or custom_model:<name>."),
        Column("roi_name_a", "text", "Its name as drawn."),
        Column("source_b", "text", "Source of the second structure."),
        Column("roi_name_b", "text", "Its name as drawn."),
        Column("volume_a_cm3", "number", "Volume of the first one's voxels on the planning CT.", "cm3"),
        Column("volume_b_cm3", "number", "Volume of the second one's voxels on the planning CT.", "cm3"),
        Column("volume_difference_percent", "number", "(b - a) / a.", "%"),
        Column("dice", "number", "Dice coefficient of the voxels: 2 |a and b| / (|a| + |b|); 1 is identical."),
        Column("centroid_distance_mm", "number", "Distance of their centres of mass.", "mm"),
    ),
    sort_by=("patient_id", "course_id", "standard_name", "source_a", "roi_name_a", "source_b", "roi_name_b"),
)
