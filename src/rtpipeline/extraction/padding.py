"""How far around a structure its filters see: PyRadiomics' own distance, or as far as the widest filter reaches.

PyRadiomics filters a box around the structure that is `padDistance` voxels larger, five unless it is told otherwise.
The Laplacian of a Gaussian of 5 mm reaches three times as far, so values near the border of the structure are those of
a truncated filter. Four standard deviations hold all but 6 in 100,000 of a Gaussian.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

FilterPadding = Literal["pyradiomics", "four_sigma"]
_SIGMAS = 4.0


def with_padding(parameters: Mapping[str, Any], padding: FilterPadding, spacing_mm: Sequence[float]) -> dict[str, Any]:
    """Parameters whose `padDistance` is as `padding` says; never less than it was.

    Args:
        parameters: `setting`, `imageType` and `featureClass`.
        padding: `pyradiomics` for the parameters as they are, `four_sigma` for 4 times the largest sigma of the LoG.
        spacing_mm: of the image, for axes that are not resampled.
    """
    setting = parameters["setting"]
    log = {**setting, **parameters["imageType"].get("LoG", {})} if "LoG" in parameters["imageType"] else {}
    if padding == "pyradiomics" or not log.get("sigma"):
        return dict(parameters)
    asked = setting.get("resampledPixelSpacing") or (0, 0, 0)
    finest_mm = min(own or image for own, image in zip(asked, spacing_mm, strict=True))
    voxels = math.ceil(_SIGMAS * max(log["sigma"]) / finest_mm)
    return {**parameters, "setting": {**setting, "padDistance": max(voxels, int(setting.get("padDistance", 5)))}}
