"""The main side of the radiomics workers: images and masks handed over as files, jobs sent, results streamed back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rtpipeline.extraction.jobs import ExtractionJob, ImageOnDisk, JobResult, MaskOnDisk

if TYPE_CHECKING:
    from rtpipeline.imaging.grid import Volume

__all__ = ["ExtractionJob", "ImageOnDisk", "JobResult", "MaskOnDisk", "store_image", "store_mask"]


def store_image(file: Path, volume: Volume) -> ImageOnDisk:
    """Write an image for the workers, once for all of its jobs.

    Args:
        file: a new `.npy` in the stage's scratch folder.
        volume: values (z, y, x) on a uniform grid; stored as float32.

    Raises:
        ValueError: the planes of the grid are not equally spaced.
    """
    grid = volume.grid
    spacing = grid.spacing_mm
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, np.ascontiguousarray(volume.values, dtype=np.float32))
    return ImageOnDisk(
        file=file,
        origin_mm=tuple(float(value) for value in grid.origin_mm),  # type: ignore[arg-type]
        spacing_mm=tuple(float(value) for value in spacing),  # type: ignore[arg-type]
        direction=tuple(float(value) for value in grid.direction.ravel()),
    )


def store_mask(file: Path, values: NDArray[np.bool_], offset: tuple[int, int, int]) -> MaskOnDisk:
    """Write a mask for the workers.

    Args:
        file: a new `.npy` in the stage's scratch folder.
        values: (z, y, x), part of the image's grid.
        offset: index (z, y, x) in the image of `values[0, 0, 0]`.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, np.ascontiguousarray(values, dtype=np.bool_))
    return MaskOnDisk(file, offset)
