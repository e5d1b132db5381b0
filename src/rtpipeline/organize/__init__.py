"""Raw DICOM becomes courses: index · references · grouping · dose decision and summation · materialising."""

from __future__ import annotations

from rtpipeline.organize.cohort import OrganizeResult, organize, preview_courses

__all__ = ["OrganizeResult", "organize", "preview_courses"]
