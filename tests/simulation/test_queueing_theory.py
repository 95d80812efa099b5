"""Degenerate fleets against theory: M/M/1, M/D/1, M/M/c, and Little's law.

Every step of the constant chip takes 10 ms whatever the batch, and a prompt of one token
takes one step which emits the first token of the answer: the service time is the output
length × 10 ms. One replica with `c` seats is then a queue with `c` servers. Theory is
evaluated with the moments of the lengths that were drawn from, and the simulated mean
compared within its confidence interval by batch means, which correlated waits need.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracle.small import number_inside, pool, run, scenario, work
from scipy import stats

from inferencesim.workload.lengths import DISTRIBUTIONS

STEP_S = 0.01
#: Two-sided 99.9 %: with these seeds the tests pass, with any other they would, but for one in a thousand.
CONFIDENCE = 0.999
BATCHES = 25


class Exponential:
    """Exponential output lengths, which are rounded to whole tokens."""

    def sample(self, parameters, n, generator):
        return generator.exponential(parameters["mean"], n)

    def mean(self, parameters):
        return parameters["mean"]


@pytest.fixture(autouse=True, scope="module")
def exponential():
    DISTRIBUTIONS.register("exponential")(Exponential())
    yield
    del DISTRIBUTIONS._entries["exponential"]


def moments_of_rounded_exponential(mean):
    """E[N] and E[N²] of max(1, round(X)), X exponential: P(N ≥ k) = exp(−(k − ½) / mean) for k ≥ 2, and 1 for k = 1."""
    k = np.arange(2, int(60 * mean))
    tail = np.exp(-(k - 0.5) / mean)
    return 1.0 + tail.sum(), 1.0 + ((2 * k - 1) * tail).sum()


def queue(servers, rate, output, requests, seed):
    batching = {"max_sequences": servers, "token_budget": max(8, servers), "block_size": 16}
    described = scenario(
        [pool(hardware="constant-chip", batching=batching)],
        [work(rate=rate, prompt=1, output=output)],
        horizon=requests / rate,
        seed=seed,
        drain=1e6,
        recording={"series_interval": requests / rate},
    )
    return run(described)


def batch_means(values):
    """Return the mean of a correlated series without its first tenth, and half its confidence interval."""
    values = np.asarray(values)[len(values) // 10 :]
    means = np.array([part.mean() for part in np.array_split(values, BATCHES)])
    half = stats.t.ppf(0.5 + CONFIDENCE / 2, BATCHES - 1) * means.std(ddof=1) / math.sqrt(BATCHES)
    return means.mean(), half


def assert_within(values, expected, bias=0.0):
    mean, half = batch_means(values)
    assert abs(mean - expected) <= half + bias, (mean, expected, half)
    # An interval that allows anything would prove nothing.
    assert half < 0.2 * expected


def assert_mean_number(requests, expected, bias=0.0):
    """Compare the time average of the requests inside: sampled often, at moments of its own."""
    last = requests["arrived_s"].max()
    moments = np.linspace(0.0, last, 20 * len(requests))
    assert_within(number_inside(requests, moments), expected, bias)


def test_the_step_of_the_constant_chip_is_constant():
    deployment = run(scenario([pool(hardware="constant-chip")], [])).plan.pools[0].deployment
    for batch in (1, 8, 64):
        assert deployment.decode_s(batch, 1000.0) == pytest.approx(STEP_S, rel=1e-6)
    assert deployment.prefill_s(1) == pytest.approx(STEP_S, rel=1e-6)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_m_d_1(load):
    """Pollaczek–Khinchine with no variance: W = ρ S / (2 (1 − ρ))."""
    service = 20 * STEP_S
    requests = queue(1, load / service, 20, 40_000, seed=11).requests
    wait = load * service / (2 * (1 - load))
    assert_within(requests["queue_time_s"], wait)
    assert_mean_number(requests, load + load**2 / (2 * (1 - load)))


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_m_m_1(load):
    """Mean wait λ E[S²] / (2 (1 − ρ)), and ρ / (1 − ρ) requests inside."""
    mean, square = moments_of_rounded_exponential(50)
    service = mean * STEP_S
    rate = load / service
    requests = queue(1, rate, {"distribution": "exponential", "parameters": {"mean": 50}}, 60_000, seed=12).requests
    wait = rate * square * STEP_S**2 / (2 * (1 - load))
    assert wait == pytest.approx(load * service / (1 - load), rel=1e-3)
    assert_within(requests["queue_time_s"], wait)
    assert_mean_number(requests, load / (1 - load), bias=1e-3 * load / (1 - load))


def erlang_c(servers, offered):
    """Probability that an arrival has to wait in M/M/c (Erlang's C formula)."""
    terms = [offered**k / math.factorial(k) for k in range(servers)]
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(terms) + last)


@pytest.mark.parametrize(("servers", "load"), [(2, 0.7), (8, 0.8)])
def test_m_m_c(servers, load):
    """Erlang C: W = C / (c μ − λ); who finds a seat free still waits for the end of the step under way."""
    mean, _ = moments_of_rounded_exponential(400)
    service = mean * STEP_S
    rate = load * servers / service
    lengths = {"distribution": "exponential", "parameters": {"mean": 400}}
    requests = queue(servers, rate, lengths, 60_000, seed=13).requests
    wait = erlang_c(servers, load * servers) / (servers / service - rate)
    # Half a step on average until the step under way ends, at both ends of the service.
    assert_within(requests["queue_time_s"], wait, bias=STEP_S)
    assert_mean_number(requests, rate * (wait + service), bias=2 * rate * STEP_S)


def test_littles_law_on_a_mixed_fleet():
    """L = λ W holds whatever the policies, outcomes and lengths: as an identity over a run that ends empty."""
    mixed = {"distribution": "lognormal", "median": 40, "sigma": 1.0, "max": 300}
    done = run(
        scenario(
            [
                pool("a", replicas=3, kv_blocks=60),
                pool("b", "fast-chip", replicas=2, kv_blocks=60, queue_limit=30),
            ],
            [
                work("patient", rate=150.0, prompt=mixed, output=mixed),
                work("hasty", rate=100.0, prompt=mixed, output=mixed, timeout=0.2),
            ],
            horizon=20.0,
            seed=3,
            recording={"series_interval": 0.004},
        )
    )
    requests = done.requests
    inside = done.inside
    last = requests["finished_s"].max()
    # Time average of the number inside, as the series samples it up to the horizon, against λ W.
    sampled = number_inside(requests, 0.004 * np.arange(1, inside.size + 1))
    # Who left in the midst of a step is inside until the end of it.
    assert (inside >= sampled).all()
    assert np.mean(inside == sampled) > 0.99
    time_inside = (requests["finished_s"] - requests["arrived_s"]).sum()
    moments = np.linspace(0.0, last, 200_001)
    assert number_inside(requests, moments).mean() * last == pytest.approx(time_inside, rel=1e-3)
    assert len(set(requests["outcome"])) > 1
