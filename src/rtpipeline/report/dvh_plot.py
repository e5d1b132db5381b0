"""Cumulative dose-volume curves as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rtpipeline.report.figures import colours, is_target, svg, without_mathematics

_MAXIMUM_POINTS = 400
_COURSES_FOR_MEDIAN = 5


@dataclass(frozen=True, eq=False)
class Curve:
    """One cumulative dose-volume curve.

    Attributes:
        name: shown in the legend.
        dose_gy: (n,) doses, increasing.
        volume_percent: (n,) part of the structure that gets at least each dose.
    """

    name: str
    dose_gy: NDArray[np.float64]
    volume_percent: NDArray[np.float64]


def dvh_figure(curves: Sequence[Curve], prescription_gy: float | None, description: str) -> Markup:
    """The curves in one figure: targets thick and red, organs thinner; a line at the prescribed dose.

    Args:
        curves: in the order of the legend.
        prescription_gy: None draws no line.
        description: for those who cannot see the figure.
    """
    figure = Figure(figsize=(10.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    names = [curve.name for curve in curves]
    colour_of = colours(list(dict.fromkeys(names)))
    for curve in curves:
        dose, volume = _thinned(curve)
        axes.plot(
            dose,
            volume,
            color=colour_of[curve.name],
            linewidth=2.0 if is_target(curve.name) else 1.2,
            label=without_mathematics(curve.name),
        )
    if prescription_gy is not None:
        axes.axvline(prescription_gy, color="#5a6875", linewidth=0.9, linestyle=(0, (4, 3)))
        label = f"prescribed {prescription_gy:g} Gy"
        axes.annotate(
            label,
            (prescription_gy, 101.5),
            ha="center",
            va="bottom",
            fontsize=8,
            color="#5a6875",
            annotation_clip=False,
        )
    _finish(axes)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False, ncols=1 if len(curves) <= 24 else 2)
    return svg(figure, description)


def cohort_dvh_figure(curves: Sequence[Curve], description: str) -> Markup:
    """One line per course and their median, without a legend.

    Args:
        curves: one of each course.
        description: for those who cannot see the figure.
    """
    figure = Figure(figsize=(10.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for curve in curves:
        axes.plot(*_thinned(curve), color="#c0392b", linewidth=1.1, alpha=max(0.15, min(0.8, 6 / len(curves))))
    if len(curves) >= _COURSES_FOR_MEDIAN:
        dose = np.linspace(0, max(float(curve.dose_gy[-1]) for curve in curves), _MAXIMUM_POINTS)
        volumes = [np.interp(dose, curve.dose_gy, curve.volume_percent, right=0.0) for curve in curves]
        axes.plot(dose, np.median(volumes, axis=0), color="#1c2733", linewidth=2.0, label="median")
        axes.legend(fontsize=8, frameon=False)
    _finish(axes)
    return svg(figure, description)


def _finish(axes: Axes) -> None:
    axes.set(xlabel="dose (Gy)", ylabel="volume that gets at least this dose (%)", ylim=(0, 101))
    axes.set_xlim(left=0)
    axes.grid(color="#e6eaee", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def _thinned(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A curve with no more points than can be seen, first and last included."""
    if len(curve.dose_gy) <= _MAXIMUM_POINTS:
        return curve.dose_gy, curve.volume_percent
    chosen = np.unique(np.linspace(0, len(curve.dose_gy) - 1, _MAXIMUM_POINTS).round().astype(int))
    return curve.dose_gy[chosen], curve.volume_percent[chosen]
