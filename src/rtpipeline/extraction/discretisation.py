"""Grey levels of a region: discretised once per image, for all classes of features.

PyRadiomics discretises once per class (six times an image), and looks for the extremes with Python's own `min` and
`max`. The bin edges here are the library's: they depend on the extremes alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from radiomics import imageoperations


def grey_levels(values: NDArray[Any], setting: dict[str, Any]) -> NDArray[np.int64]:
    """The bin of each value, from 1: fixed bin width from 0 HU (`binWidth`), or a fixed number of bins (`binCount`).

    Args:
        values: the voxels of the region, in any order, in the image's own type (the type decides how edges round).
        setting: PyRadiomics' settings.
    """
    extremes = np.array([values.min(), values.max()], dtype=values.dtype)
    edges = imageoperations.getBinEdges(extremes, **setting)
    levels: NDArray[np.int64] = np.digitize(values, edges)
    return levels
