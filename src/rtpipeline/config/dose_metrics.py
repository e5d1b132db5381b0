"""How users name dose-volume metrics: `D95%`, `D2cc`, `V20Gy[cc]`, `V95%`, `Dmean`, `gEUD(a=8)`, `EQD2:Dmean`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_NUMBER = r"\d+(?:\.\d+)?"
_PATTERN = re.compile(
    r"(?:(?P<weighting>EQD2|BED):)?"
    rf"(?:D(?P<statistic>mean|max|min|median)|D(?P<part>{_NUMBER})(?P<part_unit>%|cc)"
    rf"|V(?P<dose>{_NUMBER})(?P<dose_unit>Gy|%)|gEUD\(a=(?P<a>-?{_NUMBER})\))"
    r"(?:\[(?P<unit>Gy|%|cc)\])?"
)


@dataclass(frozen=True)
class DoseMetric:
    """A metric as a user asks for it.

    Attributes:
        kind: a dose statistic, the dose that a part of the volume gets, the volume that gets a dose, or gEUD.
        weighting: `EQD2`, `BED`, or empty for the physical dose.
        statistic: `mean`, `max`, `min` or `median` of kind `statistic`.
        number: percent or cm³ of the volume, dose in Gy or percent of the prescription, or a of gEUD.
        number_unit: `%`, `cc` or `Gy`: what `number` is in.
        unit: of the result: `Gy`, `%` (of the prescription for doses, of the volume for volumes) or `cc`.
    """

    kind: Literal["statistic", "dose_at_volume", "volume_at_dose", "geud"]
    weighting: str
    statistic: str
    number: float
    number_unit: str
    unit: str


def dose_metric(text: str) -> DoseMetric:
    """Read one metric's name.

    Raises:
        ValueError: it is not of the form above, or its unit does not fit it.
    """
    found = _PATTERN.fullmatch(text.replace(" ", ""))
    if found is None:
        examples = "D95%, D2cc, V20Gy[cc], V95%, Dmean, gEUD(a=8), EQD2:Dmean"
        raise ValueError(f"{text!r} is not a dose-volume metric; they look like {examples}")
    part = found.groupdict()
    weighting, unit = part["weighting"] or "", part["unit"]
    if part["dose"]:
        metric = DoseMetric("volume_at_dose", weighting, "", float(part["dose"]), part["dose_unit"], unit or "%")
        allowed: tuple[str, ...] = ("%", "cc")
        relative = metric.number_unit == "%"
    else:
        allowed = ("Gy", "%")
        relative = unit == "%"
        if part["a"]:
            metric = DoseMetric("geud", weighting, "", float(part["a"]), "", unit or "Gy")
        elif part["part"]:
            metric = DoseMetric("dose_at_volume", weighting, "", float(part["part"]), part["part_unit"], unit or "Gy")
        else:
            metric = DoseMetric("statistic", weighting, part["statistic"], 0.0, "", unit or "Gy")
    if metric.unit not in allowed:
        raise ValueError(f"{text!r} cannot be in {metric.unit}, only in {' or '.join(allowed)}")
    if weighting and relative:
        raise ValueError(f"{text!r}: the prescription is a physical dose, {weighting} cannot be relative to it")
    if metric.kind == "geud" and metric.number == 0:
        raise ValueError(f"{text!r}: a must not be 0")
    if metric.number_unit == "%" and metric.kind == "dose_at_volume" and metric.number > 100:
        raise ValueError(f"{text!r}: a part of the volume is at most 100 %")
    return metric
