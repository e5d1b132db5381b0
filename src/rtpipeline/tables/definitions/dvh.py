"""Tables of the dose-volume stage."""

from __future__ import annotations

from rtpipeline.tables.schema import (
    COMPLETENESS_COLUMNS,
    COURSE_COLUMNS,
    IMAGE_CROPPED,
    STRUCTURE_COLUMNS,
    Column,
    Table,
)

_STRUCTURE_ORDER = ("patient_id", "course_id", "segmentation_source", "roi_number", "roi_name")

DVH_METRICS = Table(
    "dvh_metrics",
    "One row per structure and dose-volume metric.",
    (
        *COURSE_COLUMNS,
        *STRUCTURE_COLUMNS,
        Column(
            "metric",
            "text",
            "Volume (geometric); Dmean, Dmax, Dmin; D95 (lowest dose of the 95 % of the volume that get most), D2cc "
            "(the same for 2 cm3); V20Gy (volume that gets at least 20 Gy), V95%Rx (at least 95 % of the "
            "prescription); HI ((D2 - D98) / D50, ICRU 83); Spread (Dmax - Dmin); IntegralDose (Dmean times volume); "
            "gEUD(a=8) (generalised equivalent uniform dose); EQD2_… and BED_… (the same of equieffective doses); of "
            "targets, at the prescription: Coverage (part of the target in its isodose), CI_RTOG (isodose by target), "
            "CI_Paddick (common volume squared by target times isodose), GI (half the isodose by isodose).",
        ),
        Column("value", "number", "Its value; empty where it is withheld or not defined."),
        Column(
            "unit",
            "text",
            "Gy, % of prescription, % (of the structure's volume within the dose grid), cm3, Gy cm3, or none.",
        ),
        Column(
            "status",
            "text",
            "ok; withheld: the dose grid does not cover the structure; of the covered part: the grid covers less than "
            "all, but enough; the structure is smaller: than the volume the dose is asked for; not defined for this "
            "dose.",
        ),
        Column("column", "text", "Name of the metric's column in the wide table."),
        *COMPLETENESS_COLUMNS,
        IMAGE_CROPPED,
        Column("dose_coverage_fraction", "number", "Fraction of the structure's volume that lies in the dose grid."),
        Column(
            "prescription_gy",
            "number",
            "Dose that relative metrics refer to: of a target its own level where a plan or its name says it, else the "
            "course's; empty without one.",
            "Gy",
        ),
        Column("prescription_source", "text", "The attributes of the plans that the prescription comes from."),
        Column("alpha_beta_gy", "number", "α/β of EQD2 and BED; empty for other metrics.", "Gy"),
    ),
    sort_by=(*_STRUCTURE_ORDER, "metric", "unit"),
)

WIDE_DVH_ROW = (
    *(column.name for column in (*COURSE_COLUMNS, *STRUCTURE_COLUMNS, *COMPLETENESS_COLUMNS, IMAGE_CROPPED)),
    "dose_coverage_fraction",
    "prescription_gy",
    "prescription_source",
)
"""What identifies a row of the wide table of metrics, and what all metrics of a structure share."""

DVH_CURVES = Table(
    "dvh_curves",
    "One row per structure and point of its cumulative dose-volume curve, which is linear between points.",
    (
        *COURSE_COLUMNS,
        *STRUCTURE_COLUMNS,
        Column("dose_gy", "number", "Dose.", "Gy"),
        Column("volume_cm3", "number", "Volume within the dose grid that gets at least this dose.", "cm3"),
        Column("volume_percent", "number", "The same as part of the volume within the dose grid.", "%"),
    ),
    sort_by=(*_STRUCTURE_ORDER, "dose_gy"),
)

DVH_STATUS = Table(
    "dvh_status",
    "One row per structure: whether there is a dose-volume curve of it, and why not.",
    (
        *COURSE_COLUMNS,
        *STRUCTURE_COLUMNS,
        Column(
            "status",
            "text",
            "ok; partly_covered: the dose grid covers too little of it, only its volume is given; outside: it lies "
            "outside the dose grid; empty: it has no contours or voxels; failed: it cannot be computed.",
        ),
        Column("reason", "text", "Why, where the status is not ok."),
        *COMPLETENESS_COLUMNS,
        IMAGE_CROPPED,
        Column("volume_cm3", "number", "Volume from its geometry.", "cm3"),
        Column("dose_coverage_fraction", "number", "Fraction of that volume that lies in the dose grid."),
        Column(
            "geometry",
            "text",
            "contours (slabs of the drawn polygons) or voxels (of a segmentation or a custom structure).",
        ),
        Column(
            "curve_error_percent",
            "number",
            "Estimate of how far the curve is from that of infinitely small cells: in percent of the volume, or of the "
            "largest dose of the grid.",
            "%",
        ),
        Column("warnings", "text", "What a reader of the values should know, one sentence after another."),
    ),
    sort_by=_STRUCTURE_ORDER,
)

PRESCRIPTIONS = Table(
    "prescriptions",
    "One row per prescription of a plan, as the plan states it.",
    (
        *COURSE_COLUMNS,
        Column("plan_uid", "text", "SOP Instance UID of the plan."),
        Column("plan_label", "text", "RTPlanLabel."),
        Column("number", "integer", "Its place in the plan."),
        Column("roi_number", "integer", "ROINumber of the target; empty where the plan does not say."),
        Column("description", "text", "What the plan says of the target."),
        Column("dose_gy", "number", "Prescribed dose of the whole plan.", "Gy"),
        Column("fractions_planned", "integer", "Fractions of the plan."),
        Column("source", "text", "The attribute it was read from."),
        Column("used", "boolean", "Whether the dose of the course is of this plan."),
    ),
    sort_by=("patient_id", "course_id", "plan_uid", "number"),
)
