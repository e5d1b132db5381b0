"""Dose-volume curves and metrics: one engine for drawn contours and for segmented voxels."""

from rtpipeline.dvh.stage import run

__all__ = ["run"]
