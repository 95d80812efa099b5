"""Stable, unstable, shedding, empty: what each looks like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.small import pool, run, scenario, work

from inferencesim.kernel.tables import COMPLETED, OPEN, REJECTED, TIMED_OUT
from inferencesim.ledger.tally import TALLY
from inferencesim.results.summarise import summarise
from inferencesim.results.verdict import held_by, inside_at, judge, stays_in


def requests(arrived_s, left_s, outcome=COMPLETED):
    records = np.zeros(len(arrived_s), TALLY)
    records["prefill_pool"] = -1
    records["arrived_s"], records["left_s"] = arrived_s, left_s
    records["outcome"] = np.where(np.isnan(records["left_s"]), OPEN, outcome)
    return records


def steady(n=2000, to_s=1000.0):
    return np.linspace(0.0, to_s, n, endpoint=False)


def test_a_constant_number_inside_is_stable():
    arrived = steady()
    verdict = judge(requests(arrived, arrived + 10.0), ("p",), ("c",), 0.0, 1000.0)
    assert verdict.state == "stable"
    assert "2,000 requests arrived" in verdict.why


@pytest.mark.parametrize("overload", [1.05, 1.2, 3.0])
def test_a_server_slower_than_its_arrivals_is_unstable(overload):
    arrived = steady()
    assert judge(requests(arrived, arrived * overload + 1.0), ("p",), ("c",), 0.0, 1000.0).state == "unstable"


def test_one_that_never_answers_is_unstable():
    arrived = steady()
    verdict = judge(requests(arrived, np.full(arrived.size, np.nan)), ("p",), ("c",), 0.0, 1000.0)
    assert verdict.state == "unstable"
    assert "second quarter" in verdict.why


def test_a_backlog_submitted_at_once_that_shrinks_is_stable():
    arrived = np.concatenate([np.full(1000, 600.0), steady()])
    left = np.concatenate([np.linspace(601.0, 1400.0, 1000), steady() + 1.0])
    order = np.argsort(arrived)
    assert judge(requests(arrived[order], left[order]), ("p",), ("c",), 0.0, 1000.0).state == "stable"


def test_a_burst_that_was_worked_off_is_stable():
    arrived = np.concatenate([steady(), np.linspace(400.0, 500.0, 2000)])
    left = np.concatenate([steady() + 1.0, np.linspace(400.0, 900.0, 2000)])
    assert judge(requests(arrived, left), ("p",), ("c",), 0.0, 1000.0).state == "stable"


@pytest.mark.parametrize("outcome", [REJECTED, TIMED_OUT])
@pytest.mark.parametrize(("lost", "state"), [(15, "stable"), (25, "shedding")])
def test_more_than_one_per_cent_turned_away_is_shedding(outcome, lost, state):
    records = requests(steady(), steady() + 1.0)
    records["outcome"][500 : 500 + lost] = outcome
    assert judge(records, ("p",), ("c",), 0.0, 1000.0).state == state


def test_what_was_turned_away_in_the_warm_up_does_not_count():
    records = requests(steady(), steady() + 1.0)
    records["outcome"][:200] = REJECTED
    assert judge(records, ("p",), ("c",), 100.0, 1000.0).state == "stable"


def test_no_arrivals_are_empty():
    assert judge(requests([], []), ("p",), ("c",), 0.0, 1000.0).state == "empty"


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50)), max_size=30),
    st.lists(st.floats(0, 200), min_size=1, max_size=5),
)
def test_the_number_inside_is_a_count(stays, moments):
    arrived = np.array([a for a, _ in stays])
    left = np.array([a + s for a, s in stays])
    found = inside_at(arrived, left, np.array(moments))
    assert found.tolist() == [int(((arrived <= at) & (left > at)).sum()) for at in moments]


def fleet(rate, **said):
    one = pool("p", "constant-chip", batching={"max_sequences": 1, "token_budget": 64}, **said)
    # One sequence at a time, 21 steps of 10 ms each: at most 4.8 requests a second.
    return [one], [work(rate=rate, prompt=40, output=20)]


def summary_of(rate, pool_said=None, work_said=None, **said):
    pools, classes = fleet(rate, **(pool_said or {}))
    classes[0] |= work_said or {}
    return summarise(run(scenario(pools, classes, horizon=400.0, warm_up=20.0, drain=10.0, **said)).result)


def test_a_real_fleet_below_its_capacity_is_stable():
    assert summary_of(2.0).verdict.state == "stable"


def test_a_real_fleet_above_its_capacity_is_unstable_and_its_promises_are_not_called_kept():
    summary = summary_of(9.0, work_said={"promise": {"ttft": 1000.0}})
    assert summary.verdict.state == "unstable"
    assert summary.fleet.open > 100
    assert summary.fleet.promises_open == summary.fleet.open
    assert summary.fleet.slo_attainment == pytest.approx(summary.fleet.promises_kept / summary.fleet.arrived)
    assert summary.fleet.slo_attainment < 0.7


def test_a_bounded_queue_sheds_instead():
    summary = summary_of(9.0, pool_said={"queue_limit": 3})
    assert summary.verdict.state == "shedding"
    assert summary.fleet.rejections[0].reason == "queue_full"


def test_impatience_sheds_instead():
    summary = summary_of(9.0, work_said={"timeout": 2.0})
    assert summary.verdict.state == "shedding"
    assert summary.fleet.timed_out > 100


def test_a_fleet_without_load_is_empty():
    pools, _ = fleet(1.0)
    summary = summarise(run(scenario(pools, [], horizon=100.0)).result)
    assert summary.verdict.state == "empty"
    assert summary.fleet.cost_usd > 0.0


def test_a_small_pool_that_drowns_is_named():
    """Beside a large and healthy pool its backlog would be two per cent of all arrivals."""
    many, few = steady(50_000), steady(500)
    healthy, drowning = requests(many, many + 1.0), requests(few, few * 3.0 + 1.0)
    drowning["pool"] = drowning["class_index"] = 1
    verdict = judge(np.concatenate([healthy, drowning]), ("a", "b"), ("chat", "docs"), 0.0, 1000.0)
    assert verdict.state == "unstable"
    assert "pool b" in verdict.why


def test_a_small_class_that_is_turned_away_is_named():
    many, few = steady(50_000), steady(100)
    turned_away = requests(few, few, REJECTED)
    turned_away["class_index"], turned_away["pool"] = 1, -1
    verdict = judge(np.concatenate([requests(many, many + 1.0), turned_away]), ("p",), ("chat", "docs"), 0.0, 1000.0)
    assert verdict.state == "shedding"
    assert "docs requests" in verdict.why


class TestPoolsThatPrefillForOthers:
    def test_a_request_is_where_its_work_is_done(self):
        records = requests([0.0, 1.0, 2.0, 3.0], [10.0, 8.0, 6.0, np.nan])
        records["ttft_s"] = [4.0, 5.0, np.nan, np.nan]
        records["prefill_pool"] = [-1, 1, 1, 1]
        # The third left before its first token, the fourth waits for it still.
        entered, left = stays_in(records, 0)
        assert entered.tolist() == [0.0, 6.0]
        assert left.tolist() == [10.0, 8.0]
        entered, left = stays_in(records, 1)
        assert entered.tolist() == [1.0, 2.0, 3.0]
        assert left.tolist() == pytest.approx([6.0, 6.0, np.nan], nan_ok=True)

    @pytest.mark.parametrize("slow", ["fill", "decode"])
    def test_the_one_that_drowns_is_named(self, slow):
        """One sequence at a time: a prefill takes a step of 10 ms in its pool, an answer of 20 tokens 19 in its own."""
        alone = {"max_sequences": 1, "token_budget": 64}
        decoders = 30 if slow == "fill" else 1
        pools = [
            pool("decode", "constant-chip", replicas=decoders, batching=alone, prefill_in={"pool": "fill"}),
            pool("fill", "constant-chip", batching=alone),
        ]
        rate, output = (110.0, 5) if slow == "fill" else (6.0, 20)
        classes, routing = [work(rate=rate, output=output)], {"balancing": "random"}
        summary = summarise(run(scenario(pools, classes, horizon=30.0, drain=1.0, routing=routing)).result)
        assert summary.verdict.state == "unstable"
        assert f"pool {slow}" in summary.verdict.why


class TestPoolsThatHold:
    def holding(self, **said):
        batching = {"max_sequences": 64, "policy": {"policy": "dynamic", "parameters": {"size": 40, **said}}}
        return pool("p", "constant-chip", batching=batching)

    def test_a_batch_that_gathers_is_no_queue_that_grows(self):
        classes = [work(rate=0.3, arrivals={"process": "poisson", "rate": 0.3})]
        played = run(scenario([self.holding(timeout=1000.0)], classes, horizon=100.0, drain=2000.0))
        assert (played.requests["scheduled_s"] > 100.0).all()
        assert len(played.requests) > 20
        assert summarise(played.result).verdict.state == "stable"

    def test_it_holds_what_its_policy_says(self):
        def held(one, **said):
            return held_by(run(scenario([one | said], [])).plan.pools[0])

        assert held(self.holding()) == 39
        assert held(self.holding(), replicas=3) == 3 * 39
        assert held(self.holding(timeout=0.0)) == 0
        assert held(pool("p", batching={"policy": "static"})) == 0
        assert held(pool("p")) == 0
