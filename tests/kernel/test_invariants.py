"""What holds at every moment and at the end, whatever an engine's features do to each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from oracle.fleets import breaking, everything
from oracle.small import Recorded

from inferencesim.kernel.prefix import ORDINARY
from inferencesim.kernel.tables import COMPLETED, DECODING, DOWN, OPEN, RECORD, REJECTED
from inferencesim.ledger.sink import MemorySink
from inferencesim.simulation.plan import make_plan

PARTS = ("waiting_s", "prefill_s", "decode_s", "transfer_s", "preempted_s")


class Watched(Recorded):
    """A simulation that looks at its fleet again and again."""

    looks = 0

    def _sample(self, horizon):
        while True:
            yield self.env.timeout(0.0171)
            self.looks += 1
            assert_sound(self.fleet)
            if self.env.now > horizon and self.fleet.clock["inside"][0] == 0:
                return


def assert_sound(fleet):
    """Assert that seats, blocks and counts of a fleet fit together."""
    inside = fleet.slots[fleet.slots["request_id"] >= 0]
    live = fleet.live
    assert len(inside) == fleet.clock["inside"][0] == fleet.replicas["queued"].sum() + live["running"].sum()
    stride = 1 + fleet.tiers.shape[1]
    for number, replica in enumerate(fleet.replicas):
        pool = fleet.pools[replica["pool"]]
        cache = fleet.caches.caches[number * stride]
        assert live["running"][number] <= pool["max_sequences"]
        assert replica["blocks_used"] >= 0
        assert replica["blocks_used"] + cache["idle"] <= fleet.variants[replica["row"]]["kv_blocks"]
        slots = fleet.seats[number, : live["running"][number]]["slot"]
        assert len(set(slots)) == len(slots)
        running = fleet.slots[slots]
        assert (running["at"] == number).all()
        assert (running["phase"] == DECODING).sum() == replica["decoding"]
        assert live["waiting_tokens"][number] >= 0
        if replica["segment"] == DOWN:
            assert replica["queued"] == live["running"][number] == replica["blocks_used"] == cache["idle"] == 0
    coming = inside[inside["at"] == inside["prefill_replica"]]["replica"]
    expected = fleet.replicas["queued"] + np.bincount(coming, minlength=len(live))
    np.testing.assert_array_equal(live["waiting"], expected)
    for name in ("waiting", "running", "waiting_tokens"):
        totals = np.bincount(fleet.replicas["pool"], live[name], len(fleet.pools))
        np.testing.assert_array_equal(fleet.live_pools[name], totals)


def assert_all_given_back(fleet):
    """Assert that nobody holds anything any more."""
    assert (fleet.replicas["blocks_used"] == 0).all()
    assert (fleet.pools["blocks_used"] == 0).all()
    assert (fleet.live["waiting_tokens"] == 0).all()
    np.testing.assert_allclose(fleet.replicas["context"], 0.0, atol=1e-6)
    first = 2 * len(fleet.caches.caches)
    assert (fleet.caches.entries["references"][first:] == 0).all()
    for number, cache in enumerate(fleet.caches.caches):
        # What is idle stands in one of the two lists, and nothing else is there.
        listed = 0
        for end in (2 * number + ORDINARY, 2 * number + 1):
            entry = fleet.caches.entries[end]["newer"]
            while entry != end:
                listed += 1
                entry = fleet.caches.entries[entry]["newer"]
        assert listed == cache["idle"] <= cache["capacity"]


def assert_requests_add_up(simulation, result):
    records = np.concatenate([np.zeros(0, RECORD), *simulation.kept])
    assert sorted(records["request_id"]) == list(range(result.arrived))
    assert not (records["outcome"] == OPEN).any()
    completed = records[records["outcome"] == COMPLETED]
    np.testing.assert_array_equal(completed["generated_tokens"], completed["output_tokens"])
    assert (records["generated_tokens"] <= records["output_tokens"]).all()
    assert (records["cached_tokens"] < records["prompt_tokens"]).all()
    # An answer of one token leaves from where it was prefilled.
    elsewhere = (records["output_tokens"] == 1) & (records["prefill_replica"] >= 0)
    last = np.where(elsewhere, records["prefill_replica"], records["replica"])
    latency_s = simulation.fleet.latency.coefficients["engine_request_s"][simulation.fleet.replicas["row"][last]]
    latency_s = latency_s + simulation.gateway.network_s[records["class_index"], records["pool"]]
    expected = records["finished_s"] - records["arrived_s"] - np.where(records["outcome"] == COMPLETED, latency_s, 0.0)
    np.testing.assert_allclose(sum(records[name] for name in PARTS), expected, atol=1e-9)
    for name in PARTS:
        assert (records[name] >= 0.0).all()
    made = records["generated_tokens"].sum()
    # Drafts make fractions of tokens for those that leave in between.
    rounding = len(records) if (simulation.fleet.pools["drafts"] > 0).any() else 1e-6
    assert math.isclose(simulation.fleet.pools["output_tokens"].sum(), made, abs_tol=rounding)
    charged = records["busy_s"].sum() + records["prefill_busy_s"].sum()
    assert charged <= simulation.fleet.replicas["busy_s"].sum() * (1 + 1e-9)
    assert (records[records["outcome"] == REJECTED]["busy_s"] == 0.0).all()


def assert_all_holds(described):
    simulation = Watched(make_plan(described.model_copy(update={"drain": 600.0})), MemorySink())
    result = simulation.run()
    assert simulation.looks > 5
    assert_sound(simulation.fleet)
    assert_all_given_back(simulation.fleet)
    assert_requests_add_up(simulation, result)


@given(described=everything(horizon=0.3))
@settings(max_examples=40, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_nothing_is_lost_and_nothing_is_held_twice(described):
    assert_all_holds(described)


@given(described=breaking(horizon=0.3))
@settings(max_examples=25, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_nothing_is_lost_but_what_crashes_take(described):
    assert_all_holds(described)


@pytest.mark.long
@given(described=breaking(horizon=2.0))
@settings(max_examples=500)
def test_nothing_is_lost_in_many_longer_runs_that_break(described):
    assert_all_holds(described)


@pytest.mark.long
@given(described=everything(horizon=2.0))
@settings(max_examples=500)
def test_nothing_is_lost_in_many_longer_runs(described):
    assert_all_holds(described)
