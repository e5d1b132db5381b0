"""`docs/ibsi.md`: the features of this package beside the consensus values of the IBSI."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ibsi_reference import (
    FEATURES,
    PHANTOM_VALUES,
    WITHOUT_COUNTERPART,
    Reference,
    chest,
    digital_phantom,
    interpolated,
    references,
)
from rtpipeline.config import Configuration
from rtpipeline.imaging.grid import Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.radiomics_parallel import ExtractionJob, radiomics_client, store_image, store_mask
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.resources import Resources

Values = Mapping[str, float]

CLASSES = ("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")
PHANTOM_SETTING = {"binWidth": 1}
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "C": {"binWidth": 25, "resegmentRange": [-1000, 400], "resegmentMode": "absolute"},
    "D": {"binCount": 32, "resegmentRange": [-3, 3], "resegmentMode": "sigma"},
}
RESAMPLED = {"resampledPixelSpacing": [2, 2, 2], "interpolator": "sitkLinear"}

KURTOSIS, AXES, LEVELS = "kurtosis", "axes", "grey levels"
REASONS = {
    KURTOSIS: "PyRadiomics does not subtract 3, the kurtosis of a normal distribution; less 3, the value agrees.",
    AXES: (
        "PyRadiomics divides the covariance of voxel positions by their number n, the consensus divides by n - 1. It "
        "matters for the 74 voxels of the phantom alone; times sqrt(n / (n - 1)), the value agrees."
    ),
    LEVELS: (
        "With bins of a fixed width PyRadiomics counts grey levels from the lowest one in the structure, IBSI from the "
        "lower bound of the re-segmentation, -1000 HU: here every level is 2 lower. Only features in which the number "
        "of a level takes part depend on it."
    ),
}
"""Why a feature deviates, in short and in full."""

_LEVEL_NUMBER = ("LowGrayLevel", "HighGrayLevel")
_OF_LEVELS = ("glcm_JointAverage", "glcm_SumAverage", "glcm_Autocorrelation", "ngtdm_Busyness")


@dataclass(frozen=True)
class Row:
    """One feature on one data set."""

    feature: str
    tag: str
    code: str
    value: float
    reference: Reference
    reason: str
    other: float | None = None

    @property
    def explained(self) -> bool:
        """Whether it agrees, or deviates for a documented reason."""
        return self.reference.agrees(self.value) or bool(self.reason)


def reason_for(feature: str, value: float, reference: Reference, *, voxels: int, fixed_width: bool) -> str:
    """The documented reason (a key of `REASONS`) for which a feature deviates; empty where there is none.

    A reason that can be checked by a formula holds only where the formula brings the value to the consensus.
    """
    if feature == "firstorder_Kurtosis" and reference.agrees(value - 3.0):
        return KURTOSIS
    if feature in ("shape_MinorAxisLength", "shape_LeastAxisLength"):
        return AXES if reference.agrees(value * (voxels / (voxels - 1)) ** 0.5) else ""
    moved = {"glcm_JointAverage": 2.0, "glcm_SumAverage": 4.0}
    if fixed_width and feature in moved:
        return LEVELS if reference.agrees(value + moved[feature]) else ""
    return LEVELS if fixed_width and (feature in _OF_LEVELS or any(name in feature for name in _LEVEL_NUMBER)) else ""


def rows(
    values: Values, consensus: Mapping[str, Reference], *, fixed_width: bool, other: Values | None = None
) -> list[Row]:
    """One row for each feature with a consensus value."""
    voxels = round(values["original_shape_VoxelVolume"] / 8.0)
    found = []
    for feature, (tag, code) in FEATURES.items():
        value, reference = values[f"original_{feature}"], consensus[tag]
        reason = ""
        if not reference.agrees(value):
            reason = reason_for(feature, value, reference, voxels=voxels, fixed_width=fixed_width)
        own = None if other is None else other[f"original_{feature}"]
        found.append(Row(feature, tag, code, value, reference, reason, own))
    return found


def phantom_rows(scratch: Path) -> list[Row]:
    """The digital phantom."""
    values = extracted({"phantom": (*digital_phantom(), PHANTOM_SETTING)}, scratch)
    return rows(values["phantom"], references(PHANTOM_VALUES), fixed_width=False)


def chest_rows(data: Path, scratch: Path) -> dict[str, list[Row]]:
    """The chest CT in configurations C and D; `data` is the folder with the images and consensus values."""
    image, mask = chest(data)
    at_2_mm = interpolated(image, mask)
    settings: dict[str, tuple[Volume, Mask, Mapping[str, object]]] = {}
    for name, setting in SETTINGS.items():
        settings[name] = (*at_2_mm, setting)
        settings[f"{name} as PyRadiomics"] = (image, mask, {**setting, **RESAMPLED})
    values = extracted(settings, scratch)
    return {
        name: rows(
            values[name],
            references(data / "reference_values" / f"ibsi_1_chest_config_{name.lower()}.csv"),
            fixed_width=name == "C",
            other=values[f"{name} as PyRadiomics"],
        )
        for name in SETTINGS
    }


def extracted(
    images: Mapping[str, tuple[Volume, Mask, Mapping[str, object]]], scratch: Path
) -> dict[str, dict[str, float]]:
    """All features of the unfiltered images, by the names of `images`."""
    children = ChildProcesses()
    resources = Resources(
        threads=2,
        device="cpu",
        staging=scratch,
        scratch=scratch,
        logs=scratch,
        children=children,
        logger=logging.getLogger("ibsi"),
    )
    try:
        client = radiomics_client(Configuration(), resources)
        jobs = []
        for number, (name, (volume, mask, setting)) in enumerate(images.items()):
            parameters = scratch / f"{number}.yaml"
            content = {
                "imageType": {"Original": {}},
                "featureClass": {one: [] for one in CLASSES},
                "setting": {**setting, "distances": [1]},
            }
            parameters.write_text(json.dumps(content), encoding="utf-8")
            image = store_image(scratch / f"image_{number}.npy", volume)
            region = store_mask(scratch / f"mask_{number}.npy", mask, volume.grid)
            jobs.append(ExtractionJob(name, image, region, client.read_parameters(parameters), mask.voxel_count))
        results = {result.key: result for result in client.extract(jobs, timeout_s=600)}
    finally:
        children.close()
    refused = {key: result.reason for key, result in results.items() if result.status != "ok"}
    if refused:
        raise RuntimeError(f"no features: {refused}")
    return {
        key: {name: math.nan if value is None else value for name, value in one.features.items()}
        for key, one in results.items()
    }


def page(phantom: list[Row], chest_ct: Mapping[str, list[Row]]) -> str:
    """The whole page."""
    every = [phantom, *chest_ct.values()]
    titles = ["Digital phantom", *(f"Chest CT, configuration {name}" for name in chest_ct)]
    counts = "\n".join(
        f"| {title} | {len(one)} | {sum(not row.reason for row in one)} | {sum(bool(row.reason) for row in one)} |"
        for title, one in zip(titles, every, strict=True)
    )
    reasons = "\n".join(f"- **{name}**: {text}" for name, text in REASONS.items())
    without = "\n".join(f"- `{name}`: {text}" for name, text in WITHOUT_COUNTERPART.items())
    tables = "\n\n".join(f"## {title}\n\n{_table(one)}" for title, one in zip(titles, every, strict=True))
    return _HEAD.format(counts=counts, reasons=reasons, without=without) + tables + "\n"


def _table(found: list[Row]) -> str:
    own = found[0].other is not None
    head = "| feature | IBSI | code | ours | consensus | tolerance | result |" + (
        " as PyRadiomics processes |" if own else ""
    )
    lines = [head, "|---" * (8 if own else 7) + "|"]
    for row in found:
        result = row.reason or ("agrees" if row.explained else "DEVIATES")
        cells = [f"`{row.feature}`", f"`{row.tag}`", row.code, f"{row.value:.4g}", f"{row.reference.value:g}"]
        cells += [f"{row.reference.tolerance:g}", result]
        if row.other is not None:
            cells.append(f"{row.other:.4g}" + ("" if row.reference.agrees(row.other) else " *"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


_HEAD = """# Features and the IBSI

This page is written by `python -m nox -s bench -- ibsi`; do not edit it.

The Image Biomarker Standardisation Initiative (IBSI 1: Zwanenburg et al., Radiology 295(2):328-338, 2020; reference
manual arXiv:1612.07003) publishes consensus values of radiomics features with tolerances, for a digital phantom and
for a chest CT that is processed in several configurations. The features here are those of PyRadiomics 3.0.1, bit for
bit or nearly so (see [Radiomics](explanation/radiomics.md)); this page says which of them is which IBSI feature, and
where they are not the same.

A value *agrees* when it lies within the tolerance after rounding to three significant digits, as the consensus values
are.

| data set | features | agree | deviate, with a reason |
|---|---|---|---|
{counts}

## Reasons for deviating

{reasons}

## What is compared

- Aggregation: GLCM and GLRLM features are means over the 13 directions of space (IBSI: 3D, averaged); GLSZM, GLDM
  (IBSI: NGLDM) and NGTDM are of the whole volume. Neighbours are at distance 1.
- Configurations C and D: voxels of 2 mm, trilinear, whole HU, mask from half a voxel on; C: -1000 to 400 HU, bins of
  25 HU; D: within three standard deviations, 32 bins. The column *ours* has the engine's features of the image so
  processed.
- The last column has what the same settings give when PyRadiomics (and this package in a run) processes the image
  itself: `*` is outside of the tolerance. It differs in three steps, all of them PyRadiomics': the resampled grid
  begins at the corner of the image instead of lying around its centre; the mask is resampled to the nearest voxel,
  not by half its volume (45,107 voxels instead of 45,985); intensities are not rounded to whole HU. The packaged CT
  parameters also take cubic splines at 1 mm instead of trilinear interpolation at 2 mm, which no consensus value is
  of.

Features without an IBSI counterpart:
{without}

IBSI features that PyRadiomics does not have: everything of intensity-volume histograms, local intensity and distance
zones; the other morphological, histogram and NGLDM features that are not in the tables.

"""
