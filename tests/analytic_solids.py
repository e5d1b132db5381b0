"""Solids in a linear dose, with their dose-volume curves in closed form (after Nelms et al., Med Phys 42, 2015).

Every solid is 24 mm across and drawn as axial contours every `spacing` mm. The dose is 16 Gy at the centre and rises
by 1 Gy/mm along y (AP) or z (SI). `volume_above(t)` is the volume, in mm³, that lies more than t mm up the gradient.
Flat axial ends stand for half a contour spacing more than the solid has, as in the published volumes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
R = 12.0
H = 24.0
CENTRE_GY = 16.0


@dataclass(frozen=True)
class Solid:
    """A solid, its section at height z as a polygon (n, 2), and its curves along y and z for a contour spacing."""

    name: str
    section: Callable[[float], FloatArray]
    above_y: Callable[[float, float], float]
    above_z: Callable[[float, float], float]

    def contours(self, spacing: float) -> list[FloatArray]:
        """Axial contours at multiples of the spacing."""
        count = round(R / spacing)
        sections = [(k * spacing, self.section(k * spacing)) for k in range(-count, count + 1)]
        return [np.column_stack([points, np.full(len(points), z)]) for z, points in sections if len(points) > 2]

    def volume_mm3(self, spacing: float) -> float:
        return self.above_z(-100.0, spacing)

    def dose_at(self, fraction: float, direction: str, spacing: float) -> float:
        """The dose that `fraction` of the volume exceeds, by bisection of the closed form."""
        above = self.above_y if direction == "y" else self.above_z
        total = above(-100.0, spacing)
        low, high = -20.0, 20.0
        for _ in range(80):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if above(middle, spacing) > fraction * total else (low, middle)
        return CENTRE_GY + 0.5 * (low + high)


def circle(radius: float, points: int = 720) -> FloatArray:
    """A polygon of the same area as the circle."""
    if radius <= 1e-9:
        return np.empty((0, 2))
    angle = (np.arange(points) + 0.5) * 2 * np.pi / points
    scale = np.sqrt(2 * np.pi / points / np.sin(2 * np.pi / points))
    return radius * scale * np.column_stack([np.cos(angle), np.sin(angle)])


def segment(t: float) -> float:
    """Area of the part of a disc of radius R beyond distance t from its centre."""
    t = float(np.clip(t, -R, R))
    return R * R * np.arccos(t / R) - t * np.sqrt(R * R - t * t)


def sphere_above(t: float, spacing: float) -> float:
    t = float(np.clip(t, -R, R))
    return np.pi / 3 * (R - t) ** 2 * (2 * R + t)


def cone_along(t: float) -> float:
    """Apex up, without a base disc."""
    t = float(np.clip(t, -H / 2, H / 2))
    return np.pi * R * R / (3 * H * H) * (H / 2 - t) ** 3


def cone_across(t: float) -> float:
    """More than t from the plane through the axis."""
    if t < 0:
        return cone_along(-100.0) - cone_across(-t)
    if t < 1e-9:
        return cone_along(-100.0) / 2
    if t >= R:
        return 0.0
    root = np.sqrt(R * R - t * t)
    return H / 3 * (R * R * np.arccos(t / R) - 2 * t * root + t**3 / R * np.arccosh(R / t))


def cone_section(z: float) -> FloatArray:
    """Section of a cone whose axis is y (apex at y = +12) with the plane at height z: a hyperbola and its base."""
    if abs(z) >= R - 1e-9:
        return np.empty((0, 2))
    top = H / 2 - H / R * abs(z)
    y = np.linspace(-H / 2, top, 1500)
    half = np.sqrt(np.maximum((R * (H / 2 - y) / H) ** 2 - z * z, 0.0))
    return np.concatenate([np.column_stack([half, y]), np.column_stack([-half, y])[::-1]])


def box_section(z: float) -> FloatArray:
    """Section of a cylinder whose axis is x."""
    half = np.sqrt(max(R * R - z * z, 0.0))
    if half < 1e-9:
        return np.empty((0, 2))
    return np.array([[-H / 2, -half], [H / 2, -half], [H / 2, half], [-H / 2, half]])


SOLIDS = (
    Solid("sphere", lambda z: circle(np.sqrt(max(R * R - z * z, 0.0))), sphere_above, sphere_above),
    Solid(
        "cylinder",
        lambda z: circle(R),
        lambda t, s: (H + s) * segment(t),
        lambda t, s: np.pi * R * R * float(np.clip((H + s) / 2 - t, 0.0, H + s)),
    ),
    Solid("rotated cylinder", box_section, lambda t, s: H * segment(t), lambda t, s: H * segment(t)),
    Solid(
        "cone",
        lambda z: circle(R * (H / 2 - z) / H),
        lambda t, s: cone_across(t) + s / 2 * segment(t),
        lambda t, s: cone_along(t) + np.pi * R * R * float(np.clip(-H / 2 - t, 0.0, s / 2)),
    ),
    Solid("rotated cone", cone_section, lambda t, s: cone_along(t), lambda t, s: cone_across(t)),
)
