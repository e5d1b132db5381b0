"""Tables of the radiomics stage."""

from __future__ import annotations

from rtpipeline.tables.schema import COURSE_COLUMNS, STRUCTURE_COLUMNS, Column, Table

_IMAGE_COLUMNS = (
    Column("image_key", "text", "Image series: CT is the planning CT."),
    Column("modality", "text", "CT, MR or PT."),
    Column("series_instance_uid", "text", "SeriesInstanceUID of the image."),
)
_ORDER = ("patient_id", "course_id", "image_key", "segmentation_source", "roi_number", "roi_name")

_COLUMNS = (
    *COURSE_COLUMNS,
    *_IMAGE_COLUMNS,
    *STRUCTURE_COLUMNS,
    Column("voxel_count", "integer", "Voxels of the image inside the structure, before resampling."),
    Column("volume_cm3", "number", "Volume of these voxels.", "cm3"),
    Column("structure_touches_edge", "boolean", "The structure reaches the edge of the image, so part may be missing."),
    Column("image_cropped", "boolean", "The image was cut to a region of the anatomy before."),
    Column("intensity", "text", "What the image's values are: HU, arbitrary units, or SUVbw with its origin."),
    Column("parameter_digest", "text", "Of PyRadiomics' parameters, defaults included; equal digests are comparable."),
    Column("pyradiomics_version", "text", "Version of PyRadiomics that computed the row."),
    Column("numpy_version", "text", "Version of NumPy that computed the row."),
)

_FEATURE = Column(
    "<image type>_<class>_<feature>",
    "number",
    "Radiomics feature by PyRadiomics' name and definition; empty where it is undefined for the structure.",
)


def _features(name: str, image: str) -> Table:
    return Table(name, f"One row per structure and {image}: radiomics features.", _COLUMNS, _ORDER, _FEATURE)


RADIOMICS_CT = _features("radiomics_ct", "planning CT")
RADIOMICS_MR = _features("radiomics_mr", "MR series")
RADIOMICS_PET = _features("radiomics_pet", "PET series in SUV")

RADIOMICS_LEDGER = Table(
    "radiomics_ledger",
    "One row per structure and image, whether it has features or not.",
    (
        *COURSE_COLUMNS,
        *_IMAGE_COLUMNS,
        *STRUCTURE_COLUMNS,
        Column("status", "text", "ok, skipped, failed, or timed out."),
        Column("reason", "text", "Why there are no features; empty when the status is ok."),
        Column("voxel_count", "integer", "Voxels of the image inside the structure; empty where it was not looked at."),
        Column("undefined_feature_count", "integer", "Features that are undefined for this structure."),
        Column("notes", "text", "What was left out of the structure when it was read."),
    ),
    _ORDER,
)
