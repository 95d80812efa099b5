"""The real fleet and its twin side by side."""

from __future__ import annotations

import math

import numpy as np

from oracle.small import Run
from oracle.twin import Twin

#: Relative; the kernel sums a run of decode steps in one formula, the twin step by step.
TIMES = 1e-9
SHARES = 1e-6


def run_both(described):
    real = Run(described)
    twin = Twin(real.plan, real.simulation.gateway.pool_traits["target_rate"])
    twin.run(described.horizon + described.drain)
    return real, twin


def assert_same(real, twin):
    """Assert that every request met the same fate at the same time, and every replica did the same work."""
    calls = twin.arrivals
    assert real.result.arrived == len(calls)
    if calls:
        _assert_same_requests(real.requests, calls)
    output = [pool.output_tokens for pool in twin.pools]
    np.testing.assert_array_equal(real.result.end.output_tokens, output, err_msg="output_tokens")
    if real.fleet.clock["inside"][0] > 0:
        # Stopped in the midst of steps, whose time counts in proportion: the twin books whole steps only.
        for pool, busy_s in zip(twin.pools, real.result.end.busy_s, strict=True):
            over = sum(each.busy_s for each in pool.replicas)
            under_way = sum(each.step.seconds for each in pool.replicas if each.step)
            assert over * (1 - TIMES) <= busy_s <= (over + under_way) * (1 + TIMES)
        return
    for name in ("busy_s", "busy_energy_j", "prefill_tokens", "decode_tokens"):
        theirs = [getattr(each, name) for each in twin.replicas]
        tolerance = SHARES if name.startswith("busy") else 0.0
        np.testing.assert_allclose(real.fleet.replicas[name], theirs, rtol=tolerance, atol=1e-12, err_msg=name)


def _assert_same_requests(table, calls):
    for column in ("task", "outcome", "preemptions"):
        assert table[column].tolist() == [getattr(call, column) for call in calls], column
    assert table["generated_tokens"].tolist() == [call.generated for call in calls]
    assert table["reason"].astype(object).where(table["reason"].notna(), None).tolist() == [
        call.reason for call in calls
    ]
    replicas = [math.nan if call.replica is None else call.replica for call in calls]
    np.testing.assert_array_equal(table["replica"].astype(float), replicas, err_msg="replica")
    for column in ("arrived_s", "scheduled_s", "first_token_s", "finished_s"):
        theirs = [math.nan if getattr(call, column) is None else getattr(call, column) for call in calls]
        np.testing.assert_allclose(table[column].astype(float), theirs, rtol=TIMES, err_msg=column)
    for column in ("busy_s", "energy_j"):
        theirs = [getattr(call, column) for call in calls]
        np.testing.assert_allclose(table[column], theirs, rtol=SHARES, atol=1e-12, err_msg=column)
