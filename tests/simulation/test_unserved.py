"""Classes that are turned away, told before anything is played."""

from __future__ import annotations

from pathlib import Path

import pytest
from oracle.small import model, pool, scenario, work

from inferencesim.simulation.plan import make_plan
from inferencesim.simulation.unserved import unserved
from inferencesim.workload.graphs import unroll
from inferencesim.workload.load import generate_load


def told(described):
    load = generate_load(described.workload, described.horizon, described.seed, Path())
    graphs, load = unroll(described, load)
    return unserved(make_plan(described), load, graphs)


def test_of_a_fleet_that_takes_everything_nothing_is_said():
    assert told(scenario([pool()], [work()])) == ()


def test_nobody_and_why():
    bound = work("kept", models=["windowed-model"], residency=["eu"])
    (said,) = told(scenario([pool(), pool("q", model=model("windowed-model"))], [work(), bound]))
    reasons = "(p: model_not_served, q: outside_residency)"
    assert said == f"workload[1]: nobody may serve kept, so all of it is rejected {reasons}"


CLOSED = {"process": "closed", "clients": 2, "think_time": 1.0}


@pytest.mark.parametrize("arrivals", [{"process": "poisson", "rate": 50.0}, CLOSED])
def test_all_of_it_too_long(arrivals):
    limit = make_plan(scenario([pool()], [work()])).context_limits[0]
    (said,) = told(scenario([pool()], [work(prompt_tokens=limit, output_tokens=20, arrivals=arrivals)]))
    assert said.startswith(
        f"workload[0]: 100% of the requests of c are rejected: prompt and output, up to {limit + 20:,}"
    )
    assert said.endswith(f"more than the {limit:,} of any pool or provider that may serve it")


def test_a_tail_is_no_fault():
    limit = make_plan(scenario([pool()], [work()])).context_limits[0]
    lengths = {"distribution": "histogram", "values": [10, limit], "weights": [999, 1]}
    assert told(scenario([pool()], [work(prompt_tokens=lengths)])) == ()
