"""Users are somewhere, and so are machines: the way between them is in what they wait for."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.small import closed, model, pool, run, scenario, work

from inferencesim.errors import InputError
from inferencesim.results.audit import broken_promises
from inferencesim.simulation.plan import make_plan

VIRGINIA_TO_TOKYO = 0.146
PLACES = [pool("near"), pool("far", site="ap-tokyo")]
PROVIDER = {
    "name": "api", "price": {"input": "$1/Mtok", "output": "$4/Mtok"}, "model": model(), "ttft": "1s",
    "tokens_per_second": "10/s", "site": "ap-tokyo",
}  # fmt: skip


def one(site="ap-tokyo", origin="us-east-virginia", **said):
    return run(scenario([pool(site=site)], [work(origin=origin, **said)]))


def test_the_round_trip_is_in_every_latency_but_tpot():
    far, here = one().requests, one(origin=None).requests
    for column in ("ttft_s", "e2e_s", "network_s"):
        np.testing.assert_allclose(far[column], here[column] + VIRGINIA_TO_TOKYO)
    for column in ("tpot_s", "queue_time_s", "busy_s"):
        np.testing.assert_allclose(far[column], here[column], rtol=1e-9)


def test_a_promise_is_one_to_the_user():
    kept = one(promise={"ttft": 0.1}, rate=5.0).requests["promise_kept"]
    assert not kept.any()
    assert one(promise={"ttft": 0.1}, rate=5.0, origin=None).requests["promise_kept"].all()


def causes_of(done):
    (found,) = broken_promises(done.requests, done.plan, done.result.end.at_s)
    return {(each.what, each.by) for each in found.causes}


def test_distance_is_a_cause_of_its_own():
    done = one(promise={"ttft": 0.1}, rate=5.0)
    assert causes_of(done) == {("ttft", "network")}
    slow = one(promise={"ttft": 1e-4}, rate=5.0)
    assert causes_of(slow) == {("ttft", "hardware")}


def test_a_client_asks_again_once_the_answer_has_reached_it():
    done = one(rate=1.0, arrivals=closed(1))
    times = done.requests.sort_values("task")
    assert len(times) > 3
    between = times["arrived_s"].to_numpy()[1:] - times["arrived_s"].to_numpy()[:-1]
    assert (between >= VIRGINIA_TO_TOKYO).all()


def test_the_next_step_of_a_task_begins_when_the_answer_is_there():
    call = work("c", origin="us-east-virginia") | {"arrivals": {"process": "tasks"}}
    task = {"name": "t", "arrivals": {"process": "poisson", "rate": 3.0}, "steps": [{"call": "c"}, {"call": "c"}]}
    done = run(scenario([pool(site="ap-tokyo")], [call], tasks=[task]))
    assert (done.frame("tasks")["task_latency_s"] > 2 * VIRGINIA_TO_TOKYO).all()


def placed(policy, origin, **said):
    described = scenario(PLACES, [work(rate=5.0, origin=origin, **said)], routing={"placement": policy})
    return set(run(described).requests["pool"].astype(str))


def test_routing_knows_the_way():
    assert placed("region_nearest", "us-east-ohio") == {"near"}
    assert placed("region_nearest", "ap-seoul") == {"far"}
    assert placed("predicted_latency", "ap-seoul") == {"far"}
    assert placed("predicted_latency", "us-east-ohio") == {"near"}
    assert placed("cheapest_feasible", "ap-seoul", promise={"ttft": 0.2}) == {"far"}
    assert placed("region_cheapest_power", "ap-seoul") == placed("lowest_carbon", "ap-seoul") == {"near"}


def test_what_is_recorded_as_predicted_has_the_way_in_it():
    described = scenario(PLACES, [work(rate=5.0, origin="us-east-ohio")], recording={"predictions": True})
    rows = run(described).decisions
    gap = rows["predicted_ttft_s_far"] - rows["predicted_ttft_s_near"]
    assert gap.iloc[0] == pytest.approx(0.134 - 0.0125, abs=0.01)


def test_providers_are_somewhere_too():
    near = {"placement": {"policy": "region_nearest"}}
    described = scenario([pool()], [work(rate=5.0, origin="ap-seoul")], providers=[PROVIDER], routing=near)
    rows = run(described).requests
    assert (rows["provider"] == "api").all()
    np.testing.assert_allclose(rows["network_s"], 0.0335)
    np.testing.assert_allclose(rows["ttft_s"], 1.0335)
    np.testing.assert_allclose(rows["prefill_s"], 1.0)


def test_a_place_of_ones_own_needs_its_round_trips():
    own = {"office": {"ap-tokyo": "7ms"}}
    described = scenario([pool(site="ap-tokyo")], [work(rate=5.0, origin="office")], network=own)
    np.testing.assert_allclose(run(described).requests["network_s"], 0.007)
    described = scenario(PLACES, [work(origin="office")], network=own)
    with pytest.raises(InputError, match=r"workload\[0\]\.origin: no round trip between office and us-east-virginia"):
        make_plan(described)
    with pytest.raises(InputError, match=r"workload\[0\]\.origin: unknown place 'ofice'. Did you mean 'office'"):
        make_plan(scenario(PLACES, [work(origin="ofice")], network=own))


def test_where_a_class_may_not_go_no_way_has_to_be_known():
    described = scenario(PLACES, [work(origin="office", residency=["us"])], network={"office": {"us-east-virginia": 0}})
    assert (run(described).requests["pool"] == "near").all()
