"""The bound is one: no replica does more than its cuts allow, no simulated fleet that keeps its promises is cheaper."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from oracle.small import pool, scenario, work

from inferencesim.experiments.planning.bound import Programme
from inferencesim.experiments.planning.candidates import Fleet, make_space
from inferencesim.experiments.planning.demand import DECODED, PROMPT, demands, lateness
from inferencesim.experiments.planning.goal import make_goal
from inferencesim.experiments.planning.playing import Players
from inferencesim.experiments.planning.search import fresh
from inferencesim.experiments.trials import seed_of
from inferencesim.scenario.planning import Planning
from inferencesim.scenario.workload import Promise
from inferencesim.simulation.plan import make_plan

SLO = 0.9
LONG = {"distribution": "lognormal", "median": 60, "p95": 300, "max": 2000}


def problem(described, planning=None, replications=3):
    space = make_space(described, Planning.model_validate(planning or {}))
    goal = make_goal(SLO, (), 0.95, replications)
    seeds = [seed_of(described.seed, number) for number in fresh(goal)]
    slices = demands(described, seeds, SLO, range(len(described.workload)), ())
    return goal, space, Programme(space, slices, replications)


def hot(rate, **said):
    """So much work of two kinds that small fleets are not enough."""
    first = work("c", rate=rate, prompt=LONG, output=20, promise={"ttft": 0.4, "tpot": 0.03})
    second = work("d", rate=rate / 8, prompt=400, output=LONG, promise={"e2e": 3.0})
    return scenario([pool("a", **said), pool("b", hardware="fast-chip", price="$3.5/h", **said)], [first, second], 2.0)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"batching": {"max_sequences": 8, "token_budget": 64}}, id="few seats"),
        pytest.param({"prefix_cache": True}, id="prefix cache", marks=pytest.mark.long),
        pytest.param({}, id="plain", marks=pytest.mark.long),
        pytest.param({"kv_blocks": 60}, id="small cache", marks=pytest.mark.long),
        pytest.param({"batching": {"policy": "prefill_first"}}, id="prefill first", marks=pytest.mark.long),
        pytest.param({"batching": {"policy": "static"}}, id="static", marks=pytest.mark.long),
        pytest.param({"engine": "vllm", "parallelism": {"tensor": 2}}, id="two chips", marks=pytest.mark.long),
    ],
)
def test_no_fleet_that_keeps_its_promises_is_below_the_bound(said):
    described = hot(250.0, **said)
    bounds = {"pools": {"a": {"replicas": "0..3"}, "b": {"replicas": "0..1"}}}
    goal, space, programme = problem(described, bounds)
    bound = programme.solve()
    kept = []
    with Players() as players:
        for counts in itertools.product(range(4), range(2)):
            fleet = Fleet(counts)
            if not space.allows(fleet):
                continue
            trials = players.play([(space.scenario_of(fleet), number) for number in fresh(goal)])
            usd_per_h = sum(one.usd_per_h for one in trials) / len(trials)
            enough = programme.solve(fixed=fleet)
            if goal.shortfall(trials) <= 0.0:
                kept.append(usd_per_h)
                assert enough.usd_per_h <= usd_per_h, f"{fleet} does it, and the programme says it costs more"
    assert not kept or bound.usd_per_h <= min(kept)


def test_the_bound_is_no_empty_one():
    """Of a load three times as large it is about three times as high, and near to what is needed."""
    _, _, one = problem(hot(400.0))
    _, _, three = problem(hot(1200.0))
    assert one.solve().usd_per_h >= 3.0
    assert 2.0 < three.solve().usd_per_h / one.solve().usd_per_h <= 4.0


def test_the_bound_pays_the_lowest_price_of_electricity():
    described = scenario(
        [pool("a", price="$1/h", price_includes_power=False)],
        [work("c", rate=10.0)],
        tools=[{"name": "boxes", "hardware": "intel-xeon-6980p", "cores": 8}],
        economics={
            "electricity": "$0.36/kWh", "pue": 2.0, "tariff": [{"from": "1h", "to": "2h", "electricity": "$0.18/kWh"}]
        },
    )  # fmt: skip
    _, space, programme = problem(described)
    (one,), (tools,) = space.candidates, make_plan(described).tools
    assert one.usd_per_s == pytest.approx(1.0 / 3600.0 + one.plan.deployment.idle_w * 2.0 * 0.5e-7)
    assert programme.tools_usd_per_h == pytest.approx(3600.0 * (tools.usd_per_s + tools.idle_w * 2.0 * 0.5e-7))


def test_a_replica_completes_no_more_than_its_rate_at_most():
    """A closed loop of many clients keeps a replica as busy as it can be."""
    load = {"process": "closed", "clients": 200, "think_time": 0.0}
    busy = scenario([pool("a")], [work("c") | {"arrivals": load}], horizon=4.0)
    with Players() as players:
        players.play([(busy, 0)])
    from inferencesim.experiments.trials import play

    completed = play(make_plan(busy)).fleet.completed_in_window / 4.0
    _, _, programme = problem(scenario([pool("a")], [work("c", rate=50.0)], horizon=4.0))
    (demand,) = programme.slices[0].demands
    most = demand.needed / (programme.usage(0, 0) @ demand.total).max()
    assert completed <= most
    assert completed > 0.6 * most, "optimistic, but of this world"


def test_a_promise_of_tpot_keeps_batches_small():
    def most(tpot):
        described = scenario([pool("a")], [work("c", prompt=10, output=50, promise={"tpot": tpot} if tpot else {})])
        _, _, programme = problem(described)
        (demand,) = programme.slices[0].demands
        return demand.needed / (programme.usage(0, 0) @ demand.total).max()

    free, loose, tight = most(None), most(0.02), most(0.002)
    assert tight < 0.9 * loose
    assert loose <= free


def test_a_promise_shorter_than_any_step_rules_a_replica_out():
    described = scenario([pool("a")], [work("c", promise={"tpot": 1e-5})])
    _, _, programme = problem(described)
    assert programme.solve().fleet is None
    assert programme.solve().usd_per_h == np.inf


def test_demand_is_what_is_left_after_the_heaviest_were_dropped():
    described = scenario([pool("a")], [work("c", rate=100.0, prompt=LONG, output=21, promise={"ttft": 0.1})], 10.0)
    (whole, *_) = demands(described, [1, 2], SLO, [0], ())
    (demand,) = whole.demands
    assert demand.total[DECODED] == 20 * demand.needed
    arrived = demand.bins.sum()
    assert 0.85 * arrived < demand.needed <= 0.9 * arrived + 1
    assert demand.total[PROMPT] < 0.8 * arrived * 100, "the longest prompts are not among them"
    assert (demand.least >= 0.0).all()
    assert (demand.bins @ demand.least)[PROMPT] < demand.total[PROMPT] + arrived * 0.1 * 2000


def test_promises_end_when_they_can_be_kept_no_more():
    each = scenario([pool()], [work("c", promise={"ttft": 1.0, "tpot": 0.1})]).workload[0]
    assert lateness(each, 20.0) == pytest.approx(3.0)
    assert lateness(each.model_copy(update={"promise": Promise(e2e=2.0)}), 20.0) == 2.0
    assert lateness(each.model_copy(update={"promise": Promise(ttft=2.0)}), 20.0) == np.inf


def test_the_busiest_part_of_a_day_counts():
    """As many requests, once evenly and once most of them within a tenth of the time."""
    shape = {"shape": "burst", "factor": 10.0, "start": 4.0, "length": 1.0}
    level = work("c", rate=300.0, promise={"ttft": 0.2, "tpot": 0.01})
    peak = work("c", rate=155.0, promise={"ttft": 0.2, "tpot": 0.01})
    peak["arrivals"]["profile"] = shape
    _, _, even = problem(scenario([pool("a")], [level], 10.0))
    _, _, uneven = problem(scenario([pool("a")], [peak], 10.0))
    assert uneven.solve().usd_per_h > 1.5 * even.solve().usd_per_h


def test_tokens_that_are_guessed_well_take_fewer_steps():
    drafts = {"drafts": 3, "acceptance": 0.2, "draft": {"layers": 0}}
    load = work("c", prompt=4, output=50)
    rates = []
    for said in ({}, {"acceptance": 0.9}):
        _, _, programme = problem(scenario([pool("a", speculation=drafts)], [load | said]))
        (demand,) = programme.slices[0].demands
        rates.append(demand.needed / (programme.usage(0, 0) @ demand.total).max())
    assert rates[1] > 1.5 * rates[0]


def test_what_is_asked_again_has_as_long_again():
    again = work("c", rate=100.0, promise={"e2e": 0.1}, retry={"attempts": 1})
    once = work("c", rate=100.0, promise={"e2e": 0.1})
    slices = [demands(scenario([pool("a")], [one], 10.0), [1], SLO, [0], ()) for one in (once, again)]
    assert len(slices[0]) > 1
    assert len(slices[1]) == 1
    assert slices[1][0].demands[0].needed < slices[0][0].demands[0].needed
