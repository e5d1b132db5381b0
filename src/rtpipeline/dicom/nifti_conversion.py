"""DICOM image series → NIfTI."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import load_image
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.nifti import write_nifti


def convert_to_nifti(folder: Path, target: Path) -> Grid:
    """Write the image series in `folder` as the NIfTI file `target`, and return its grid.

    Raises:
        DicomError: the series cannot be read, or its planes are not equally spaced, which NIfTI cannot say.
    """
    volume = load_image(folder)
    if not volume.grid.is_uniform:
        raise DicomError(
            f"the planes of {folder} are not equally spaced, so planes are probably missing; export the series again"
        )
    write_image_nifti(target, volume)
    return volume.grid


def write_image_nifti(target: Path, volume: Volume) -> None:
    """Write image values as NIfTI: as int16 where that loses nothing, else as they are.

    Raises:
        ValueError: the planes are not equally spaced.
    """
    whole = np.rint(volume.values)
    limits = np.iinfo(np.int16)
    fits = limits.min <= whole.min() and whole.max() <= limits.max
    values = whole.astype(np.int16) if fits and np.array_equal(whole, volume.values) else volume.values
    write_nifti(target, Volume(volume.grid, values))
