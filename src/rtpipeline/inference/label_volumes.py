"""Label volumes as models write them → checked, stored beside their label map."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rtpipeline.course import CourseFiles
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.nifti import read_nifti, write_nifti
from rtpipeline.outcome import StageError


def store_labels(made: Path, file: Path, grid: Grid, facts: Mapping[str, Any], reply: Mapping[str, Any]) -> int:
    """Check what a model wrote, store it as uint8 labels with its label map, and delete what the model wrote.

    Nothing in the label map depends on the time or on how fast the machine was.

    Args:
        made: the model's NIfTI file.
        file: where to store it (`.nii.gz`).
        grid: the grid of the image.
        facts: `labels` (label number as text → name) and whatever else belongs into the label map.
        reply: the child's answer: `versions`, `weights_digest`, `device`.

    Returns:
        The number of structures that have a voxel.

    Raises:
        StageError: the labels do not lie on the image's grid, or one of them has no name.
    """
    segmented = read_nifti(made)
    made.unlink()
    if not segmented.grid.same_as(grid):
        raise StageError("the segmentation does not lie on the image's grid; this is a defect, please report it")
    labels = segmented.values.astype(np.uint8)
    counts = np.bincount(labels.ravel(), minlength=256)
    unnamed = sorted({str(label) for label in np.flatnonzero(counts)} - {"0", *facts["labels"]})
    if unnamed:
        raise StageError(f"the segmentation has labels without a name: {', '.join(unnamed)}; please report it")
    label_map = {
        **facts,
        "voxel_counts": {label: int(counts[int(label)]) for label in facts["labels"]},
        "versions": reply["versions"],
        "weights_digest": reply["weights_digest"],
        "device": reply["device"].partition(":")[0],
    }
    write_nifti(file, Volume(grid, labels))
    CourseFiles.label_map(file).write_text(json.dumps(label_map, indent=1) + "\n", encoding="utf-8")
    return sum(count > 0 for count in label_map["voxel_counts"].values())
