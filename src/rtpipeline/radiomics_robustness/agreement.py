"""Intraclass correlation of single ratings, for many features at once; runs in the radiomics environment.

Subjects are rated by raters (here: perturbation states) without replication. The coefficients are those of Shrout and
Fleiss, Psychological Bulletin 86 (1979) 420-428, with the confidence intervals of McGraw and Wong, Psychological
Methods 1 (1996) 30-46: ICC1 is ICC(1,1), ICC2 is ICC(A,1), absolute agreement, ICC3 is ICC(C,1), consistency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.float64]
Form = Literal["ICC1", "ICC2", "ICC3"]

CONFIDENCE = 0.95
RELATIVE_PRECISION = 1e-12
"""Standard deviations below this fraction of the largest value are rounding errors, and count as zero."""

_PINGOUIN_NAMES = {"ICC1": ("ICC(1,1)", "ICC1"), "ICC2": ("ICC(A,1)", "ICC2"), "ICC3": ("ICC(C,1)", "ICC3")}
"""Names since pingouin 0.6, and before."""


@dataclass(frozen=True)
class Agreement:
    """Coefficients and unrounded bounds of their confidence intervals, each (features,); NaN where undefined."""

    icc: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class _MeanSquares:
    """Mean squares (features,) of the analysis of variance.

    Attributes:
        subjects: between subjects (MSR).
        raters: between raters (MSC).
        error: residual of the two-way model (MSE).
        within: within subjects (MSW), residual of the one-way model.
    """

    subjects: FloatArray
    raters: FloatArray
    error: FloatArray
    within: FloatArray


def vectorised(ratings: FloatArray, form: Form) -> Agreement:
    """Coefficients of all features at once.

    Args:
        ratings: (features, subjects, raters), finite, at least two subjects and two raters.
        form: which coefficient.

    Raises:
        ValueError: there are fewer than two subjects or raters.
    """
    _, subjects, raters = ratings.shape
    if subjects < 2 or raters < 2:
        raise ValueError(f"agreement needs two subjects and two raters, not {subjects} and {raters}")
    squares = _mean_squares(ratings)
    with np.errstate(divide="ignore", invalid="ignore"):
        if form == "ICC1":
            return _consistency(squares.subjects, squares.within, subjects - 1, subjects * (raters - 1), raters)
        if form == "ICC3":
            freedom = (subjects - 1) * (raters - 1)
            return _consistency(squares.subjects, squares.error, subjects - 1, freedom, raters)
        return _absolute(squares, subjects, raters)


def with_pingouin(ratings: FloatArray, form: Form) -> Agreement:
    """The same with the library pingouin, one feature after another; see `vectorised`."""
    import pandas
    import pingouin

    pingouin.options["round.column.CI95"] = None  # it rounds bounds to two digits, which moves them over thresholds
    pingouin.options["round.column.CI95%"] = None
    _, subjects, raters = ratings.shape
    who = np.repeat(np.arange(subjects), raters)
    what = np.tile(np.arange(raters), subjects)
    rows = []
    for values in ratings:
        frame = pandas.DataFrame({"subject": who, "state": what, "value": values.ravel()})
        with np.errstate(divide="ignore", invalid="ignore"):
            table = pingouin.intraclass_corr(frame, targets="subject", raters="state", ratings="value")
        line = table[table["Type"].isin(_PINGOUIN_NAMES[form])].iloc[0]
        bounds = line["CI95"] if "CI95" in table.columns else line["CI95%"]
        rows.append((float(line["ICC"]), float(bounds[0]), float(bounds[1])))
    icc, low, high = np.array(rows, dtype=float).reshape(-1, 3).T
    return Agreement(icc, low, high)


def _mean_squares(ratings: FloatArray) -> _MeanSquares:
    """Two-way analysis of variance without replication; what is only rounding error is set to zero.

    Values are taken relative to each feature's first, and sums of squares are sums over residuals, so that large
    means cost no digits.
    """
    _, subjects, raters = ratings.shape
    centred = ratings - ratings[:, :1, :1]
    grand = centred.mean(axis=(1, 2), keepdims=True)
    of_subject = centred.mean(axis=2, keepdims=True)
    of_rater = centred.mean(axis=1, keepdims=True)
    within = np.sum((centred - of_subject) ** 2, axis=(1, 2)) / (subjects * (raters - 1))
    error = np.sum((centred - of_subject - of_rater + grand) ** 2, axis=(1, 2)) / ((subjects - 1) * (raters - 1))
    between = raters * np.sum((of_subject - grand) ** 2, axis=(1, 2)) / (subjects - 1)
    of_raters = subjects * np.sum((of_rater - grand) ** 2, axis=(1, 2)) / (raters - 1)
    negligible = (RELATIVE_PRECISION * np.abs(ratings).max(axis=(1, 2))) ** 2
    parts = (np.where(part <= negligible, 0.0, part) for part in (between, of_raters, error, within))
    return _MeanSquares(*parts)


def _consistency(
    between: FloatArray, residual: FloatArray, freedom: int, residual_freedom: int, raters: int
) -> Agreement:
    """ICC = (MSR - MSE) / (MSR + (k - 1) MSE), with F = MSR / MSE: bounds (F' - 1) / (F' + k - 1).

    F' is F / F(0.975; df1, df2) and F * F(0.975; df2, df1). With MSW in the place of MSE this is ICC1. Without any
    residual, the coefficient and both bounds are 1; without any variance, they are undefined.
    """
    tail = 0.5 + CONFIDENCE / 2.0
    ratio = between / residual
    low_ratio = ratio / stats.f.ppf(tail, freedom, residual_freedom)
    high_ratio = ratio * stats.f.ppf(tail, residual_freedom, freedom)
    perfect = (residual == 0) & (between > 0)
    icc = (between - residual) / (between + (raters - 1) * residual)
    low = (low_ratio - 1.0) / (low_ratio + raters - 1.0)
    high = (high_ratio - 1.0) / (high_ratio + raters - 1.0)
    return Agreement(icc, np.where(perfect, 1.0, low), np.where(perfect, 1.0, high))


def _absolute(squares: _MeanSquares, subjects: int, raters: int) -> Agreement:
    """ICC = (MSR - MSE) / (MSR + (k - 1) MSE + k (MSC - MSE) / n), with Satterthwaite's freedom in the bounds."""
    n, k = subjects, raters
    between, of_raters, error = squares.subjects, squares.raters, squares.error
    icc = (between - error) / (between + (k - 1) * error + k * (of_raters - error) / n)
    ratio = of_raters / error
    weight = n * (1.0 + (k - 1) * icc) - k * icc
    freedom = ((k - 1) * (n - 1) * (k * icc * ratio + weight) ** 2) / ((n - 1) * k**2 * icc**2 * ratio**2 + weight**2)
    freedom = np.where(np.isinf(ratio), float(k - 1), freedom)  # its limit without residual
    tail = 0.5 + CONFIDENCE / 2.0
    lower = stats.f.ppf(tail, n - 1, freedom)
    upper = stats.f.ppf(tail, freedom, n - 1)
    rest = k * of_raters + (k * n - k - n) * error
    low = n * (between - lower * error) / (lower * rest + n * between)
    high = n * (upper * between - error) / (rest + n * upper * between)
    perfect = (error == 0) & (of_raters == 0) & (between > 0)
    return Agreement(icc, np.where(perfect, 1.0, low), np.where(perfect, 1.0, high))
