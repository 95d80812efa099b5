"""MSER-5: a known transient is left out, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from inferencesim.statistics.warm_up import mser5


def naive(values):
    """Return the truncation as its definition says, one candidate after the other."""
    batches = len(values) // 5
    means = [np.mean(values[5 * k : 5 * k + 5]) for k in range(batches)]
    errors = [np.sum((means[d:] - np.mean(means[d:])) ** 2) / (batches - d) ** 2 for d in range(batches - 5)]
    least = int(np.argmin(errors))
    return None if least > batches // 2 else 5 * least


@pytest.mark.parametrize("length", [100, 400, 1000])
def test_a_known_transient_is_left_out(length):
    generator = np.random.default_rng(length)
    series = generator.normal(10.0, 1.0, 4000)
    series[:length] -= 10.0
    found = mser5(series)
    # Whatever else is left out is little.
    assert length <= found <= length + 100
    assert found % 5 == 0


def test_a_transient_that_fades_is_left_out_while_it_is_larger_than_what_chance_does():
    generator = np.random.default_rng(3)
    fading = 20.0 * np.exp(-np.arange(5000) / 200.0)
    found = mser5(fading + generator.normal(0.0, 1.0, 5000))
    assert fading[found] < 1.0
    assert found < 2000


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_definition(seed):
    series = np.random.default_rng(seed).normal(size=300).cumsum() / 10.0 + 1e6
    assert mser5(series) == naive(series)


def test_a_series_that_never_settles_has_no_truncation():
    assert mser5(np.arange(1000.0)) is None


def test_a_series_that_is_stationary_keeps_nearly_all():
    kept = [mser5(np.random.default_rng(seed).normal(size=2000)) for seed in range(50)]
    assert np.median(kept) <= 100


def test_a_constant_series_keeps_everything_and_a_short_one_says_nothing():
    assert mser5(np.full(100, 3.0)) == 0
    assert mser5(np.ones(19)) is None
