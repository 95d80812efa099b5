"""Flow control before placement: who is turned away, who is held, and the very moment at which it goes on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracle.small import closed, pool, run, scenario, work

from inferencesim.deployment.latency import alone_seconds, latency_of

SMALL = {"max_sequences": 4}
MIXED = {"distribution": "uniform", "low": 5, "high": 60}
BATCHABLE = {"tags": {"batchable": True}}


def controlled(flow, workload, pools=None, **said):
    # What is held goes on long after the horizon.
    said = {"recording": {"series_interval": "1min"}} | said
    return run(scenario(pools or [pool(batching=SMALL)], workload, flow=flow, **said))


def entered_s(requests):
    return requests["arrived_s"] + requests["held_s"].fillna(0.0)


def bucket_lets_in(at_s, needs, per_minute, burst_s):
    """A token bucket told naively: it holds `burst_s` worth, refills as time goes by, and is taken from."""
    most = per_minute / 60.0 * burst_s
    level, then, passed = most, 0.0, []
    for now, need in zip(at_s, needs, strict=True):
        level = min(most, level + (now - then) * per_minute / 60.0)
        then = now
        passed.append(level >= min(need, most))
        if passed[-1]:
            level -= need
    return np.array(passed)


class TestQuotas:
    def test_what_is_beyond_the_requests_of_a_minute_is_turned_away(self):
        quota = {"requests_per_minute": 600, "burst": "0.7s"}
        requests = controlled({"quotas": {"c": quota}}, [work(rate=40.0)], horizon=5.0).requests
        passed = bucket_lets_in(requests["arrived_s"], np.ones(len(requests)), 600.0, 0.7)
        assert 40 < passed.sum() < 70 < len(requests)
        assert (requests["outcome"] == np.where(passed, "completed", "rejected")).all()
        assert set(requests["reason"][~passed]) == {"quota_exceeded"}

    def test_what_is_beyond_the_tokens_of_a_minute_is_turned_away(self):
        """Prompts and answers count; a request larger than the bucket takes it full, and is paid back."""
        quota = {"tokens_per_minute": 60_000, "burst": "0.1s"}
        requests = controlled({"quotas": {"c": quota}}, [work(rate=40.0, prompt=MIXED, output=MIXED)]).requests
        tokens = requests["prompt_tokens"] + requests["output_tokens"]
        passed = bucket_lets_in(requests["arrived_s"], tokens, 60_000.0, 0.1)
        assert 20 < passed.sum() < len(requests) - 20
        assert (tokens[passed] > 100).any()
        assert ((requests["outcome"] == "completed") == passed).all()

    def test_where_they_queue_each_goes_on_as_soon_as_there_is_room_first_come_first_served(self):
        quota = {"tokens_per_minute": 60_000, "burst": "0.1s", "beyond": "queue"}
        requests = controlled({"quotas": {"c": quota}}, [work(rate=30.0, prompt=MIXED, output=MIXED)]).requests
        expected, full_s, before = [], -math.inf, 0.0
        tokens = requests["prompt_tokens"] + requests["output_tokens"]
        for arrived, need in zip(requests["arrived_s"], tokens * 60.0 / 60_000.0, strict=True):
            before = max(arrived, before, full_s + min(need, 0.1) - 0.1)
            full_s = max(full_s, before) + need
            expected.append(before)
        assert (requests["held_until"] == "quota").sum() > 30
        np.testing.assert_allclose(entered_s(requests), expected, rtol=1e-12)
        assert (requests["outcome"] == "completed").all()

    def test_no_more_are_in_flight_and_nobody_is_held_while_fewer_are(self):
        done = controlled({"quotas": {"c": {"in_flight": 3, "beyond": "queue"}}}, [work(rate=60.0)])
        requests = done.requests
        came, left = entered_s(requests).to_numpy(), (requests["finished_s"] - requests["network_s"]).to_numpy()
        held = (requests["held_until"] == "quota").to_numpy()
        assert held.sum() > 10
        for index in range(len(requests)):
            others = ((came < came[index]) & (left > came[index] + 1e-9)).sum()
            assert others <= 2
            waits = requests["arrived_s"][index] + 1e-9
            full = ((came < waits) & (left > waits)).sum() == 3
            assert full or not held[index] or ((came > waits - 1e-6) & (came < waits)).any()

    def test_a_quota_is_of_a_tenant_with_all_its_classes_and_of_nobody_else(self):
        acme = {"tags": {"tenant": "acme"}}
        workload = [work("a", 20.0, **acme), work("b", 20.0, **acme), work("c", 20.0)]
        requests = controlled({"quotas": {"acme": {"requests_per_minute": 60, "burst": "5s"}}}, workload).requests
        passed = requests[requests["outcome"] == "completed"]["class"].value_counts()
        assert passed["a"] + passed["b"] == 5 + 1
        assert passed["c"] == (requests["class"] == "c").sum()

    def test_who_gives_up_while_held_leaves_just_then_and_makes_room_for_the_next(self):
        quota = {"requests_per_minute": 120, "burst": "0.5s", "beyond": "queue"}
        done = controlled({"quotas": {"c": quota}}, [work(rate=20.0, timeout=0.6)])
        requests = done.requests
        gone = requests[requests["outcome"] == "timed_out"]
        assert len(gone) > 10
        assert (gone["held_until"] == "not_released").all()
        np.testing.assert_allclose(gone["finished_s"], gone["arrived_s"] + 0.6, rtol=1e-12)
        np.testing.assert_allclose(gone["held_s"], 0.6, rtol=1e-9)
        assert not set(gone["request_id"]) & set(done.decisions["request_id"])
        passed = np.sort(entered_s(requests)[requests["outcome"] == "completed"])
        np.testing.assert_allclose(np.diff(passed), 0.5, atol=0.06)


class TestShedding:
    def test_bands_are_shed_above_a_load_until_it_is_low_again(self):
        rule = {"above": 1.5, "below": 0.5, "bands": [2]}
        workload = [work("high", 20.0), work("low", 100.0, priority=2)]
        done = controlled({"shed": [rule]}, workload)
        requests = done.requests
        shed = (requests["reason"] == "shed").to_numpy()
        assert set(requests["class"][shed]) == {"low"}
        assert shed.sum() > 20
        came, left = requests["arrived_s"].to_numpy(), requests["finished_s"] - requests["network_s"].fillna(0.0)
        sheds = False
        for index in np.flatnonzero(requests["class"] == "low"):
            inside = ((came < came[index]) & ~shed & (left > came[index])).sum()
            sheds = inside / 4 > 1.5 or (sheds and inside / 4 >= 0.5)
            assert sheds == shed[index], index

    def test_its_decision_gives_the_reason_for_every_candidate(self):
        pools = [pool("p", batching=SMALL), pool("other", serves="windowed-model")]
        rule = {"above": 0.1, "bands": [0]}
        decisions = controlled({"shed": [rule]}, [work(rate=100.0)], pools).decisions
        away = decisions[decisions["pool"].isna()]
        assert len(away) > 10
        assert set(away["verdict_p"]) == set(away["verdict_other"]) == {"shed"}
        assert away["score_p"].isna().all()


class TestDeferral:
    def test_a_batch_goes_when_it_is_full(self):
        promise = {"deadline": "1h"}
        requests = controlled({"defer": {"batch": 10}}, [work(rate=20.0, promise=promise, **BATCHABLE)]).requests
        batches = requests.groupby(np.arange(len(requests)) // 10)
        full = batches.filter(lambda rows: len(rows) == 10)
        assert len(full) >= 30
        assert set(full["held_until"]) == {"batch"}
        last = batches["arrived_s"].transform("max")[full.index]
        np.testing.assert_allclose(entered_s(full), last, rtol=1e-12)

    def test_a_window_lets_all_go_when_it_opens_and_holds_nobody_while_it_is(self):
        windows = [{"from": "0.5s", "to": "0.8s"}, {"from": "1.3s", "to": "0.1s"}]
        requests = controlled({"defer": {"windows": windows}}, [work(rate=40.0, **BATCHABLE)]).requests
        at_s = requests["arrived_s"]
        opens_s = np.where(at_s < 0.1, at_s, np.where(at_s < 0.5, 0.5, np.where(at_s < 0.8, at_s, np.fmax(at_s, 1.3))))
        assert 20 < (opens_s > at_s).sum() < len(requests) - 20
        assert (requests["held_until"].eq("window") == (opens_s > at_s)).all()
        np.testing.assert_allclose(entered_s(requests), opens_s, rtol=1e-12)

    def test_a_day_later_a_window_opens_again(self):
        """Nobody comes after midnight: those of the last second are held until the next night."""
        flow = {"defer": {"windows": [{"from": "0.5s", "to": "1s"}]}}
        requests = controlled(
            flow, [work(rate=20.0, **BATCHABLE)], drain="2d", recording={"series_interval": "6h"}
        ).requests
        late = requests[requests["arrived_s"] >= 1.0]
        assert len(late) > 10
        np.testing.assert_allclose(entered_s(late), 86400.5, rtol=1e-12)

    def test_low_load_lets_one_after_the_other_go(self):
        """Two of four seats at the most are filled by work that can wait; the others are for who cannot."""
        flow = {"defer": {"load_below": 0.5}}
        requests = controlled(flow, [work(rate=60.0, **BATCHABLE)]).requests
        came, left = entered_s(requests).to_numpy(), (requests["finished_s"] - requests["network_s"]).to_numpy()
        held = (requests["held_until"] == "load").to_numpy()
        assert held.sum() > 30
        assert (requests["outcome"] == "completed").all()
        assert (np.diff(came) >= 0.0).all()
        for moment in came[held]:
            # Somebody has left just then.
            assert np.isclose(left, moment, rtol=1e-9).any()
        for moment in came:
            assert ((came < moment) & (left > moment + 1e-9)).sum() < 2

    def test_slack_that_runs_out_lets_each_go_by_itself_and_nobody_later(self):
        promise = {"deadline": "0.9s"}
        work_ = work(
            rate=8.0, prompt=MIXED, output=MIXED, promise=promise, length_prediction={"sigma": 0.0}, **BATCHABLE
        )
        done = controlled({"defer": {"batch": 1000, "margin": 1.5}}, [work_])
        requests, fleet = done.requests, done.fleet
        model, budget = latency_of(fleet.latency, 0), fleet.pools["token_budget"][0]
        alone_s = [
            alone_seconds(model, budget, prompt, output, fleet.latency.acceptance[0])
            for prompt, output in zip(requests["prompt_tokens"], requests["output_tokens"], strict=True)
        ]
        slack_s = 0.9 - 1.5 * np.array(alone_s)
        assert (slack_s > 0).any()
        np.testing.assert_allclose(requests["held_s"].fillna(0.0), np.maximum(slack_s, 0.0), rtol=1e-9)
        assert (requests["held_until"].eq("slack") == (slack_s > 0)).all()
        assert (requests["promise_kept"]).all()

    def test_only_work_that_is_batchable_waits(self):
        flow = {"defer": {"windows": [{"from": "1.9s", "to": "2s"}]}}
        requests = controlled(flow, [work("now", 20.0), work("later", 20.0, **BATCHABLE)]).requests
        assert requests[requests["class"] == "now"]["held_s"].isna().all()
        assert (entered_s(requests[requests["class"] == "later"]) >= 1.9).all()

    def test_what_was_deferred_waits_for_quota_and_is_not_turned_away(self):
        flow = {
            "defer": {"windows": [{"from": "1s", "to": "3s"}]},
            "quotas": {"c": {"requests_per_minute": 600, "burst": "0.1s"}},
        }
        requests = controlled(flow, [work(rate=20.0, **BATCHABLE)], horizon=0.9).requests
        assert (requests["outcome"] == "completed").all()
        np.testing.assert_allclose(entered_s(requests), 1.0 + 0.1 * np.arange(len(requests)), rtol=1e-9)


def everything(**routing):
    """Quotas that queue and that shed, bands, all reasons to wait; clients, tasks and follow-ups; who gives up."""
    gone = {"share": 0.3, "after": {"distribution": "uniform", "low": 0.0, "high": 0.5}}
    acme = {"tenant": "acme"}
    retry = {"attempts": 3, "back_off": "0.05s"}
    steps = [{"fan_out": {"width": 2, "steps": [{"call": "step"}]}}, {"call": "step"}]
    return scenario(
        [
            pool("a", batching={"max_sequences": 3}, replicas=2, kv_blocks=30, queue_limit=5),
            pool("b", "fast-chip", kv_blocks=30, batching=SMALL),
        ],
        [
            work("chat", 40.0, MIXED, MIXED, timeout=0.4, cancellation=gone, tags=acme),
            work("again", 20.0, MIXED, MIXED, timeout=0.3, retry=retry, priority=2),
            work("night", 30.0, MIXED, MIXED, promise={"deadline": "1s"}, timeout="0.9s", tags={"batchable": True}),
            work("bulk", 30.0, MIXED, MIXED, tags={"batchable": True, **acme}, priority=1),
            work("loop", prompt=20, output=MIXED, priority=2) | {"arrivals": closed(4, 0.01)},
            work("step", prompt=MIXED, output=MIXED, timeout=0.5) | {"arrivals": {"process": "tasks"}},
        ],
        horizon=1.0,
        tasks=[
            {
                "name": "agent",
                "arrivals": {"process": "poisson", "rate": 10.0},
                "steps": steps,
                "timeout": "0.6s",
            }
        ],
        flow={
            "quotas": {
                "acme": {"requests_per_minute": 1500, "tokens_per_minute": "120k", "burst": "0.2s", "beyond": "queue"},
                "loop": {"in_flight": 2},
                "step": {"in_flight": 3, "beyond": "queue"},
            },
            "shed": [{"above": 1.2, "below": 0.8, "bands": [2]}, {"above": 2.0, "bands": [1]}],
            "defer": {"batch": 12, "windows": [{"from": "0.6s", "to": "0.7s"}], "load_below": 0.4},
        },
        routing=routing,
        recording={"series_interval": 0.05},
        drain="5s",
    )


def test_nothing_is_lost_whatever_is_controlled():
    done = run(everything())
    requests, fleet = done.requests, done.fleet
    assert len(requests) == done.result.arrived == len(set(requests["request_id"]))
    assert set(requests["outcome"]) >= {"completed", "rejected", "timed_out", "cancelled"}
    assert {"quota_exceeded", "shed"} <= set(requests["reason"].dropna())
    assert {"batch", "window", "load", "slack", "quota", "not_released"} >= set(requests["held_until"].dropna())
    assert {"batch", "window", "quota", "not_released"} <= set(requests["held_until"].dropna())
    assert (fleet.clock["inside"] == (requests["outcome"] == "open").sum()).all()
    decided = requests[requests["held_until"] != "not_released"]
    assert set(decided["request_id"]) == set(done.decisions["request_id"])
    np.testing.assert_allclose(entered_s(decided), done.decisions["time_s"], rtol=1e-12)
    still_held = (requests["outcome"] == "open") & (requests["held_until"] == "not_released")
    assert fleet.flow.lines["held"].sum() == still_held.sum()
    # No quota is taken by who is gone.
    limited = fleet.flow.quotas["limited"] == 1
    inside = (requests["outcome"] == "open") & (requests["held_until"] != "not_released")
    assert fleet.flow.quotas["in_flight"][limited].sum() == inside.sum()
    served = requests[requests["outcome"] == "completed"]
    parts = served[["waiting_s", "prefill_s", "decode_s", "transfer_s", "preempted_s", "network_s"]].sum(axis=1)
    np.testing.assert_allclose(parts, served["e2e_s"], atol=1e-9)
    assert (served["waiting_s"] >= served["held_s"].fillna(0.0)).all()


@pytest.mark.parametrize("placement", ["least_outstanding", "random", "round_robin"])
def test_the_load_is_the_same_whatever_the_policy_and_the_control(placement):
    without = run(scenario([pool(batching=SMALL)], [work(rate=60.0, prompt=MIXED, output=MIXED, **BATCHABLE)])).requests
    flow = {"defer": {"windows": [{"from": "1s", "to": "3s"}]}, "quotas": {"c": {"requests_per_minute": 1200}}}
    pools = [pool("p", batching=SMALL), pool("q", batching=SMALL)]
    done = controlled(
        flow, [work(rate=60.0, prompt=MIXED, output=MIXED, **BATCHABLE)], pools, routing={"placement": placement}
    )
    for name in ("task", "arrived_s", "prompt_tokens", "output_tokens"):
        assert (done.requests[name] == without[name]).all()


def test_nothing_changes_where_nothing_is_controlled():
    described = {"pools": [pool(batching=SMALL)], "workload": [work(rate=60.0, prompt=MIXED, output=MIXED)]}
    plain = run(scenario(**described)).tables["requests"]
    idle = run(scenario(**described, flow={"quotas": {"c": {"in_flight": 10**6}}})).tables["requests"]
    assert plain.equals(idle)


def test_what_is_held_at_the_end_is_open_and_still_to_be_done():
    flow = {"defer": {"windows": [{"from": "10h", "to": "11h"}]}}
    done = controlled(flow, [work(rate=20.0, **BATCHABLE)], drain="1s")
    requests = done.requests
    assert (requests["outcome"] == "open").all()
    assert (requests["held_until"] == "not_released").all()
    np.testing.assert_allclose(requests["held_s"], 3.0 - requests["arrived_s"], rtol=1e-9)
    left = done.result.unfinished
    assert left.requests.tolist() == [len(requests)]
    assert left.output_tokens.tolist() == [requests["output_tokens"].sum()]
    assert left.usd[0] > 0.0
