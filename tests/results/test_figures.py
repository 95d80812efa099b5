"""Numbers of a summary by their paths."""

from __future__ import annotations

import pytest
from oracle.small import pool, scenario, work

from inferencesim import simulate
from inferencesim.errors import InputError
from inferencesim.results.figures import better, figures, metric_paths, require_metrics


@pytest.fixture(scope="module")
def described():
    called = work("call") | {"arrivals": {"process": "tasks"}}
    agent = {"name": "agent", "arrivals": {"process": "poisson", "rate": 5.0}, "steps": [{"call": "call"}]}
    return scenario([pool("fast"), pool("slow")], [called, work("chat")], tasks=[agent], horizon=3.0)


@pytest.fixture(scope="module")
def summary(described):
    return simulate(described).summary


def test_every_number_has_a_path(summary):
    found = figures(summary)
    assert found["ttft_s.p99"] == summary.fleet.ttft_s.p99
    assert found["classes.chat.e2e_s.mean"] == summary.classes[1].e2e_s.mean
    assert found["tasks.agent.cost_per_completed_task_usd"] == summary.tasks[0].cost_per_completed_task_usd
    assert found["pools.slow.utilisation"] == summary.pools[1].utilisation


def test_what_may_be_asked_for_is_what_there_is(described, summary):
    known, there = set(metric_paths([described])), set(figures(summary))
    # What was left to do at the end, and counts by reason, are there only where something was.
    assert {path for path in known - there if "to_finish." not in path} == set()
    assert {path for path in there - known if "to_finish" not in path} == set()


def test_a_path_that_leads_nowhere_is_refused_with_the_nearest(described):
    require_metrics(["ttft_s.p99", "pools.fast.power_w"], [described])
    with pytest.raises(InputError, match=r"--metric: no summary has 'ttft\.p99'. Did you mean 'ttft_s\.p99'"):
        require_metrics(["ttft.p99"], [described])
    with pytest.raises(InputError, match=r"classes\.chat"):
        require_metrics(["classes.caht.slo_attainment"], [described])


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("cost_per_completed_task_usd", "less"),
        ("slo_attainment", "more"),
        ("classes.chat.slo_attainment", "more"),
        ("classes.cars_s.arrived", None),
        ("ttft_s.p99", "less"),
        ("classes.chat.e2e_s.mean", "less"),
        ("output_tokens_per_s", "more"),
        ("goodput_per_s", "more"),
        ("tasks.agent.good", "more"),
        ("energy_per_completed_task_j", "less"),
        ("carbon_g", "less"),
        ("usd_per_million_tokens", "less"),
        ("timed_out", "less"),
        ("pools.fast.utilisation", None),
        ("arrived", None),
    ],
)
def test_more_or_less_of_it_is_better(metric, direction):
    assert better(metric) == direction
