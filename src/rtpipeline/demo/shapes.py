"""Ellipsoids in patient coordinates: the building blocks of the synthetic anatomy."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rtpipeline.imaging.grid import FloatArray

OUTLINE_POINTS = 72
"""Vertices of the polygon that stands for an elliptic cross-section."""

SMALLEST_OUTLINE = 0.15
"""Cross-sections below this fraction of the largest radius are not drawn, as nobody draws a two-millimetre cap."""


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid with its axes along the patient's; with an infinite z radius, an elliptic cylinder.

    Attributes:
        centre_mm: (x, y, z) in DICOM patient coordinates (LPS).
        radii_mm: (x, y, z) half axes.
    """

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]

    def radius_at(self, points_mm: FloatArray) -> FloatArray:
        """How far out points (…, 3) lie: 0 at the centre, 1 on the surface."""
        scaled = (points_mm - np.asarray(self.centre_mm)) / np.asarray(self.radii_mm)
        return np.sqrt(np.sum(scaled**2, axis=-1))

    def contains(self, points_mm: FloatArray) -> NDArray[np.bool_]:
        """Whether points (…, 3) lie inside."""
        return self.radius_at(points_mm) <= 1.0

    def expanded(self, margin_mm: float) -> Ellipsoid:
        """The ellipsoid whose half axes are longer by `margin_mm`."""
        x, y, z = self.radii_mm
        return replace(self, radii_mm=(x + margin_mm, y + margin_mm, z + margin_mm))

    def moved(self, offset_mm: FloatArray, scale: float) -> Ellipsoid:
        """The ellipsoid shifted by `offset_mm` (3,) and scaled about its own centre."""
        x, y, z = (float(value) for value in np.asarray(self.centre_mm) + offset_mm)
        radii = tuple(radius * scale for radius in self.radii_mm)
        return Ellipsoid((x, y, z), (radii[0], radii[1], radii[2]))

    def outline(self, z_mm: float) -> FloatArray | None:
        """Its cross-section with an axial plane as a polygon (vertices, 3) on the ellipse; None where there is none."""
        height = (z_mm - self.centre_mm[2]) / self.radii_mm[2]
        if abs(height) >= 1.0:
            return None
        shrink = math.sqrt(1.0 - height**2)
        if shrink < SMALLEST_OUTLINE:
            return None
        angles = np.arange(OUTLINE_POINTS) * (2.0 * math.pi / OUTLINE_POINTS)
        x = self.centre_mm[0] + self.radii_mm[0] * shrink * np.cos(angles)
        y = self.centre_mm[1] + self.radii_mm[1] * shrink * np.sin(angles)
        return np.stack([x, y, np.full_like(x, z_mm)], axis=-1)
