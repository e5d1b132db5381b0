"""Runs where SciPy is; the comparison with pingouin runs in the radiomics environment through its worker."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpipeline.radiomics_robustness.agreement import vectorised

SHROUT_FLEISS_1979 = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
)
"""Table 2: six targets, four judges."""


@pytest.mark.parametrize(("form", "published"), [("ICC1", 0.17), ("ICC2", 0.29), ("ICC3", 0.71)])
def test_published_coefficients(form, published):
    assert round(float(vectorised(SHROUT_FLEISS_1979[None], form).icc[0]), 2) == published


@pytest.mark.parametrize(
    ("form", "low", "high"), [("ICC1", -0.133, 0.723), ("ICC2", 0.019, 0.761), ("ICC3", 0.342, 0.946)]
)
def test_published_confidence_intervals(form, low, high):
    """As the R package psych prints them for the same data (`ICC` with alpha = .05)."""
    agreement = vectorised(SHROUT_FLEISS_1979[None], form)
    assert float(agreement.low[0]) == pytest.approx(low, abs=5e-4)
    assert float(agreement.high[0]) == pytest.approx(high, abs=5e-4)


def simulated(seed: int, features: int, subjects: int, raters: int, rater_sd: float = 0.5) -> np.ndarray:
    random = np.random.default_rng(seed)
    subject = random.normal(0, 2.0, (features, subjects, 1))
    rater = random.normal(0, rater_sd, (features, 1, raters))
    return 100 + subject + rater + random.normal(0, 1.0, (features, subjects, raters))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 20), st.integers(2, 12), st.sampled_from(["ICC1", "ICC2", "ICC3"]))
def test_laws(seed, subjects, raters, form):
    """Bounds enclose the coefficient; scale, shift and the order of subjects and raters do not matter."""
    ratings = simulated(seed, 3, subjects, raters)
    agreement = vectorised(ratings, form)
    assert np.all(agreement.low <= agreement.icc)
    assert np.all(agreement.icc <= agreement.high)
    assert np.all(agreement.high <= 1.0)
    random = np.random.default_rng(seed)
    shuffled = ratings[:, random.permutation(subjects)][:, :, random.permutation(raters)]
    other = vectorised(-3.0 * shuffled + 1000.0, form)
    for name in ("icc", "low", "high"):
        np.testing.assert_allclose(getattr(other, name), getattr(agreement, name), rtol=1e-6, atol=1e-7)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_consistency_ignores_shifts_of_raters_and_absolute_agreement_does_not(seed):
    ratings = simulated(seed, 1, 12, 5, rater_sd=0.0)
    shifted = ratings + np.arange(5.0) * 3.0
    assert vectorised(shifted, "ICC3").icc[0] == pytest.approx(vectorised(ratings, "ICC3").icc[0], abs=1e-9)
    assert vectorised(shifted, "ICC2").icc[0] < vectorised(ratings, "ICC2").icc[0]


@pytest.mark.parametrize("form", ["ICC1", "ICC2", "ICC3"])
def test_the_interval_covers_the_truth_as_often_as_it_says(form):
    """4,000 simulated cohorts of 15 subjects and 4 raters without rater effect: true coefficient 4 / 5."""
    agreement = vectorised(simulated(1, 4000, 15, 4, rater_sd=0.0), form)
    covered = np.mean((agreement.low <= 0.8) & (agreement.high >= 0.8))
    assert covered == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("form", ["ICC1", "ICC2", "ICC3"])
def test_perfect_and_constant_ratings(form):
    perfect = np.repeat(np.array([1.0, 2.0, 4.0])[:, None], 5, axis=1)
    constant = np.full((3, 5), 0.1)
    agreement = vectorised(np.stack([perfect, constant]), form)
    assert agreement.icc[0] == agreement.low[0] == agreement.high[0] == 1.0
    assert np.isnan(agreement.icc[1])


def test_rounding_errors_are_no_variance():
    values = 1234.5678 * (1 + np.random.default_rng(0).normal(0, 1e-16, (1, 6, 4)))
    assert np.isnan(vectorised(values, "ICC3").icc[0])


def test_large_means_cost_no_digits():
    ratings = simulated(3, 1, 10, 5)
    expected = vectorised(ratings, "ICC3").icc[0]
    assert vectorised(ratings + 1e9, "ICC3").icc[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 5), (1, 5, 1)])
def test_one_subject_or_one_rater_is_refused(shape):
    with pytest.raises(ValueError, match="two subjects and two raters"):
        vectorised(np.ones(shape), "ICC3")
