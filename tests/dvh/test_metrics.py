"""Metrics read off a curve whose every value is known: doses spread evenly over 0 to 100 Gy in 50 cm3."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.dvh.curve import DoseVolumeCurve
from rtpipeline.dvh.metrics import INCOMPLETE, OK, TOO_SMALL, WITHHELD, Metric, metrics_of


def even_curve(volume: float = 50.0, coverage: float = 1.0) -> DoseVolumeCurve:
    covered = volume * coverage
    return DoseVolumeCurve(np.array([0.0, 100.0]), np.array([covered, 0.0]), volume, coverage, 0.0, 100.0, 50.0)


def metrics(
    curve: DoseVolumeCurve, prescription: float | None = None, minimum: float = 0.99
) -> dict[tuple[str, str], Metric]:
    found = metrics_of(curve, highest_dose_gy=100.0, prescription_gy=prescription, minimum_coverage_fraction=minimum)
    by_key = {(metric.name, metric.unit): metric for metric in found}
    assert len(by_key) == len(found)
    return by_key


@pytest.mark.parametrize(
    ("name", "unit", "value"),
    [
        ("Volume", "cm3", 50.0),
        ("Dmean", "Gy", 50.0),
        ("Dmax", "Gy", 100.0),
        ("Dmin", "Gy", 0.0),
        ("D99", "Gy", 1.0),
        ("D95", "Gy", 5.0),
        ("D2", "Gy", 98.0),
        ("D1cc", "Gy", 98.0),
        ("D0.1cc", "Gy", 99.8),
        ("D10cc", "Gy", 80.0),
        ("HI", "", (98 - 2) / 50),
        ("Spread", "Gy", 100.0),
        ("IntegralDose", "Gy cm3", 2500.0),
        ("V20Gy", "cm3", 40.0),
        ("V20Gy", "%", 80.0),
        ("V100Gy", "%", 0.0),
    ],
)
def test_values(name: str, unit: str, value: float) -> None:
    metric = metrics(even_curve())[name, unit]
    assert metric.value == pytest.approx(value)
    assert metric.status == OK


def test_relative_metrics_refer_to_the_prescription() -> None:
    found = metrics(even_curve(), prescription=60.0)
    assert found["Dmean", "% of prescription"].value == pytest.approx(100 * 50 / 60)
    assert found["V95%Rx", "%"].value == pytest.approx(43.0)
    assert found["V95%Rx", "cm3"].value == pytest.approx(21.5)


def test_without_a_prescription_there_are_no_relative_metrics() -> None:
    assert not any("Rx" in name or unit == "% of prescription" for name, unit in metrics(even_curve()))


def test_columns_have_the_names_people_know() -> None:
    columns = {metric.column for metric in metrics(even_curve(), prescription=60.0).values()}
    known = "DmeanGy DmaxGy DminGy D95Gy D98Gy D2Gy D50Gy HI SpreadGy D1ccGy D0.1ccGy IntegralDose_Gycm3 Dmean% D95%"
    assert columns >= {*known.split(), "Volume (cm³)", "V20Gy (cm³)", "V20Gy (%)", "V95%Rx (%)", "V100%Rx (cm³)"}


def test_a_dose_to_more_volume_than_there_is_does_not_exist() -> None:
    metric = metrics(even_curve(volume=0.5))["D1cc", "Gy"]
    assert (metric.value, metric.status) == (None, TOO_SMALL)


def test_everything_but_the_volume_is_withheld_where_the_dose_does_not_cover() -> None:
    found = metrics(even_curve(coverage=0.6), prescription=60.0)
    assert found.pop(("Volume", "cm3")).value == 50.0
    assert {(metric.value, metric.status) for metric in found.values()} == {(None, WITHHELD)}


def test_a_small_uncovered_part_is_told() -> None:
    metric = metrics(even_curve(coverage=0.995))["V20Gy", "%"]
    assert metric.value == pytest.approx(80.0)
    assert metric.status == INCOMPLETE


def test_nothing_is_measured_outside_the_grid_whatever_the_limit() -> None:
    nowhere = DoseVolumeCurve(np.empty(0), np.empty(0), 50.0, 0.0, np.nan, np.nan, np.nan)
    found = metrics(nowhere, minimum=0.0)
    assert [metric.name for metric in found.values() if metric.value is not None] == ["Volume"]


def test_volumes_are_given_up_to_the_maximum_dose() -> None:
    names = {name for name, _ in metrics(even_curve())}
    assert {"V5Gy", "V80Gy", "V85Gy", "V100Gy"} <= names
    assert "V105Gy" not in names
