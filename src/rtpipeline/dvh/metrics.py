"""Dose-volume metrics, read off a curve."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rtpipeline.config.dose_metrics import DoseMetric
from rtpipeline.dvh.conformity import IsodoseVolumes, conformity_metrics
from rtpipeline.dvh.curve import DoseVolumeCurve
from rtpipeline.dvh.fractionation import Equieffective
from rtpipeline.dvh.metric import INCOMPLETE, NOT_DEFINED, OK, TOO_SMALL, WITHHELD, Metric, defined, without_repeats
from rtpipeline.dvh.requested import EQUIEFFECTIVE, requested_metrics

DOSE_AT_PERCENT = (99, 98, 95, 50, 5, 2, 1)
DOSE_AT_CM3 = (0.03, 0.1, 1.0, 2.0, 5.0, 10.0)
VOLUME_STEP_GY = 5
VOLUME_UP_TO_GY = 80
"""Volumes are given at least up to this dose, so that courses have the same columns, and further where it is higher."""
FURTHER_VOLUME_DOSES_GY = (1, 2, 3, 4, 12, 13, 18, 24, 36)
VOLUME_AT_PERCENT_OF_PRESCRIPTION = (90, 95, 100, 105, 107, 110)
RELATIVE_DOSES = ("Dmean", "Dmax", "Dmin", "D99", "D98", "D95", "D50", "D2")

FULLY_COVERED = 1.0 - 1e-6


def metrics_of(
    curve: DoseVolumeCurve,
    *,
    highest_dose_gy: float,
    prescription_gy: float | None,
    minimum_coverage_fraction: float,
    isodoses: IsodoseVolumes | None = None,
    requested: Sequence[DoseMetric] = (),
    equieffective: Equieffective | None = None,
) -> list[Metric]:
    """All metrics of a structure.

    The volume comes from the geometry alone. Everything else is withheld (no value, and why) where the dose grid
    covers less of the structure than `minimum_coverage_fraction`; above that, but below the whole, values are those
    of the covered part, percentages refer to it, and the status says so.

    Dx is the lowest dose of the x % (or x cm³) of the volume that get most; VxGy is the volume that gets at least x;
    HI is (D2 - D98) / D50 (ICRU 83, 3.7.1).

    Args:
        curve: the structure's.
        highest_dose_gy: of the whole dose grid; volumes are given for doses up to it.
        prescription_gy: prescribed dose that relative metrics refer to; without it there are none.
        minimum_coverage_fraction: 0 to 1.
        isodoses: of the whole dose grid, for a target; None for other structures.
        requested: what the configuration asks for beyond the metrics that every structure has.
        equieffective: the curve of EQD2; None where the structure has no α/β.
    """
    volume = Metric("Volume", "cm3", curve.volume_total_cm3)
    dependent = list(_dose_metrics(curve, highest_dose_gy))
    if prescription_gy is not None:
        dependent += _relative_metrics(curve, dependent, prescription_gy)
        if isodoses is not None and curve.covered_cm3 > 0:
            dependent += conformity_metrics(curve, isodoses, prescription_gy)
    asked = (*EQUIEFFECTIVE, *requested)
    dependent = without_repeats([*dependent, *requested_metrics(asked, curve, prescription_gy, equieffective)])
    if curve.coverage_fraction <= 0 or curve.coverage_fraction < minimum_coverage_fraction:
        dependent = [replace(metric, value=None, status=WITHHELD) for metric in dependent]
    elif curve.coverage_fraction < FULLY_COVERED:
        dependent = [
            replace(metric, status=INCOMPLETE if metric.status == OK else metric.status) for metric in dependent
        ]
    return [volume, *dependent]


def _dose_metrics(curve: DoseVolumeCurve, highest_dose_gy: float) -> Iterator[Metric]:
    yield from (
        defined("Dmean", "Gy", curve.mean_gy),
        defined("Dmax", "Gy", curve.maximum_gy),
        defined("Dmin", "Gy", curve.minimum_gy),
    )
    at_percent = {percent: _dose_at(curve, percent / 100 * curve.covered_cm3) for percent in DOSE_AT_PERCENT}
    for percent, dose in at_percent.items():
        yield defined(f"D{percent}", "Gy", dose)
    for volume in DOSE_AT_CM3:
        name = f"D{volume:g}cc"
        if volume > curve.covered_cm3:
            yield Metric(name, "Gy", None, TOO_SMALL)
        else:
            yield defined(name, "Gy", _dose_at(curve, volume))
    median = at_percent[50]
    yield defined("HI", "", (at_percent[2] - at_percent[98]) / median if median > 0 else math.nan)
    yield defined("Spread", "Gy", curve.maximum_gy - curve.minimum_gy)
    yield defined("IntegralDose", "Gy cm3", curve.mean_gy * curve.covered_cm3)
    for dose in volume_doses_gy(highest_dose_gy):
        yield from _volumes(curve, f"V{dose:g}Gy", dose)


def volume_doses_gy(highest_dose_gy: float) -> list[int]:
    """The doses at which volumes are given."""
    last = max(VOLUME_UP_TO_GY, VOLUME_STEP_GY * math.ceil(highest_dose_gy / VOLUME_STEP_GY))
    return sorted({*FURTHER_VOLUME_DOSES_GY, *range(VOLUME_STEP_GY, last + 1, VOLUME_STEP_GY)})


def _relative_metrics(curve: DoseVolumeCurve, absolute: list[Metric], prescription_gy: float) -> list[Metric]:
    """Doses in percent of the prescription, and the volumes that get percentages of it."""
    relative = [
        Metric(
            metric.name,
            "% of prescription",
            None if metric.value is None else 100.0 * metric.value / prescription_gy,
            metric.status,
        )
        for metric in absolute
        if metric.unit == "Gy" and metric.name in RELATIVE_DOSES
    ]
    for percent in VOLUME_AT_PERCENT_OF_PRESCRIPTION:
        relative += _volumes(curve, f"V{percent}%Rx", percent / 100 * prescription_gy)
    return relative


def _volumes(curve: DoseVolumeCurve, name: str, dose_gy: float) -> list[Metric]:
    if not curve.covered_cm3 > 0:
        return [Metric(name, "cm3", None, NOT_DEFINED), Metric(name, "%", None, NOT_DEFINED)]
    volume = curve.volume_at(dose_gy)
    return [Metric(name, "cm3", volume), Metric(name, "%", 100.0 * volume / curve.covered_cm3)]


def _dose_at(curve: DoseVolumeCurve, volume_cm3: float) -> float:
    return curve.dose_at(volume_cm3) if curve.covered_cm3 > 0 else math.nan
