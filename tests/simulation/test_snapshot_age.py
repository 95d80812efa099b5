"""Policies that see the fleet as it was a while ago."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.small import pool, run, scenario, work

INTERVAL = 0.25


def described(snapshot_age, balancing="least_outstanding"):
    mixed = {"distribution": "uniform", "low": 1, "high": 60}
    return scenario(
        [pool(replicas=8)],
        [work(rate=400.0, prompt=mixed, output=mixed)],
        horizon=4.0,
        routing={"balancing": balancing, "snapshot_age": snapshot_age},
    )


@pytest.fixture(scope="module")
def fresh():
    return run(described(0.0))


@pytest.fixture(scope="module")
def stale():
    return run(described(INTERVAL))


def test_each_decision_says_how_old_its_snapshot_was(fresh, stale):
    assert (fresh.decisions["snapshot_age_s"] == 0.0).all()
    ages = stale.decisions["snapshot_age_s"]
    assert ages.between(0.0, INTERVAL * (1 + 1e-12)).all()
    # Arrivals are spread evenly over the interval.
    assert ages.mean() == pytest.approx(INTERVAL / 2, rel=0.05)
    np.testing.assert_allclose(ages, stale.decisions["time_s"] % INTERVAL, atol=1e-9)


def imbalance(done):
    """Arrivals per replica in windows of the interval: their standard deviation, averaged over the windows."""
    requests = done.requests
    window = (requests["arrived_s"] // INTERVAL).astype(int)
    counts = np.zeros((window.max() + 1, 8))
    np.add.at(counts, (window.to_numpy(), requests["replica"].to_numpy(dtype=int)), 1)
    return counts.std(axis=1).mean()


def test_a_herd_follows_a_stale_snapshot(fresh, stale):
    """All arrivals between two refreshes go to the replica that was emptiest at the first."""
    assert imbalance(stale) > 5 * imbalance(fresh)
    assert stale.requests["queue_time_s"].mean() > 2 * fresh.requests["queue_time_s"].mean()
    window = stale.requests["arrived_s"] // INTERVAL
    assert (stale.requests.groupby(window)["replica"].nunique() == 1).all()


def test_who_looks_at_nothing_is_not_misled():
    fresh_turns, stale_turns = run(described(0.0, "round_robin")), run(described(INTERVAL, "round_robin"))
    assert fresh_turns.requests["replica"].equals(stale_turns.requests["replica"])
    np.testing.assert_array_equal(fresh_turns.requests["finished_s"], stale_turns.requests["finished_s"])
