"""What holds for every registered batching policy and queue order, whoever wrote it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.small import pool, run, scenario, work

import inferencesim.batching.formers
import inferencesim.batching.orders  # noqa: F401 - both file the built-in ones
from inferencesim.batching.policy import FORMERS, ORDERS, bind_former, bind_order
from inferencesim.errors import InputError
from inferencesim.kernel.forming import Batch, Queued


@st.composite
def batches(draw):
    """Draw a replica as the kernel may show it: decodes fit the budget, and who runs has a seat."""
    seats = draw(st.integers(1, 300))
    per_decode = draw(st.integers(1, 5))
    budget = draw(st.integers(seats, 10_000))
    decoding = draw(st.integers(0, seats))
    prefilling = draw(st.integers(0, seats - decoding))
    loading = draw(st.integers(0, seats - decoding - prefilling))
    running = decoding + prefilling + loading
    waiting = draw(st.integers(0, 500))
    blocks = draw(st.integers(1, 1000))
    return Batch(
        now_s=draw(st.floats(0.0, 1e6)),
        seats=seats,
        token_budget=budget,
        running=running,
        decoding=decoding,
        tokens_per_decode=per_decode,
        prefilling=prefilling,
        waiting=waiting,
        next_tokens=draw(st.integers(1, 100_000)) if waiting else 0,
        next_waits_s=draw(st.floats(0.0, 1e3)) if waiting else 0.0,
        free_blocks=draw(st.integers(0, blocks)),
        kv_blocks=blocks,
    )


MOMENTS = st.floats(0.0, 1e6)
REQUESTS = st.builds(
    Queued,
    queued_s=MOMENTS,
    arrived_s=MOMENTS,
    deadline_s=st.one_of(MOMENTS, st.just(math.inf)),
    class_index=st.integers(0, 100),
    tenant=st.integers(0, 100),
    priority=st.integers(-1000, 1000),
    prompt_tokens=st.integers(1, 1_000_000),
    predicted_output_tokens=st.floats(0.0, 1e6),
    preemptions=st.integers(0, 50),
)


@pytest.fixture(params=FORMERS.names(), scope="module")
def former(request):
    return request.param


@pytest.fixture(params=ORDERS.names(), scope="module")
def order(request):
    return request.param


def test_the_field_s_policies_and_orders_are_there():
    assert set(FORMERS.names()) >= {
        "static",
        "dynamic",
        "continuous",
        "chunked_prefill",
        "prefill_first",
        "decode_first",
    }
    assert set(ORDERS.names()) >= {"fcfs", "priority", "sjf", "edf", "vtc"}


@pytest.mark.parametrize(
    "entry", [*map(FORMERS.get, FORMERS.names(), FORMERS.names()), *map(ORDERS.get, ORDERS.names(), ORDERS.names())]
)
def test_it_says_what_it_does(entry):
    assert entry.rule
    assert entry.choose.__doc__
    assert not entry.oracle


def test_no_policy_is_told_an_output_length():
    assert [field for field in Queued._fields if "output" in field] == ["predicted_output_tokens"]
    assert not [field for field in Batch._fields if "output" in field]


@settings(max_examples=100)
@given(batch=batches())
def test_a_formation_is_within_bounds_and_stalls_nobody(former, batch):
    bound = bind_former(former, {}, "here")
    formation = bound.choose(batch, bound.parameters)
    assert formation == FORMERS.get(former, "here").choose(batch, bound.parameters)
    assert 0 <= formation.prefill_tokens <= batch.token_budget
    assert 0 <= formation.admit <= batch.seats
    assert formation.wake_s > batch.now_s
    if batch.decoding == 0 and batch.prefilling > 0:
        # Nothing but its prefill can move them.
        assert formation.prefill_tokens > 0
    if batch.running == 0 and batch.waiting > 0:
        starts = formation.admit > 0 and formation.prefill_tokens > 0
        assert starts or formation.wake_s < math.inf


@settings(max_examples=100)
@given(request=REQUESTS)
def test_a_rank_is_a_number(order, request):
    bound = bind_order(order, {}, "here")
    rank = bound.choose(request, bound.parameters)
    assert not math.isnan(rank)
    assert rank == ORDERS.get(order, "here").choose(request, bound.parameters)


def everything_ends(policy, order, kv_blocks=9, **batching):
    """Play a load that preempts and is cancelled, on a small KV cache, until all is done."""
    batching = {
        "policy": policy,
        "order": order,
        "max_sequences": 6,
        "token_budget": 24,
        "block_size": 4,
        **batching,
    }
    tiers = [{"name": "host", "capacity": "1 MB", "bandwidth": "1 GB/s"}]
    lengths = {"distribution": "uniform", "low": 1, "high": 18}
    classes = [
        work("first", rate=60.0, prompt=lengths, output=lengths, priority=1, promise={"ttft": 0.2}),
        work("second", rate=60.0, prompt=lengths, output=lengths, length_prediction={"sigma": 0.7}),
        work("hasty", rate=30.0, prompt=lengths, output=lengths, cancellation={"share": 0.5, "after": 0.05}),
    ]
    described = [pool(kv_blocks=kv_blocks, batching=batching, kv_tiers=tiers, replicas=2)]
    return run(scenario(described, classes, horizon=0.5, drain="600s"))


@pytest.mark.parametrize("kv", [{"kv": "reserve"}, {"kv": "on_demand"}, {"preemption": "swap"}])
def test_every_policy_finishes_every_request_and_gives_everything_back(former, kv):
    played = everything_ends(former, "fcfs", **kv)
    assert (played.requests["preemptions"].sum() == 0) == (kv == {"kv": "reserve"})
    _all_is_done(played)


@pytest.mark.parametrize("starvation", [{}, {"starvation_after": 0.02}])
def test_every_order_finishes_every_request_and_gives_everything_back(order, starvation):
    _all_is_done(everything_ends("chunked_prefill", order, **starvation))


def _all_is_done(played):
    requests = played.requests
    assert len(requests) > 30
    assert set(requests["outcome"]) <= {"completed", "cancelled"}
    completed = requests[requests["outcome"] == "completed"]
    assert len(completed) > 30
    assert (completed["generated_tokens"] == completed["output_tokens"]).all()
    assert set(requests.loc[requests["outcome"] == "cancelled", "class"]) <= {"hasty"}
    fleet = played.fleet
    assert fleet.clock[0]["inside"] == 0
    for column in ("waiting", "running", "waiting_tokens", "context_tokens", "kv_usage"):
        assert not fleet.live[column].any(), column
    assert not fleet.replicas["blocks_used"].any()
    assert (fleet.lanes["head"] < 0).all()


def test_a_misspelt_parameter_of_a_policy_is_named(former):
    with pytest.raises(InputError) as caught:
        bind_former(former, {"sizze": 1.0}, "pools[0].batching.policy")
    assert caught.value.where == "pools[0].batching.policy.parameters.sizze"


def test_a_misspelt_parameter_of_an_order_is_named(order):
    with pytest.raises(InputError) as caught:
        bind_order(order, {"promt_weight": 1.0}, "pools[0].batching.order")
    assert caught.value.where == "pools[0].batching.order.parameters.promt_weight"
