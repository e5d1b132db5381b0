"""The analysis table: one row per course, with what most studies need."""

from __future__ import annotations

from dataclasses import dataclass

from rtpipeline.tables.schema import COURSE_COLUMNS, Column, Table

STAGES = (
    "segmentation",
    "custom_models",
    "auto_rtstruct",
    "anatomical_cropping",
    "dvh",
    "metadata",
    "radiomics",
    "radiomics_robustness",
    "quality_control",
)
"""The course stages whose status the table states."""

TARGETS = ("GTV", "CTV", "PTV")
"""Kinds of targets, by the beginning of a structure's name."""


@dataclass(frozen=True)
class StructureMetric:
    """A dose-volume metric that the table has a column of.

    Attributes:
        metric: as in the table dvh_metrics.
        unit: as in the table dvh_metrics.
        suffix: end of the column's name.
        column_unit: unit of the column.
    """

    metric: str
    unit: str
    suffix: str
    column_unit: str


_MEAN = StructureMetric("Dmean", "Gy", "dmean_gy", "Gy")
_NEARLY_MAXIMUM = StructureMetric("D0.03cc", "Gy", "d0_03cc_gy", "Gy")
_V20 = StructureMetric("V20Gy", "%", "v20gy_percent", "%")
VOLUME = StructureMetric("Volume", "cm3", "volume_cm3", "cm3")

TARGET_METRICS = (
    VOLUME,
    _MEAN,
    StructureMetric("D98", "Gy", "d98_gy", "Gy"),
    StructureMetric("D95", "Gy", "d95_gy", "Gy"),
    StructureMetric("D2", "Gy", "d2_gy", "Gy"),
    StructureMetric("Dmax", "Gy", "dmax_gy", "Gy"),
    StructureMetric("V95%Rx", "%", "v95rx_percent", "%"),
)

ORGANS: dict[str, tuple[StructureMetric, ...]] = {
    "Brain": (_MEAN,),
    "Brainstem": (_NEARLY_MAXIMUM,),
    "Parotid_L": (_MEAN,),
    "Parotid_R": (_MEAN,),
    "SpinalCord": (_NEARLY_MAXIMUM,),
    "Esophagus": (_MEAN,),
    "Heart": (_MEAN,),
    "Lungs": (_MEAN, _V20),
    "Lung_L": (_MEAN, _V20),
    "Lung_R": (_MEAN, _V20),
    "Liver": (_MEAN,),
    "Stomach": (_MEAN,),
    "Kidney_L": (_MEAN,),
    "Kidney_R": (_MEAN,),
    "Bowel_Small": (_NEARLY_MAXIMUM,),
    "Bladder": (_MEAN,),
    "Rectum": (_MEAN,),
}
"""Organs by their AAPM TG-263 name, and what is given of each."""


def column_name(structure: str, metric: StructureMetric) -> str:
    """Name of the column with a metric of a target or organ."""
    return f"{structure.lower()}_{metric.suffix}"


def _target_columns(target: str) -> tuple[Column, ...]:
    prefix = target.lower()
    chosen = f"the {target}; where there are several, of the one with the largest volume"
    return (
        Column(
            f"{prefix}_count", "integer", f"Number of manual structures with a dose whose name begins with {target}."
        ),
        Column(f"{prefix}_name", "text", f"Name as drawn of {chosen}."),
        *(
            Column(column_name(target, metric), "number", f"{metric.metric} of {chosen}.", metric.column_unit)
            for metric in TARGET_METRICS
        ),
    )


def _organ_columns(organ: str, metrics: tuple[StructureMetric, ...]) -> tuple[Column, ...]:
    return (
        Column(
            f"{organ.lower()}_source",
            "text",
            f"Where the structure {organ} comes from: the first of manual, custom, custom_model and auto that has it; "
            "empty where that one has several of this name.",
        ),
        *(
            Column(column_name(organ, metric), "number", f"{metric.metric} of {organ}.", metric.column_unit)
            for metric in metrics
        ),
    )


ANALYSIS_TABLE = Table(
    "analysis_table",
    "One row per course: what most studies need, joined with the clinical table where one is given.",
    (
        *COURSE_COLUMNS,
        Column("kind", "text", "plan: with a treatment plan; structures: with contours only; images: images only."),
        Column("start_date", "text", "YYYY-MM-DD of the first treatment plan, else of the images."),
        Column("patient_sex", "text", "PatientSex."),
        Column("patient_age_at_plan_years", "number", "Age at the plan's date.", "years"),
        Column("plan_count", "integer", "Number of plans."),
        Column("plan_labels", "text", "RTPlanLabel of the plans that the dose belongs to, else of all plans."),
        Column("prescription_gy", "number", "Prescribed dose of the course.", "Gy"),
        Column("prescription_source", "text", "Where the prescription comes from."),
        Column("fractions_planned", "integer", "Number of fractions that the plans prescribe."),
        Column("fractions_delivered", "integer", "Fractions in the treatment records; empty without records."),
        Column("first_treatment_date", "text", "First treatment in the treatment records."),
        Column("last_treatment_date", "text", "Last treatment in the treatment records."),
        Column("technique_inferred", "text", "Static, IMRT, arc, VMAT, ion or brachytherapy, from what moves."),
        Column("dose_decision", "text", "Which doses stand for the course."),
        Column(
            "body_regions",
            "text",
            "Regions that the planning CT shows (HEAD_NECK, THORAX, ABDOMEN, PELVIS), from the automatic segmentation; "
            "empty without one.",
        ),
        Column(
            "contrast_phase",
            "text",
            "Contrast phase of the planning CT by TotalSegmentator's classifiers: native, arterial_early, "
            "arterial_late, portal_venous, or unknown, with the reason in the course's body_regions.json.",
        ),
        Column(
            "modality_by_intensities",
            "text",
            "What TotalSegmentator's classifiers take the planning CT for by its intensities: ct, mr or unknown.",
        ),
        *(column for target in TARGETS for column in _target_columns(target)),
        *(column for organ, metrics in ORGANS.items() for column in _organ_columns(organ, metrics)),
        Column("structures_manual", "integer", "Number of structures as drawn that have a row in dvh_metrics."),
        Column("structures_auto", "integer", "Number of automatic structures that have a row in dvh_metrics."),
        Column(
            "structures_custom", "integer", "Number of the user's derived structures that have a row in dvh_metrics."
        ),
        Column("structures_custom_model", "integer", "Number of custom models' structures with a row in dvh_metrics."),
        Column("radiomics_ct_rows", "integer", "Number of rows in radiomics_ct."),
        Column("radiomics_mr_rows", "integer", "Number of rows in radiomics_mr."),
        Column("radiomics_pet_rows", "integer", "Number of rows in radiomics_pet."),
        Column("radiomics_dose_rows", "integer", "Number of rows in radiomics_dose."),
        Column("qc_status", "text", "Worst status of the course's quality control: PASS, WARNING or FAIL."),
        *(
            Column(
                f"status_{stage}",
                "text",
                f"How the stage {stage} ended: ok, partial, skipped or failed; missing: it has not run.",
            )
            for stage in STAGES
        ),
        Column("notes", "text", "Why a value above is empty although there are structures for it."),
    ),
    sort_by=("patient_id", "course_id"),
)
