"""Hypothesis strategies: fleets in which all that an engine can do comes together."""

from __future__ import annotations

from hypothesis import strategies as st
from pydantic import TypeAdapter

from inferencesim.scenario.failures import Failure
from oracle.small import closed, model, pool, scenario, work

POLICIES = ("chunked_prefill", "continuous", "prefill_first", "decode_first", "static", "dynamic")
PARAMETERS = {"decode_first": {"refill": 0.5}, "dynamic": {"size": 3, "timeout": 0.0137}}
ORDERS = ("fcfs", "priority", "sjf", "edf", "vtc")
#: Watts of a replica at rest, and what one adds at its peak: of both chips.
AT_REST_W, AT_WORK_W = 280.0, 520.0
LINK = {"bandwidth": "1 GB/s", "latency": "30us"}


@st.composite
def choices(draw, names):
    name = draw(st.sampled_from(names))
    return {"policy": name, "parameters": PARAMETERS[name] if name in PARAMETERS and draw(st.booleans()) else {}}


@st.composite
def tiers(draw, reserves):
    """One or two tiers; writes take time only where the twin and the kernel book them at the same instants.

    The kernel evicts for the growth of a whole run of decode steps at its end.
    """
    bandwidth = draw(st.sampled_from(["20 MB/s", "1 GB/s"])) if reserves else "1000000 TB/s"
    capacities = [draw(st.integers(1, 30)), draw(st.integers(1, 60))][: draw(st.integers(1, 2))]
    return [
        {"name": f"t{i}", "capacity": capacity * 20_000, "bandwidth": bandwidth, "latency": "50us"}
        for i, capacity in enumerate(capacities)
    ]


@st.composite
def engines(draw, name, block, *, helper=None, serves="small-model", **said):
    seats = draw(st.integers(1, 8))
    drafts = draw(st.sampled_from([0, 0, 1, 3])) if helper is None else 0
    kv = draw(st.sampled_from(["on_demand", "on_demand", "reserve"]))
    batching = {
        "max_sequences": seats,
        "token_budget": seats * (1 + drafts) + draw(st.integers(0, 60)),
        "block_size": block,
        "kv": kv,
        "policy": draw(choices(POLICIES)),
        # With drafts counters are fractions, and rounding would decide between equals.
        "order": draw(choices(ORDERS[:-1] if drafts else ORDERS)),
        "starvation_after": draw(st.sampled_from([None, 0.0213, 0.2])),
        "admission_interval": draw(st.sampled_from([1, 1, 3])),
    }
    if draw(st.booleans()):
        said["kv_tiers"] = draw(tiers(kv == "reserve"))
        batching["preemption"] = draw(st.sampled_from(["recompute", "swap"]))
    if drafts:
        said["speculation"] = {"drafts": drafts, "acceptance": 0.7, "draft": {"layers": draw(st.integers(0, 1))}}
    elif helper is None and serves == "small-model" and draw(st.booleans()):
        said["also_serves"] = [model("windowed-model")]
    if helper is not None:
        said["prefill_in"] = {"pool": helper, "above": draw(st.sampled_from([0, 20]))}
    made = pool(
        name,
        hardware=draw(st.sampled_from(["small-chip", "fast-chip"])),
        serves=serves,
        replicas=draw(st.integers(1, 2)),
        engine=draw(st.sampled_from(["generic", "vllm"])),
        batching=batching,
        prefix_cache=draw(st.booleans()),
        kv_link=LINK,
        queue_limit=draw(st.sampled_from([None, None, 4])),
        **said,
    )
    return made | {"kv_blocks": draw(st.integers(60, 300)) // block + 1}


@st.composite
def limits_on_power(draw, fleet):
    """None, or one or two that let some replicas work at a time."""
    limits = []
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        covered = draw(st.lists(st.sampled_from(fleet), min_size=1, unique_by=lambda pool: pool["name"]))
        replicas = sum(pool["replicas"] for pool in covered)
        at_work = draw(st.integers(1, replicas))
        names = [pool["name"] for pool in covered]
        limits.append({"limit": AT_REST_W * replicas + AT_WORK_W * at_work, "pools": names})
    return limits


@st.composite
def lengths(draw, most):
    return {"distribution": "uniform", "low": 1, "high": draw(st.integers(2, most))}


@st.composite
def kinds_of_work(draw, index, served):
    said = {
        "models": [draw(st.sampled_from(served))],
        "priority": draw(st.integers(0, 2)),
        "kv_after": draw(st.sampled_from(["lru", "keep", "drop"])),
        "tags": {"tenant": draw(st.sampled_from(["x", "y", None]))},
        "acceptance": draw(st.sampled_from([None, 0.3, 1.0])),
        "promise": draw(st.sampled_from([{}, {"ttft": 0.1}, {"e2e": 0.7}])),
        "origin": draw(st.sampled_from([None, "us-east-ohio", "ap-tokyo"])),
    }
    if draw(st.booleans()):
        said["length_prediction"] = {"sigma": draw(st.sampled_from([0.0, 0.7]))}
    if draw(st.booleans()):
        said["shared_prefix"] = {"tokens": draw(st.integers(1, 50)), "variants": draw(st.integers(1, 3))}
    if draw(st.booleans()):
        said["timeout"] = draw(st.sampled_from([0.0131, 0.0977, 0.371]))
    if draw(st.booleans()):
        after = {"distribution": "uniform", "low": 0.0, "high": draw(st.sampled_from([0.05, 0.5]))}
        said["cancellation"] = {"share": draw(st.sampled_from([0.2, 0.9])), "after": after}
    rate = draw(st.sampled_from([20.0, 100.0]))
    made = work(f"c{index}", rate, draw(lengths(80)), draw(lengths(50)), **said)
    if draw(st.booleans()):
        pause = {"distribution": "uniform", "low": 0.0, "high": draw(st.sampled_from([0.001, 0.05]))}
        made["arrivals"] = closed(draw(st.integers(1, 8)), pause, back_off=0.0113)
        if draw(st.booleans()):
            made["conversation"] = {"turns": draw(st.integers(1, 5)), "max_context": 120}
    return made


@st.composite
def everything(draw, horizon):
    """Up to two pools, one of which may have its prompts prefilled by a third, under up to three classes."""
    block = draw(st.sampled_from([1, 4, 8, 16]))
    helper = "helper" if draw(st.booleans()) else None
    fleet = [draw(engines("first", block, helper=helper))]
    served = ["small-model"]
    if helper:
        fleet.append(draw(engines(helper, block, helper=None).filter(_only_prefills)))
    if draw(st.booleans()):
        fleet.append(draw(engines("second", draw(st.sampled_from([3, 16])), serves="windowed-model")))
        served.append("windowed-model")
    elif "also_serves" in fleet[0]:
        served.append("windowed-model")
    return scenario(
        fleet,
        [draw(kinds_of_work(index, served)) for index in range(draw(st.integers(1, 3)))],
        horizon=horizon,
        seed=draw(st.integers(0, 2**31)),
        drain=draw(st.sampled_from([0.0, 600.0, 600.0])),
        routing={
            "placement": draw(st.sampled_from(["least_outstanding", "round_robin"])),
            "balancing": draw(st.sampled_from(["least_tokens", "join_shortest_queue"])),
            "snapshot_age": draw(st.sampled_from([0.0, 0.0, 0.0173])),
        },
        recording={"series_interval": horizon},
        power=[] if helper else draw(limits_on_power(fleet)),
    )


def _only_prefills(pool):
    return "speculation" not in pool and "also_serves" not in pool


@st.composite
def failures(draw, pools):
    """Whatever may break in a short run."""
    name = st.sampled_from(pools)
    crashes = st.builds(
        lambda pool, mtbf: {"replica": pool, "mtbf": mtbf, "mttr": 0.03}, name, st.sampled_from([0.05, 0.2])
    )
    outages = st.builds(lambda pool, at: {"pool": pool, "at": at, "for": 0.05}, name, st.sampled_from([0.05, 0.1371]))
    slow = st.builds(lambda pool: {"slow": pool, "factor": 2.5, "share": 0.5, "at": 0.04, "for": 0.1}, name)
    return draw(st.lists(st.one_of(crashes, outages, slow), min_size=1, max_size=4))


@st.composite
def breaking(draw, horizon):
    """Everything, tiers that outlive a crash among it, and what breaks."""
    described = draw(everything(horizon))
    survives = draw(st.booleans())
    pools = [
        each.model_copy(
            update={"kv_tiers": tuple(tier.model_copy(update={"survives": survives}) for tier in each.kv_tiers)}
        )
        for each in described.pools
    ]
    broken = TypeAdapter(list[Failure]).validate_python(draw(failures([pool.name for pool in pools])))
    return described.model_copy(update={"pools": pools, "failures": broken})
