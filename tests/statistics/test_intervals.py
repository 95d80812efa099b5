"""Intervals against SciPy and closed forms, and what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from inferencesim.statistics.intervals import bonferroni, holm, mean_interval, paired_interval, share_interval

VALUES = [4.1, 3.9, 5.2, 4.4, 4.8, 3.7]


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_the_interval_of_a_mean_is_that_of_scipy(confidence):
    found = mean_interval(VALUES, confidence)
    theirs = stats.ttest_1samp(VALUES, 0.0).confidence_interval(confidence)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=1e-12)
    assert found.estimate == pytest.approx(np.mean(VALUES))
    assert found.contains(found.low)
    assert not found.contains(found.high + 1e-9)


def test_the_interval_of_a_difference_is_that_of_scipy_for_pairs():
    other = [value + shift for value, shift in zip(VALUES, (0.1, 0.3, 0.2, 0.1, 0.4, 0.2), strict=True)]
    found = paired_interval(other, VALUES, 0.99)
    theirs = stats.ttest_rel(other, VALUES).confidence_interval(0.99)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)
    # What pairs have in common is none of their difference.
    assert found.half_width < mean_interval(VALUES, 0.99).half_width / 3.0


@pytest.mark.parametrize("args", [([1.0],), ([],), (VALUES, 1.0), (VALUES, 0.0)])
def test_too_few_values_and_no_confidence_are_refused(args):
    with pytest.raises(ValueError, match=r"needs two values|between 0 and 1"):
        mean_interval(*args)


def test_values_without_partners_are_refused():
    with pytest.raises(ValueError, match="do not make pairs"):
        paired_interval(VALUES, VALUES[1:])


@given(trials=st.integers(1, 1000), data=st.data())
def test_the_interval_of_a_share_is_that_of_scipy(trials, data):
    successes = data.draw(st.integers(0, trials))
    found = share_interval(successes, trials, 0.95)
    theirs = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert found.low <= found.estimate <= found.high


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 5)])
def test_what_is_no_share_is_refused(successes, trials):
    with pytest.raises(ValueError, match="no share"):
        share_interval(successes, trials)


def test_bonferroni_divides_the_chance_of_error():
    assert bonferroni(0.95, 1) == 0.95
    assert bonferroni(0.95, 10) == pytest.approx(0.995)


def test_holm_goes_from_the_smallest_on_and_stops_at_the_first_that_fails():
    # 0.01 ≤ 0.05 / 4, 0.015 ≤ 0.05 / 3, 0.03 > 0.05 / 2: 0.04, though below 0.05 / 1, is not reached any more.
    assert holm([0.03, 0.01, 0.04, 0.015]) == (False, True, False, True)
    assert holm([]) == ()


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8))
def test_holm_rejects_what_bonferroni_rejects_and_nothing_that_is_not_significant_alone(chances):
    rejected = holm(chances)
    for chance, is_rejected in zip(chances, rejected, strict=True):
        if chance <= 0.05 / len(chances):
            assert is_rejected
        if is_rejected:
            assert chance <= 0.05
