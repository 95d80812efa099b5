"""Limits on power: how many machines work at a time, who takes the requests then, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.fleets import AT_REST_W, AT_WORK_W
from oracle.small import chip, model, pool, run, scenario, work

from inferencesim import plan
from inferencesim.errors import InputError
from inferencesim.policy import Policy
from inferencesim.routing.policy import POLICIES
from inferencesim.scenario.loading import validated
from inferencesim.scenario.scenario import Scenario
from inferencesim.simulation.plan import make_plan

SMALL = {"max_sequences": 4}


def limit_w(replicas, at_work):
    """Return what so many replicas draw of which some work."""
    return AT_REST_W * replicas + AT_WORK_W * at_work


def at_work(requests, replicas=None):
    """Return how many replicas had a request at each arrival, itself included; placed ones only."""
    placed = requests[requests["replica"].notna()]
    if replicas is not None:
        placed = placed[placed["replica"].isin(replicas)]
    counts = []
    for came_s in placed["arrived_s"]:
        inside = (placed["arrived_s"] <= came_s) & (placed["finished_s"] > came_s)
        counts.append(placed.loc[inside, "replica"].nunique())
    return np.array(counts)


def limited(power, workload=None, pools=None, **said):
    pools = pools or [pool(replicas=4, batching=SMALL)]
    return run(scenario(pools, workload or [work(rate=80.0)], power=power, **said))


class TestAPool:
    @pytest.mark.parametrize("most", [1, 2, 3])
    def test_no_more_machines_work_than_the_limit_has_power_for_and_so_many_do(self, most):
        counts = at_work(limited([{"limit": limit_w(4, most), "pools": ["p"]}]).requests)
        assert counts.max() == most

    def test_without_a_limit_and_with_one_for_all_the_same_happens(self):
        free, ample = (limited(power).requests for power in ([], [{"limit": limit_w(4, 4), "pools": ["p"]}]))
        assert at_work(free).max() == 4
        assert free.equals(ample)

    def test_who_is_at_work_takes_what_comes_whatever_the_policy_prefers(self):
        routing = {"balancing": "round_robin"}
        requests = limited([{"limit": limit_w(4, 1), "pools": ["p"]}], routing=routing).requests
        assert at_work(requests).max() == 1
        assert requests["replica"].nunique() == 4  # in turn, once whoever worked has nothing left
        assert (requests["outcome"] == "completed").all()

    def test_a_policy_in_plain_python_chooses_among_them_too(self, monkeypatch):
        def idlest(request, candidates, scores, parameters, memory):
            busy = candidates.load["waiting"] + candidates.load["running"] + 1000 * (candidates.eligible == 0)
            return int(np.argmin(busy))

        monkeypatch.setitem(POLICIES._entries, "idlest", Policy(idlest, "of a test", compiled=False))
        power = [{"limit": limit_w(4, 2), "pools": ["p"]}]
        requests = limited(power, routing={"balancing": "idlest"}).requests
        assert at_work(requests).max() == 2

    def test_a_watt_less_is_a_machine_less(self):
        counts = at_work(limited([{"limit": limit_w(4, 3) - 1.0, "pools": ["p"]}]).requests)
        assert counts.max() == 2

    def test_a_machine_that_is_down_neither_works_nor_is_started(self):
        power = [{"limit": limit_w(2, 1), "pools": ["p"]}]
        failures = [{"pool": "p", "at": 0.5, "for": 0.5}]
        requests = limited(power, pools=[pool(replicas=2, batching=SMALL)], failures=failures).requests
        during = requests["arrived_s"].between(0.5, 1.0)
        assert set(requests.loc[during, "reason"]) == {"unhealthy"}
        assert at_work(requests[requests["outcome"] == "completed"]).max() == 1


class TestPoolsThatShare:
    POOLS = (
        pool("left", batching=SMALL, site="eu-paris"),
        pool("right", serves="windowed-model", batching=SMALL, site="eu-paris"),
        pool("afar", serves="windowed-model", batching=SMALL, site="us-south-texas"),
    )
    WORK = (work("l", 10.0), work("r", 10.0, models=("windowed-model",), origin=None))

    @pytest.mark.parametrize("where", [{"site": "eu-paris"}, {"pools": ["left", "right"]}])
    def test_who_finds_no_power_is_turned_away_with_the_reason(self, where):
        played = limited([{"limit": limit_w(2, 1), **where}], list(self.WORK), list(self.POOLS[:2]))
        requests, decisions = played.requests, played.decisions
        assert at_work(requests).max() == 1
        gone = requests["outcome"] == "rejected"
        assert 0 < gone.sum() < len(requests)
        assert set(requests.loc[gone, "reason"]) == {"power_limited"}
        own = np.where(requests["class"] == "l", decisions["verdict_left"], decisions["verdict_right"])
        assert (own == np.where(gone, "power_limited", "eligible")).all()

    def test_another_pool_takes_it(self):
        played = limited([{"limit": limit_w(2, 1), "site": "eu-paris"}], list(self.WORK), list(self.POOLS))
        requests = played.requests
        assert set(requests.loc[requests["outcome"] == "rejected", "class"]) == {"l"}
        assert at_work(requests, [0, 1]).max() == 1
        assert (played.decisions.loc[requests["pool"] == "afar", "verdict_right"] == "power_limited").any()

    def test_a_pool_obeys_all_limits_it_is_under(self):
        power = [
            {"limit": limit_w(4, 3), "pools": ["left", "right"]},
            {"limit": limit_w(3, 1), "pools": ["right"]},
        ]
        pools = [pool("left", batching=SMALL), pool("right", replicas=3, batching=SMALL)]
        requests = limited(power, [work(rate=100.0)], pools).requests
        assert at_work(requests, [1, 2, 3]).max() == 1
        assert at_work(requests).max() == 2


class TestWhatIsRefused:
    def refused(self, power, **said):
        tree = {
            "name": "t", "horizon": 1.0, "workload": [work()], "power": power,
            "pools": [{"name": "p", "hardware": chip(), "model": model(), "engine": "generic", "replicas": 4, **said}],
        }  # fmt: skip
        with pytest.raises(InputError) as caught:
            make_plan(validated(tree, Scenario, "scenario"))
        return str(caught.value)

    def test_less_than_one_machine_at_work_needs_with_the_sum(self):
        said = self.refused([{"limit": "1.2 kW", "pools": ["p"]}])
        assert "power[0].limit: 1,200 W are too little" in said
        assert "at rest its machines draw 1,120 W (p 4 × 280 W), and a replica of p that works 520 W more" in said
        assert "at least 1,640 W" in said

    @pytest.mark.parametrize(
        ("power", "words"),
        [
            ({"limit": "2 kW", "pools": ["q"]}, "there is no pool 'q'"),
            ({"limit": "2 kW", "site": "eu-paris"}, "no pool stands at 'eu-paris'"),
            ({"limit": "2 kW"}, "either a site or pools"),
            ({"limit": "2 kW", "site": "us-south-texas", "pools": ["p"]}, "either a site or pools"),
            ({"limit": "2 kWh", "pools": ["p"]}, "'700 W'"),
        ],
    )
    def test_what_makes_no_sense(self, power, words):
        said = self.refused([power])
        assert "power" in said
        assert words in said

    def test_pools_that_work_for_each_other(self):
        pools = [pool("d", prefill_in={"pool": "h", "above": 0}), pool("h")]
        for name in ("d", "h"):
            with pytest.raises(ValueError, match=rf"power\[0\]: pool '{name}' prefills for another"):
                scenario(pools, [work()], power=[{"limit": "9 kW", "pools": [name]}])

    def test_a_plan(self):
        described = scenario([pool(replicas=4)], [work()], power=[{"limit": "9 kW", "pools": ["p"]}])
        with pytest.raises(InputError, match="power: a plan knows nothing of limits on power"):
            plan(described, slo=0.9)
