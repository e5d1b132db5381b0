"""Tables of radiomics robustness: values and ledger of a course, values and judgements of a cohort."""

from __future__ import annotations

from rtpipeline.tables.schema import COURSE_COLUMNS, STRUCTURE_COLUMNS, Column, Table

_STATE_COLUMNS = (
    Column("profile", "text", "Perturbation profile: volume, mild, standard, aggressive or zwanenburg."),
    Column("perturbation_id", "text", "The state, for example ntcv_n10_t0_0_4_c1_v+15; ntcv_v0 is unperturbed."),
    Column("noise_hu", "number", "Standard deviation of the Gaussian noise added to the image.", "HU"),
    Column("noise_realisation", "integer", "Number of the draw of noise of the estimated level; 0 is none of these."),
    Column("rotation_deg", "number", "Rotation of the resampled grid in the image's plane.", "degree"),
    Column("grid_shift_voxels", "number", "Shift of the resampled grid along all of its axes, in its voxels.", "voxel"),
    Column("translation_x_mm", "number", "Applied shift of the mask to the patient's left.", "mm"),
    Column("translation_y_mm", "number", "Applied shift of the mask to the patient's back.", "mm"),
    Column("translation_z_mm", "number", "Applied shift of the mask to the patient's head.", "mm"),
    Column(
        "contour_realisation",
        "integer",
        "Number of the random contour (along supervoxels in the profile zwanenburg); 0 is the contour as drawn.",
    ),
    Column("contour_offset_mm", "number", "Drawn offset of the surface, outwards where positive.", "mm"),
    Column("volume_change", "number", "Relative change of the number of voxels, after translation and contour."),
    Column("seed", "integer", "Base seed; every draw follows from it and the identifiers of the row."),
    Column("voxel_count", "integer", "Voxels of the perturbed mask on the image's own grid."),
)

_ROW_KEY = ("patient_id", "course_id", "segmentation_source", "roi_number", "perturbation_id")

ROBUSTNESS = Table(
    "radiomics_robustness_ct",
    "One row per structure, perturbation state and feature of a course.",
    (
        *COURSE_COLUMNS,
        *STRUCTURE_COLUMNS,
        *_STATE_COLUMNS,
        Column(
            "parameter_digest", "text", "Of PyRadiomics' parameters, defaults included; equal digests are comparable."
        ),
        Column("pyradiomics_version", "text", "Version of PyRadiomics that computed the row."),
        Column("numpy_version", "text", "Version of NumPy that computed the row."),
        Column("feature_name", "text", "Name of the feature as PyRadiomics gives it."),
        Column("value", "number", "Value of the feature; empty where it is undefined. Units are the feature's own."),
    ),
    sort_by=(*_ROW_KEY, "feature_name"),
)

ROBUSTNESS_LEDGER = Table(
    "radiomics_robustness_ledger",
    "One row per structure and perturbation state of a course: what became of it.",
    (
        *COURSE_COLUMNS,
        *STRUCTURE_COLUMNS,
        *_STATE_COLUMNS,
        Column(
            "status",
            "text",
            "ok, skipped (the image's grid does not allow the state, or it is too small), failed or timed out.",
        ),
        Column("reason", "text", "Why; with ok a remark."),
    ),
    sort_by=_ROW_KEY,
)

_STRUCTURE_KEY = (
    Column("structure", "text", "Standard name of the structure where it has one, else its name as drawn."),
    Column("segmentation_source", "text", "manual, auto, custom, or custom_model:<name>; sources are never pooled."),
)

ROBUSTNESS_RAW_VALUES = Table(
    "radiomics_robustness_raw_values",
    "The rows of all courses' radiomics_robustness_ct, with the structure that they count for.",
    (_STRUCTURE_KEY[0], *ROBUSTNESS.columns),
    sort_by=ROBUSTNESS.sort_by,
)

ROBUSTNESS_SUMMARY = Table(
    "radiomics_robustness_summary",
    "One row per structure, source and feature: its agreement and dispersion over perturbation states.",
    (
        *_STRUCTURE_KEY,
        Column("feature_name", "text", "Name of the feature as PyRadiomics gives it."),
        Column("profile", "text", "Perturbation profile."),
        Column("parameter_digest", "text", "Of PyRadiomics' parameters, the same for all subjects."),
        Column("n_patients", "integer", "Patients with this structure and source."),
        Column("n_subjects", "integer", "Subjects: a course is one for each of its structures and sources."),
        Column("n_subjects_complete", "integer", "Subjects with a value in every state; the coefficient uses these."),
        Column("n_subjects_dropped", "integer", "Subjects without a value in some state."),
        Column("n_perturbations", "integer", "States, the unperturbed one among them: the raters of the coefficient."),
        Column("icc_type", "text", "ICC1, ICC2 or ICC3: form of the intraclass correlation, for single ratings."),
        Column("icc", "number", "Intraclass correlation coefficient (Shrout and Fleiss 1979)."),
        Column("icc_ci95_low", "number", "Lower bound of its 95 % confidence interval, unrounded."),
        Column("icc_ci95_high", "number", "Upper bound of its 95 % confidence interval, unrounded."),
        Column("cov_pct", "number", "Median over complete subjects of the coefficient of variation over states.", "%"),
        Column("cov_pct_q1", "number", "First quartile over subjects.", "%"),
        Column("cov_pct_q3", "number", "Third quartile over subjects.", "%"),
        Column(
            "n_subjects_cov",
            "integer",
            "Complete subjects whose coefficient of variation is defined (all values positive).",
        ),
        Column(
            "cov_status",
            "text",
            "complete, partial or not_evaluable: for all, some or no complete subjects; or switched off.",
        ),
        Column(
            "qcd", "number", "Median over complete subjects of the quartile coefficient of dispersion, (Q3-Q1)/(Q3+Q1)."
        ),
        Column("qcd_q1", "number", "First quartile over subjects."),
        Column("qcd_q3", "number", "Third quartile over subjects."),
        Column("n_subjects_qcd", "integer", "Complete subjects with four or more states, all values positive."),
        Column(
            "qcd_status",
            "text",
            "complete, partial or not_evaluable: for all, some or no complete subjects; or switched off.",
        ),
        Column("robustness_label", "text", "robust, acceptable, poor or not_evaluable."),
        Column("label_reason", "text", "What the label rests on, or why there is none."),
    ),
    sort_by=("structure", "segmentation_source", "feature_name"),
)

ROBUSTNESS_PER_SOURCE = Table(
    "per_source_summary",
    "One row per source and structure: how many features got which label.",
    (
        _STRUCTURE_KEY[1],
        _STRUCTURE_KEY[0],
        Column("n_features", "integer", "Features."),
        Column("n_robust", "integer", "Features labelled robust."),
        Column("n_acceptable", "integer", "Features labelled acceptable."),
        Column("n_poor", "integer", "Features labelled poor."),
        Column("n_not_evaluable", "integer", "Features labelled not_evaluable."),
        Column("median_icc", "number", "Median of the coefficient over features that have one."),
    ),
    sort_by=("segmentation_source", "structure"),
)

ROBUSTNESS_COVERAGE = Table(
    "coverage",
    "One row per course: whether it is part of the robustness statistics.",
    (
        *COURSE_COLUMNS,
        Column("status", "text", "ok; partial: some states are missing; skipped: nothing to perturb; failed; missing."),
        Column("reason", "text", "Why."),
    ),
    sort_by=("patient_id", "course_id"),
)
