import jinja2
import pytest

from rtpipeline.report.page import duration, number, render


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
        (0.0, "0"),
        (60.0, "60"),
        (65.504, "65.5"),
        (0.03, "0.03"),
        (0.48409, "0.4841"),
        (2268.4, "2268"),
        (-12.345, "-12.35"),
        (1.5e-7, "1.500e-07"),
        (12345678.0, "1.235e+07"),
        (1170, "1\u202f170"),
        (2008, "2\u202f008"),
    ],
)
def test_numbers_keep_four_significant_digits(value: float | int | None, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "–"), (0.04, "0.0 s"), (9.87, "9.9 s"), (83.2, "83 s"), (125, "2 min 05 s"), (7384, "2 h 03 min")],
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_template_without_its_values_fails_instead_of_showing_nothing() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("cohort.html", {})
