"""Three planes through the middle of the target: CT, structure outlines and dose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from rtpipeline.imaging.grid import FloatArray, Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.resampling import resample
from rtpipeline.imaging.views import VIEW_DIRECTIONS, View, view_grid
from rtpipeline.report.figures import colours, is_target, png, without_mathematics

WINDOW_HU = (-160.0, 240.0)
"""Soft-tissue window (level 40, width 400)."""
LOWEST_DOSE_SHOWN = 0.1
"""Of the highest dose; less is not coloured."""
_WIDTH = 12.4
_HIGHEST = 6.5
_AIR_HU = -1000.0
_BODY_HU = -300.0
_BODY_FRACTION = 0.06
"""A row or column of a picture with less of the body in it holds at most the couch."""
_RIM = 8
_SIDE_LETTERS: dict[View, tuple[str, str]] = {"axial": ("R", "L"), "coronal": ("R", "L"), "sagittal": ("A", "P")}


@dataclass(frozen=True)
class Outline:
    """A structure to draw."""

    name: str
    mask: Mask


def slices_figure(
    image: Volume, dose: Volume | None, outlines: Sequence[Outline], through_mm: FloatArray, description: str
) -> Markup:
    """Axial, coronal and sagittal planes through a point.

    Args:
        image: CT in HU.
        dose: in Gy, on any grid; None colours nothing.
        outlines: on the image's grid or parts of it.
        through_mm: (3,) world position; where it is outside the image, planes go through the image's nearest point.
        description: for those who cannot see the figure.
    """
    grids = _view_grids(image, through_mm)
    widths = [grid.columns / grid.rows for grid in grids.values()]
    figure = Figure(figsize=(_WIDTH, min((_WIDTH - 1.2) / sum(widths) + 0.7, _HIGHEST)), layout="constrained")
    all_axes = figure.subplots(1, len(grids), width_ratios=widths, squeeze=False)[0]
    highest = float(np.nanmax(dose.values)) if dose is not None else 0.0
    colour_of = colours([outline.name for outline in outlines])
    shown: list[str] = []
    wash = None
    for axes, (view, grid) in zip(all_axes, grids.items(), strict=True):
        picture = resample(image, grid, interpolation="linear", outside=WINDOW_HU[0]).values[0]
        axes.imshow(picture, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1])
        if dose is not None and highest > 0:
            wash = _draw_dose(axes, resample(dose, grid, interpolation="linear", outside=0.0).values[0], highest)
        for outline in outlines:
            if _draw_outline(axes, outline, grid, colour_of[outline.name]) and outline.name not in shown:
                shown.append(outline.name)
        _finish(axes, view)
    if wash is not None:
        bar = figure.colorbar(wash, ax=list(all_axes), shrink=0.75, pad=0.01, aspect=28)
        bar.set_label("dose (Gy)", fontsize=8)
        bar.ax.tick_params(labelsize=8)
    if shown:
        lines = [Line2D([], [], color=colour_of[name], linewidth=1.6) for name in shown]
        names = [without_mathematics(name) for name in shown]
        figure.legend(lines, names, loc="outside lower center", ncols=8, fontsize=8, frameon=False)
    return png(figure, description)


def _view_grids(image: Volume, through_mm: FloatArray) -> dict[View, Grid]:
    """The planes to draw; an image of a single plane has only that one."""
    last = np.array(image.grid.shape[::-1], float) - 1
    inside = image.grid.index_to_world(np.clip(image.grid.world_to_index(through_mm), 0, last))
    grids = {view: view_grid(image.grid, view, inside) for view in VIEW_DIRECTIONS}
    drawable = {view: grid for view, grid in grids.items() if min(grid.rows, grid.columns) > 1}
    return {view: _cropped_to_body(image, grid) for view, grid in drawable.items()}


def _cropped_to_body(image: Volume, grid: Grid) -> Grid:
    """The part of a picture's grid that holds the patient, so that air around takes no room."""
    body = resample(image, grid, interpolation="linear", outside=_AIR_HU).values[0] > _BODY_HU
    rows, columns = (np.flatnonzero(body.mean(axis=axis) > _BODY_FRACTION) for axis in (1, 0))
    if len(rows) == 0 or len(columns) == 0:
        return grid  # nothing but air: shown whole
    return grid.crop(
        slice(0, 1),
        slice(max(rows[0] - _RIM, 0), min(rows[-1] + _RIM, grid.rows)),
        slice(max(columns[0] - _RIM, 0), min(columns[-1] + _RIM, grid.columns)),
    )


def _draw_dose(axes: Axes, dose_gy: NDArray[np.float64], highest_gy: float) -> AxesImage:
    lowest = LOWEST_DOSE_SHOWN * highest_gy
    visible = np.ma.masked_less(dose_gy, lowest)
    return axes.imshow(visible, cmap="turbo", vmin=lowest, vmax=highest_gy, alpha=0.38)


def _draw_outline(axes: Axes, outline: Outline, grid: Grid, colour: str) -> bool:
    mask = Volume(outline.mask.grid, outline.mask.values)
    values = resample(mask, grid, interpolation="nearest", outside=False).values[0]
    if not values.any():
        return False
    lines = axes.contour(values.astype(float), levels=[0.5], colors=[colour], linewidths=1.2)
    if is_target(outline.name):
        lines.set(path_effects=[withStroke(linewidth=2.6, foreground="white")])
    return True


def _finish(axes: Axes, view: View) -> None:
    axes.set_title(view, fontsize=9, color="#5a6875")
    axes.set_axis_off()
    left, right = _SIDE_LETTERS[view]
    style: dict[str, Any] = {"transform": axes.transAxes, "color": "#d9e2ea", "fontsize": 9, "va": "center"}
    axes.text(0.015, 0.5, left, ha="left", **style)
    axes.text(0.985, 0.5, right, ha="right", **style)
