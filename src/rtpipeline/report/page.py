"""Templates → self-contained HTML pages: nothing in them is fetched from anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

NOTHING = "–"
"""Shown where there is no value."""

STAGE_LABELS = {
    "organize": "Organize",
    "segmentation": "Segmentation",
    "custom_models": "Custom models",
    "auto_rtstruct": "Structure sets",
    "anatomical_cropping": "Cropping",
    "dvh": "DVH",
    "metadata": "Metadata",
    "radiomics": "Radiomics",
    "radiomics_robustness": "Robustness",
    "quality_control": "Quality control",
    "aggregate": "Cohort tables",
    "report": "Reports",
}


@dataclass(frozen=True)
class Absent:
    """A part of a report that cannot be shown, and why."""

    reason: str


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill a template; every value is escaped unless it is `Markup`.

    Raises:
        jinja2.UndefinedError: the template needs a value that is not given.
    """
    return _ENVIRONMENT.get_template(template).render(**values)


def number(value: float | int | None, digits: int = 4) -> str:
    """A number for people: significant digits, whole numbers whole, no exponent where it is not needed."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOTHING
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:.{min(decimals, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(seconds: float | None) -> str:
    """Seconds for people."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def counted(count: int, singular: str, plural: str = "") -> str:
    """`1 course`, `2 courses`."""
    return f"{number(count)} {singular if count == 1 else plural or singular + 's'}"


def _text(value: Any) -> str:
    return NOTHING if value in (None, "") else str(value)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rtpipeline.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, duration=duration, text=_text)
    environment.tests["absent"] = lambda value: isinstance(value, Absent)
    style = (Path(__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
    environment.globals.update(style=Markup(style), counted=counted, stage_labels=STAGE_LABELS)
    return environment


_ENVIRONMENT = _environment()
