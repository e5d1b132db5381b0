"""Metrics that the user's configuration asks for, and those of equieffective dose."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from rtpipeline.config.dose_metrics import DoseMetric, dose_metric
from rtpipeline.dvh.curve import DoseVolumeCurve
from rtpipeline.dvh.fractionation import Equieffective, bed_per_eqd2
from rtpipeline.dvh.metric import NO_PRESCRIPTION, NOT_DEFINED, TOO_SMALL, Metric, defined

EQUIEFFECTIVE = tuple(
    dose_metric(f"{weighting}:{name}")
    for weighting in ("EQD2", "BED")
    for name in ("Dmean", "Dmax", "D98%", "D95%", "D50%", "D2%", "D0.03cc", "D2cc")
)
"""What is given of every structure that the configuration gives an α/β."""


def requested_metrics(
    metrics: Sequence[DoseMetric],
    curve: DoseVolumeCurve,
    prescription_gy: float | None,
    equieffective: Equieffective | None,
) -> Iterator[Metric]:
    """Measure what was asked for.

    Args:
        metrics: in any order.
        curve: of the physical dose.
        prescription_gy: what percentages of dose refer to; None where there is none.
        equieffective: the curve of EQD2, or why there is none; None where the structure has no α/β: then metrics of
            EQD2 and BED are left out.
    """
    for metric in metrics:
        if not metric.weighting:
            yield _measured(metric, curve, prescription_gy)
        elif equieffective is not None:
            yield _weighted(metric, equieffective)


def _weighted(metric: DoseMetric, equieffective: Equieffective) -> Metric:
    name, unit = f"{metric.weighting}_{name_of(metric)}", _unit_of(metric)
    alpha_beta = equieffective.alpha_beta_gy
    if equieffective.curve is None:
        return Metric(name, unit, None, equieffective.reason, alpha_beta)
    curve = equieffective.curve
    if metric.weighting == "BED":
        factor = bed_per_eqd2(alpha_beta)
        curve = replace(
            curve,
            dose_gy=curve.dose_gy * factor,
            minimum_gy=curve.minimum_gy * factor,
            maximum_gy=curve.maximum_gy * factor,
            mean_gy=curve.mean_gy * factor,
        )
    return replace(_measured(metric, curve, None), name=name, alpha_beta_gy=alpha_beta)


def _measured(metric: DoseMetric, curve: DoseVolumeCurve, prescription_gy: float | None) -> Metric:
    name, unit = name_of(metric), _unit_of(metric)
    relative = metric.number_unit == "%" if metric.kind == "volume_at_dose" else metric.unit == "%"
    if relative and not prescription_gy:
        return Metric(name, unit, None, NO_PRESCRIPTION)
    if not curve.covered_cm3 > 0:
        return Metric(name, unit, None, NOT_DEFINED)
    if metric.kind == "volume_at_dose":
        dose = metric.number / 100.0 * prescription_gy if relative and prescription_gy else metric.number
        volume = curve.volume_at(dose)
        return defined(name, unit, volume if metric.unit == "cc" else 100.0 * volume / curve.covered_cm3)
    if metric.kind == "dose_at_volume" and metric.number_unit == "cc" and metric.number > curve.covered_cm3:
        return Metric(name, unit, None, TOO_SMALL)
    value = _dose(metric, curve)
    return defined(name, unit, 100.0 * value / prescription_gy if relative and prescription_gy else value)


def _dose(metric: DoseMetric, curve: DoseVolumeCurve) -> float:
    if metric.kind == "geud":
        return geud_gy(curve, metric.number)
    if metric.kind == "dose_at_volume":
        volume = metric.number if metric.number_unit == "cc" else metric.number / 100.0 * curve.covered_cm3
        return curve.dose_at(volume)
    if metric.statistic == "median":
        return curve.dose_at(0.5 * curve.covered_cm3)
    return {"mean": curve.mean_gy, "max": curve.maximum_gy, "min": curve.minimum_gy}[metric.statistic]


def geud_gy(curve: DoseVolumeCurve, a: float) -> float:
    """Generalised equivalent uniform dose (Σ v D^a)^(1/a), v fractions of the volume (Niemierko, Med Phys 26, 1999).

    0 for negative a where a part of the structure gets no dose.
    """
    part = np.maximum(curve.volume_cm3[:-1] - curve.volume_cm3[1:], 0.0)
    middle = np.clip(0.5 * (curve.dose_gy[:-1] + curve.dose_gy[1:]), curve.minimum_gy, curve.maximum_gy)
    part, middle = part[part > 0], middle[part > 0]
    highest = float(middle.max(initial=0.0))
    if highest <= 0.0 or (a < 0 and float(middle.min()) <= 0.0):
        return 0.0
    with np.errstate(over="ignore"):
        mean = float(np.sum(part / part.sum() * (np.maximum(middle, 0.0) / highest) ** a))
    return highest * mean ** (1.0 / a) if math.isfinite(mean) else 0.0


def name_of(metric: DoseMetric) -> str:
    """The metric's name in the tables."""
    if metric.kind == "statistic":
        return f"D{metric.statistic}"
    if metric.kind == "dose_at_volume":
        return f"D{metric.number:g}" + ("cc" if metric.number_unit == "cc" else "")
    if metric.kind == "volume_at_dose":
        return f"V{metric.number:g}" + ("Gy" if metric.number_unit == "Gy" else "%Rx")
    return f"gEUD(a={metric.number:g})"


def _unit_of(metric: DoseMetric) -> str:
    if metric.unit == "cc":
        return "cm3"
    return "% of prescription" if metric.unit == "%" and metric.kind != "volume_at_dose" else metric.unit
