"""Nothing is lost and nothing is made: requests, tokens, busy time, energy and KV blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from oracle.small import closed, pool, run, scenario, work

from inferencesim.kernel.tables import OPEN, OUTCOMES

MIXED = {"distribution": "uniform", "low": 1, "high": 80}


def busy_fleet(seed=0, drain=600.0, rate=150.0, replicas=2, horizon=1.0, **said):
    """Two pools too small for three classes of impatient clients."""
    batching = {"max_sequences": 6, "token_budget": 40, "block_size": 8}
    cancelled = {"share": 0.3, "after": {"distribution": "uniform", "low": 0.0, "high": 1.0}}
    return scenario(
        [
            pool("a", replicas=replicas, kv_blocks=24, batching=batching, queue_limit=40),
            pool("b", "fast-chip", "windowed-model", kv_blocks=30, batching=batching),
        ],
        [
            work("chat", rate, MIXED, MIXED, timeout=0.3),
            work("voice", rate, MIXED, MIXED, models=["windowed-model"], cancellation=cancelled),
            work("agent", 1.0, MIXED, MIXED, models=["small-model", "windowed-model"]) | {"arrivals": closed(5, 0.01)},
        ],
        horizon=horizon,
        seed=seed,
        drain=drain,
        recording={"series_interval": horizon / 4},
        **said,
    )


@given(seed=st.integers(0, 10**6), drain=st.sampled_from([0.0, 0.1, 600.0]), rate=st.sampled_from([20.0, 200.0]))
@settings(max_examples=6, phases=[Phase.generate])
def test_arrived_is_completed_and_rejected_and_timed_out_and_cancelled_and_failed_and_open(seed, drain, rate):
    crashes = {"replica": "a", "mtbf": 0.4, "mttr": 0.05}
    done = run(busy_fleet(seed, drain, rate, failures=[crashes] if seed % 2 else []))
    requests, result = done.requests, done.result
    assert len(requests) == result.arrived == len(result.requests)
    assert requests["request_id"].is_unique
    inside = int((requests["outcome"] == "open").sum())
    assert inside == done.fleet.clock["inside"][0]
    assert inside == 0 or drain < 600.0
    for index, name in enumerate(done.result.book.classes):
        of_class = result.requests[result.requests["class_index"] == index]
        counts = np.bincount(of_class["outcome"], minlength=len(OUTCOMES))
        assert counts.sum() == (requests["class"] == name).sum()
    for index, name in enumerate(done.result.book.pools):
        of_pool = requests[requests["pool"] == name]
        row = done.fleet.pools[index]
        assert row["arrived"] == len(of_pool)
        assert row["completed"] == (of_pool["outcome"] == "completed").sum()
        assert row["left"] == (of_pool["outcome"] != "open").sum()
        assert row["arrived"] - row["left"] == result.end.waiting[index] + result.end.running[index]


def test_each_outcome_occurs_in_the_busy_fleet():
    late = {"pool": "a", "at": 0.9, "for": 0.02}
    counts = run(busy_fleet(drain=0.1, failures=[late])).requests["outcome"].value_counts()
    assert set(counts[counts > 0].index) == set(OUTCOMES)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=4, phases=[Phase.generate])
def test_tokens_of_replicas_are_those_of_requests_and_what_was_recomputed(seed):
    done = run(busy_fleet(seed))
    requests, replicas = done.requests, done.fleet.replicas
    assert requests["generated_tokens"].sum() == done.fleet.pools["output_tokens"].sum()
    completed = requests[requests["outcome"] == "completed"]
    assert (completed["generated_tokens"] == completed["output_tokens"]).all()
    # A preemption throws away the KV of the prompt at least, so it prefills that again, unless the client left.
    assert replicas["preemptions"].sum() == requests["preemptions"].sum()
    needed = completed["prompt_tokens"] * (1 + (completed["preemptions"] > 0))
    placed = requests[requests["scheduled_s"].notna()]
    most = ((placed["prompt_tokens"] + placed["output_tokens"]) * (1 + placed["preemptions"])).sum()
    assert completed["prompt_tokens"].sum() <= replicas["prefill_tokens"].sum() <= most
    assert needed.sum() <= most
    # Each token comes from a decode step, or ends a prefill.
    prefills = (placed["first_token_s"].notna()).sum() + placed["preemptions"].sum()
    decoded = replicas["decode_tokens"].sum()
    assert decoded <= requests["generated_tokens"].sum() <= decoded + prefills


def test_prefill_is_exactly_the_prompts_where_nobody_is_preempted_or_leaves():
    done = run(scenario([pool(replicas=3)], [work(rate=300.0, prompt=MIXED, output=MIXED)]))
    requests, replicas = done.requests, done.fleet.replicas
    assert replicas["prefill_tokens"].sum() == requests["prompt_tokens"].sum()
    assert replicas["decode_tokens"].sum() == (requests["output_tokens"] - 1).sum()


@given(seed=st.integers(0, 10**6))
@settings(max_examples=4, phases=[Phase.generate])
def test_busy_time_and_energy_of_requests_are_those_of_replicas(seed):
    done = run(busy_fleet(seed))
    for ours, theirs in (("busy_s", "busy_s"), ("energy_j", "busy_energy_j")):
        np.testing.assert_allclose(done.requests[ours].sum(), done.fleet.replicas[theirs].sum(), rtol=1e-9)
    placed = done.requests.dropna(subset=["replica"])
    by_replica = placed.groupby("replica")["busy_s"].sum().reindex(range(3), fill_value=0.0)
    np.testing.assert_allclose(by_replica, done.fleet.replicas["busy_s"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(done.result.end.busy_s.sum(), done.fleet.replicas["busy_s"].sum(), rtol=1e-12)


def test_the_series_sums_to_the_energy_of_the_run():
    done = run(busy_fleet())
    series = done.frame("series")
    idle_w = {each.name: each.deployment.idle_w for each in done.plan.pools}
    replicas = {each.name: each.replicas for each in done.plan.pools}
    for index, (name, rows) in enumerate(series.groupby("pool", observed=True)):
        seconds = np.diff(rows["time_s"], prepend=0.0)
        busy = (rows["utilisation"] * seconds).sum() * replicas[name]
        joules = (rows["power_w"] * seconds).sum()
        idle = idle_w[name] * (rows["time_s"].iloc[-1] * replicas[name] - busy)
        last = done.result.end
        assert rows["time_s"].iloc[-1] >= last.at_s
        assert busy == pytest.approx(last.busy_s[index], rel=1e-9)
        assert joules - idle == pytest.approx(last.step_energy_j[index], rel=1e-9)


@pytest.mark.parametrize("replicas", [1, 1000])
def test_a_fleet_ends_empty(replicas):
    """KV blocks are freed exactly once; so are seats, places in the queue and counts."""
    rate = 100.0 if replicas == 1 else 20_000.0
    done = run(busy_fleet(rate=rate, replicas=replicas, horizon=0.5))
    fleet = done.fleet
    assert fleet.clock["inside"][0] == 0
    for name in ("blocks_used", "decoding", "prefilling", "context", "aborts"):
        assert not fleet.replicas[name].any(), name
    assert (fleet.lanes["head"] == -1).all()
    assert (fleet.lanes["tail"] == -1).all()
    assert not fleet.residues.any()
    for counts in (fleet.live, fleet.live_pools):
        for name in ("waiting", "running", "waiting_tokens", "context_tokens"):
            assert not counts[name].any(), name
    assert not fleet.live["kv_usage"].any()
    np.testing.assert_allclose(fleet.live_pools["kv_usage"], 0.0, atol=1e-9)
    assert fleet.clock["heap_count"][0] == 0
    assert (fleet.slots["request_id"] == -1).all()


def test_an_empty_load_leaves_no_trace():
    done = run(scenario([pool(replicas=2)], []))
    assert done.result.arrived == 0
    assert "requests" not in done.tables
    assert not done.fleet.replicas["busy_s"].any()
    assert (done.frame("series")["power_w"] == 2 * done.plan.pools[0].deployment.idle_w).all()


def test_a_class_that_never_asks_leaves_no_trace():
    idle = work(active={"from": 1.0, "to": 1.0000001})
    assert run(scenario([pool()], [idle])).result.arrived == 0


def test_kv_in_use_stays_within_capacity():
    """A policy is shown the KV usage at every arrival; none of it is above one."""
    from inferencesim.policy import Policy
    from inferencesim.routing.policy import POLICIES

    seen = []

    def watch(request, candidates, scores, parameters, memory):
        seen.extend(candidates.load["kv_usage"])
        return int(candidates.load["waiting"].argmin())

    POLICIES.register("watch")(Policy(watch, "looks", compiled=False))
    try:
        batching = {"max_sequences": 16, "token_budget": 60, "block_size": 8}
        load = work(rate=600.0, prompt=MIXED, output=MIXED)
        crowded = scenario([pool(replicas=2, kv_blocks=24, batching=batching)], [load], routing={"balancing": "watch"})
        done = run(crowded)
    finally:
        del POLICIES._entries["watch"]
    assert done.requests["preemptions"].sum() > 50
    # A request that fills its last block leaves none unused, so the bound is reached.
    assert 0.9 < max(seen) <= 1.0
    assert min(seen) >= 0.0


def test_what_is_open_at_the_end_is_neither_kept_nor_missed_unless_past_keeping():
    done = run(busy_fleet(drain=0.0))
    still = done.requests[done.requests["outcome"] == "open"]
    assert len(still) > 0
    assert still["finished_s"].isna().all()
    assert still["promise_kept"].isna().all()
    assert (done.result.requests["outcome"] == OPEN).sum() == len(still)
