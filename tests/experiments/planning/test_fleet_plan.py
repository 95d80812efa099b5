"""The plan of a small problem is what playing every fleet finds; what cannot be had is told."""

from __future__ import annotations

import functools
import itertools
import math

import pytest
import yaml
from oracle.small import pool, scenario, work

from inferencesim import load_scenario, plan
from inferencesim.errors import InputError
from inferencesim.experiments.planning.candidates import Fleet, make_space
from inferencesim.experiments.planning.document import plan_text, scenario_tree
from inferencesim.experiments.planning.goal import make_goal
from inferencesim.experiments.planning.playing import Players, attainment, trial
from inferencesim.experiments.planning.screen import dominated
from inferencesim.experiments.planning.search import fresh
from inferencesim.experiments.trials import seed_of, unrecorded
from inferencesim.scenario.planning import Planning
from inferencesim.scenario.scenario import Scenario

BOUNDS = {"pools": {"a": {"replicas": "0..5"}, "b": {"replicas": "0..2"}}}


def two_kinds(rate, price, seed=0):
    fast = work("c", rate=rate, promise={"ttft": 0.3, "tpot": 0.03})
    slow = work("d", rate=rate / 10, prompt=400, output=5, promise={"e2e": 0.5})
    pools = [pool("a"), pool("b", hardware="fast-chip", price=price)]
    return scenario(pools, [fast, slow], horizon=1.0, seed=seed)


def every_fleet(described, planning, slo):
    """Return what every fleet within the bounds costs that keeps its promises in the confirming replications."""
    space, goal = make_space(described, Planning.model_validate(planning)), make_goal(slo, (), 0.95, 3)
    found = {}
    with Players() as players:
        for counts in itertools.product(*(range(space.bounds[one.origin][1] + 1) for one in space.candidates)):
            fleet = Fleet(counts)
            if space.allows(fleet):
                trials = players.play([(space.scenario_of(fleet), number) for number in fresh(goal)])
                if goal.is_met(trials):
                    found[fleet] = sum(one.usd_per_h for one in trials) / len(trials)
    return found


@functools.cache
def planned():
    return plan(two_kinds(900.0, "$5.1/h"), slo="95%", planning=BOUNDS)


@pytest.mark.parametrize(
    ("rate", "price", "slo"),
    [
        (900.0, "$5.1/h", 0.95),
        pytest.param(1100.0, "$3.3/h", 0.9, marks=pytest.mark.long),
        pytest.param(600.0, "$4.5/h", 0.99, marks=pytest.mark.long),
    ],
)
def test_the_plan_is_the_cheapest_of_all_fleets(rate, price, slo):
    described = two_kinds(rate, price)
    found = plan(described, slo=slo, planning=BOUNDS, marginal=False, replications=3)
    cheapest = min(every_fleet(described, BOUNDS, slo).values())
    assert found.complete
    assert found.answer.usd_per_h == pytest.approx(cheapest)
    assert found.bound_usd_per_h <= cheapest
    assert found.gap == pytest.approx(cheapest / found.bound_usd_per_h - 1.0)


def test_the_answer_keeps_its_promise_under_seeds_nobody_has_seen():
    answer = Scenario.model_validate(planned().scenario)
    shares = [trial(unrecorded(answer) | {"seed": seed_of(4321, number)}).attained for number in range(6)]
    for name in ("c", "d", "all"):
        assert attainment([one[name] for one in shares], 0.95).mean >= 0.95


def test_the_answer_is_a_scenario_file_with_the_same_results(tmp_path):
    found = planned()
    path = tmp_path / "answer.yaml"
    path.write_text(plan_text(found), encoding="utf-8")
    read = load_scenario(path)
    assert {one.name: one.replicas for one in read.pools} == found.answer.pools
    assert trial(unrecorded(read) | {"seed": seed_of(read.seed, 2)}).attained["c"] <= 1.0
    with Players() as players:
        goal = make_goal(0.95, (), 0.95, 5)
        trials = players.play([(read, number) for number in fresh(goal)])
    kept = {one.name: one.mean for one in found.answer.kept}
    assert {name: share.mean for name, share in goal.shares(trials).items()} == kept


def test_the_head_of_the_file_says_how_it_was_found():
    head = [line for line in plan_text(planned()).splitlines() if line.startswith("#")]
    assert planned().answer.text in head[0]
    assert "lower bound $" in head[1]
    assert "95 %" in head[2]


def test_a_library_class_is_written_out_in_full():
    described = load_scenario("express_lane_freight")
    again = Scenario.model_validate(yaml.safe_load(yaml.safe_dump(scenario_tree(described))))
    for old, new in zip(described.workload, again.workload, strict=True):
        assert new == old.model_copy(update={"like": None})
    assert again.pools == described.pools
    assert again.tasks == described.tasks


def test_a_library_task_is_written_out_in_full(tmp_path):
    path = tmp_path / "chat.yaml"
    path.write_text(
        "name: chat\nhorizon: 1min\npools: [{name: p, hardware: nvidia-h100-sxm, model: llama-3.1-8b}]\n"
        "tasks: [{like: guarded_chat, context: grows, models: [llama-3.1-8b]}]\n",
        encoding="utf-8",
    )
    described = load_scenario(path)
    path.write_text(yaml.safe_dump(scenario_tree(described)), encoding="utf-8")
    # What is as by default is not written; the library, which says otherwise, must not come into its place.
    assert load_scenario(path).tasks == [each.model_copy(update={"like": None}) for each in described.tasks]


def test_one_less_of_anything_is_not_enough():
    for need in planned().needs:
        assert need.class_name in ("c", "d")
        assert need.kept < 0.95


def test_more_load_costs_more():
    more = planned().marginal
    assert more.load == 1.1
    assert more.usd_per_h_per_percent == pytest.approx((more.fleet.usd_per_h - planned().answer.usd_per_h) / 10.0)
    assert more.fleet.usd_per_h >= planned().answer.usd_per_h


def test_no_member_of_the_front_is_beaten():
    front = planned().front
    figures = [(one.usd_per_h, one.energy_w, -one.worst.mean) for one in front]
    for own in figures:
        assert not any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in figures)
    assert [one.usd_per_h for one in front] == sorted(one.usd_per_h for one in front)


def test_the_frame_has_every_fleet_that_was_played():
    found = planned()
    frame = found.frame
    assert len(frame) == len({one.text for one in (*found.tried, *found.front, found.answer)})
    assert frame["usd_per_h"].is_monotonic_increasing
    (answer,) = frame[frame["role"] == "answer"].to_dict("records")
    assert {name: answer[f"pools.{name}.replicas"] for name in found.answer.pools} == found.answer.pools
    assert (answer["usd_per_h"], answer["replications"]) == (found.answer.usd_per_h, found.replications)
    for one in found.answer.kept:
        assert (answer[f"kept.{one.name}"], answer[f"kept.{one.name}.lower"]) == (one.mean, one.lower)
    named = frame.set_index("role")["usd_per_h"]
    assert named["runner-up"] == found.runner_up.usd_per_h >= named["answer"]
    assert (frame["role"] == "not confirmed").sum() == len(found.rejected)


def test_progress_is_called_as_that_of_comparisons():
    seen = []
    with Players(progress=lambda done, total: seen.append((done, total))) as players:
        players.play([(two_kinds(100.0, "$5/h"), number) for number in range(2)])
    assert seen == [(1, math.inf), (2, math.inf)]


def test_no_fleet_is_played_twice():
    asked = [(two_kinds(100.0, "$5/h"), number) for number in (0, 1, 0, 1)]
    with Players() as players:
        first = players.play(asked)
        again = players.play(asked)
        assert players.simulations == 2
    assert first == again
    assert first[0] == first[2] != first[1]


def test_what_even_the_largest_fleet_cannot_do():
    found = plan(
        two_kinds(900.0, "$5/h"), slo=0.95, planning={"pools": {"a": {"replicas": "0..1"}, "b": {"replicas": 0}}}
    )
    assert found.answer is None
    assert found.scenario is None
    assert "most optimistic capacity" in found.stopped
    assert found.best.pools == {"a": 1}
    assert found.best.worst.mean < 0.95
    with pytest.raises(InputError, match="no fleet was found"):
        plan_text(found)


def test_what_simulation_shows_to_be_too_little():
    """The programme knows no queues: bursts of hundreds at one moment."""
    burst = work("c", promise={"ttft": 0.05}) | {"arrivals": {"process": "burst", "requests": 400}}
    found = plan(
        scenario([pool("a")], [burst], horizon=20.0), slo=0.95, planning={"pools": {"a": {"replicas": "1..2"}}}
    )
    assert found.answer is None
    assert found.bound_usd_per_h == pytest.approx(2.0, rel=1e-3) or found.bound_usd_per_h is None
    assert found.best.worst.name == "c"


def test_without_load_the_smallest_fleet_will_do():
    silent = work("c", promise={"ttft": 0.1}) | {"active": {"from": 1.0, "to": 1.0 + 1e-9}}
    found = plan(scenario([pool("a"), pool("b", price="$1/h")], [silent]), slo=0.99)
    assert found.answer.pools == {"b": 1}
    assert found.answer.kept == ()
    assert found.complete


def test_bounds_are_kept():
    least = {"pools": {"a": {"replicas": "2..3"}, "b": {"replicas": "1..2"}}}
    found = plan(two_kinds(50.0, "$5/h"), slo=0.9, planning=least, marginal=False)
    assert found.answer.pools == {"a": 2, "b": 1}
    assert all("ask for it" in need.why for need in found.needs)


def test_alternatives_become_kinds_of_their_own():
    """Two chips of one replica cost twice as much and are not twice as fast; fewer seats are worse in nothing."""
    options = {"a": {"replicas": "0..4", "parallelism": [{"tensor": 1}, {"tensor": 2}]}}
    one = two_kinds(300.0, "$50/h")
    one = one.model_copy(update={"pools": one.pools[:1]})
    found = plan(one, slo=0.9, planning={"pools": options}, marginal=False)
    names = {each.candidate for each in found.screened}
    assert names == {"a", "a_tensor2"}
    assert set(found.answer.pools) == {"a"}
    assert sum(found.answer.pools.values()) <= 4


def test_what_is_outdone_in_everything_is_no_candidate():
    described = scenario([pool("a"), pool("dear", price="$9/h")], [work("c", promise={"ttft": 0.5})])
    found = plan(described, slo=0.9, planning={"pools": {"a": {"replicas": "0..20"}, "dear": {"replicas": "0..2"}}})
    (removed,) = found.removed
    assert removed.name == "dear"
    assert "a is as fast" in removed.why


def test_what_is_cheaper_at_some_hours_only_does_not_outdo():
    """Without power in its price, the pool is cheaper while electricity costs nothing, and dearer by day."""
    night = {"from": "22h", "to": "6h", "electricity": 0.0}
    pools = [pool("a", price="$3/h", price_includes_power=False), pool("even", price="$3.01/h")]
    bounds = Planning.model_validate({"pools": {"a": {"replicas": "0..20"}, "even": {"replicas": "0..2"}}})
    for hours, outdone in (([night], set()), ([night, {"from": "6h", "to": "22h", "electricity": 0.0}], {1})):
        described = scenario(pools, [work("c")], economics={"electricity": "$0.36/kWh", "tariff": hours})
        assert set(dominated(make_space(described, bounds))) == outdone


def test_what_is_too_slow_for_every_promise_is_no_candidate():
    described = scenario([pool("a"), pool("b", hardware="fast-chip")], [work("c", promise={"tpot": 0.001})])
    found = plan(described, slo=0.9, marginal=False)
    assert [one.name for one in found.removed] == ["a"]
    assert "TPOT" in found.removed[0].why
    assert set(found.answer.pools) == {"b"}


def test_a_provider_is_used_where_it_is_cheaper():
    api = {
        "name": "api", "model": pool()["model"], "price": {"input": "$0.1/Mtok", "output": "$0.1/Mtok"},
        "ttft": 0.05, "tokens_per_second": 1000,
    }  # fmt: skip
    described = scenario([pool("a", replicas=2)], [work("c", rate=600.0, promise={"ttft": 0.3})], providers=[api],
                         routing={"placement": "cheapest_first"})  # fmt: skip
    alone = plan(described, slo=0.9, planning={"providers": {"api": "optional"}}, marginal=False)
    assert alone.bound_usd_per_h <= alone.answer.usd_per_h
    always = plan(described, slo=0.9, planning={"providers": {"api": "always"}}, marginal=False)
    assert always.answer.providers == ("api",)


def test_only_the_named_classes_bind():
    described = two_kinds(400.0, "$5/h")
    impossible = described.workload[1].model_copy(
        update={"promise": described.workload[1].promise.model_copy(update={"e2e": 1e-4})}
    )
    described = described.model_copy(update={"workload": [described.workload[0], impossible]})
    assert plan(described, slo=0.9, planning=BOUNDS, marginal=False).answer is None
    found = plan(described, slo=0.9, planning=BOUNDS, classes=["c"], marginal=False)
    assert [one.name for one in found.answer.kept] == ["c"]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"slo": 1.5}, "--slo: attainment 1.5"),
        ({"slo": 0.0}, "--slo"),
        ({"slo": 0.9, "confidence": 1.0}, "--confidence"),
        ({"slo": 0.9, "replications": 1}, "--replications"),
        ({"slo": 0.9, "classes": ["chatt"]}, "--class"),
        ({"slo": 0.9, "planning": {"pools": {"aa": {}}}}, "no pool 'aa'"),
        ({"slo": 0.9, "planning": {"providers": {"x": "always"}}}, "no provider 'x'"),
        ({"slo": 0.9, "planning": {"pools": {"a": {"replicas": "5..2"}}}}, "write the smaller one first"),
        ({"slo": 0.9, "planning": {"pools": {"a": {"replicas": "many"}}}}, "is no range"),
        ({"slo": 0.9, "planning": {"pools": {"a": {"replica": 3}}}}, "replica"),
        ({"slo": 0.9, "planning": {"pools": {"a": {"batching": [{"seats": 3}]}}}}, "no key 'seats'"),
        ({"slo": 0.9, "planning": {"pools": {"a": {"batching": [{"max_sequences": 0}]}}}}, "batching"),
        ({"slo": 0.9, "planning": {"pools": {"b": {"hardware": ["nvidia-l4"]}}}}, "states a price"),
        ({"slo": 0.9, "planning": {"pools": {"a": {"hardware": ["nvidia-l44"]}}}}, "nvidia-l4"),
    ],
)
def test_what_makes_no_sense_is_refused(said, message):
    with pytest.raises(InputError, match=None) as problem:
        plan(two_kinds(10.0, "$5/h"), **said)
    assert message in str(problem.value)
