"""Limits on power: in the audit of a run, and in the story of a request that found none left."""

from __future__ import annotations

import pytest
from doctoring import doctor, rebuild_chain
from oracle.fleets import AT_REST_W, AT_WORK_W
from oracle.small import pool, scenario, work

from inferencesim import Run, simulate
from inferencesim.results.audit import audit
from inferencesim.results.explanation import explain

#: Two of four machines may work.
POWER = ({"limit": 4 * AT_REST_W + 2 * AT_WORK_W, "pools": ["p"]},)


def described(**said):
    return scenario([pool(replicas=4, batching={"max_sequences": 4})], [work(rate=80.0)], power=POWER, **said)


@pytest.fixture
def folder(tmp_path):
    simulate(described(), out=tmp_path / "run")
    return tmp_path / "run"


def found(folder):
    (only,) = [each for each in audit(Run.load(folder)).constraints if each.name == "power"]
    return only


def test_an_audit_proves_that_a_limit_held(folder):
    run = Run.load(folder)
    assert audit(run).holds
    assert (found(folder).state, found(folder).rows) == ("proven", len(run.requests))


def test_it_finds_who_worked_without_power(folder):
    """The first request is said to have stayed to the end, on a replica of its own."""
    own = set(range(4)) - set(Run.load(folder).requests["replica"].iloc[1:40])
    doctor(folder, "requests", replica=min(own), finished_s=100.0)
    rebuild_chain(folder)
    assert found(folder).state == "broken"
    assert found(folder).why == "a replica began to work for which no power was left"


def test_a_sample_proves_nothing_of_it(tmp_path):
    simulate(described(recording={"evidence": "sampled", "share": 0.5}), out=tmp_path / "run")
    assert (found(tmp_path / "run").state, found(tmp_path / "run").why) == (
        "unproven",
        "only a sample of the rows was kept",
    )


def test_nothing_is_said_where_nothing_is_limited(tmp_path):
    run = simulate(scenario([pool()], [work()]), out=tmp_path / "run")
    assert "power" not in {each.name for each in audit(run).constraints}


def test_a_verdict_where_no_limit_is_on_the_pool_is_found(tmp_path):
    free = scenario([pool()], [work()])
    simulate(free, out=tmp_path / "run")
    doctor(tmp_path / "run", "decisions", verdict_p="power_limited")
    rebuild_chain(tmp_path / "run")
    (verdicts,) = [each for each in audit(Run.load(tmp_path / "run")).constraints if each.name == "verdicts"]
    assert verdicts.state == "broken"


def test_who_found_no_power_left_is_told_so():
    pools = [pool("left"), pool("right", serves="windowed-model")]
    power = [{"limit": 2 * AT_REST_W + AT_WORK_W, "pools": ["left", "right"]}]
    run = simulate(scenario(pools, [work("l", 20.0), work("r", 20.0, models=("windowed-model",))], power=power))
    rejected = run.requests[run.requests["reason"] == "power_limited"]
    story = explain(run, int(rejected["request_id"].iloc[0]))
    own = {"l": "left", "r": "right"}[str(rejected["class"].iloc[0])]
    (candidate,) = [each for each in story.decided.candidates if each.name == own]
    assert candidate.why == "had nobody at work, and no power was left for one of its machines to begin"
