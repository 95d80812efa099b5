"""Two runs compared, number by number."""

from __future__ import annotations

import pytest
from oracle.small import pool, scenario, work

from inferencesim import difference, simulate


def fleet(names=("a", "b"), replicas=1, classes=("chat",)):
    return scenario([pool(name, replicas=replicas) for name in names], [work(name) for name in classes], horizon=5.0)


@pytest.fixture(scope="module")
def one():
    return simulate(fleet()).summary


def test_a_run_does_not_differ_from_itself(one):
    found = difference(one, one)
    assert found.same_scenario
    assert found.changed() == ()
    assert len(found.rows) > 50


def test_the_change_is_the_difference(one):
    two = simulate(fleet(replicas=2)).summary
    found = difference(one, two)
    assert not found.same_scenario
    rows = {(row.scope, row.metric): row for row in found.rows}
    cost = rows["pool a", "owned_usd"]
    assert cost.change == pytest.approx(cost.a)
    assert cost.relative == pytest.approx(1.0)
    assert rows["fleet", "ttft_s.p99"].a == one.fleet.ttft_s.p99
    assert ("fleet", "replicas") in {(row.scope, row.metric) for row in found.changed()}


def test_what_only_one_run_has_is_null_in_the_other(one):
    two = simulate(fleet(names=("a",), classes=("chat", "batch"))).summary
    found = difference(one, two)
    scopes = list(dict.fromkeys(row.scope for row in found.rows))
    assert scopes == ["fleet", "class chat", "class batch", "pool a", "pool b"]
    rows = {(row.scope, row.metric): row for row in found.rows}
    assert rows["pool b", "owned_usd"].b is None
    assert rows["class batch", "arrived"].a is None
    assert rows["class batch", "arrived"].change is None


def test_swapping_the_runs_turns_the_sign(one):
    two = simulate(fleet(replicas=2)).summary
    back = {(row.scope, row.metric): row for row in difference(two, one).rows}
    for row in difference(one, two).rows:
        if row.change is not None:
            assert back[row.scope, row.metric].change == -row.change


def test_tasks_and_what_was_held_are_compared_too():
    called = work("call") | {"arrivals": {"process": "tasks"}}
    agent = {"name": "agent", "arrivals": {"process": "poisson", "rate": 5.0}, "steps": [{"call": "call"}]}
    night = work("night", rate=20.0, tags={"batchable": True}, promise={"deadline": "10s"})
    windows = {"defer": {"windows": [{"from": "1s", "to": "2s"}]}}
    summary = simulate(scenario([pool()], [called, night], tasks=[agent], flow=windows, horizon=3.0)).summary
    rows = {(row.scope, row.metric): row.a for row in difference(summary, summary).rows}
    assert rows["task agent", "task_latency_s.p99"] == summary.tasks[0].task_latency_s.p99
    assert rows["class night", "held.window"] == summary.classes[1].held[0].requests > 0
