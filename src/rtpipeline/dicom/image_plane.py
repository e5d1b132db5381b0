"""Where an image plane lies: the numbers of the Image Plane module (DICOM PS3.3 C.7.6.2), checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.values import as_numbers
from rtpipeline.imaging.grid import FloatArray

UNIT_TOLERANCE = 0.01
"""Of the length of a direction, and of the cosine between two that are perpendicular; files round them."""


def required_numbers(file: Path, dataset: Dataset, keyword: str, count: int) -> FloatArray:
    """An attribute of exactly `count` finite numbers, (count,).

    Raises:
        DicomError: it is missing, malformed or has another number of values.
    """
    numbers = as_numbers(dataset, keyword)
    if not numbers:
        raise DicomError(f"{file}: {keyword} is missing or malformed; expected {count} numbers")
    if len(numbers) != count:
        raise DicomError(f"{file}: {keyword} has {len(numbers)} values; expected {count}")
    return np.array(numbers)


def plane_direction(file: Path, orientation: FloatArray) -> FloatArray:
    """(3, 3) unit vectors along columns, rows and planes; the last is the cross product of the others.

    Args:
        file: for the error.
        orientation: (6,) ImageOrientationPatient.

    Raises:
        DicomError: it is not a pair of perpendicular unit vectors.
    """
    along_columns, along_rows = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(along_columns), np.linalg.norm(along_rows)
    if not np.allclose(lengths, 1.0, atol=UNIT_TOLERANCE) or abs(along_columns @ along_rows) > UNIT_TOLERANCE:
        raise DicomError(f"{file}: ImageOrientationPatient is not a pair of perpendicular unit vectors")
    x = along_columns / lengths[0]
    y = along_rows - (along_rows @ x) * x
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)
