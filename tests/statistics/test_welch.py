"""The interval of a difference between independent means: SciPy's, and as often right as it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from inferencesim.statistics.welch import welch_interval

A, B = [3.1, 2.7, 3.6, 3.3, 2.9], [2.2, 4.9, 0.4, 3.7]


def test_it_is_that_of_scipy():
    expected = stats.ttest_ind(A, B, equal_var=False).confidence_interval(0.99)
    found = welch_interval(A, B, 0.99)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found.estimate == pytest.approx(np.mean(A) - np.mean(B))


def test_means_that_do_not_vary_differ_exactly():
    found = welch_interval([2.0, 2.0], [1.5, 1.5, 1.5])
    assert (found.low, found.high) == (0.5, 0.5)


def test_one_value_is_not_enough():
    with pytest.raises(ValueError, match="1 and 4"):
        welch_interval([1.0], B)


def test_coverage_where_spreads_and_numbers_differ():
    random = np.random.default_rng(1)
    covered = sum(
        welch_interval(random.normal(1.0, 1.0, 6), random.normal(0.5, 5.0, 12)).contains(0.5) for _ in range(2000)
    )
    # Three standard errors of a share of 95 % in 2,000.
    assert abs(covered / 2000 - 0.95) < 3.0 * np.sqrt(0.95 * 0.05 / 2000)
