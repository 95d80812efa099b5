"""Routers and deferral know how long a call has until its task is promised to be done."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.small import model, pool, run, scenario, work
from oracle.task_worlds import called, tasks

CHEAPEST = {"placement": {"policy": "cheapest_feasible", "parameters": {"providers": 1}}}
ONE = {"process": "burst", "requests": 1}
CALL = {"call": "c", "context": "fresh"}


def bought(name, ttft, usd):
    """Return a provider that answers all at once, `ttft` seconds after it was asked."""
    price = {"input": f"${usd}/Mtok", "output": f"${usd}/Mtok"}
    return {"name": name, "price": price, "model": model(), "ttft": ttft, "tokens_per_second": "1e6/s"}


def elsewhere():
    """Return a pool that none of the calls can use."""
    return pool(serves="expert-model")


def placed(steps, promise=None, **said):
    """Return the providers the calls of one task were given to: a slow one that is cheap, or a fast one that is not."""
    one = tasks(steps, arrivals=ONE, promise={} if promise is None else {"latency": promise})
    described = {"tasks": [one], "routing": CHEAPEST, "horizon": 30.0, "drain": 30.0, **said}
    providers = [bought("slow", "4s", 0.001), bought("fast", "0.2s", 1000.0)]
    done = run(scenario([elsewhere()], [called()], providers=providers, **described))
    return done.frame("requests").sort_values("arrived_s")["provider"].tolist()


def test_a_call_that_promises_nothing_is_in_its_tasks_hurry():
    assert placed([CALL]) == ["slow"]
    assert placed([CALL], promise="10s") == ["slow"]
    assert placed([CALL], promise="2s") == ["fast"]


def test_what_a_task_has_left_shrinks_as_it_goes_on():
    assert placed([CALL, CALL, CALL], promise="13s") == ["slow", "slow", "fast"]
    assert placed([CALL, {"wait": 7.0}, CALL], promise="12s") == ["slow", "fast"]


def test_a_task_that_is_late_is_done_as_fast_as_can_be():
    assert placed([CALL, {"wait": 8.0}, CALL], promise="10s") == ["slow", "fast"]


def test_an_answer_that_is_asked_for_again_has_less_time_left():
    never_good = {"small-model": {"ability": 0.0, "slope": 1.0}}
    answers = {"difficulty": 1.0, "noticed": 1.0, "retries": 1, "curves": never_good}
    described = work(arrivals=ONE, answers=answers, promise={"e2e": "9s"})
    providers = [bought("slow", "4s", 0.001), bought("fast", "0.2s", 1000.0)]
    done = run(scenario([elsewhere()], [described], providers=providers, routing=CHEAPEST, horizon=20.0, drain=20.0))
    assert done.frame("requests").sort_values("arrived_s")["provider"].tolist() == ["slow", "fast"]


@pytest.mark.parametrize(("waits", "held"), [(0.0, 0.9), (0.5, 0.4)])
def test_work_of_a_task_is_deferred_until_the_slack_of_the_task_runs_out(waits, held):
    one = tasks([{"wait": waits}, CALL], arrivals=ONE, promise={"latency": "0.9s"})
    kind = called(tags={"batchable": True}, promise={"deadline": "1h"})
    flow = {"defer": {"batch": 1000, "margin": 1.0}}
    (row,) = run(scenario([pool()], [kind], tasks=[one], flow=flow)).frame("requests").to_dict("records")
    assert row["held_until"] == "slack"
    np.testing.assert_allclose(row["held_s"] + row["e2e_s"] - row["waiting_s"], held, rtol=1e-6)
