"""Which structures the analysis table has columns of by default, and which columns of `dvh_metrics.xlsx` those are."""

from __future__ import annotations

_MEAN = ("DmeanGy",)
_MEAN_AND_V20 = ("DmeanGy", "V20Gy (%)")
_NEARLY_MAXIMUM = ("D0.03ccGy",)
_OF_TARGETS = ("Volume (cm³)", "DmeanGy", "D98Gy", "D95Gy", "D2Gy", "DmaxGy", "V95%Rx (%)")

TARGETS = {"GTV": _OF_TARGETS, "CTV": _OF_TARGETS, "PTV": _OF_TARGETS}
"""By the beginning of a structure's name."""

ORGANS = {
    "Brain": _MEAN,
    "Brainstem": _NEARLY_MAXIMUM,
    "Parotid_L": _MEAN,
    "Parotid_R": _MEAN,
    "SpinalCord": _NEARLY_MAXIMUM,
    "Esophagus": _MEAN,
    "Heart": _MEAN,
    "Lungs": _MEAN_AND_V20,
    "Lung_L": _MEAN_AND_V20,
    "Lung_R": _MEAN_AND_V20,
    "Liver": _MEAN,
    "Stomach": _MEAN,
    "Kidney_L": _MEAN,
    "Kidney_R": _MEAN,
    "Bowel_Small": _NEARLY_MAXIMUM,
    "Bladder": _MEAN,
    "Rectum": _MEAN,
}
"""By AAPM TG-263 name."""
