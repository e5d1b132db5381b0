"""Label volumes as models write them → checked, cleaned, stored beside their label map; and stored ones used again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from rtpipeline.course import CourseFiles
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.nifti import read_nifti, write_nifti
from rtpipeline.inference.images import PreparedImage
from rtpipeline.inference.label_names import fits
from rtpipeline.inference.postprocessing import Cleaning, Labels, cleaned
from rtpipeline.outcome import StageError
from rtpipeline.provenance import file_digest

METHOD = 1
"""Raised when the same image, model and options give other labels than before."""

SAME = ("method", "task", "labels", "options", "image_digest", "postprocessing", "versions", "weights_digest")
"""What two label maps must agree in for their labels to be the same."""


def store_labels(
    made: Path,
    file: Path,
    image: PreparedImage,
    facts: Mapping[str, Any],
    reply: Mapping[str, Any],
    cleaning: Mapping[int, Cleaning],
) -> int:
    """Check what a model wrote, store it as uint8 labels with its label map, and delete what the model wrote.

    Nothing in the label map depends on the time or on how fast the machine was.

    Args:
        made: the model's NIfTI file.
        file: where to store it (`.nii.gz`).
        image: what was segmented.
        facts: `labels` (label number as text → name) and whatever else belongs into the label map.
        reply: the child's answer: `versions`, `weights_digest`, `device`.
        cleaning: what is done to which label.

    Returns:
        The number of structures that have a voxel.

    Raises:
        StageError: the labels do not lie on the image's grid, or one of them has no name.
    """
    labels = read_labels(made, image.grid)
    made.unlink()
    return write_labels(file, image, labels, facts, reply, cleaning)


def read_labels(made: Path, grid: Grid) -> Labels:
    """Labels (z, y, x) that a model wrote.

    Raises:
        StageError: they do not lie on the image's grid.
    """
    segmented = read_nifti(made)
    if not segmented.grid.same_as(grid):
        raise StageError("the segmentation does not lie on the image's grid; this is a defect, please report it")
    return segmented.values.astype(np.uint8)


def write_labels(
    file: Path,
    image: PreparedImage,
    labels: Labels,
    facts: Mapping[str, Any],
    reply: Mapping[str, Any],
    cleaning: Mapping[int, Cleaning],
) -> int:
    """The last part of `store_labels`: clean, check and store labels that lie on the image's grid."""
    labels = cleaned(labels, cleaning, image.grid.voxel_volume_cm3)
    counts = np.bincount(labels.ravel(), minlength=256)
    unnamed = sorted({str(label) for label in np.flatnonzero(counts)} - {"0", *facts["labels"]})
    if unnamed:
        raise StageError(f"the segmentation has labels without a name: {', '.join(unnamed)}; please report it")
    write_nifti(file, Volume(image.grid, labels))
    label_map = {
        **facts,
        "method": METHOD,
        "postprocessing": _cleaning_facts(cleaning),
        "image_digest": image.digest,
        "voxel_volume_cm3": image.grid.voxel_volume_cm3,
        "voxel_counts": {label: int(counts[int(label)]) for label in facts["labels"]},
        "versions": reply["versions"],
        "weights_digest": reply["weights_digest"],
        "device": reply["device"].partition(":")[0],
        "segmentation_digest": file_digest(file),
    }
    CourseFiles.label_map(file).write_text(json.dumps(label_map, indent=1) + "\n", encoding="utf-8")
    return structure_count(label_map)


def structure_count(label_map: Mapping[str, Any]) -> int:
    """How many structures of a label map have a voxel."""
    return sum(count > 0 for count in label_map["voxel_counts"].values())


def read_label_map(file: Path) -> dict[str, Any] | None:
    """The label map beside a segmentation; None where there is none or it cannot be read."""
    try:
        content = json.loads(CourseFiles.label_map(file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def unchanged(
    file: Path, image: PreparedImage, facts: Mapping[str, Any], cleaning: Mapping[int, Cleaning]
) -> dict[str, Any] | None:
    """The label map of a stored segmentation that the same image, options and cleaning would give again.

    The caller compares `versions` and `weights_digest`, which cost more to find out. None where something differs, or
    where the file is not the one that its label map describes.
    """
    earlier = read_label_map(file)
    if earlier is None or not file.is_file():
        return None
    wanted = {**facts, "method": METHOD, "postprocessing": _cleaning_facts(cleaning), "image_digest": image.digest}
    wanted = json.loads(json.dumps(wanted))
    cheap = [key for key in SAME if key in wanted]
    if any(earlier.get(key) != wanted[key] for key in cheap):
        return None
    return earlier if earlier.get("segmentation_digest") == file_digest(file) else None


def copy_stored(file: Path, target: Path) -> None:
    """Copy a segmentation and its label map."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)
    shutil.copyfile(CourseFiles.label_map(file), CourseFiles.label_map(target))


def write_binary_masks(file: Path, folder: Path, patterns: Sequence[str], threads: int = 1) -> None:
    """Write a binary NIfTI for each structure of a stored segmentation that a pattern names.

    Args:
        file: the stored multilabel segmentation.
        folder: where to write `<structure>.nii.gz`.
        patterns: shell patterns of names, without regard to case.
        threads: most masks that are compressed at once.
    """
    label_map = read_label_map(file)
    if label_map is None:
        raise StageError(f"{file} has no label map")
    wanted = [
        (int(label), name)
        for label, name in label_map["labels"].items()
        if label_map["voxel_counts"][label] and fits(name, patterns)
    ]
    if not wanted:
        return
    volume = read_nifti(file)

    def write(label: int, name: str) -> None:
        write_nifti(folder / f"{name}.nii.gz", Volume(volume.grid, volume.values == label))

    with ThreadPoolExecutor(threads, thread_name_prefix="save_masks") as executor:
        for _ in executor.map(write, *zip(*wanted, strict=True)):
            pass


def _cleaning_facts(cleaning: Mapping[int, Cleaning]) -> dict[str, Any]:
    return {str(label): rule.as_facts() for label, rule in sorted(cleaning.items())}
