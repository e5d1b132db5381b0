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

_PAIR = (
    *COURSE_COLUMNS,
    Column("standard_name", "text", "AAPM TG-263 name that both have."),
    Column("source_a", "text", "Source of the first structure; see `segmentation_source`."),
    Column("roi_name_a", "text", "Its name as drawn."),
    Column("source_b", "text", "Source of the second structure."),
    Column("roi_name_b", "text", "Its name as drawn."),
)

_NOT_EQUALLY_SPACED = "empty where the planes of the CT are not equally spaced"

STRUCTURE_COMPARISON = Table(
    "structure_comparison",
    "One row per pair of structures of one course that have the same standard name and different sources.",
    (
        *_PAIR,
        Column("volume_a_cm3", "number", "Volume of the first one's voxels on the planning CT.", "cm3"),
        Column("volume_b_cm3", "number", "Volume of the second one's voxels on the planning CT.", "cm3"),
        Column("volume_difference_percent", "number", "(b - a) / a.", "%"),
        Column("dice", "number", "Dice coefficient of the voxels: 2 |a and b| / (|a| + |b|); 1 is identical."),
        Column("centroid_distance_mm", "number", "Distance of their centres of mass.", "mm"),
        *(
            Column(
                f"surface_dice_{limit}mm",
                "number",
                f"Part of both surfaces (voxels with a face towards the outside) that lies within {limit} mm of the "
                f"other one; {_NOT_EQUALLY_SPACED}.",
            )
            for limit in (1, 2, 3)
        ),
        Column(
            "hausdorff_95_mm",
            "number",
            "The larger of the two 95th percentiles of the distances from one surface to the other, between voxel "
            f"centres; {_NOT_EQUALLY_SPACED}.",
            "mm",
        ),
        Column(
            "mean_surface_distance_mm",
            "number",
            f"Mean of the distances of both surfaces to the other one; {_NOT_EQUALLY_SPACED}.",
            "mm",
        ),
        Column(
            "added_path_length_mm",
            "number",
            "Length of the first one's outline, plane by plane, that the second one's does not follow; "
            f"{_NOT_EQUALLY_SPACED}.",
            "mm",
        ),
    ),
    sort_by=("patient_id", "course_id", "standard_name", "source_a", "roi_name_a", "source_b", "roi_name_b"),
)

STRUCTURE_COMPARISON_DOSE = Table(
    "structure_comparison_dose",
    "One row per pair of structures of `structure_comparison` and dose-volume metric that both have.",
    (
        *_PAIR,
        Column("metric", "text", "As in dvh_metrics."),
        Column("unit", "text", "Unit of the values and of their difference."),
        Column("value_a", "number", "Value of the first structure."),
        Column("value_b", "number", "Value of the second structure."),
        Column("difference", "number", "b - a."),
    ),
    sort_by=(
        "patient_id",
        "course_id",
        "standard_name",
        "source_a",
        "roi_name_a",
        "source_b",
        "roi_name_b",
        "metric",
        "unit",
    ),
)
