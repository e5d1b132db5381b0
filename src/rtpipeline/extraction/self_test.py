"""A tiny extraction with known results: `python -m rtpipeline.extraction.self_test` fails where this side is broken.

It goes through what every job goes through: PyRadiomics and its compiled matrices, SimpleITK, and kernels by Numba.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from rtpipeline.extraction.engine import extract
from rtpipeline.extraction.jobs import ExtractionJob, ImageOnDisk, MaskOnDisk

_SPACING_MM = (1.0, 2.0, 3.0)
_SHAPE = (4, 5, 6)
"""Voxels of the box along (z, y, x)."""
_FIRST = 10.0

EXPECTED = {
    "original_shape_VoxelVolume": 4 * 5 * 6 * (1.0 * 2.0 * 3.0),
    "original_firstorder_Mean": _FIRST + 5 / 2,
    "original_firstorder_Variance": (6**2 - 1) / 12,
    "original_glcm_Contrast": 9 / 13,
}
"""Closed forms of a box whose values rise by 1 a voxel along x; 9 of the 13 directions of GLCM step along x."""


class SelfTestError(Exception):
    """An extraction has other results than it must have."""


def self_test() -> None:
    """Extract the features of `EXPECTED`, in about a second.

    Raises:
        SelfTestError: one has another value.
        ValueError, RuntimeError, OSError, ImportError: nothing can be extracted.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        values = np.broadcast_to(_FIRST + np.arange(_SHAPE[2]), _SHAPE).astype(np.float32)
        np.save(folder / "image.npy", values)
        np.save(folder / "mask.npy", np.ones(_SHAPE, dtype=np.bool_))
        direction = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
        image = ImageOnDisk(folder / "image.npy", (0.0, 0.0, 0.0), _SPACING_MM, direction, "self-test")
        wanted: dict[str, list[str]] = {}
        for feature in EXPECTED:
            _, feature_class, short = feature.split("_")
            wanted.setdefault(feature_class, []).append(short)
        parameters = {"setting": {"binWidth": 1}, "imageType": {"Original": {}}, "featureClass": wanted}
        mask = MaskOnDisk(folder / "mask.npy", (0, 0, 0), "self-test")
        found = extract(ExtractionJob("self-test", image, mask, parameters, size=0.1)).features
    for feature, expected in EXPECTED.items():
        value = found.get(feature)
        if value is None or abs(value - expected) > 1e-9 * expected:
            raise SelfTestError(f"{feature} of a known structure is {value} instead of {expected}")


if __name__ == "__main__":
    try:
        self_test()
    except SelfTestError as error:
        sys.exit(str(error))
