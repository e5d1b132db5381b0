"""A course whose CT is painted with the HU codes of organs, in any patient position, and its true labels."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from totalsegmentator.map_to_binary import class_map

from dicom_files import direction_of, write_series
from rtpipeline.config import Configuration
from rtpipeline.course import Course, CourseDescription, CourseFiles, DoseDecision, ImageSeries
from rtpipeline.demo.phantom_codes import ORGAN_HU
from rtpipeline.dicom.identifiers import derived_uid
from rtpipeline.imaging.grid import Grid
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.resources import Resources

LABELS = {name: label for label, name in class_map["total"].items()}
SOFT_TISSUE_HU = 40.0


@dataclass(frozen=True)
class Phantom:
    """A CT and what each of its voxels is.

    Attributes:
        grid: of the CT.
        hu: (planes, rows, columns).
        organs: label of TotalSegmentator's task `total` of each voxel, 0 for none.
    """

    grid: Grid
    hu: NDArray[np.float64]
    organs: NDArray[np.uint8]


def phantom(position: str = "HFS", *, planes: int = 40, size: int = 34, spacing_mm: float = 3.0) -> Phantom:
    """Box-shaped organs of `ORGAN_HU` in soft tissue in air, with noise of 5 HU; asymmetric along every axis."""
    grid = Grid.uniform((-61.0, 12.0, -300.0), (spacing_mm,) * 3, (size, size - 2, planes), direction_of(position))
    hu = np.full(grid.shape, -1000.0)
    hu[1:-2, 2:-3, 1:-1] = SOFT_TISSUE_HU
    organs = np.zeros(grid.shape, np.uint8)
    for number, (name, code) in enumerate(ORGAN_HU.items()):
        row, column = 3 + 7 * (number // 4), 2 + 7 * (number % 4)
        box = (slice(2 + number, planes - 4), slice(row, row + 4), slice(column, column + 5))
        hu[box] = code
        organs[box] = LABELS[name]
    noise = np.random.default_rng(7).normal(0.0, 5.0, grid.shape)
    return Phantom(grid, np.rint(hu + noise), organs)


def make_course(
    folder: Path, painted: Phantom | None, mr: Phantom | None = None, ct_class: str = "planning_ct"
) -> Course:
    """A course folder with a CT (and an MR series) painted as given."""
    images = []
    for key, modality, image in (("CT", "CT", painted), ("MR_1a2b3c4d", "MR", mr)):
        if image is None:
            continue
        place = "DICOM/CT" if key == "CT" else f"DICOM/MR/{key}"
        stored = np.rint(image.hu + 1000.0).astype(np.int16)
        files = write_series(folder / place, image.grid, stored, intercept=-1000.0, series=key)
        images.append(
            ImageSeries(
                key=key,
                modality=modality,  # type: ignore[arg-type]
                folder=place,
                series_instance_uid=derived_uid(key),
                study_instance_uid=derived_uid("study"),
                instance_count=len(files),
                series_class=ct_class if key == "CT" else "anatomical_mr",
            )
        )
    description = CourseDescription(
        patient="P1",
        course="2024-02_abc",
        patient_id="P1",
        kind="images",
        images=tuple(images),
        dose_decision=DoseDecision(label="no_dose"),
    )
    return Course(CourseFiles(folder), description)


def resources(folder: Path, children: ChildProcesses, **changes: Any) -> Resources:
    """Resources whose staging folder is the course folder itself."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {
        "threads": 2,
        "device": "cpu",
        "staging": folder,
        "scratch": scratch,
        "logs": folder / "logs",
        "children": children,
        "logger": logging.getLogger("test"),
    }
    return Resources(**{**values, **changes})


def configuration(**sections: Any) -> Configuration:
    """The defaults with some sections replaced."""
    return Configuration.model_validate(sections)


def publish(staging: Path, folder: Path) -> None:
    """Put what a stage made in its place, as the pipeline does."""
    for file in [path for path in staging.rglob("*") if path.is_file()]:
        target = folder / file.relative_to(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
    shutil.rmtree(staging, ignore_errors=True)
