"""Metrics from the configuration, on a curve whose doses are spread evenly over 0 to 100 Gy in 50 cm3."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.config import Configuration
from rtpipeline.config.dose_metrics import dose_metric
from rtpipeline.dvh.curve import DoseVolumeCurve
from rtpipeline.dvh.fractionation import Equieffective
from rtpipeline.dvh.metric import NO_PRESCRIPTION, TOO_SMALL
from rtpipeline.dvh.requested import geud_gy, requested_metrics

RUNGS = np.linspace(0.0, 100.0, 5001)
CURVE = DoseVolumeCurve(RUNGS, 50.0 - RUNGS / 2, 50.0, 1.0, 0.0, 100.0, 50.0)


@pytest.mark.parametrize(
    ("text", "name", "unit", "value"),
    [
        ("D95%", "D95", "Gy", 5.0),
        ("D95%[%]", "D95", "% of prescription", 8.0),
        ("D 2cc", "D2cc", "Gy", 96.0),
        ("V20Gy", "V20Gy", "%", 80.0),
        ("V20Gy[cc]", "V20Gy", "cm3", 40.0),
        ("V80%", "V80%Rx", "%", 50.0),
        ("V80%[cc]", "V80%Rx", "cm3", 25.0),
        ("Dmean", "Dmean", "Gy", 50.0),
        ("Dmedian", "Dmedian", "Gy", 50.0),
        ("gEUD(a=1)", "gEUD(a=1)", "Gy", 50.0),
        ("gEUD(a=8)", "gEUD(a=8)", "Gy", 100.0 * (1 / 9) ** (1 / 8)),
    ],
)
def test_metrics_have_the_values_of_the_curve(text: str, name: str, unit: str, value: float) -> None:
    (found,) = requested_metrics([dose_metric(text)], CURVE, 62.5, None)
    assert (found.name, found.unit) == (name, unit)
    assert found.value == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(
    "text", ["D95", "V20", "Dmean[cc]", "V20Gy[Gy]", "gEUD(a=0)", "gEUD(8)", "D120%", "EQD2:V95%", "EQD2:Dmean[%]", ""]
)
def test_other_texts_are_errors_that_name_them(text: str) -> None:
    with pytest.raises(ValueError, match=r"metric|cannot be in|must not be|at most|relative"):
        dose_metric(text)
    with pytest.raises(ValueError, match=r"dvh\.metrics"):
        Configuration.model_validate({"dvh": {"metrics": [text]}})


def test_what_cannot_be_measured_says_why() -> None:
    asked = [dose_metric(text) for text in ("V95%", "D60cc", "EQD2:Dmean")]
    found = list(requested_metrics(asked, CURVE, None, Equieffective(3.0, None, "no fractions")))
    assert [(metric.value, metric.status) for metric in found] == [
        (None, NO_PRESCRIPTION),
        (None, TOO_SMALL),
        (None, "no fractions"),
    ]
    assert list(requested_metrics([dose_metric("EQD2:Dmean")], CURVE, None, None)) == []


@pytest.mark.parametrize("a", [-10.0, -1.0, 2.0, 20.0])
def test_geud_of_two_halves(a: float) -> None:
    """Half of the volume at 20 Gy, half at 60 Gy: ((20^a + 60^a) / 2)^(1/a)."""
    doses = np.array([19.9999, 20.0001, 59.9999, 60.0001])
    curve = DoseVolumeCurve(doses, np.array([10.0, 5.0, 5.0, 0.0]), 10.0, 1.0, 20.0, 60.0, 40.0)
    assert geud_gy(curve, a) == pytest.approx(((20.0**a + 60.0**a) / 2) ** (1 / a), rel=1e-5)


def test_geud_of_a_part_without_dose() -> None:
    assert geud_gy(CURVE, 500.0) == pytest.approx(100.0, rel=0.02)
    without = DoseVolumeCurve(np.array([-1e-9, 0.0, 60.0]), np.array([10.0, 5.0, 0.0]), 10.0, 1.0, 0.0, 60.0, 15.0)
    assert geud_gy(without, -5.0) == 0.0


@pytest.mark.parametrize("a", [-10.0, -0.5, 1.0, 8.0])
@pytest.mark.parametrize("dose", [0.0, 60.0])
def test_geud_of_one_dose_is_that_dose(a: float, dose: float) -> None:
    """Whatever the steps are by which the curve drops there."""
    curve = DoseVolumeCurve(np.array([dose, dose + 0.0015]), np.array([10.0, 0.0]), 10.0, 1.0, dose, dose, dose)
    assert geud_gy(curve, a) == dose
