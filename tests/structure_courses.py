"""A small synthetic course with manual, automatic and custom model structures, for tests of structures."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_files import grid_of, write_series
from rtpipeline.course import Course, CourseDescription, CourseFiles, DoseDecision, ImageSeries
from rtpipeline.dicom.rtstruct import RoiToWrite, write_structure_set
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.nifti import write_nifti
from rtpipeline.imaging.polygons import outline
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.resources import Resources

GRID = grid_of("HFS", size=(40, 36, 20), spacing=(1.0, 1.0, 2.5))


def box(x: tuple[int, int], y: tuple[int, int], z: tuple[int, int]) -> NDArray[np.bool_]:
    """A box of voxels on `GRID`."""
    values = np.zeros(GRID.shape, bool)
    values[slice(*z), slice(*y), slice(*x)] = True
    return values


GTV = box((10, 16), (10, 16), (6, 10))
HEART = box((20, 30), (8, 20), (4, 14))
LUNG_LEFT = box((2, 18), (4, 30), (0, 18))


def labels(*masks: NDArray[np.bool_]) -> Volume:
    """Label 1 for the first mask, 2 for the second, …"""
    values = np.zeros(GRID.shape, np.uint8)
    for number, mask in enumerate(masks, start=1):
        values[mask] = number
    return Volume(GRID, values)


def write_segmentation(path: Path, volume: Volume, names: dict[int, str]) -> None:
    """A multilabel NIfTI and its label map."""
    write_nifti(path, volume)
    counts = {str(label): int(np.count_nonzero(volume.values == label)) for label in names}
    content = {"labels": {str(label): name for label, name in names.items()}, "voxel_counts": counts}
    CourseFiles.label_map(path).write_text(json.dumps(content), encoding="utf-8")


def write_manual(course: Course, **rois: NDArray[np.bool_]) -> None:
    """`RS.dcm` with the given ROIs; underscores in names become spaces."""
    written = [
        RoiToWrite(name.replace("_", " "), outline(Mask.cropped(GRID, values)), "ORGAN", "MANUAL")
        for name, values in rois.items()
    ]
    write_structure_set(course.files.structure_set, course.path("DICOM/CT"), written, label="manual")


def make_course(folder: Path, grid: Grid = GRID) -> Course:
    """A course with a planning CT and nothing else."""
    write_series(folder / "DICOM" / "CT", grid, np.zeros(grid.shape, np.int16))
    image = ImageSeries(
        key="CT",
        modality="CT",
        folder="DICOM/CT",
        series_instance_uid="1.2.3",
        study_instance_uid="1.2.4",
        instance_count=grid.planes,
    )
    description = CourseDescription(
        patient="P1",
        course="2024-02_abc",
        patient_id="000123",
        kind="structures",
        images=(image,),
        dose_decision=DoseDecision(label="no_dose"),
    )
    return Course(CourseFiles(folder), description)


def make_resources(folder: Path) -> Resources:
    """One thread, and private folders below `folder`."""
    for name in ("staging", "scratch", "logs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Resources(
        threads=1,
        device="cpu",
        staging=folder / "staging",
        scratch=folder / "scratch",
        logs=folder / "logs",
        children=ChildProcesses(),
        logger=logging.getLogger("test"),
    )
