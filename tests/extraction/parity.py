"""When two features count as the same number: to the last bit, but for those whose sums are taken in another order."""

from __future__ import annotations

import math
from collections.abc import Mapping

RELATIVE_TOLERANCE = 1e-10

OTHER_ORDER = {
    # The mesh's cubes are counted by kind.
    "shape": {
        "MeshVolume",
        "SurfaceArea",
        "SurfaceVolumeRatio",
        "Sphericity",
    },
    # Powers are products; values outside the percentiles are left out instead of adding 0.
    "firstorder": {"Skewness", "Kurtosis", "RobustMeanAbsoluteDeviation"},
    # Powers are products, one eigenvalue of a symmetric matrix instead of all of one that is not.
    "glcm": {
        "MCC",
        "ClusterProminence",
        "ClusterShade",
    },
}
"""Features, by class, that may differ in the last bits."""

_DIMENSIONLESS = {"Skewness", "MCC", "Correlation", "Imc1", "Imc2"}


def differences(ours: Mapping[str, float | None], plain: Mapping[str, float]) -> dict[str, tuple[float | None, float]]:
    """Features that are not the same number; undefined counts as the same as not finite."""
    return {name: (ours.get(name), value) for name, value in plain.items() if not _same(name, ours, plain)}


def _same(name: str, ours: Mapping[str, float | None], plain: Mapping[str, float]) -> bool:
    ours_value, value = ours.get(name), plain[name]
    if ours_value is None or not math.isfinite(value):
        return ours_value is None and not math.isfinite(value)
    image, feature_class, feature = name.rsplit("_", 2)
    if feature not in OTHER_ORDER.get(feature_class, ()):
        return ours_value == value
    scale = abs(value)
    if feature in _DIMENSIONLESS:
        scale = max(scale, 1.0)
    if feature == "ClusterShade":  # a third moment; its scale is the spread of what it is a moment of, cubed
        scale = max(scale, plain.get(f"{image}_{feature_class}_ClusterTendency", 0.0) ** 1.5)
    return abs(ours_value - value) <= RELATIVE_TOLERANCE * scale
