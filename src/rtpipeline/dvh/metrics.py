"""Dose-volume metrics, read off a curve."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rtpipeline.dvh.curve import DoseVolumeCurve

DOSE_AT_PERCENT = (99, 98, 95, 50, 5, 2, 1)
DOSE_AT_CM3 = (0.03, 0.1, 1.0, 2.0, 5.0, 10.0)
VOLUME_STEP_GY = 5
VOLUME_UP_TO_GY = 80
"""Volumes are given at least up to this dose, so that courses have the same columns, and further where it is higher."""
FURTHER_VOLUME_DOSES_GY = (1, 2, 3, 4, 12, 13, 18, 24, 36)
VOLUME_AT_PERCENT_OF_PRESCRIPTION = (90, 95, 100, 105, 107, 110)
RELATIVE_DOSES = ("Dmean", "Dmax", "Dmin", "D99", "D98", "D95", "D50", "D2")

FULLY_COVERED = 1.0 - 1e-6

OK = "ok"
WITHHELD = "withheld: the dose grid does not cover the structure"
INCOMPLETE = "of the covered part"
TOO_SMALL = "the structure is smaller"
NOT_DEFINED = "not defined for this dose"


@dataclass(frozen=True)
class Metric:
    """One measured value.

    Attributes:
        name: for example `D95`, `V20Gy`, `D0.03cc`, `V95%Rx`.
        unit: `Gy`, `% of prescription`, `%` of the volume, `cm3`, `Gy cm3`, or empty.
        value: None where it is withheld or does not exist.
        status: `ok`, or why there is no value or what it is a value of.
    """

    name: str
    unit: str
    value: float | None
    status: str = OK

    @property
    def column(self) -> str:
        """Name of its column in the wide table."""
        columns = {
            "Gy": f"{self.name}Gy",
            "% of prescription": f"{self.name}%",
            "%": f"{self.name} (%)",
            "cm3": f"{self.name} (cm³)",
            "Gy cm3": f"{self.name}_Gycm3",
        }
        return columns.get(self.unit, self.name)


def metrics_of(
    curve: DoseVolumeCurve,
    *,
    highest_dose_gy: float,
    prescription_gy: float | None,
    minimum_coverage_fraction: float,
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
    """
    volume = Metric("Volume", "cm3", curve.volume_total_cm3)
    dependent = list(_dose_metrics(curve, highest_dose_gy))
    if prescription_gy is not None:
        dependent += _relative_metrics(curve, dependent, prescription_gy)
    if curve.coverage_fraction <= 0 or curve.coverage_fraction < minimum_coverage_fraction:
        dependent = [Metric(metric.name, metric.unit, None, WITHHELD) for metric in dependent]
    elif curve.coverage_fraction < FULLY_COVERED:
        dependent = [
            Metric(metric.name, metric.unit, metric.value, INCOMPLETE if metric.status == OK else metric.status)
            for metric in dependent
        ]
    return [volume, *dependent]


def _dose_metrics(curve: DoseVolumeCurve, highest_dose_gy: float) -> Iterator[Metric]:
    yield from (
        _defined("Dmean", "Gy", curve.mean_gy),
        _defined("Dmax", "Gy", curve.maximum_gy),
        _defined("Dmin", "Gy", curve.minimum_gy),
    )
    at_percent = {percent: _dose_at(curve, percent / 100 * curve.covered_cm3) for percent in DOSE_AT_PERCENT}
    for percent, dose in at_percent.items():
        yield _defined(f"D{percent}", "Gy", dose)
    for volume in DOSE_AT_CM3:
        name = f"D{volume:g}cc"
        if volume > curve.covered_cm3:
            yield Metric(name, "Gy", None, TOO_SMALL)
        else:
            yield _defined(name, "Gy", _dose_at(curve, volume))
    median = at_percent[50]
    yield _defined("HI", "", (at_percent[2] - at_percent[98]) / median if median > 0 else math.nan)
    yield _defined("Spread", "Gy", curve.maximum_gy - curve.minimum_gy)
    yield _defined("IntegralDose", "Gy cm3", curve.mean_gy * curve.covered_cm3)
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


def _defined(name: str, unit: str, value: float) -> Metric:
    return Metric(name, unit, float(value)) if np.isfinite(value) else Metric(name, unit, None, NOT_DEFINED)
