"""The real fleet and its twin side by side."""

from __future__ import annotations

import math

import numpy as np

from inferencesim.kernel.tables import OPEN, OUTCOMES, VERDICTS
from oracle.small import Run
from oracle.twin import Twin

#: Relative; the kernel sums a run of decode steps in one formula, the twin step by step.
TIMES = 1e-9
SHARES = 1e-6
PARTS = ("waiting", "prefill", "decode", "transfer", "preempted")


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
        _assert_same_requests(real.records(), calls)
    output = [pool.output_tokens for pool in twin.pools]
    # With drafts a step makes fractions of tokens, evenly from the first to the last.
    rounding = 1.0 if any(pool.drafts for pool in twin.pools) else 0.0
    np.testing.assert_allclose(real.result.end.output_tokens, output, rtol=0.0, atol=rounding, err_msg="output_tokens")
    if real.fleet.clock["inside"][0] > 0:
        # Stopped in the midst of steps, whose time counts in proportion: the twin books whole steps only.
        for pool, busy_s in zip(twin.pools, real.result.end.busy_s, strict=True):
            over = sum(each.busy_s for each in pool.replicas)
            under_way = sum(each.activity.seconds for each in pool.replicas if each.activity)
            assert over * (1 - TIMES) <= busy_s <= (over + under_way) * (1 + TIMES)
        return
    for name in ("busy_s", "busy_energy_j", "prefill_tokens", "decode_tokens", "preemptions", *CACHED):
        theirs = [getattr(each, name) for each in twin.replicas]
        tolerance = SHARES if name.startswith("busy") else 1e-12
        np.testing.assert_allclose(real.fleet.replicas[name], theirs, rtol=tolerance, atol=1e-9, err_msg=name)


CACHED = ("cached_tokens", "prompt_tokens")
COUNTS = ("task", "preemptions", "cached_tokens")
MOMENTS = ("arrived_s", "scheduled_s", "first_token_s", "finished_s")
CHARGES = ("busy_s", "energy_j", "prefill_busy_s", "prefill_energy_j")


def _assert_same_requests(table, calls):
    outcomes = [OUTCOMES[code] for code in table["outcome"]]
    assert outcomes == [call.outcome for call in calls]
    for column in COUNTS:
        assert table[column].tolist() == [getattr(call, column) for call in calls], column
    assert table["generated_tokens"].tolist() == [call.generated for call in calls]
    reasons = [
        VERDICTS[code] if outcome == "rejected" else None
        for code, outcome in zip(table["reason"], outcomes, strict=True)
    ]
    assert reasons == [call.reason for call in calls]
    for column in ("replica", "prefill_replica"):
        assert table[column].tolist() == [_number(getattr(call, column)) for call in calls], column
    for column in MOMENTS:
        theirs = [math.nan if getattr(call, column) is None else getattr(call, column) for call in calls]
        np.testing.assert_allclose(table[column], theirs, rtol=TIMES, err_msg=column)
    for column in CHARGES:
        theirs = [getattr(call, column) for call in calls]
        np.testing.assert_allclose(table[column], theirs, rtol=SHARES, atol=1e-12, err_msg=column)
    for part in PARTS:
        theirs = [call.spent[part] if call.outcome != "open" else math.nan for call in calls]
        ours = np.where(table["outcome"] == OPEN, np.nan, table[f"{part}_s"])
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9, err_msg=part)


def _number(replica):
    return -1 if replica is None else replica
