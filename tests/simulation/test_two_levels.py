"""Placement and balancing draw different random numbers, so that every replica of every pool gets its share."""

from __future__ import annotations

import pytest
from oracle.small import pool, run, scenario, work


def shares(policy, **said):
    routing = {"placement": policy, "balancing": policy}
    played = run(
        scenario([pool("a", replicas=4), pool("b", replicas=4)], [work(rate=800.0, **said)], 2.0, routing=routing)
    )
    return played.requests.groupby(["pool", "replica"], observed=True).size()


@pytest.mark.parametrize("policy", ["random", "power_of_two"])
def test_random_policies_on_both_levels_reach_every_replica_alike(policy):
    counts = shares(policy)
    assert len(counts) == 8
    assert counts.min() > 0.8 * counts.mean()


def test_sessions_spread_over_all_replicas_of_all_pools():
    counts = shares("session_affinity", sessions={"active": 400})
    assert len(counts) == 8
    assert counts.min() > 0.5 * counts.mean()


def test_a_lone_request_keeps_a_slowdown_of_one():
    lonely = work(rate=0.5, prompt={"distribution": "uniform", "low": 20, "high": 90}, promise={"slowdown": 1})
    played = run(scenario([pool()], [lonely], 60.0))
    alone = played.requests[played.requests["queue_time_s"] == 0.0]
    assert len(alone) > 10
    assert alone["promise_kept"].mean() > 0.9


def test_a_promised_slowdown_steers_the_router_too():
    """A class that promises nothing else must not be sent to the cheapest pool whatever its queue."""
    cheap, dear = pool("cheap", price=0.0001), pool("dear", replicas=4, price=0.01)
    load = [work(rate=120.0, prompt=200, promise={"slowdown": 3})]
    played = run(scenario([cheap, dear], load, 5.0, routing={"placement": "cheapest_feasible"}))
    assert played.requests["promise_kept"].mean() > 0.6
    assert (played.requests["pool"] == "dear").mean() > 0.2
