"""The compiled kernel does, request by request, what the naive twin does."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from oracle.compare import assert_same, run_both
from oracle.small import DATA, closed, pool, scenario, work

PLACEMENTS = ("round_robin", "least_outstanding", "least_normalised_load", "least_tokens")
MEASURED = {"table": str(DATA / "small-table.yaml")}
BALANCINGS = ("round_robin", "least_outstanding", "join_shortest_queue", "least_tokens")


def lengths(most):
    """Fixed and mixed lengths from one token on."""
    return st.one_of(
        st.integers(1, most),
        st.integers(1, most).map(lambda high: {"distribution": "uniform", "low": 1, "high": high}),
    )


@st.composite
def parallelisms(draw, serves):
    tensor = draw(st.sampled_from([1, 1, 2, 4]))
    ranks = draw(st.sampled_from([n for n in (1, 2, 4) if tensor % n == 0]))
    groups = draw(st.sampled_from([n for n in (1, 2, 4) if tensor % n == 0])) if serves == "expert-model" else 1
    return {"tensor": tensor, "pipeline": draw(st.sampled_from([1, 1, 2])), "attention_data": ranks, "expert": groups}


def precisions(serves):
    weights = st.sampled_from(["bf16", "int4"]) if serves == "expert-model" else st.none()
    return st.fixed_dictionaries({"kv": st.sampled_from(["bf16", "fp8"]), "expert_weights": weights})


@st.composite
def pools(draw, index):
    said: dict[str, object] = {}
    seats = draw(st.integers(1, 12))
    block = draw(st.sampled_from([1, 3, 8, 16]))
    hardware = draw(st.sampled_from(["small-chip", "fast-chip"]))
    serves = draw(st.sampled_from(["small-model", "windowed-model", "expert-model"]))
    if (hardware, serves) == ("small-chip", "small-model") and draw(st.booleans()):
        said["latency"] = MEASURED
    else:
        said["parallelism"] = draw(parallelisms(serves))
        said["precision"] = draw(precisions(serves))
    return pool(
        f"p{index}",
        hardware=hardware,
        serves=serves,
        replicas=draw(st.integers(1, 3)),
        engine=draw(st.sampled_from(["generic", "vllm", "sglang"])),
        kv_blocks=draw(st.integers(60, 400)) // block + 1,
        queue_limit=draw(st.one_of(st.none(), st.none(), st.integers(1, 6))),
        batching={
            "max_sequences": seats,
            "token_budget": seats + draw(st.integers(0, 60)),
            "block_size": block,
            "kv": draw(st.sampled_from(["on_demand", "on_demand", "reserve"])),
            # None: the engine's own order, which is to prefill first with sglang.
            "policy": draw(st.sampled_from([None, None, "prefill_first", "chunked_prefill"])),
            "admission_interval": draw(st.sampled_from([1, 1, 3, 7])),
        },
        **said,
    )


@st.composite
def classes(draw, index, served):
    said = {}
    if draw(st.booleans()):
        said["timeout"] = draw(st.sampled_from([0.0131, 0.0977, 0.371]))
    if draw(st.booleans()):
        after = {"distribution": "uniform", "low": 0.0, "high": draw(st.sampled_from([0.05, 0.5, 3.0]))}
        said["cancellation"] = {"share": draw(st.sampled_from([0.2, 0.9])), "after": after}
    models = draw(st.lists(st.sampled_from(served), min_size=1, unique=True))
    each = work(
        f"c{index}",
        rate=draw(st.sampled_from([5.0, 30.0, 100.0])),
        prompt=draw(lengths(120)),
        output=draw(lengths(60)),
        models=models,
        **said,
    )
    return each | {"arrivals": draw(loops())} if draw(st.booleans()) else each


@st.composite
def loops(draw):
    # No two clients think equally long: equal replicas would serve them at one instant but for rounding.
    return closed(
        draw(st.integers(1, 12)),
        {"distribution": "uniform", "low": 0.0, "high": draw(st.sampled_from([0.001, 0.02, 0.3]))},
        back_off=draw(st.sampled_from([0.0113, 1.0])),
        requests=draw(st.one_of(st.none(), st.none(), st.integers(1, 50))),
    )


@st.composite
def scenarios(draw, horizon):
    fleet = [draw(pools(index)) for index in range(draw(st.integers(1, 3)))]
    served = sorted({each["model"].split("/")[-1].removesuffix(".yaml") for each in fleet})
    return scenario(
        fleet,
        [draw(classes(index, served)) for index in range(draw(st.integers(1, 3)))],
        horizon=horizon,
        seed=draw(st.integers(0, 2**31)),
        drain=draw(st.sampled_from([0.0, 0.2, 600.0, 600.0, 600.0])),
        routing={
            "placement": draw(st.sampled_from(PLACEMENTS)),
            "balancing": draw(st.sampled_from(BALANCINGS)),
            "snapshot_age": draw(st.sampled_from([0.0, 0.0, 0.0173, 0.23])),
        },
        # Fewer returns to SimPy: each costs more than the kernel's whole work on these scenarios.
        recording={"series_interval": horizon},
    )


@given(described=scenarios(horizon=0.3))
# Shrinking may take minutes: the long run below does it.
@settings(max_examples=30, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_every_request_meets_the_same_fate(described):
    assert_same(*run_both(described))


@pytest.mark.long
@given(described=scenarios(horizon=1.0))
@settings(max_examples=300)
def test_every_request_meets_the_same_fate_in_many_longer_runs(described):
    assert_same(*run_both(described))


CROWDED = {
    "on_demand": pool(replicas=2, kv_blocks=24, batching={"max_sequences": 8, "token_budget": 40, "block_size": 8}),
    "reserve": pool(kv_blocks=24, batching={"max_sequences": 8, "token_budget": 40, "block_size": 8, "kv": "reserve"}),
    "measured": pool(
        kv_blocks=24, batching={"max_sequences": 8, "token_budget": 40, "block_size": 8}, latency=MEASURED
    ),
    "windowed": pool(
        serves="windowed-model", kv_blocks=40, batching={"max_sequences": 20, "token_budget": 64, "block_size": 5}
    ),
}


def crowded(kind, **said):
    one = CROWDED[kind]
    served = one["model"].split("/")[-1].removesuffix(".yaml")
    load = work(
        rate=400.0,
        prompt={"distribution": "uniform", "low": 1, "high": 100},
        output={"distribution": "uniform", "low": 1, "high": 80},
        models=[served],
        **said,
    )
    return scenario([one], [load], horizon=1.0, recording={"series_interval": 1.0})


@pytest.mark.parametrize("kind", CROWDED)
def test_the_twin_agrees_when_kv_is_short(kind):
    real, twin = run_both(crowded(kind))
    assert_same(real, twin)
    preempted = real.requests["preemptions"].sum()
    # On demand the cache overflows, and newest go back to the queue; reserved, it cannot.
    assert preempted == 0 if kind == "reserve" else preempted > 20


def test_the_twin_agrees_on_clients_that_are_rejected_give_up_and_cancel():
    """Closed and open classes at once; a client that is gone at the instant it asked backs off."""
    mixed = {"distribution": "uniform", "low": 1, "high": 20}
    gone = {"share": 0.3, "after": {"distribution": "uniform", "low": 0.0, "high": 0.2}}
    at_once = {"share": 0.5, "after": 0.0}
    one = {"max_sequences": 3, "token_budget": 40, "block_size": 8}
    described = scenario(
        [pool(queue_limit=5, kv_blocks=30, batching=one)],
        [
            work("open", 20.0, mixed, mixed),
            work("eager", prompt=mixed, output=mixed, cancellation=gone) | {"arrivals": closed(5, back_off=0.0107)},
            work("hasty", prompt=mixed, output=mixed, cancellation=at_once) | {"arrivals": closed(2, back_off=0.0507)},
            work("slow", prompt=mixed, output=mixed, timeout=0.0207)
            | {"arrivals": closed(7, {"distribution": "uniform", "low": 0.0, "high": 0.05}, requests=50)},
        ],
        horizon=2.0,
        recording={"series_interval": 2.0},
    )
    real, twin = run_both(described)
    assert_same(real, twin)
    requests = real.requests
    assert (requests["class"] == "slow").sum() == 50
    for outcome in ("completed", "rejected", "timed_out"):
        assert ((requests["class"] == "slow") & (requests["outcome"] == outcome)).sum() > 10, outcome
    assert ((requests["class"] == "eager") & (requests["outcome"] == "cancelled")).sum() > 10
    hasty = requests[(requests["class"] == "hasty") & (requests["finished_s"] == requests["arrived_s"])]
    assert (hasty["outcome"] == "cancelled").sum() > 5


def test_the_twin_agrees_when_all_clients_ask_at_the_same_instants():
    """Fixed lengths and no thought: all ties are broken by number."""
    described = scenario(
        [pool(batching={"max_sequences": 4, "token_budget": 100})],
        [work("a", prompt=20, output=9) | {"arrivals": closed(5)}, work("b", output=9) | {"arrivals": closed(3)}],
        horizon=1.0,
        recording={"series_interval": 1.0},
    )
    real, twin = run_both(described)
    assert_same(real, twin)
    assert real.requests["arrived_s"].duplicated().sum() > 50


def test_the_twin_agrees_on_every_way_to_leave():
    said = {
        "timeout": 0.5,
        "cancellation": {"share": 0.3, "after": {"distribution": "uniform", "low": 0.0, "high": 2.0}},
    }
    described = crowded("on_demand", **said)
    tree = described.model_dump(by_alias=True)
    tree["pools"][0]["queue_limit"] = 150
    real, twin = run_both(type(described).model_validate(tree))
    assert_same(real, twin)
    counts = real.requests["outcome"].value_counts()
    for outcome in ("completed", "rejected", "timed_out", "cancelled"):
        assert counts[outcome] > 5, outcome
