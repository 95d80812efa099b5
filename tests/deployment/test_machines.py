"""Machines of different kinds come out different, for physical reasons and in the published order of magnitude."""

from __future__ import annotations

import pytest
from deploying import deployed, fitting

from inferencesim.hardware.catalog import load_profile


def tokens_per_s(deployment, context: int = 1000) -> float:
    return 1.0 / deployment.decode_s(1, context)


def cerebras(wafers: int = 4):
    return deployed("cerebras-cs3", "llama-3.1-70b", pipeline=wafers, engine="compiled", batching=SMALL)


def groq():
    return deployed("groq-lpu-v1", "llama-3.1-70b", "int8", tensor=64, pipeline=9, engine="compiled", batching=SMALL)


SMALL = {"max_sequences": 32, "token_budget": 2048}


@pytest.mark.parametrize("wafers", [4, 5])
def test_seventy_billion_parameters_on_wafers(wafers):
    assert 350 < tokens_per_s(cerebras(wafers)) < 700


def test_seventy_billion_parameters_on_576_lpus():
    deployment = groq()
    assert deployment.chips == 576
    assert 150 < tokens_per_s(deployment) < 400


def test_eight_billion_parameters_on_an_h100():
    assert 100 < tokens_per_s(deployed("nvidia-h100-sxm", "llama-3.1-8b")) < 200


def test_a_short_prompt_on_an_h100_takes_tens_of_milliseconds():
    assert 0.015 < deployed("nvidia-h100-sxm", "llama-3.1-8b").prefill_s(1000) < 0.06


def test_sram_machines_need_many_devices_hold_little_cache_and_are_the_fastest():
    gpus = deployed("nvidia-h100-sxm", "llama-3.1-70b", tensor=4)
    for sram in (cerebras(), groq()):
        assert tokens_per_s(sram) > 2.5 * tokens_per_s(gpus)
        assert sram.memory.kv_tokens < gpus.memory.kv_tokens / 5
        assert sram.memory.kv_tokens < 130_000
        assert sram.usd_per_s > 3 * gpus.usd_per_s
    assert groq().chips > 100 * gpus.chips


def test_one_wafer_or_one_rack_of_lpus_does_not_hold_seventy_billion_parameters():
    wafers = fitting("cerebras-cs3", "llama-3.1-70b", "bf16", "bf16", "compiled")
    lpus = fitting("groq-lpu-v1", "llama-3.1-70b", "int8", "int8", "compiled")
    assert wafers is not None
    assert lpus is not None
    assert 4 <= wafers.chips <= 5
    assert lpus.chips >= 300
    twice = fitting("groq-lpu-v1", "llama-3.1-70b", "bf16", "bf16", "compiled")
    assert twice is not None
    assert twice.chips > 1.6 * lpus.chips


def test_lpddr_has_room_and_little_speed():
    """One card holds 70B in FP8, which two 80 GB GPUs do; each token takes the time to stream it all."""
    card = deployed("intel-crescent-island", "llama-3.1-70b", "fp8")
    gpus = deployed("nvidia-h100-sxm", "llama-3.1-70b", "fp8", tensor=2)
    assert card.memory.kv_tokens == pytest.approx(gpus.memory.kv_tokens, rel=0.1)
    assert tokens_per_s(card) < tokens_per_s(gpus) / 6
    assert tokens_per_s(card) == pytest.approx(0.85 * 684e9 / 71e9, rel=0.2)
    # Compute is the lesser lack: the gap in prefill is that of the FLOPs, not of the bandwidth.
    assert card.prefill_s(4000) / gpus.prefill_s(4000) < 1.5 * 2 * (
        load_profile("nvidia-h100-sxm", "here").compute["fp8"].si
        / load_profile("intel-crescent-island", "here").compute["fp8"].si
    )


def test_a_cpu_has_the_largest_memory_and_is_slow_at_everything():
    cpu = deployed("amd-epyc-9965", "llama-3.1-70b")
    card = deployed("intel-crescent-island", "llama-3.1-70b", "fp8")
    assert cpu.memory.kv_tokens > 10 * card.memory.kv_tokens
    assert tokens_per_s(cpu) < 5
    assert cpu.prefill_s(1000) > 20 * deployed("nvidia-h100-sxm", "llama-3.1-70b", tensor=4).prefill_s(1000)


def test_gpus_follow_each_other_by_bandwidth_in_decode_and_by_compute_in_prefill():
    order = [
        "nvidia-l4",
        "nvidia-l40s",
        "nvidia-a100-80gb-sxm",
        "nvidia-h100-sxm",
        "nvidia-h200-sxm",
        "nvidia-b200-sxm",
    ]
    decode = [tokens_per_s(deployed(name, "llama-3.1-8b")) for name in order]
    assert decode == sorted(decode)
    prefill = {name: deployed(name, "llama-3.1-8b").prefill_s(4000) for name in order}
    # H200 and H100 have the same arithmetic; only what streams differs.
    assert prefill["nvidia-h200-sxm"] == pytest.approx(prefill["nvidia-h100-sxm"], rel=0.08)
    assert prefill["nvidia-l40s"] < 1.3 * prefill["nvidia-a100-80gb-sxm"]
    assert prefill["nvidia-b200-sxm"] < 0.6 * prefill["nvidia-h100-sxm"]


def test_long_contexts_slow_decode_by_the_cache_they_stream():
    deployment = deployed("nvidia-h100-sxm", "llama-3.1-8b")
    rates = deployment.hardware.efficiency
    extra = deployment.decode_s(8, 100_000) - deployment.decode_s(8, 1000)
    streaming_s = 131_072 / (rates.cache.si * 3350e9)
    # Scores and weighted sums of 32 layers, and the share of them that the streaming does not hide.
    exposed_s = (1 - rates.overlap.si) * 32 * 4 * 4096 / (rates.attention.si * 989e12)
    assert extra == pytest.approx(8 * 99_000 * (streaming_s + exposed_s), rel=1e-3)
    assert exposed_s < 0.1 * streaming_s


def test_a_long_prompt_costs_more_than_its_share():
    deployment = deployed("nvidia-h100-sxm", "llama-3.1-8b")
    assert deployment.prefill_s(100_000) > 1.5 * 100 * deployment.prefill_s(1000) * 0.9
    # Chunks of the budget: one token more than it needs a second step.
    budget = deployment.batching.token_budget
    assert deployment.prefill_s(budget + 1) - deployment.prefill_s(budget) > deployment.decode_s(1, 1) / 2
    assert deployment.prefill_s(0) == 0.0


def test_a_mixture_of_experts_decodes_like_its_active_part_and_weighs_like_the_whole():
    sparse = deployed("nvidia-h200-sxm", "qwen3-30b-a3b")
    dense = deployed("nvidia-h200-sxm", "qwen3-32b")
    assert sparse.memory.weight_bytes == pytest.approx(dense.memory.weight_bytes, rel=0.15)
    assert tokens_per_s(sparse) > 3 * tokens_per_s(dense)
    # A large batch touches all experts, so much of the advantage goes.
    gain = (dense.decode_s(256, 500) / sparse.decode_s(256, 500)) / (dense.decode_s(1, 500) / sparse.decode_s(1, 500))
    assert gain < 0.7
