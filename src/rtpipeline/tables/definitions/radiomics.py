"""Tables of the radiomics stage."""

from __future__ import annotations

from rtpipeline.tables.schema import (
    COMPLETENESS_COLUMNS,
    COURSE_COLUMNS,
    IMAGE_CROPPED,
    STRUCTURE_COLUMNS,
    Column,
    Table,
)

_IMAGE_COLUMNS = (
    Column("image_key", "text", "Image series: CT is the planning CT, DOSE the dose of the course."),
    Column("modality", "text", "CT, MR, PT or RTDOSE."),
    Column("series_instance_uid", "text", "SeriesInstanceUID of the image; empty for the dose of the course."),
)
_SUV_VARIANT = Column(
    "suv_variant",
    "text",
    "What SUV are normalised by: body_weight, lean_body_mass_james, lean_body_mass_janmahasatian, body_surface_area.",
)
_PARAMETER_DIGEST = Column(
    "parameter_digest", "text", "Of PyRadiomics' parameters, defaults included; equal digests are comparable."
)
_ORDER = ("patient_id", "course_id", "image_key", "segmentation_source", "roi_number", "roi_name")
_PET_ORDER = ("patient_id", "course_id", "image_key", "suv_variant", "segmentation_source", "roi_number", "roi_name")

_COLUMNS = (
    Column("voxel_count", "integer", "Voxels of the image inside the structure, before resampling."),
    Column("volume_cm3", "number", "Volume of these voxels.", "cm3"),
    *COMPLETENESS_COLUMNS,
    IMAGE_CROPPED,
    Column("intensity", "text", "What the image's values are: HU, arbitrary units, Gy, or SUV with their origin."),
    _PARAMETER_DIGEST,
    Column("filter_padding", "text", "How far filters see (radiomics.filter_padding): pyradiomics or four_sigma."),
    Column("pyradiomics_version", "text", "Version of PyRadiomics that computed the row."),
    Column("numpy_version", "text", "Version of NumPy that computed the row."),
)

_FEATURE = Column(
    "<image type>_<class>_<feature>",
    "number",
    "Radiomics feature by PyRadiomics' name and definition; empty where it is undefined for the structure.",
)


def _features(name: str, image: str, own: tuple[Column, ...] = (), order: tuple[str, ...] = _ORDER) -> Table:
    columns = (*COURSE_COLUMNS, *_IMAGE_COLUMNS, *own, *STRUCTURE_COLUMNS, *_COLUMNS)
    return Table(name, f"One row per structure and {image}: radiomics features.", columns, order, _FEATURE)


RADIOMICS_CT = _features("radiomics_ct", "planning CT")
RADIOMICS_MR = _features("radiomics_mr", "MR series")
RADIOMICS_PET = _features("radiomics_pet", "PET series in each variant of SUV", (_SUV_VARIANT,), _PET_ORDER)
RADIOMICS_DOSE = _features(
    "radiomics_dose",
    "dose of the course in Gy (dosiomics)",
    (Column("dose_coverage_fraction", "number", "Part of the structure's volume that lies within the dose grid."),),
)

RADIOMICS_DIAGNOSTICS = Table(
    "radiomics_diagnostics",
    "One row per structure and image with features: what PyRadiomics says of image, mask and itself.",
    (
        *COURSE_COLUMNS,
        *_IMAGE_COLUMNS,
        _SUV_VARIANT,
        *STRUCTURE_COLUMNS,
        _PARAMETER_DIGEST,
        Column("setting", "text", "PyRadiomics' settings, as JSON."),
        Column("image_types", "text", "Enabled filters with their settings, as JSON."),
        Column("feature_classes", "text", "Enabled classes with the features that are named, as JSON."),
        Column("image_sha1", "text", "SHA-1 of the image's values (float32, by plane, row and column)."),
        *(
            Column(f"{name}_version", "text", f"Version of {what} that computed the row.")
            for name, what in (
                ("pyradiomics", "PyRadiomics"),
                ("numpy", "NumPy"),
                ("simpleitk", "SimpleITK"),
                ("pywavelets", "PyWavelets"),
                ("python", "Python"),
            )
        ),
    ),
    _PET_ORDER,
    Column(
        "<Image or Mask>-<original, interpolated or resegmented>_<what>",
        "number",
        "PyRadiomics' diagnostic of this name: mm, the image's unit, or voxels along x, y and z.",
    ),
)

RADIOMICS_LEDGER = Table(
    "radiomics_ledger",
    "One row per structure and image, whether it has features or not.",
    (
        *COURSE_COLUMNS,
        *_IMAGE_COLUMNS,
        _SUV_VARIANT,
        *STRUCTURE_COLUMNS,
        Column("status", "text", "ok, skipped (not asked for, or too small), failed (an error), or timed out."),
        Column("reason", "text", "Why there are no features; empty when the status is ok."),
        Column("voxel_count", "integer", "Voxels of the image inside the structure; empty where it was not looked at."),
        Column("undefined_feature_count", "integer", "Features that are undefined for this structure."),
        Column("notes", "text", "What was left out of the structure when it was read."),
    ),
    _PET_ORDER,
)
