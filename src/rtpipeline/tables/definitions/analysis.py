"""The analysis table: one row per course, with what most studies need."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from rtpipeline.config import AnalysisSection, ConfigurationError
from rtpipeline.tables.definitions.metadata import CASE_METADATA
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

_WIDE_NAME = re.compile(r"(?P<metric>.+?)(?P<unit>Gy| \(%\)| \(cm³\)|%)?")
_UNITS = {"Gy": ("_gy", "Gy"), " (%)": ("_percent", "%"), "%": ("_percent", "%"), " (cm³)": ("_cm3", "cm3")}


def metric_column(structure: str, wide_name: str) -> Column:
    """The column of a dose-volume metric of a target or organ.

    Args:
        structure: beginning of a target's name, or standard name of an organ.
        wide_name: the metric's column in `dvh_metrics.xlsx`: `D95Gy` of PTV becomes `ptv_d95_gy`.
    """
    found = _WIDE_NAME.fullmatch(wide_name)
    assert found is not None  # a name is never empty
    ending, unit = _UNITS.get(found["unit"] or "", ("", ""))
    metric = found["metric"].removesuffix("_")
    return Column(f"{plain(structure)}_{plain(metric)}{ending}", "number", f"{metric} of {structure}.", unit)


def feature_column(structure: str, feature: str) -> str:
    """Name of the column with a radiomics feature of a target or organ."""
    return f"{plain(structure)}_{feature}"


def plain(text: str) -> str:
    """A name as the beginning of columns: small letters, digits and single underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower().replace("%", "")).strip("_")


def _target_columns(target: str, metrics: Sequence[str]) -> tuple[Column, ...]:
    return (
        Column(
            f"{plain(target)}_count",
            "integer",
            f"Number of manual structures with a dose whose name begins with {target}.",
        ),
        Column(
            f"{plain(target)}_name", "text", f"Name as drawn of the {target}: of several, the one of largest volume."
        ),
        *(metric_column(target, metric) for metric in metrics),
    )


def _organ_columns(organ: str, metrics: Sequence[str]) -> tuple[Column, ...]:
    return (
        Column(
            f"{plain(organ)}_source",
            "text",
            f"Where the structure {organ} comes from: the first of manual, custom, custom_model, auto, seg and auto_mr "
            "that has it; empty where that one has several of this name.",
        ),
        *(metric_column(organ, metric) for metric in metrics),
    )


def _feature_columns(structure: str, patterns: Sequence[str], features: Sequence[str]) -> Iterator[Column]:
    yield Column(
        f"{plain(structure)}_features_of", "text", f"Name as drawn of the {structure} that the features below are of."
    )
    for feature in matching(patterns, features):
        description = f"Radiomics feature {feature} of {structure} on the planning CT."
        yield Column(feature_column(structure, feature), "number", description)


def matching(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The names that one of the patterns fits, in the order of the patterns; a pattern without `*` is a name itself."""
    found = dict.fromkeys(
        name for pattern in patterns for name in ([pattern] if "*" not in pattern else fnmatch.filter(names, pattern))
    )
    return list(found)


def analysis_definition(chosen: AnalysisSection, features: Sequence[str] = ()) -> Table:
    """The analysis table with the columns that a configuration chooses.

    Args:
        chosen: says which.
        features: names of the radiomics features that there are, for patterns.

    Raises:
        ConfigurationError: a column of case_metadata is unknown, or two columns would have one name.
    """
    metadata = {column.name: column for column in CASE_METADATA.columns}
    for name in chosen.case_metadata:
        if name not in metadata:
            near = difflib.get_close_matches(name, metadata, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigurationError(f"aggregation.analysis.case_metadata: the table has no column {name!r}{hint}")
    columns = (
        *_FIRST,
        *(metadata[name] for name in chosen.case_metadata),
        *(column for target, metrics in chosen.targets.items() for column in _target_columns(target, metrics)),
        *(column for organ, metrics in chosen.organs.items() for column in _organ_columns(organ, metrics)),
        *(
            column
            for structure, patterns in chosen.features.items()
            for column in _feature_columns(structure, patterns, features)
        ),
        *_LAST,
    )
    twice = [name for name, count in Counter(column.name for column in columns).items() if count > 1]
    if twice:
        raise ConfigurationError(f"aggregation.analysis: two columns would be named {twice[0]}; drop one")
    description = "One row per course: what most studies need, joined with the clinical table where one is given."
    return Table("analysis_table", description, columns, sort_by=("patient_id", "course_id"))


_FIRST = (
    *COURSE_COLUMNS,
    Column("kind", "text", "plan: with a treatment plan; structures: with contours only; images: images only."),
    Column("start_date", "text", "YYYY-MM-DD of the first treatment plan, else of the images."),
    Column("patient_sex", "text", "PatientSex."),
    Column("patient_age_at_plan_years", "number", "Age at the plan's date.", "years"),
    Column("plan_count", "integer", "Number of plans."),
    Column("plan_labels", "text", "RTPlanLabel of the plans that the dose belongs to."),
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
)

_LAST = (
    Column("structures_manual", "integer", "Number of structures as drawn that have a row in dvh_metrics."),
    Column("structures_auto", "integer", "Number of automatic structures that have a row in dvh_metrics."),
    Column("structures_custom", "integer", "Number of the user's derived structures that have a row in dvh_metrics."),
    Column("structures_custom_model", "integer", "Number of custom models' structures with a row in dvh_metrics."),
    Column("structures_seg", "integer", "Number of segments of DICOM segmentations with a row in dvh_metrics."),
    Column("structures_auto_mr", "integer", "Number of structures carried from MR series with a row in dvh_metrics."),
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
)

ANALYSIS_TABLE = analysis_definition(AnalysisSection())
"""With the columns that are chosen by default."""
