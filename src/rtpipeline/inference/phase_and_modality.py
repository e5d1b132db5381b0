"""Contrast phase and modality of a planning CT, by the classifiers that TotalSegmentator brings (they need XGBoost).

The classifiers of the phase take the median HU in organs and vessels of the task `total`, and, where the image shows
the brain, in vessels of the task `headneck_bones_vessels`. Both are taken from the segmentation that is there:
nothing is inferred for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtpipeline.course import CT_KEY, CourseFiles
from rtpipeline.imaging.nifti import read_nifti
from rtpipeline.inference.children import TotalSegmentatorProcess, ask
from rtpipeline.inference.label_volumes import read_label_map
from rtpipeline.scheduling.resources import Resources
from rtpipeline.scheduling.worker_process import Message, WorkerError

UNKNOWN = "unknown"
HEAD_AND_NECK_TASK = "headneck_bones_vessels"
BRAIN_FROM_CM3 = 0.1
"""With more brain than this, TotalSegmentator's classifiers of the phase look at vessels of the neck too."""
TELLING = (
    "aorta",
    "heart",
    "inferior_vena_cava",
    "portal_vein_and_splenic_vein",
    "pulmonary_vein",
    "liver",
    "iliac_artery_left",
    "iliac_artery_right",
    "iliac_vena_left",
    "iliac_vena_right",
)
"""Structures in which contrast agent shows; without any of them nothing tells the phase."""
TIME_LIMIT_S = 300.0


def phase_and_modality(earlier: Path, staging: CourseFiles, weights: Path, resources: Resources) -> dict[str, Any]:
    """What the classifiers say of the planning CT, which was segmented with the task `total`.

    Args:
        earlier: `body_regions.json` of an earlier run; what it says of the same segmentation is taken over.
        staging: has the image as NIfTI, the labels and their label map.
        weights: the folder of TotalSegmentator's weights, for the child process.
        resources: of the stage.

    Returns:
        `contrast_phase` (`native`, `arterial_early`, `arterial_late`, `portal_venous` or `unknown`) with
        `contrast_phase_reason` (why it is unknown), `contrast_phase_probability` and `seconds_after_injection`;
        `modality` (`ct`, `mr` or `unknown`) with `modality_reason` and `modality_probability`; `classifiers`: versions.
    """
    if find_spec("xgboost") is None:
        return _unknown("XGBoost, which TotalSegmentator's classifiers need, is not installed")
    label_map = read_label_map(staging.segmentation(CT_KEY, "total"))
    if label_map is None:
        raise ValueError("the planning CT was not segmented with the task total")
    xgboost = packages_distributions()["xgboost"][0]  # xgboost-cpu is the same without code for GPUs
    classifiers = f"TotalSegmentator {label_map['versions']['TotalSegmentator']}, {xgboost} {version(xgboost)}"
    known = _earlier(earlier)
    if (known.get("segmentation_digest"), known.get("classifiers")) == (label_map["segmentation_digest"], classifiers):
        return {key: known[key] for key in _unknown("")}
    head_and_neck = staging.segmentation(CT_KEY, HEAD_AND_NECK_TASK)
    reason = _why_no_phase(label_map, head_and_neck.is_file())
    request = {
        "image": str(staging.image_nifti(CT_KEY)),
        "labels": "" if reason else str(staging.segmentation(CT_KEY, "total")),
        "head_and_neck_labels": str(head_and_neck) if head_and_neck.is_file() else "",
    }

    def start() -> TotalSegmentatorProcess:
        return TotalSegmentatorProcess(weights, resources.threads, resources.logs, resources.device, resources.logger)

    try:
        reply = ask(f"totalsegmentator-{weights}", start, request, TIME_LIMIT_S, resources)
    except WorkerError as error:
        resources.logger.warning("contrast phase and modality are unknown: %s", error)
        return _unknown(f"TotalSegmentator's classifiers failed: {error}")
    return {**_unknown(reason), "modality_reason": "", **reply, "classifiers": classifiers}


def classify(request: Message) -> Message:
    """The part that runs in the child: TotalSegmentator's own functions on statistics of labels that are there.

    Args:
        request: `image` (NIfTI, HU), `labels` of the task `total` (empty: the phase is not asked for) and
            `head_and_neck_labels` (empty where there are none).

    Returns:
        The values of `phase_and_modality` that the classifiers give.
    """
    import nibabel
    from totalsegmentator.bin import totalseg_get_modality, totalseg_get_phase

    image = nibabel.load(request["image"])
    modality = totalseg_get_modality.get_modality(image)
    found: Message = {"modality": modality["modality"], "modality_probability": round(modality["probability"], 4)}
    if not request["labels"]:
        return found
    total = structure_statistics(Path(request["image"]), Path(request["labels"]))
    if request["head_and_neck_labels"]:
        vessels = structure_statistics(Path(request["image"]), Path(request["head_and_neck_labels"]))
        # which it would segment itself, on a device of its own choice
        totalseg_get_phase.totalsegmentator = lambda *_, **__: (None, vessels)
    phase = totalseg_get_phase.get_ct_contrast_phase(image, quiet=True, existing_stats=total)
    return {
        **found,
        "contrast_phase": phase["phase"],
        "contrast_phase_probability": phase["probability"],
        "seconds_after_injection": phase["pi_time"],
    }


def structure_statistics(image: Path, labels: Path) -> dict[str, dict[str, float]]:
    """Structure → `volume` (mm3) and `intensity` (median HU, 0 where it has no voxel), as TotalSegmentator has them."""
    from scipy.ndimage import find_objects

    segmented, hu = read_nifti(labels), read_nifti(image).values
    names = json.loads(CourseFiles.label_map(labels).read_text(encoding="utf-8"))["labels"]
    voxel_mm3 = 1000.0 * segmented.grid.voxel_volume_cm3
    statistics = {name: {"volume": 0.0, "intensity": 0.0} for name in names.values()}
    for number, box in enumerate(find_objects(segmented.values), start=1):
        if box is not None:
            inside: NDArray = hu[box][segmented.values[box] == number]
            intensity = round(float(np.median(inside)), 5)
            statistics[names[str(number)]] = {"volume": inside.size * voxel_mm3, "intensity": intensity}
    return statistics


def _why_no_phase(label_map: Mapping[str, Any], has_head_and_neck: bool) -> str:
    """Why the classifiers cannot be asked for the contrast phase; empty where they can."""
    if label_map["options"]["roi_subset"]:
        return "only a subset of the structures was segmented (segmentation.roi_subset)"
    voxels = {name: label_map["voxel_counts"][label] for label, name in label_map["labels"].items()}
    if not any(voxels[name] for name in TELLING):
        return "nothing in which contrast agent shows was found"
    if voxels["brain"] * label_map["voxel_volume_cm3"] > BRAIN_FROM_CM3 and not has_head_and_neck:
        return (
            f"the CT shows the brain, and then the classifiers need the task {HEAD_AND_NECK_TASK} "
            "(segmentation.extra_models)"
        )
    return ""


def _unknown(reason: str) -> dict[str, Any]:
    return {
        "contrast_phase": UNKNOWN,
        "contrast_phase_reason": reason,
        "contrast_phase_probability": None,
        "seconds_after_injection": None,
        "modality": UNKNOWN,
        "modality_reason": reason,
        "modality_probability": None,
        "classifiers": "",
    }


def _earlier(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
