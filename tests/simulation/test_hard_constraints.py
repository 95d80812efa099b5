"""A hard constraint is never broken: nothing runs where a filter rejected it, nothing is rejected without cause."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.small import model, pool, run, scenario, work

SITES = {"us": "us-east-virginia", "eu": "eu-frankfurt"}
ORDER = ("fp4", "int4", "fp8", "int8", "bf16")


@st.composite
def fleets(draw):
    """Draw pools and providers that differ in model, precision, site and room, and classes with constraints."""
    pools = []
    for index in range(draw(st.integers(1, 3))):
        said = {
            "precision": {"weights": draw(st.sampled_from(["bf16", "fp8", "fp4"])), "activations": "bf16"},
            "site": SITES[draw(st.sampled_from(["us", "eu"]))],
            "serves": draw(st.sampled_from(["small-model", "windowed-model"])),
        }
        if draw(st.booleans()):
            said["queue_limit"] = draw(st.integers(1, 3))
        pools.append(pool(f"p{index}", kv_blocks=draw(st.sampled_from([4, 30])), **said))
    served = sorted({each["model"].rsplit("/", 1)[-1].removesuffix(".yaml") for each in pools})
    providers = []
    for index in range(draw(st.integers(0, 2))):
        said = {"limits": {"requests_per_minute": draw(st.sampled_from([6, 600]))}} if draw(st.booleans()) else {}
        if draw(st.booleans()):
            said["precision"] = draw(st.sampled_from(["bf16", "fp8", "fp4"]))
        if draw(st.booleans()):
            said["context_limit"] = 100
        providers.append(
            {
                "name": f"o{index}",
                "model": model(draw(st.sampled_from(served))),
                "site": SITES[draw(st.sampled_from(["us", "eu"]))],
                "price": {"input": "$1/Mtok", "output": "$4/Mtok"},
                **said,
            }
        )
    classes = []
    for index in range(draw(st.integers(1, 3))):
        said = {"models": tuple(draw(st.sets(st.sampled_from(served), min_size=1)))}
        if draw(st.booleans()):
            said["precision"] = draw(st.sampled_from(["bf16", "fp8", "fp4"]))
        if draw(st.booleans()):
            said["residency"] = [draw(st.sampled_from(["us", "eu"]))]
        if draw(st.booleans()):
            said["providers"] = "refused"
        lengths = {"distribution": "uniform", "low": 5, "high": 120}
        classes.append(work(f"c{index}", rate=200.0, prompt=lengths, **said))
    placement = draw(st.sampled_from(["random", "least_outstanding", "premium_first", "cheapest_feasible"]))
    return scenario(pools, classes, providers=providers, horizon=0.3, routing={"placement": placement})


@settings(max_examples=20)
@given(fleets())
def test_no_request_runs_where_a_filter_rejected_it(described):
    played = run(described)
    requests, decisions = played.requests, played.decisions
    assert len(requests) == len(decisions)
    if len(requests) == 0:
        return
    joined = requests.merge(decisions, on="request_id", suffixes=("", "_decided"))
    plans = {each.name: each for each in played.plan.pools}
    outside = {each.name: each for each in played.plan.providers}
    classes = {each.name: each for each in described.workload}
    for row in joined.itertuples():
        verdicts = {name: getattr(row, f"verdict_{name}") for name in (*plans, *outside)}
        each = classes[row[joined.columns.get_loc("class") + 1]]
        for name, plan in plans.items():
            assert (verdicts[name] == "model_not_served") == (plan.deployment.model.id not in each.models)
            if verdicts[name] != "eligible":
                continue
            weights = plan.deployment.precision.weights
            assert each.precision is None or ORDER.index(weights) >= ORDER.index(each.precision)
            assert each.residency is None or plan.site.zone in each.residency
            total = row.prompt_tokens + row.output_tokens
            assert total <= plan.deployment.model.max_context
            assert total - 1 <= plan.deployment.memory.kv_tokens
        for name, plan in outside.items():
            assert (verdicts[name] == "model_not_served") == (plan.model.id not in each.models)
            if verdicts[name] != "eligible":
                continue
            assert each.providers == "allowed"
            known = plan.spec.precision
            assert each.precision is None or (known and ORDER.index(known) >= ORDER.index(each.precision))
            assert each.residency is None or plan.site.zone in each.residency
            assert row.prompt_tokens + row.output_tokens <= plan.context_limit
        if row.outcome == "rejected":
            assert "eligible" not in verdicts.values()
            assert row.reason in verdicts.values()
        else:
            assert [isinstance(row.pool, str), isinstance(row.provider, str)].count(True) == 1
            assert verdicts[row.pool if isinstance(row.pool, str) else row.provider] == "eligible"


def test_scores_of_rejected_pools_decide_nothing():
    fast = pool("fast", hardware="fast-chip", site=SITES["eu"])
    slow = pool("slow", site=SITES["us"])
    described = scenario([fast, slow], [work(residency=["us"])], horizon=0.5, routing={"placement": "premium_first"})
    played = run(described)
    assert set(played.requests["pool"]) == {"slow"}
    assert set(played.decisions["verdict_fast"]) == {"outside_residency"}
    assert np.isfinite(played.decisions["score_slow"]).all()


def test_a_prompt_is_not_read_where_its_request_may_not_run():
    abroad = pool("abroad", site=SITES["us"])
    near = pool("near", site=SITES["eu"], prefill_in={"pool": "abroad"})
    described = scenario([near, abroad], [work("kept", residency=["eu"]), work("free")], horizon=0.5)
    played = run(described)
    decided = played.decisions.set_index("class")["verdict_near"]
    assert set(decided["kept"]) == {"outside_residency"}
    assert set(decided["free"]) == {"eligible"}
    prefilled = played.requests[played.requests["prefill_pool"] == "abroad"]
    assert set(prefilled["class"]) == {"free"}
