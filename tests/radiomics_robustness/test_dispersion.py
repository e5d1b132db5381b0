import numpy as np
import pytest

from rtpipeline.radiomics_robustness.dispersion import (
    coefficient_of_variation_pct,
    median_and_quartiles,
    quartile_coefficient,
)


def test_coefficient_of_variation_is_within_each_subject():
    values = np.array([[[9.0, 10.0, 11.0], [900.0, 1000.0, 1100.0]]])
    np.testing.assert_allclose(coefficient_of_variation_pct(values), [[10.0, 10.0]])


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_it_is_undefined_for_data_that_are_not_positive(value):
    values = np.array([[[value, 10.0, 11.0, 12.0], [8.0, 9.0, 10.0, 11.0]]])
    for coefficient in (coefficient_of_variation_pct, quartile_coefficient):
        assert np.isnan(coefficient(values)).tolist() == [[True, False]]


def test_quartile_coefficient():
    np.testing.assert_allclose(quartile_coefficient(np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])), [(4 - 2) / (4 + 2)])


def test_three_values_have_no_quartiles_worth_the_name():
    assert np.isnan(quartile_coefficient(np.array([[1.0, 2.0, 3.0]]))).all()


def test_median_and_quartiles_leave_out_what_is_undefined():
    np.testing.assert_allclose(median_and_quartiles(np.array([1.0, np.nan, 2.0, 3.0])), [2.0, 1.5, 2.5])
    assert np.isnan(median_and_quartiles(np.array([np.nan]))).all()
