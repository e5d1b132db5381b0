"""Figures as text that stands inside an HTML page; the same figure gives the same text."""

from __future__ import annotations

import base64
import io
import re

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

# Fixed for the whole program: names inside an SVG come from its content, and its text stays text.
matplotlib.rcParams["svg.hashsalt"] = "rtpipeline"
matplotlib.rcParams["svg.fonttype"] = "none"
matplotlib.rcParams["font.family"] = "sans-serif"

STRUCTURE_COLOURS = (
    "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b",
    "#e377c2", "#7f9c1f", "#4b5fc4", "#c49c2a", "#2f8f83", "#b0607f",
)  # fmt: skip
TARGET_COLOURS = ("#d62728", "#e8590c", "#a61e4d", "#f03e3e", "#c2255c", "#ff8787")
DOTS_PER_INCH = 110
_PROLOGUE = re.compile(r"^.*?(?=<svg)|<metadata>.*?</metadata>", re.DOTALL)
_SIZE = re.compile(
    r'(<svg[^>]*?) height="[^"]*"([^>]*?) width="[^"]*"|(<svg[^>]*?) width="[^"]*"([^>]*?) height="[^"]*"'
)


def is_target(name: str) -> bool:
    """Whether a structure's name is a target volume's."""
    return name.upper().lstrip("_").startswith(("GTV", "CTV", "ITV", "PTV"))


def colours(names: list[str]) -> dict[str, str]:
    """A colour for each structure: reds for targets, others for organs; the same names get the same colours."""
    targets = [name for name in names if is_target(name)]
    others = [name for name in names if not is_target(name)]
    found = {name: TARGET_COLOURS[i % len(TARGET_COLOURS)] for i, name in enumerate(targets)}
    return found | {name: STRUCTURE_COLOURS[i % len(STRUCTURE_COLOURS)] for i, name in enumerate(others)}


def svg(figure: Figure, description: str) -> Markup:
    """The figure as an inline SVG element that is as wide as the page lets it be."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = _PROLOGUE.sub("", buffer.getvalue())
    text = _SIZE.sub(r"\1\3\2\4", text, count=1)
    label = Markup.escape(description)
    return Markup(text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))


def png(figure: Figure, description: str) -> Markup:
    """The figure as an `img` element that holds its picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Markup('<img src="data:image/png;base64,{}" alt="{}">').format(content, description)


def without_mathematics(text: str) -> str:
    """`text` so that matplotlib shows it as it is: a dollar sign would begin a formula."""
    return text.replace("$", r"\$")
