"""NIfTI files. Their coordinates are RAS; ours are DICOM's LPS: x and y change sign."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel
import numpy as np

from rtpipeline.atomic import replacing
from rtpipeline.imaging.grid import Grid, Volume

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])

READ_ERRORS = (
    nibabel.filebasedimages.ImageFileError,
    nibabel.spatialimages.HeaderDataError,
    nibabel.wrapstruct.WrapStructError,
    OSError,
    EOFError,
    ValueError,
    zlib.error,
)
"""What NiBabel raises for damaged files."""

COMPRESSION_LEVEL = 3
"""Of gzip: most of the gain for a fraction of the time of level 9."""


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file.

    Returns:
        Values (z, y, x) with the type of the file (floats where the header scales), on a grid in LPS mm.

    Raises:
        ValueError: the file is not a three-dimensional NIfTI image, or its axes are sheared.
    """
    try:
        image = nibabel.Nifti1Image.from_filename(path)
        values = np.asanyarray(image.dataobj)
    except READ_ERRORS as error:
        raise ValueError(f"{path} cannot be read as NIfTI: {error}") from error
    if values.ndim != 3:
        raise ValueError(f"{path} has {values.ndim} dimensions; expected 3")
    steps = RAS_FROM_LPS @ image.affine[:3, :3]
    spacing = np.linalg.norm(steps, axis=0)
    grid = Grid.uniform(
        RAS_FROM_LPS @ image.affine[:3, 3],
        (float(spacing[0]), float(spacing[1]), float(spacing[2])),
        (values.shape[0], values.shape[1], values.shape[2]),
        steps / spacing,
    )
    return Volume(grid, np.ascontiguousarray(values.transpose(2, 1, 0)))


def write_nifti(path: Path, volume: Volume) -> None:
    """Write a volume as NIfTI, gzipped where the name ends in `.gz`; the same volume gives the same bytes.

    The file appears under its name only when it is complete. Booleans become uint8, other types stay.

    Raises:
        ValueError: the planes are not equally spaced, which NIfTI cannot say.
    """
    grid = volume.grid
    if not grid.is_uniform:
        raise ValueError(f"{path}: NIfTI cannot hold planes that are not equally spaced")
    affine = np.eye(4)
    affine[:3, :3] = RAS_FROM_LPS @ grid.direction * np.array(grid.spacing_mm)
    affine[:3, 3] = RAS_FROM_LPS @ grid.origin_mm
    values = volume.values.astype(np.uint8) if volume.values.dtype == np.bool_ else volume.values
    image = nibabel.Nifti1Image(values.transpose(2, 1, 0), affine, dtype=values.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    content = image.to_bytes()
    if path.name.endswith(".gz"):
        content = gzip.compress(content, COMPRESSION_LEVEL, mtime=0)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
