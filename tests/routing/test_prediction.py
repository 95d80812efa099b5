"""What a router predicts from counts alone."""

from __future__ import annotations

import pytest
from facing import MIXED, candidates, replica_of, request
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inferencesim.routing.prediction import Prediction, own_prefill, predict, predict_energy_j

COUNTS = st.fixed_dictionaries(
    {
        "waiting": st.integers(0, 50),
        "running": st.integers(0, 256),
        "waiting_tokens": st.integers(0, 100_000),
        "context_tokens": st.integers(0, 400_000),
    }
)


def predicted(load=None, prompt=1000, output=200.0, deployment=None, **traits) -> Prediction:
    built = deployment or replica_of("nvidia-h100-sxm")
    return predict(request(prompt=prompt, output=output), candidates([load or {}], [built], **traits), 0)


@pytest.mark.parametrize("prompt", [1, 10, 500, 3000, 8192, 20_000, 100_000])
@pytest.mark.parametrize(
    "deployment",
    [
        *((name, "llama-3.1-8b", "bf16", 1) for name in MIXED),
        ("nvidia-h100-sxm", "llama-3.1-70b", "bf16", 4),
        ("nvidia-h200-sxm", "gpt-oss-120b", "fp8", 2),
    ],
    ids=lambda given: f"{given[1]} on {given[0]}",
)
def test_the_first_token_of_an_idle_replica_comes_after_its_prefill(deployment, prompt):
    built = replica_of(*deployment)
    if prompt + 1 <= built.context_limit:
        alone = built.coefficients.engine_request_s + built.prefill_s(prompt)
        assert predicted(prompt=prompt, deployment=built).ttft_s == pytest.approx(alone, rel=0.05)


@settings(max_examples=100, deadline=None)
@given(COUNTS, st.integers(1, 50_000), st.integers(1, 50_000), st.sampled_from(MIXED))
# One more running takes the last seat; those whose prompts are still ahead do not read less for it.
@example({"waiting": 0, "running": 255, "waiting_tokens": 371, "context_tokens": 26629}, 7565, 1, "nvidia-l4")
def test_a_longer_prompt_and_a_longer_queue_are_never_predicted_sooner(load, prompt, more, hardware):
    built = replica_of(hardware)
    base = predicted(load, prompt, deployment=built).ttft_s
    assert predicted(load, prompt + more, deployment=built).ttft_s >= base * (1 - 1e-9)
    for field, step in (("waiting", 1), ("waiting_tokens", more), ("running", 1), ("context_tokens", more)):
        longer = predicted(load | {field: load[field] + step}, prompt, deployment=built).ttft_s
        assert longer >= base * (1 - 1e-9), field


def test_a_short_prompt_behind_a_queue_waits_for_its_tokens_not_for_as_many_steps():
    built = replica_of("nvidia-h100-sxm")
    waited = predicted({"waiting": 1, "waiting_tokens": 2000}, prompt=10).ttft_s
    request_s = built.coefficients.engine_request_s
    assert request_s > 0
    assert waited - request_s == pytest.approx(built.prefill_s(2010), rel=0.1)


def test_tokens_in_front_take_the_time_of_their_prefill():
    built = replica_of("nvidia-h100-sxm")
    waited = predicted({"waiting": 10, "waiting_tokens": 80_000}, prompt=1000).ttft_s
    # Ten prompts of 8000 tokens; one look-back is the request's own, theirs is longer.
    assert waited == pytest.approx(10 * built.prefill_s(8000) + built.prefill_s(1000), rel=0.25)


def test_a_larger_batch_slows_each_token_and_shares_the_price():
    alone, crowded = predicted(), predicted({"running": 128, "context_tokens": 128 * 1000})
    assert crowded.tpot_s > 1.2 * alone.tpot_s
    assert crowded.cost_usd < alone.cost_usd / 3


def test_the_cost_is_of_this_request():
    assert predicted(output=400.0).cost_usd > 1.5 * predicted(output=200.0).cost_usd
    assert predicted(prompt=8000).cost_usd > predicted(prompt=1000).cost_usd
    assert predicted(usd_per_s=[2.0]).cost_usd == pytest.approx(2 * predicted(usd_per_s=[1.0]).cost_usd)


def test_the_energy_is_what_the_chips_draw_for_this_request():
    built = replica_of("nvidia-h100-sxm")

    def energy_j(load=None, prompt=1000, output=200.0):
        asked, seen = request(prompt=prompt, output=output), candidates([load or {}], [built])
        return predict_energy_j(asked, seen, 0, own_prefill(asked, seen, 0))

    for sequences, load in ((1, {}), (128, {"running": 127, "context_tokens": 127 * 1100})):
        # Nobody else pays for the decode steps of a lone request; in a batch each pays its part.
        decoding_j = sequences * (energy_j(load) - energy_j(load, output=1e-9))
        busy_s = 200 * built.decode_s(sequences, 1100)
        assert built.idle_w * busy_s < decoding_j < built.peak_w * busy_s
    prefill_j, busy_s = energy_j(output=1e-9), built.prefill_s(1000)
    assert built.idle_w * busy_s < prefill_j < built.peak_w * busy_s
    assert energy_j(prompt=8000, output=1e-9) > 5 * prefill_j


def test_full_seats_and_a_full_cache_make_it_wait():
    seats = 256
    free = predicted({"running": seats - 1, "context_tokens": 100_000}).ttft_s
    taken = predicted({"running": seats, "context_tokens": 100_000}).ttft_s
    assert taken > free + 0.5 * 200 * predicted({"running": seats}).tpot_s / seats
    small = predicted({"running": 20, "context_tokens": 30_000}, kv_tokens=[30_500]).ttft_s
    roomy = predicted({"running": 20, "context_tokens": 30_000}, kv_tokens=[60_000]).ttft_s
    assert small > roomy


def test_a_pool_is_predicted_by_its_average_replica():
    one = predicted({"running": 10, "waiting": 2, "waiting_tokens": 3000, "context_tokens": 9000})
    pool = predicted({"running": 40, "waiting": 8, "waiting_tokens": 12_000, "context_tokens": 36_000}, replicas=[4])
    assert pool == pytest.approx(one)


def test_drafts_shorten_the_tokens_of_a_small_batch_more_than_those_of_a_large_one():
    plain, drafting = replica_of("nvidia-h100-sxm"), replica_of("nvidia-h100-sxm", drafts=4)

    def gain(load):
        with_drafts, without = (predicted(load, prompt=100, deployment=each) for each in (drafting, plain))
        return without.tpot_s / with_drafts.tpot_s

    assert gain({}) > 2.0 > 1.2 > gain({"running": 250, "context_tokens": 25_000})
    # It is the time of a token, not of a step: no less than a step alone by the tokens it makes.
    alone = predicted(prompt=100, deployment=drafting)
    assert alone.tpot_s > drafting.decode_s(1, 100) / drafting.expected_tokens_per_step()
