"""Intervals contain the mean wait of M/M/1 as often as they say, made by Lindley's recursion and by the kernel."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.small import pool, run, scenario, work

from inferencesim.statistics.batch_means import FEWEST_BATCHES, MOST_BATCHES, batch_means, ratio_of_batches, von_neumann
from inferencesim.statistics.intervals import mean_interval, paired_interval
from inferencesim.workload.lengths import DISTRIBUTIONS

STEP_S = 0.01


def waits(load, customers, runs, seed):
    """Return waits of M/M/1, mean service 1, shape (runs, customers): W' = max(0, W + S − A), from steady state on."""
    generator = np.random.default_rng(seed)
    wait = np.where(generator.random(runs) < load, generator.exponential(1.0 / (1.0 - load), runs), 0.0)
    found = np.empty((customers, runs))
    for customer in found:
        customer[:] = wait
        wait = np.maximum(0.0, wait + generator.exponential(1.0, runs) - generator.exponential(1.0 / load, runs))
    return found.T


def test_the_recursion_is_m_m_1():
    assert waits(0.5, 2000, 500, seed=1).mean() == pytest.approx(1.0, rel=0.03)


@pytest.mark.long
@pytest.mark.parametrize(("load", "customers"), [(0.5, 5_000), (0.8, 20_000)])
def test_batch_means_of_one_run_contain_the_mean_wait(load, customers):
    found = [batch_means(series) for series in waits(load, customers, 1000, seed=int(100 * load))]
    told = [each for each in found if each is not None]
    assert len(told) > 900
    assert 0.93 <= np.mean([each.interval.contains(load / (1.0 - load)) for each in told]) <= 0.97


@pytest.mark.long
def test_intervals_over_ten_replications_contain_the_mean_wait():
    means = waits(0.5, 2_000, 10_000, seed=7).mean(axis=1).reshape(1000, 10)
    assert 0.93 <= np.mean([mean_interval(each).contains(1.0) for each in means]) <= 0.97


@pytest.mark.long
def test_intervals_of_a_difference_contain_it_with_common_and_with_other_random_numbers():
    """A second queue whose services take 1.1 times as long: W = ρ / (μ (1 − ρ)), with ρ = 0.55 and μ = 1 / 1.1."""
    generator, runs, customers = np.random.default_rng(8), 10_000, 2_000
    expected = 0.55 * 1.1 / 0.45 - 1.0
    slow = np.where(generator.random(runs) < 0.55, generator.exponential(1.1 / 0.45, runs), 0.0)
    fast = np.where(generator.random(runs) < 0.5, generator.exponential(2.0, runs), 0.0)
    sums = np.zeros((2, runs))
    for _ in range(customers):
        sums += (fast, slow)
        served, gap = generator.exponential(1.0, runs), generator.exponential(2.0, runs)
        fast, slow = np.maximum(0.0, fast + served - gap), np.maximum(0.0, slow + 1.1 * served - gap)
    first, second = (sums / customers).reshape(2, 1000, 10)
    paired = [paired_interval(b, a) for a, b in zip(first, second, strict=True)]
    assert 0.93 <= np.mean([each.contains(expected) for each in paired]) <= 0.97
    apart = [paired_interval(b, a) for a, b in zip(first, np.roll(second, 1, axis=0), strict=True)]
    assert 0.93 <= np.mean([each.contains(expected) for each in apart]) <= 0.97
    assert np.mean([each.half_width for each in paired]) < 0.5 * np.mean([each.half_width for each in apart])


class Exponential:
    """Exponential output lengths, which are rounded to whole tokens."""

    def sample(self, parameters, n, generator):
        return generator.exponential(parameters["mean"], n)

    def mean(self, parameters):
        return parameters["mean"]


@pytest.fixture
def exponential():
    DISTRIBUTIONS.register("exponential")(Exponential())
    yield
    del DISTRIBUTIONS._entries["exponential"]


@pytest.mark.long
def test_batch_means_of_the_kernels_m_m_1_contain_the_mean_wait(exponential):
    """200 runs of some 4,000 requests; the constant chip makes a token in 10 ms (see test_queueing_theory)."""
    mean, square = _moments_of_lengths()
    rate, lengths = 0.5 / (mean * STEP_S), {"distribution": "exponential", "parameters": {"mean": 50}}
    expected = rate * square * STEP_S**2 / (2.0 * 0.5)
    covered = told = 0
    for seed in range(200):
        described = scenario(
            [pool(hardware="constant-chip", batching={"max_sequences": 1})],
            [work(rate=rate, prompt=1, output=lengths)],
            horizon=4_000 / rate,
            seed=seed,
            recording={"evidence": "full", "series_interval": 4_000 / rate},
        )
        found = batch_means(run(described).requests["queue_time_s"].iloc[100:])
        told += found is not None
        covered += found is not None and found.interval.contains(expected)
    assert told > 180
    # 200 trials with a chance of 0.95: within three standard deviations.
    assert abs(covered / told - 0.95) < 3.0 * np.sqrt(0.95 * 0.05 / told)


def _moments_of_lengths():
    """Return mean and mean square of exponential lengths of mean 50, rounded, of at least one token."""
    tokens = np.arange(2, 5000)
    chance = np.exp(-(tokens - 0.5) / 50.0) - np.exp(-(tokens + 0.5) / 50.0)
    one = 1.0 - np.exp(-1.5 / 50.0)
    return one + (tokens * chance).sum(), one + (tokens**2 * chance).sum()


class TestBatches:
    def test_independent_values_keep_their_batches_and_the_interval_of_independent_values(self):
        values = np.random.default_rng(1).normal(3.0, 1.0, 32_000)
        found = batch_means(values)
        assert found.batches == MOST_BATCHES
        assert found.interval.half_width == pytest.approx(mean_interval(values).half_width, rel=0.4)

    def test_values_that_depend_on_each_other_say_less(self):
        series = waits(0.9, 50_000, 1, seed=3)[0]
        found = batch_means(series)
        assert found.interval.half_width > 10.0 * mean_interval(series).half_width

    def test_too_short_a_run_says_nothing(self):
        assert batch_means(np.random.default_rng(1).normal(size=2000).cumsum()) is None
        assert batch_means(np.ones(MOST_BATCHES - 1)) is None

    def test_what_never_changes_is_known(self):
        found = batch_means(np.full(1000, 2.5))
        assert (found.interval.low, found.interval.high) == (2.5, 2.5)

    def test_batches_of_unequal_numbers_weigh_as_much_as_they_hold(self):
        generator = np.random.default_rng(4)
        counts = generator.poisson(100, MOST_BATCHES).astype(float)
        sums = np.array([generator.normal(2.0, 1.0, int(count)).sum() for count in counts])
        found = ratio_of_batches(sums, counts)
        assert found.interval.estimate == pytest.approx(sums.sum() / counts.sum())
        assert found.interval.half_width == pytest.approx(1.96 / np.sqrt(counts.sum()), rel=0.4)
        assert ratio_of_batches(np.zeros(MOST_BATCHES), np.zeros(MOST_BATCHES)) is None

    def test_neighbours_are_joined_until_they_are_independent(self):
        generator = np.random.default_rng(5)
        pairs = np.repeat(generator.normal(size=MOST_BATCHES // 2), 2)
        found = ratio_of_batches(pairs, np.ones(MOST_BATCHES))
        assert FEWEST_BATCHES <= found.batches < MOST_BATCHES

    def test_von_neumanns_ratio_is_uniform_for_independent_values(self):
        generator = np.random.default_rng(6)
        chances = [von_neumann(generator.normal(size=32)) for _ in range(2000)]
        for chance in (0.1, 0.5, 0.9):
            assert np.mean(np.array(chances) < chance) == pytest.approx(chance, abs=0.04)
