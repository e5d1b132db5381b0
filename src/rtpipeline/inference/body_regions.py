"""Which regions of the body an image shows, from the volumes of its automatic segmentation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtpipeline.outcome import StageError

SMALLEST_VERTEBRA_CM3 = 1.0
"""A vertebra with less than this is taken for noise of the segmentation."""

_LUNGS = (
    "lung_upper_lobe_left",
    "lung_lower_lobe_left",
    "lung_upper_lobe_right",
    "lung_middle_lobe_right",
    "lung_lower_lobe_right",
)


@dataclass(frozen=True)
class Region:
    """What speaks for a region.

    Attributes:
        vertebrae: of which at least `fewest_vertebrae` are expected.
        fewest_vertebrae: see `vertebrae`.
        organs: groups of structures, and the volume in cm3 that a group has when the image really shows it.
    """

    vertebrae: tuple[str, ...]
    fewest_vertebrae: int
    organs: tuple[tuple[tuple[str, ...], float], ...]


REGIONS: Mapping[str, Region] = {
    "HEAD_NECK": Region(
        tuple(f"vertebrae_C{number}" for number in range(1, 8)), 1, ((("brain",), 50.0), (("skull",), 50.0))
    ),
    "THORAX": Region(
        tuple(f"vertebrae_T{number}" for number in range(1, 13)), 3, ((_LUNGS, 200.0), (("heart",), 50.0))
    ),
    "ABDOMEN": Region(
        tuple(f"vertebrae_L{number}" for number in range(1, 6)),
        2,
        ((("liver",), 100.0), (("spleen",), 30.0), (("kidney_left", "kidney_right"), 40.0)),
    ),
    "PELVIS": Region(("sacrum", "vertebrae_S1"), 1, ((("hip_left", "hip_right"), 30.0), (("urinary_bladder",), 10.0))),
}


def body_regions(volumes_cm3: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """For each region whether the image shows it, how sure that is, and what speaks for it.

    A region is present where enough of its vertebrae are there or one of its organs reaches its volume. The
    confidence is 0.7 min(n / n_min, 1) + 0.3 o: n vertebrae of n_min expected ones, o = 1 where an organ reaches its
    volume and 0 elsewhere.

    Args:
        volumes_cm3: structure of TotalSegmentator's task `total` → volume in cm3; absent ones count as 0.
    """
    found = {}
    for name, region in REGIONS.items():
        vertebrae = [bone for bone in region.vertebrae if volumes_cm3.get(bone, 0.0) > SMALLEST_VERTEBRA_CM3]
        organs = {
            " + ".join(group): round(sum(volumes_cm3.get(organ, 0.0) for organ in group), 3)
            for group, _ in region.organs
        }
        reached = [
            " + ".join(group)
            for group, least_cm3 in region.organs
            if sum(volumes_cm3.get(organ, 0.0) for organ in group) >= least_cm3
        ]
        enough = min(len(vertebrae) / region.fewest_vertebrae, 1.0)
        found[name] = {
            "present": enough >= 1.0 or bool(reached),
            "confidence": round(0.7 * enough + 0.3 * bool(reached), 3),
            "vertebrae": vertebrae,
            "organs_cm3": organs,
        }
    return found


def account(label_map: Mapping[str, Any], classified: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `body_regions.json`.

    Args:
        label_map: of the task `total`.
        classified: contrast phase and modality (see `phase_and_modality`).
    """
    voxel_cm3 = label_map["voxel_volume_cm3"]
    volumes = {name: label_map["voxel_counts"][label] * voxel_cm3 for label, name in label_map["labels"].items()}
    regions = body_regions(volumes)
    return {
        "task": label_map["task"],
        "segmentation_digest": label_map["segmentation_digest"],
        "regions_present": [name for name, region in regions.items() if region["present"]],
        "regions": regions,
        **classified,
    }


def regions_shown(file: Path) -> dict[str, Any] | None:
    """The content of `body_regions.json`; None where there was no segmentation to make it from.

    Raises:
        StageError: it cannot be read.
    """
    if not file.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StageError(f"{file} cannot be read ({error}); run the segmentation again") from error
    return content


def why_not(account: Mapping[str, Any] | None, required: tuple[str, ...], least_confidence: float) -> str:
    """Why an image is not one for a model that requires some regions; empty where it is.

    Args:
        account: content of `body_regions.json`; None where there is none.
        required: names of `REGIONS`.
        least_confidence: lower ones count as not shown.
    """
    if not required:
        return ""
    if account is None:
        regions = ", ".join(required)
        return f"it is meant for {regions}, and without an automatic segmentation nobody knows what the CT shows"
    reasons = []
    for name in required:
        region = account["regions"][name]
        if not region["present"]:
            reasons.append(f"the CT does not show {name}")
        elif region["confidence"] < least_confidence:
            reasons.append(
                f"that the CT shows {name} is not sure enough (confidence {region['confidence']:g}, "
                f"{least_confidence:g} is required)"
            )
    return "; ".join(reasons)
