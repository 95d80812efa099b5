"""How far the means of one run can be trusted, and where a run says nothing of that."""

from __future__ import annotations

import io

import numpy as np
import pytest
from oracle.small import closed, pool, scenario, work
from rich.console import Console

from inferencesim import simulate
from inferencesim.ledger.tally import TALLY
from inferencesim.report.summary import summary_tables
from inferencesim.results.mean_intervals import mean_intervals
from inferencesim.results.records.base import Window
from inferencesim.results.records.summary import Verdict
from inferencesim.statistics.batch_means import MOST_BATCHES, ratio_of_batches


def shown(summary):
    console = Console(file=io.StringIO(), width=200)
    for part in summary_tables(summary):
        console.print(part)
    return console.file.getvalue()


def reasons(**said):
    described = scenario(**{"pools": [pool()], "workload": [work()], "horizon": 20.0} | said)
    return {each.scope: each.reason for each in simulate(described).summary.intervals}


@pytest.fixture(scope="module")
def run():
    return simulate(scenario([pool()], [work("many"), work("few", rate=2.0)], horizon=40.0, warm_up=4.0))


def of(run, scope, metric):
    (found,) = (each for each in run.summary.intervals if (each.scope, each.metric) == (scope, metric))
    return found


@pytest.mark.parametrize("metric", ["ttft_s", "e2e_s"])
def test_the_interval_is_that_of_batches_of_equal_time(run, metric):
    requests = run.requests[(run.requests["class"] == "many") & (run.requests["arrived_s"] >= 4.0)]
    batch = np.floor((requests["arrived_s"] - 4.0) / (36.0 / MOST_BATCHES))
    each = requests.groupby(batch)[metric].agg(["sum", "count"])
    assert len(each) == MOST_BATCHES
    naive = ratio_of_batches(each["sum"].to_numpy(), each["count"].to_numpy().astype(float))
    found = of(run, "class many", f"{metric}.mean")
    assert found.batches == naive.batches
    assert (found.low, found.high) == pytest.approx((naive.interval.low, naive.interval.high), rel=1e-6)
    assert found.mean == pytest.approx(getattr(run.summary.classes[0], metric).mean)


def test_a_run_a_hundred_times_as_long_has_a_mean_inside(run):
    longer = simulate(scenario([pool()], [work("many"), work("few", rate=2.0)], horizon=1200.0, seed=5)).summary
    short, long = of(run, "fleet", "e2e_s.mean"), longer.fleet.e2e_s.mean
    # Three times the half-width: chance has no say in whether this passes.
    assert abs(long - short.mean) < 3.0 * short.half_width
    assert short.half_width < 0.1 * short.mean


def test_few_requests_have_none_and_it_is_said_why(run):
    few = of(run, "class few", "ttft_s.mean")
    assert (few.low, few.high, few.batches) == (None, None, None)
    assert few.reason == "fewer than 500 requests"
    text = shown(run.summary)
    assert "Means ± 95 %" in text
    assert "No interval of the means of class few: fewer than 500 requests." in text


TABLE = {"shape": "table", "times": [0, 10], "factors": [1, 2]}
SENT = {"process": "poisson", "rate": 50.0}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"arrivals": SENT | {"profile": TABLE}}, "the rate of c follows a profile"),
        ({"arrivals": {"process": "burst", "requests": 900}}, "c arrives all at once"),
        ({"arrivals": closed(3, 0.01, requests=900)}, "the clients of c stop after 900 requests"),
        ({"active": {"from": "1s"}}, "c is active for a part of the time only"),
    ],
)
def test_a_load_that_changes_has_none(changes, why):
    for reason in reasons(workload=[work() | changes]).values():
        assert reason == f"the load changes over time: {why}"


def test_work_that_waits_for_the_night_has_none():
    windows = {"defer": {"windows": [{"from": "1s", "to": "2s"}]}}
    later = work(tags={"batchable": True}, promise={"deadline": "1min"})
    assert "windows of the day" in reasons(workload=[later], flow=windows)["fleet"]


def test_a_fleet_that_drowns_has_none():
    assert "unstable" in reasons(workload=[work(rate=2000.0)], horizon=5.0)["fleet"]


def test_waits_that_depend_on_each_other_all_the_run_long_have_none(monkeypatch):
    monkeypatch.setattr("inferencesim.results.mean_intervals.ratio_of_batches", lambda *_: None)
    assert "even 8 batches depend on each other" in reasons()["fleet"]


def test_a_fleet_that_nobody_asked_has_none():
    empty = simulate(scenario([pool()], [])).summary
    assert {each.scope for each in empty.intervals} == {"fleet"}
    assert all(each.mean is None and each.low is None for each in empty.intervals)


def test_classes_may_be_more_than_small_numbers_count():
    last, names = 2080, [f"c{index}" for index in range(2081)]
    requests = np.zeros(64, TALLY)
    requests["class_index"], requests["arrived_s"] = last, np.linspace(0.0, 9.9, 64)
    requests["ttft_s"], requests["e2e_s"] = 1.0, 2.0
    window, verdict = Window(from_s=0.0, to_s=10.0, end_s=10.0), Verdict(state="stable", why="")
    found = mean_intervals(scenario([pool()], [work()]), requests, window, verdict, names)
    assert {each.scope for each in found if each.mean is not None} == {"fleet", f"class c{last}"}
