"""Whether a structure is large enough for the features that are asked for: found out before PyRadiomics is asked.

The library refuses the same masks (`radiomics.imageoperations`: `getMask`, `checkMask`, `resegmentMask`), but by the
kind of error that it raises for anything else, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk


class UnusableStructureError(ValueError):
    """A structure is too small for the features that are asked for; the message says in what way."""


def require_usable(mask: sitk.Image, setting: Mapping[str, Any], within: str = "") -> None:
    """Refuse a structure that is smaller than a parameter file allows.

    Args:
        mask: 1 inside the structure, on the grid that features are extracted on.
        setting: PyRadiomics' settings: `minimumROIDimensions` (2 where it is not set), and `minimumROISize`, which the
            number of voxels has to exceed.
        within: what the structure was limited to, for the message; empty where it is whole.

    Raises:
        UnusableStructureError: it has no voxel, one, no more than the smallest size, or too few dimensions.
    """
    inside = sitk.GetArrayViewFromImage(mask) == 1
    count = int(np.count_nonzero(inside))
    spacing = " x ".join(f"{millimetres:.4g}" for millimetres in mask.GetSpacing())
    voxels = f"{count} {'voxel' if count == 1 else 'voxels'} of {spacing} mm{f' within {within}' if within else ''}"
    if count < 2:
        raise UnusableStructureError(f"it has {voxels}, and features need more")
    dimensions = sum(bool(np.count_nonzero(inside.any(axis)) > 1) for axis in ((1, 2), (0, 2), (0, 1)))
    fewest = setting.get("minimumROIDimensions", 2)
    if dimensions < fewest:
        raise UnusableStructureError(
            f"it has {voxels} along {dimensions} of the 3 axes, and minimumROIDimensions of the parameters is {fewest}"
        )
    smallest = setting.get("minimumROISize")
    if smallest is not None and count <= smallest:
        raise UnusableStructureError(
            f"it has {voxels}, and minimumROISize of the parameters asks for more than {smallest}"
        )
