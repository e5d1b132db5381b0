"""Dispersion of a feature over perturbation states, within each subject; runs in the radiomics environment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

FEWEST_FOR_VARIATION = 2
FEWEST_FOR_QUARTILES = 4


def coefficient_of_variation_pct(values: FloatArray) -> FloatArray:
    """100 s / mean over the last axis, s with n - 1 degrees of freedom.

    NaN unless there are two or more values and all are finite and positive: for other data the coefficient has no
    meaning, since their mean can be anything from zero on.
    """
    defined = _all_positive(values) & (values.shape[-1] >= FEWEST_FOR_VARIATION)
    result = np.full(values.shape[:-1], np.nan)
    chosen = values[defined]
    result[defined] = 100.0 * chosen.std(axis=-1, ddof=1) / chosen.mean(axis=-1) if chosen.size else np.nan
    return result


def quartile_coefficient(values: FloatArray) -> FloatArray:
    """(Q3 - Q1) / (Q3 + Q1) over the last axis, quartiles by linear interpolation.

    NaN unless there are four or more values and all are finite and positive.
    """
    defined = _all_positive(values) & (values.shape[-1] >= FEWEST_FOR_QUARTILES)
    result = np.full(values.shape[:-1], np.nan)
    if defined.any():
        first, third = np.quantile(values[defined], [0.25, 0.75], axis=-1)
        result[defined] = (third - first) / (third + first)
    return result


def median_and_quartiles(values: FloatArray) -> FloatArray:
    """Median, first and third quartile (3,) of the values that are not NaN; NaN where there are none."""
    known = values[~np.isnan(values)]
    return np.quantile(known, [0.5, 0.25, 0.75]) if len(known) else np.full(3, np.nan)


def _all_positive(values: FloatArray) -> NDArray[np.bool_]:
    return np.all(np.isfinite(values) & (values > 0), axis=-1)
