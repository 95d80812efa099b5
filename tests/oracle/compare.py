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
    fleet = real.fleet.replicas
    # What a run stopped in the midst of a segment has done in it is not booked yet.
    check = np.testing.assert_allclose if real.fleet.clock["inside"][0] == 0 else _assert_at_most
    for name in ("busy_s", "busy_energy_j", "prefill_tokens", "decode_tokens"):
        theirs = [getattr(each, name) for each in twin.replicas]
        check(fleet[name], theirs, rtol=SHARES if name.startswith("busy") else 0.0, atol=1e-12, err_msg=name)
    output = [pool.output_tokens for pool in twin.pools]
    check(real.fleet.pools["output_tokens"], output, rtol=0.0, err_msg="output_tokens")


def _assert_at_most(ours, theirs, rtol, atol=0.0, err_msg=""):
    assert (ours <= np.asarray(theirs) * (1.0 + rtol) + atol).all(), err_msg


def _assert_same_requests(table, calls):
    for column in ("outcome", "preemptions"):
        assert table[column].tolist() == [getattr(call, column) for call in calls], column
    inside = np.array([call.outcome == "open" for call in calls])
    generated = np.array([call.generated for call in calls])
    np.testing.assert_array_equal(table["generated_tokens"][~inside], generated[~inside])
    assert (table["generated_tokens"] <= generated).all()
    assert table["reason"].astype(object).where(table["reason"].notna(), None).tolist() == [
        call.reason for call in calls
    ]
    replicas = [math.nan if call.replica is None else call.replica for call in calls]
    np.testing.assert_array_equal(table["replica"].astype(float), replicas, err_msg="replica")
    for column in ("scheduled_s", "first_token_s", "finished_s"):
        theirs = [math.nan if getattr(call, column) is None else getattr(call, column) for call in calls]
        np.testing.assert_allclose(table[column].astype(float), theirs, rtol=TIMES, err_msg=column)
    for column in ("busy_s", "energy_j"):
        theirs = np.array([getattr(call, column) for call in calls])
        np.testing.assert_allclose(table[column][~inside], theirs[~inside], rtol=SHARES, atol=1e-12, err_msg=column)
        _assert_at_most(table[column], theirs, SHARES, 1e-12, column)
