"""Stein's two stages: how many replications an interval of a wanted length takes, and what it then covers."""

from __future__ import annotations

import numpy as np
import pytest

from inferencesim.statistics.intervals import mean_interval
from inferencesim.statistics.stopping import replications_needed, two_stage_interval


def test_the_interval_is_as_short_as_was_wanted():
    values = np.random.default_rng(1).normal(5.0, 2.0, 10_000)
    needed = replications_needed(values[:10], 0.5)
    assert two_stage_interval(values[:needed], 10).half_width <= 0.5
    assert two_stage_interval(values[: needed - 1], 10).half_width > 0.5
    # Half the length takes four times as many.
    assert replications_needed(values[:10], 0.25) == pytest.approx(4 * needed, abs=4)


def test_a_first_stage_that_is_enough_is_all_there_is():
    values = np.random.default_rng(2).normal(size=10)
    assert replications_needed(values, 10.0) == 10
    first = two_stage_interval(values, 10)
    assert (first.low, first.high) == pytest.approx((mean_interval(values).low, mean_interval(values).high))


@pytest.mark.parametrize("arguments", [([1.0], 0.1), ([1.0, 2.0], 0.0), ([1.0, 2.0], -1.0)])
def test_what_says_nothing_is_refused(arguments):
    with pytest.raises(ValueError, match="say not how many"):
        replications_needed(*arguments)
    with pytest.raises(ValueError, match="no first stage"):
        two_stage_interval([1.0, 2.0], 1)


def test_the_coverage_is_as_stated_however_the_spread_looked():
    """1,000 studies of five normal values first, which alone would be misled most; 99.9 % of tests like this pass."""
    generator, covered, sizes = np.random.default_rng(4), 0, []
    for _ in range(1000):
        values = generator.normal(0.0, 1.0, 400)
        needed = min(400, replications_needed(values[:5], 0.3))
        covered += two_stage_interval(values[:needed], 5).contains(0.0)
        sizes.append(needed)
    assert np.std(sizes) > 20.0
    assert abs(covered / 1000 - 0.95) < 3.3 * np.sqrt(0.95 * 0.05 / 1000)
