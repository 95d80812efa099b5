"""Data never leaves its zone: not in any fleet, under any policy, in tasks or by itself, at pools or at providers."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.small import model, pool, run, scenario, work

from inferencesim.economics.sites import load_site
from inferencesim.jit import JIT_ENABLED
from inferencesim.results.constraints import check_constraints
from inferencesim.routing.policy import POLICIES

SITES = {
    "us-east-virginia": "us",
    "us-west-oregon": "us",
    "ca-montreal": "ca",
    "uk-london": "uk",
    "eu-frankfurt": "eu",
    "ap-tokyo": "asia-japan",
}
ZONES = sorted(set(SITES.values()))
MODELS = ("small-model", "windowed-model")
ANYWHERE = 0.3
PLACEMENTS = POLICIES.names()


def drawn(seed):
    """Return a random scenario: pools and providers at random sites, classes with zones, and tasks that call them."""
    rng = np.random.default_rng(seed)

    def one_of(choices):
        return choices[int(rng.integers(len(choices)))]

    def chance(share):
        return bool(rng.random() < share)

    def site():
        return one_of(list(SITES))

    pools = []
    for index in range(rng.integers(1, 5)):
        said = {"queue_limit": int(rng.integers(1, 4))} if chance(0.3) else {}
        pools.append(pool(f"p{index}", serves=one_of(MODELS), site=site(), **said))
    for index, each in reversed(list(enumerate(pools))):
        # Prompts are read elsewhere, perhaps abroad, by a pool of the same model that does it for others only.
        others = [of for of in pools[index + 1 :] if of["model"] == each["model"] and "prefill_in" not in of]
        if others and chance(0.3):
            each["prefill_in"] = {"pool": others[0]["name"]}
    served = sorted({each["model"] for each in pools})
    names = [name for name in MODELS if model(name) in served]
    providers = [
        {
            "name": f"o{index}",
            "model": one_of(served),
            "site": site(),
            "price": {"input": "$1/Mtok", "output": "$4/Mtok"},
            "ttft": "50ms",
            "tokens_per_second": "100/s",
            **({"limits": {"requests_per_minute": 600}} if chance(0.5) else {}),
        }
        for index in range(rng.integers(0, 3))
    ]
    classes = []
    for index in range(rng.integers(1, 5)):
        said = {} if chance(ANYWHERE) else {"residency": sorted({one_of(ZONES), one_of(ZONES)})}
        if chance(0.3):
            said["retry"] = {"attempts": 2, "back_off": 0.01}
        if len(names) > 1 and chance(0.4):
            said |= {"models": tuple(names), "answers": {"difficulty": 0.6, "start": "first", "check": 0.01}}
        each = work(f"c{index}", rate=40.0, prompt=20, output=5, **{"models": (one_of(names),), **said})
        classes.append(each | ({"arrivals": {"process": "tasks"}} if chance(0.5) else {}))
    called = [each["name"] for each in classes if each["arrivals"]["process"] == "tasks"]
    tasks = []
    if called:
        branch = [{"call": one_of(called)}]
        steps = [*({"call": name} for name in called), {"fan_out": {"width": 2, "join": 1, "steps": branch}}]
        tasks = [{"name": "t", "arrivals": {"process": "poisson", "rate": 20.0}, "steps": steps}]
    return scenario(
        pools,
        classes,
        horizon=0.3,
        seed=seed,
        tasks=tasks,
        providers=providers,
        recording={"series_interval": "1min"},
        routing={"placement": one_of(PLACEMENTS), "snapshot_age": one_of([0.0, 0.05])},
    )


def abroad(described, requests):
    """Return how many requests had to stay in a zone, and those that left it, told from the requests table alone."""
    stands = {each.name: SITES[each.site] for each in (*described.pools, *described.providers)}
    bound = {each.name: each.residency for each in described.workload if each.residency is not None}
    rows = requests.loc[
        requests["class"].isin(list(bound)), ["request_id", "class", "pool", "prefill_pool", "provider"]
    ]
    left = [
        number
        for number, name, *places in rows.itertuples(index=False)
        if any(isinstance(place, str) and stands[place] not in bound[name] for place in places)
    ]
    return len(rows), left


def check(seeds):
    """Play scenarios; return how many requests were bound to a zone, were completed, and had nobody in their zone."""
    counts = np.zeros(3, np.int64)
    for seed in seeds:
        described = drawn(seed)
        played = run(described)
        if "requests" not in played.tables:
            continue
        requests = played.requests
        bound, left = abroad(described, requests)
        assert not left, f"seed {seed}"
        found = check_constraints(played.plan, requests, played.decisions, played.result.end.at_s)
        assert next(each.state for each in found if each.name == "outside_residency") == "proven", f"seed {seed}"
        broken = [each for each in found if each.state == "broken"]
        assert not broken, f"seed {seed}: {broken}"
        counts += bound, requests["outcome"].eq("completed").sum(), requests["reason"].eq("outside_residency").sum()
    return counts


def test_the_zones_are_those_of_the_sites():
    assert {name: load_site(name, "site").zone for name in SITES} == SITES


def test_a_request_that_left_its_zone_would_be_found():
    home, away = pool("home", site="eu-frankfurt"), pool("away", site="us-east-virginia")
    described = scenario([home, away], [work(residency=["eu"])], horizon=0.3)
    requests = run(described).requests.astype({"pool": str})
    assert abroad(described, requests) == (len(requests), [])
    requests.loc[3, "pool"] = "away"
    assert abroad(described, requests)[1] == [requests["request_id"][3]]


@pytest.mark.parametrize("first", [0, 100, 200])
def test_no_request_leaves_its_zone(first):
    seeds = range(first, first + (100 if JIT_ENABLED else 3))
    bound, served, refused = check(seeds)
    # There was something to break: many were bound, many served, and many had nobody in their zone.
    assert not JIT_ENABLED or min(bound, served, refused) > 500


@pytest.mark.long
def test_no_request_leaves_its_zone_in_ten_thousand_fleets():
    check(range(1000, 11_000))
