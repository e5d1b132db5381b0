"""Images as models take them: NIfTI, of equally spaced planes, and high enough to show something."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rtpipeline.dicom.nifti_conversion import convert_to_nifti
from rtpipeline.imaging.grid import Grid
from rtpipeline.provenance import file_digest

FEWEST_PLANES = 5
LOWEST_HEIGHT_MM = 20.0
"""An image with fewer planes, or lower than this, is not segmented.

The networks tell organs apart by what lies above and below: they were trained on scans in blocks of about 190 mm. A
few planes hold no whole vertebra (20 to 30 mm), every view of them is mostly padding, and what a network says of
that looks like labels and means nothing.
"""


class TooLowError(Exception):
    """The image has too few planes for a model to tell structures apart."""


@dataclass(frozen=True)
class PreparedImage:
    """An image series as NIfTI.

    Attributes:
        file: the NIfTI file.
        grid: of the image.
        digest: SHA-256 of the file, which depends on nothing but voxels and geometry.
    """

    file: Path
    grid: Grid
    digest: str


def prepare(folder: Path, file: Path) -> PreparedImage:
    """Convert the image series in `folder` to NIfTI.

    Raises:
        DicomError: the series cannot be read, or its planes are not equally spaced.
        TooLowError: the image has fewer than `FEWEST_PLANES` planes or is lower than `LOWEST_HEIGHT_MM`.
    """
    grid = convert_to_nifti(folder, file)
    height_mm = grid.planes * grid.plane_spacing_mm
    if grid.planes < FEWEST_PLANES or height_mm < LOWEST_HEIGHT_MM:
        file.unlink()
        raise TooLowError(
            f"it has {grid.planes} plane{'s' if grid.planes != 1 else ''} of together {height_mm:g} mm, and what a "
            f"model finds in fewer than {FEWEST_PLANES} planes or {LOWEST_HEIGHT_MM:g} mm means nothing"
        )
    return PreparedImage(file, grid, file_digest(file))
