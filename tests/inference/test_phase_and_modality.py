"""Contrast phase and modality by TotalSegmentator's own classifiers, on statistics of labels that are there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from totalsegmentator.map_to_binary import class_map
from totalsegmentator.statistics import get_basic_statistics

from dicom_files import grid_of
from painted_course import resources
from rtpipeline.course import CourseFiles
from rtpipeline.imaging.grid import Volume
from rtpipeline.imaging.nifti import write_nifti
from rtpipeline.inference.body_regions import account
from rtpipeline.inference.phase_and_modality import classify, phase_and_modality, structure_statistics
from rtpipeline.scheduling.children import ChildProcesses

LABELS = {name: label for label, name in class_map["total"].items()}
NATIVE = {"aorta": 40, "heart": 40, "inferior_vena_cava": 38, "liver": 55, "pancreas": 38}
NATIVE |= {"portal_vein_and_splenic_vein": 38, "pulmonary_vein": 40}
PORTAL_VENOUS = {"aorta": 150, "heart": 150, "inferior_vena_cava": 140, "liver": 110, "pancreas": 95}
PORTAL_VENOUS |= {"portal_vein_and_splenic_vein": 165, "pulmonary_vein": 150}


def _course(folder: Path, hu_of: dict[str, int], **changes: Any) -> CourseFiles:
    """A CT as NIfTI with a box of each structure's HU, and its labels."""
    files = CourseFiles(folder)
    grid = grid_of("FFS", (60, 40, 20), (3.0, 3.0, 3.0))
    hu = np.random.default_rng(5).integers(-1000, 60, grid.shape).astype(np.int16)
    labels = np.zeros(grid.shape, np.uint8)
    for number, (name, value) in enumerate(hu_of.items()):
        box = (slice(2 + number % 3, 12), slice(5, 30), slice(1 + 7 * number, 6 + 7 * number))
        hu[box], labels[box] = value, LABELS[name]
        hu[box][0, 0, :3] += 500  # a median does not mind
    write_nifti(files.image_nifti("CT"), Volume(grid, hu))
    write_nifti(files.segmentation("CT", "total"), Volume(grid, labels))
    counts = np.bincount(labels.ravel(), minlength=256)
    label_map = {
        "task": "total",
        "labels": {str(label): name for name, label in LABELS.items()},
        "voxel_counts": {str(label): int(counts[label]) for label in LABELS.values()},
        "voxel_volume_cm3": grid.voxel_volume_cm3,
        "versions": {"TotalSegmentator": "2.12.0"},
        "options": {"roi_subset": []},
        "segmentation_digest": "abc",
        **changes,
    }
    CourseFiles.label_map(files.segmentation("CT", "total")).write_text(json.dumps(label_map))
    return files


@pytest.fixture(scope="module")
def warm() -> Iterator[ChildProcesses]:
    children = ChildProcesses()
    yield children
    children.close()


def _request(files: CourseFiles) -> dict[str, str]:
    image, labels = files.image_nifti("CT"), files.segmentation("CT", "total")
    return {"image": str(image), "labels": str(labels), "head_and_neck_labels": ""}


def test_statistics_are_those_of_totalsegmentator(tmp_path: Path) -> None:
    files = _course(tmp_path, PORTAL_VENOUS)
    image, labels = files.image_nifti("CT"), files.segmentation("CT", "total")
    theirs = get_basic_statistics(
        np.asarray(nibabel.load(labels).dataobj),
        nibabel.load(image),
        quiet=True,
        exclude_masks_at_border=False,
        metric="median",
    )
    ours = structure_statistics(image, labels)
    assert list(ours) == list(theirs)
    for name, values in theirs.items():
        assert ours[name] == pytest.approx(values)
    assert ours["aorta"]["intensity"] == 150.0


@pytest.mark.parametrize(("hu_of", "phase"), [(NATIVE, "native"), (PORTAL_VENOUS, "portal_venous")])
def test_the_phase_is_that_of_the_organs_contrast(tmp_path: Path, hu_of: dict[str, int], phase: str) -> None:
    found = classify(_request(_course(tmp_path, hu_of)))
    assert (found["contrast_phase"], found["modality"]) == (phase, "ct")
    assert found["contrast_phase_probability"] >= 0.7


def test_vessels_of_the_neck_come_from_the_segmentation_that_is_there(tmp_path: Path) -> None:
    files = _course(tmp_path, {**NATIVE, "brain": 35})
    neck = files.segmentation("CT", "headneck_bones_vessels")
    write_nifti(neck, Volume(grid_of("FFS", (60, 40, 20), (3.0, 3.0, 3.0)), np.zeros((20, 40, 60), np.uint8)))
    names = {str(label): name for label, name in class_map["headneck_bones_vessels"].items()}
    CourseFiles.label_map(neck).write_text(json.dumps({"labels": names}))
    found = classify({**_request(files), "head_and_neck_labels": str(neck)})
    assert found["contrast_phase"] == "native"


def test_a_child_answers_and_the_same_segmentation_is_not_asked_about_again(
    tmp_path: Path, warm: ChildProcesses
) -> None:
    files = _course(tmp_path, NATIVE)
    found = phase_and_modality(files.body_regions, files, Path("weights"), resources(tmp_path, warm))
    assert (found["contrast_phase"], found["contrast_phase_reason"], found["modality"]) == ("native", "", "ct")
    files.body_regions.parent.mkdir()
    label_map = json.loads(CourseFiles.label_map(files.segmentation("CT", "total")).read_text())
    files.body_regions.write_text(json.dumps(account(label_map, {**found, "contrast_phase": "as it was"})))
    again = phase_and_modality(files.body_regions, files, tmp_path, resources(tmp_path, ChildProcesses()))
    assert again == {**found, "contrast_phase": "as it was"}


@pytest.mark.parametrize(
    ("hu_of", "changes", "words"),
    [
        ({"spinal_cord": 40}, {}, "nothing in which contrast agent shows"),
        (NATIVE, {"options": {"roi_subset": ["liver"]}}, "only a subset"),
        ({**NATIVE, "brain": 35}, {}, "need the task headneck_bones_vessels"),
    ],
)
def test_the_phase_is_unknown_where_the_classifier_lacks_what_it_looks_at(
    tmp_path: Path, warm: ChildProcesses, hu_of: dict[str, int], changes: dict[str, Any], words: str
) -> None:
    files = _course(tmp_path, hu_of, **changes)
    found = phase_and_modality(files.body_regions, files, Path("weights"), resources(tmp_path, warm))
    assert found["contrast_phase"] == "unknown"
    assert words in found["contrast_phase_reason"]
    assert (found["modality"], found["modality_reason"]) == ("ct", "")


def test_without_xgboost_both_are_unknown_and_no_process_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    files = _course(tmp_path, NATIVE)
    found = phase_and_modality(files.body_regions, files, tmp_path, resources(tmp_path, ChildProcesses()))
    assert (found["contrast_phase"], found["modality"]) == ("unknown", "unknown")
    assert "XGBoost" in found["contrast_phase_reason"]
    assert not (tmp_path / "logs").exists()
