"""Each operator of a step on its own, and what it becomes at its limits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from deploying import attention_of, changed, chunk_cost, deployed, layer_matrices, with_factors
from hypothesis import given
from hypothesis import strategies as st

from inferencesim.deployment.engine import engine_names, load_engine
from inferencesim.deployment.step_time import MixedStep, StepCoefficients, decode_line, expert_imbalance, step_cost
from inferencesim.hardware.catalog import load_profile
from inferencesim.models.catalog import load_model

if TYPE_CHECKING:
    from inferencesim.deployment.deployment import Deployment

H100, H200, B200 = "nvidia-h100-sxm", "nvidia-h200-sxm", "nvidia-b200-sxm"


def only(deployment: Deployment, *names: str, exposed: float = 0.0) -> StepCoefficients:
    """Return the coefficients with all times but the named ones set to zero."""
    c = deployment.coefficients
    times = {name for name in StepCoefficients._fields if "_s_per_" in name or name.endswith("_s")}
    return c._replace(**dict.fromkeys(times - set(names), 0.0), exposed=exposed)


def step_s(c: StepCoefficients, decoding: int = 0, context_each: float = 0.0, *chunks: tuple[int, int]) -> float:
    """Return the time of a step of `decoding` sequences and of chunks (before, tokens), none of which ends a prompt."""
    tokens = sum(count for _, count in chunks)
    pairs = sum(count * (before + count / 2.0) for before, count in chunks)
    windowed = sum(count * min(before + count / 2.0, c.window) for before, count in chunks)
    read = sum(before + count for before, count in chunks)
    arguments = (decoding, decoding * context_each, len(chunks), tokens, pairs, windowed, read, 0)
    return step_cost(c, MixedStep(*(float(each) for each in arguments))).seconds


# --- Matrix multiplication ---------------------------------------------------------------------------

DENSE = ("attention_s_per_token", "attention_weight_s", "ffn_s_per_token", "ffn_weight_s")


def test_the_matrices_of_one_token_take_the_time_to_stream_them():
    deployment = deployed(H100, "llama-3.1-8b")
    profile, parameters = deployment.hardware, layer_matrices(deployment.model).always
    streaming_s = 2 * parameters / (profile.memory.bandwidth.si * profile.efficiency.memory.si)
    assert step_s(only(deployment, *DENSE), 1) == pytest.approx(streaming_s)


def test_the_matrices_of_many_tokens_take_the_time_of_their_flops():
    deployment = deployed(H100, "llama-3.1-8b")
    profile, parameters = deployment.hardware, layer_matrices(deployment.model).always
    flops_s = 2 * parameters / (profile.compute["bf16"].si * profile.efficiency.compute.si)
    c, half_rows = only(deployment, *DENSE), profile.efficiency.half_rows.si
    assert step_s(c, 0, 0, (0, 100_000)) / 100_000 == pytest.approx(flops_s, rel=2e-3)
    # What tiles waste is as much as so many rows more, at any size.
    assert step_s(c, 0, 0, (0, 4096)) == pytest.approx((4096 + half_rows) * flops_s)


def test_half_of_the_efficiency_is_reached_at_half_rows():
    deployment = deployed(with_factors(H100, {"memory.bandwidth": 1e6}), "llama-3.1-8b")
    c, half_rows = only(deployment, *DENSE), int(deployment.hardware.efficiency.half_rows.si)
    many_s = step_s(c, 0, 0, (0, 1_000_000)) / 1_000_000
    assert step_s(c, 0, 0, (0, half_rows)) / half_rows == pytest.approx(2 * many_s, rel=1e-3)


@pytest.mark.parametrize(("exposed", "combined"), [(0.0, max), (1.0, lambda a, b: a + b)])
def test_nothing_exposed_is_the_longer_of_compute_and_memory_all_exposed_their_sum(exposed, combined):
    deployment = deployed(H100, "llama-3.1-8b")
    tokens = 200
    compute_s = step_s(only(deployment, "ffn_s_per_token"), 0, 0, (0, tokens))
    memory_s = step_s(only(deployment, "ffn_weight_s"), 0, 0, (0, tokens))
    both = only(deployment, "ffn_s_per_token", "ffn_weight_s", exposed=exposed)
    assert step_s(both, 0, 0, (0, tokens)) == pytest.approx(combined(compute_s, memory_s))


def test_the_share_that_is_exposed_is_what_overlap_leaves():
    for overlap in (1.0, 0.5):
        own = load_profile(H100, "here").efficiency.overlap.si
        profile = changed(H100, "efficiency.overlap", overlap / own)
        assert deployed(profile, "llama-3.1-8b").coefficients.exposed == pytest.approx(1 - overlap)


def test_the_head_is_computed_for_sampled_tokens_only():
    deployment = deployed(H100, "llama-3.1-8b")
    c = only(deployment, "head_s_per_output")
    each_s = 2 * 128_256 * 4096 / (989.4e12 * deployment.hardware.efficiency.compute.si)
    assert step_s(c, 16) == pytest.approx(16 * each_s, rel=1e-3)
    assert step_s(c, 0, 0, (0, 8192)) == 0.0
    ending = step_cost(c, MixedStep(0.0, 0.0, 1.0, 8192.0, 0.0, 0.0, 8192.0, 1.0)).seconds
    assert ending == pytest.approx(each_s, rel=1e-3)
    # Its weights keep sixteen bits, and all of a step's tokens share them.
    weights = only(deployed(H100, "llama-3.1-8b", "fp8"), "head_weight_s")
    assert step_s(weights, 1) == step_s(weights, 16) == only(deployment, "head_weight_s").head_weight_s


def test_ranks_divide_the_head_as_one_rank_would():
    """Its vocabulary is cut over all chips, each of which takes the outputs of all ranks."""
    whole, ranks = (
        only(deployed(B200, "deepseek-v3", "fp8", tensor=8, attention_data=each), "head_s_per_output")
        for each in (1, 8)
    )
    assert step_s(ranks, 64) == pytest.approx(step_s(whole, 64), rel=1e-3)
    assert step_s(ranks, 0, 0, (0, 4096)) == 0.0


# --- Attention ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["llama-3.1-8b", "llama-2-7b", "deepseek-v3", "qwen3.5-397b-a17b", "gemma-3-27b"])
def test_decode_attention_streams_the_cache_and_multiplies_each_query_with_it(model):
    """Grouped, multi-head, latent, few full layers among linear ones, and windowed, before the windows fill."""
    profile = with_factors(H200, {"memory.capacity": 100})
    deployment = deployed(profile, model)
    counted, rates = attention_of(deployment.model), profile.efficiency
    pairs = 32 * counted.attended(500)
    memory = only(deployment, "decode_memory_s", "window_memory_s")
    expected = 2 * counted.kv_elements * pairs / (profile.memory.bandwidth.si * rates.cache.si)
    assert step_s(memory, 32, 500) == pytest.approx(expected)
    compute = only(deployment, "decode_compute_s", "window_compute_s")
    expected = counted.decode_flops * pairs / (profile.compute["bf16"].si * rates.attention.si)
    assert step_s(compute, 32, 500) == pytest.approx(expected)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "llama-2-7b", "deepseek-v3", "gemma-3-27b"])
def test_prefill_attention_multiplies_each_query_with_all_before_it(model):
    profile = with_factors(H200, {"memory.capacity": 100})
    deployment = deployed(profile, model)
    counted = attention_of(deployment.model)
    compute = only(deployment, "prefill_compute_s", "prefill_window_compute_s")
    each_s = counted.prefill_flops / (profile.compute["bf16"].si * profile.efficiency.attention.si)
    # Half a square at the start of a prompt; a full block behind a context.
    assert step_s(compute, 0, 0, (0, 1000)) == pytest.approx(each_s * counted.attended(500) * 1000)
    behind = step_s(only(deployment, "prefill_compute_s"), 0, 0, (50_000, 1000))
    assert behind == pytest.approx(each_s * counted.full_layers * 1000 * 50_500)


def test_latent_attention_expands_in_prefill_and_absorbs_in_decode():
    """Per pair 128 heads × 2 × (192 + 128) FLOPs against 128 × 2 × (2 × 512 + 64)."""
    c = deployed(H200, "deepseek-v3", "fp8", tensor=8).coefficients
    assert c.decode_compute_s / c.prefill_compute_s == pytest.approx((2 * 512 + 64) / (192 + 128))


def test_a_full_window_makes_a_layer_independent_of_the_context():
    c = only(deployed(H100, "gemma-3-27b", tensor=2), "window_compute_s", "window_memory_s")
    assert c.window == 1024.0
    assert step_s(c, 8, 1024) == pytest.approx(step_s(c, 8, 100_000))
    assert step_s(c, 8, 512) == pytest.approx(step_s(c, 8, 1024) / 2)
    prefill = only(deployed(H100, "gemma-3-27b", tensor=2), "prefill_window_compute_s")
    assert step_s(prefill, 0, 0, (2000, 500)) == pytest.approx(step_s(prefill, 0, 0, (80_000, 500)))


def test_beyond_top_k_sparse_attention_grows_by_its_indexer_only():
    """The indexer of DeepSeek-V3.2 has 64 heads of 128 values: per token a fraction of what attention itself does."""
    deployment = deployed(H200, "deepseek-v3.2", "fp8", tensor=8)
    c, counted = deployment.coefficients, attention_of(deployment.model)
    assert c.window == counted.span == 2048.0

    def growth(context: float) -> float:
        return deployment.decode_s(8, context + 1000) - deployment.decode_s(8, context)

    indexer = only(deployment, "decode_compute_s", "decode_memory_s", exposed=c.exposed)
    assert growth(4096) == pytest.approx(growth(100_000)) == pytest.approx(step_s(indexer, 8, 1000))
    assert growth(500) > 3 * growth(4096)
    dense = deployed(H200, "deepseek-v3", "fp8", tensor=8)
    assert dense.decode_s(8, 101_000) - dense.decode_s(8, 100_000) > 3 * growth(100_000)
    # Index keys are read whole, in the cache's format, and by every chip: they belong to all heads.
    bandwidth = deployment.hardware.memory.bandwidth.si * deployment.hardware.efficiency.cache.si
    assert c.decode_memory_s == pytest.approx(61 * counted.index_elements * 2 / bandwidth)


def test_linear_layers_take_the_same_time_at_any_context():
    deployment = deployed(H200, "qwen3.5-397b-a17b", "fp8", tensor=8)
    model = deployment.model
    linear = model.linear_attention
    assert linear is not None
    state = only(deployment, "state_s_per_sequence")
    values = linear.layers * linear.value_heads * linear.key_dim * linear.value_dim
    bandwidth = deployment.hardware.memory.bandwidth.si * deployment.hardware.efficiency.cache.si * 8
    # Read and written once per sequence and step, in 32 bits; a prompt passes through it once per chunk.
    assert step_s(state, 16, 10) == step_s(state, 16, 100_000) == pytest.approx(16 * 2 * 4 * values / bandwidth)
    assert step_s(state, 0, 0, (0, 8000)) == pytest.approx(2 * 4 * values / bandwidth)
    assert step_s(state, 16, 10, (0, 10), (0, 10)) == pytest.approx(18 * 2 * 4 * values / bandwidth)
    # Of all layers only the full ones grow with the context.
    growing = deployed(H200, "qwen3.5-397b-a17b", "fp8", tensor=8).coefficients.decode_memory_s
    assert growing == pytest.approx((model.layers - linear.layers) * 2 * model.kv_heads * (model.head_dim or 0) * 2
                                    / min(8, model.kv_heads) / (bandwidth / 8))  # fmt: skip


@pytest.mark.parametrize("model", ["llama-3.1-8b", "deepseek-v3.2", "gemma-3-27b"])
def test_an_eight_bit_cache_halves_what_is_read_of_it_and_nothing_else(model):
    tensor = 16 if model == "deepseek-v3.2" else 2
    wide, narrow = (
        deployed(H200, model, {"weights": "bf16", "kv": kv}, tensor=tensor).coefficients for kv in ("bf16", "fp8")
    )
    halved = {"decode_memory_s", "window_memory_s"}
    for name in StepCoefficients._fields:
        factor = 0.5 if name in halved else 1.0
        assert getattr(narrow, name) == pytest.approx(factor * getattr(wide, name)), name


# --- Experts -----------------------------------------------------------------------------------------

EXPERTS = ("expert_s_per_token", "expert_weight_s")


def test_one_token_streams_its_active_experts_and_many_stream_all():
    deployment = deployed(B200, "deepseek-v3", "fp8", tensor=8)
    c = only(deployment, "expert_weight_s")
    assert step_s(c, 1) == pytest.approx(c.expert_weight_s * 8 / 256)
    assert step_s(c, 4096) == pytest.approx(c.expert_weight_s)
    assert step_s(c, 64) == pytest.approx(c.expert_weight_s * (1 - (1 - 8 / 256) ** 64))


def test_experts_multiply_what_is_active_and_waste_rows_per_touched_expert():
    deployment = deployed(B200, "deepseek-v3", "fp8", tensor=8)
    c = only(deployment, "expert_s_per_token")
    many = 100_000
    wasted = c.expert_half_tokens * 256 / 8
    assert step_s(c, 0, 0, (0, many)) == pytest.approx(c.expert_s_per_token * (many + wasted))
    # One token's experts have one row each.
    assert step_s(c, 1) == pytest.approx(c.expert_s_per_token * (1 + c.expert_half_tokens))


@given(st.floats(1.0, 1e7), st.sampled_from([1, 2, 4, 8, 64]))
def test_the_busiest_group_of_experts_has_at_least_the_mean_and_at_most_all(tokens, groups):
    c = deployed(B200, "deepseek-v3", "fp8", tensor=8).coefficients
    spread = deployed(with_factors(B200, {"scale_up.domain": 8}), "deepseek-v3", "fp8", tensor=64, expert=groups)
    c = spread.coefficients
    busiest = expert_imbalance(c, tokens)
    assert 1.0 <= busiest <= groups
    assert expert_imbalance(c, 2 * tokens) <= busiest
    if groups == 1:
        assert busiest == 1.0


def test_many_tokens_load_all_groups_alike_and_one_token_one_of_them():
    c = deployed(B200, "deepseek-v3", "fp8", tensor=8, expert=8).coefficients
    assert expert_imbalance(c, 1e7) == pytest.approx(1.0, abs=1e-3)
    assert expert_imbalance(c, 1.0) > 2.0
    # The groups wait for the busiest, in compute and in streaming; nobody streams more than all it has.
    weights = only(deployed(B200, "deepseek-v3", "fp8", tensor=8, expert=8), "expert_weight_s")
    assert step_s(weights, 1) == pytest.approx(weights.expert_weight_s * 8 / 256 * expert_imbalance(c, 1.0))
    assert step_s(weights, 4096) == pytest.approx(weights.expert_weight_s)


def test_the_precision_of_experts_changes_experts_only():
    plain = deployed(B200, "gpt-oss-120b", "bf16", tensor=2)
    mixed = deployed(B200, "gpt-oss-120b", {"weights": "bf16", "expert_weights": "fp4"}, tensor=2)
    for name in StepCoefficients._fields:
        same = getattr(plain.coefficients, name) == getattr(mixed.coefficients, name)
        assert same != (name in EXPERTS), name
    rates = plain.hardware.efficiency
    ratio = mixed.coefficients.expert_weight_s / plain.coefficients.expert_weight_s
    assert ratio == pytest.approx(0.5625 / 2)
    ratio = mixed.coefficients.expert_s_per_token / plain.coefficients.expert_s_per_token
    peaks = plain.hardware.compute["bf16"].si / plain.hardware.compute["fp4"].si
    assert ratio == pytest.approx(peaks / rates.four_bit_compute.si)
    # Without a word the experts are as the rest.
    assert deployed(B200, "gpt-oss-120b", {"weights": "bf16", "expert_weights": "bf16"}, tensor=2).coefficients == (
        plain.coefficients
    )
    counted = layer_matrices(plain.model)
    saved = plain.memory.weight_bytes - mixed.memory.weight_bytes
    assert saved * 2 == pytest.approx(counted.experts * (2 - 0.5625))


def test_four_bit_formats_stream_and_multiply_at_a_share_of_what_others_reach():
    profile = load_profile(B200, "here")
    fp8, fp4 = (deployed(B200, "llama-3.1-70b", name).coefficients for name in ("fp8", "fp4"))
    rates = profile.efficiency
    assert fp4.ffn_weight_s == pytest.approx(fp8.ffn_weight_s * 0.5625 / rates.four_bit_memory.si)
    peaks = profile.compute["fp8"].si / profile.compute["fp4"].si
    assert fp4.ffn_s_per_token == pytest.approx(fp8.ffn_s_per_token * peaks / rates.four_bit_compute.si)
    for path in ("efficiency.four_bit_memory", "efficiency.four_bit_compute"):
        slower = changed(B200, path, 0.5)
        assert deployed(slower, "llama-3.1-70b", "fp8").coefficients == fp8
        assert deployed(slower, "llama-3.1-70b", "fp4").coefficients != fp4


# --- Chips beside each other -------------------------------------------------------------------------


def test_a_collective_waits_for_its_latency_when_small_and_for_its_bytes_when_large():
    deployment = deployed(H100, "llama-3.1-70b", tensor=8)
    c = only(deployment, "collective_s_per_token", "collective_latency_s")
    profile = deployment.hardware
    starts = 160 * (profile.overhead.collective.si + 3 * profile.scale_up.latency.si)
    assert step_s(c, 1) == pytest.approx(starts, rel=0.05)
    moved = 160 * 2 * 7 / 8 * 8192 * 2 / (profile.scale_up.bandwidth.si * profile.efficiency.link.si)
    assert step_s(c, 0, 0, (0, 100_000)) == pytest.approx(100_000 * moved, rel=0.01)


def test_beyond_the_scale_up_domain_every_message_crosses_the_network():
    profile = load_profile(H100, "here")
    inside, across = (deployed(H100, "llama-3.1-70b", tensor=n).coefficients for n in (8, 16))
    per_token = {
        name: c.collective_s_per_token / (2 * (n - 1) / n) * link.bandwidth.si
        for name, c, n, link in (
            ("inside", inside, 8, profile.scale_up),
            ("across", across, 16, profile.scale_out),
        )
    }
    assert per_token["across"] == pytest.approx(per_token["inside"])
    extra = across.collective_latency_s - inside.collective_latency_s
    assert extra == pytest.approx(160 * (4 * profile.scale_out.latency.si - 3 * profile.scale_up.latency.si))


def test_ranks_of_attention_have_sequences_and_projections_of_their_own():
    shared = deployed(H200, "qwen3-235b-a22b", "fp8", tensor=8)
    own = deployed(H200, "qwen3-235b-a22b", "fp8", tensor=8, attention_data=8)
    for name in ("attention_s_per_token", "attention_weight_s", "decode_compute_s", "prefill_compute_s"):
        assert getattr(own.coefficients, name) == pytest.approx(8 * getattr(shared.coefficients, name)), name
    for name in ("ffn_weight_s", *EXPERTS, "head_weight_s"):
        assert getattr(own.coefficients, name) == getattr(shared.coefficients, name), name
    # Eight sequences on eight ranks take as long as one; a ninth waits on one of them.
    attention = only(own, "decode_memory_s", "decode_compute_s")
    one, eight, sixteen = (step_s(attention, n, 4000) for n in (1, 8, 16))
    assert eight == pytest.approx(one)
    assert sixteen == pytest.approx(2 * one)
    counted = layer_matrices(own.model)
    assert own.memory.weight_bytes - shared.memory.weight_bytes == pytest.approx(counted.attention * 7 / 8)


def test_ranks_need_not_copy_the_cache_of_latent_attention():
    shared = deployed(B200, "deepseek-v3", "fp8", tensor=8)
    own = deployed(B200, "deepseek-v3", "fp8", tensor=8, attention_data=8)
    # Each chip holds every sequence's latent in a tensor group, and those of its own rank's only with ranks.
    assert own.memory.kv_bytes_per_token == shared.memory.kv_bytes_per_token == 61 * 576 * 2
    for each, copies in ((shared, 1), (own, 8)):
        plan = each.memory
        free = plan.usable_bytes - plan.runtime_bytes - plan.weight_bytes - plan.activation_bytes
        assert plan.kv_tokens == pytest.approx(copies * free / plan.kv_bytes_per_token, rel=1e-3)
    full = (64, 4000)
    attention = "decode_memory_s"
    assert step_s(only(own, attention), *full) == pytest.approx(step_s(only(shared, attention), *full) / 8)


def test_ranks_meet_before_and_after_the_ffn():
    """With ranks of one chip there is nothing to reduce after attention; tokens go to the others and come back."""
    shared = deployed(B200, "deepseek-v3", "fp8", tensor=8).coefficients
    sliced = deployed(B200, "deepseek-v3", "fp8", tensor=8, attention_data=8).coefficients
    spread = deployed(B200, "deepseek-v3", "fp8", tensor=8, expert=8, attention_data=8).coefficients
    assert sliced.collective_latency_s == pytest.approx(shared.collective_latency_s)
    # Per token of a rank, of which a step of as many tokens has an eighth: half the bytes of two all-reduces.
    assert sliced.collective_s_per_token / 8 == pytest.approx(shared.collective_s_per_token / 2)
    # A token goes to the owners of its eight experts, at most to all eight ranks.
    assert spread.collective_s_per_token == pytest.approx(sliced.collective_s_per_token)
    few = deployed(B200, "gpt-oss-120b", tensor=8, expert=8, attention_data=8).coefficients
    all_of_them = deployed(B200, "gpt-oss-120b", tensor=8, attention_data=8).coefficients
    assert few.collective_s_per_token == pytest.approx(all_of_them.collective_s_per_token * 4 / 8)


def test_a_stage_without_a_microbatch_idles():
    four = deployed(H200, "llama-3.1-70b", "fp8", pipeline=4)
    c = only(four, *DENSE)
    one_s, four_s, eight_s = (step_s(c, n) for n in (1, 4, 8))
    # One sequence crosses all stages; four fill them, each streaming its share of the weights for its own.
    assert one_s == pytest.approx(4 * (c.attention_weight_s + c.ffn_weight_s)) == pytest.approx(four_s)
    assert eight_s == pytest.approx(four_s)
    whole = only(deployed(H200, "llama-3.1-70b", "fp8"), *DENSE)
    assert one_s == pytest.approx(step_s(whole, 1))
    # Large batches keep all four chips busy.
    assert step_s(whole, 8192) / step_s(c, 8192) == pytest.approx(4.0, rel=0.05)


def test_a_hop_between_stages_moves_each_token_once():
    deployment = deployed(H200, "llama-3.1-70b", "fp8", pipeline=4)
    profile = deployment.hardware
    c = only(deployment, "hop_s_per_token")
    bandwidth = profile.scale_up.bandwidth.si * profile.efficiency.link.si
    assert step_s(c, 1) == pytest.approx(4 * 8192 * 2 / bandwidth)


# --- The engine --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", engine_names())
def test_an_engine_adds_per_step_sequence_prefill_and_request(name):
    engine = load_engine(name, "here")
    plain, real = (deployed(H100, "llama-3.1-8b", engine=each) for each in ("generic", name))
    added = real.decode_s(10, 100) - plain.decode_s(10, 100)
    assert added == pytest.approx(engine.step.si + 10 * engine.sequence.si, abs=1e-12)
    prompts = ((0, 100), (0, 100), (0, 100))
    added = chunk_cost(real, 7, 700, prompts).seconds - chunk_cost(plain, 7, 700, prompts).seconds
    # 32 layers, whose launch no captured graph covers.
    assert added == pytest.approx(engine.step.si + 10 * engine.sequence.si + 32 * engine.launch.si, abs=1e-12)
    steps = real.alone_s(100, 5) - plain.alone_s(100, 5) - engine.request.si
    assert steps == pytest.approx(5 * (engine.step.si + engine.sequence.si) + 32 * engine.launch.si, abs=1e-12)


def test_who_prefills_first_is_the_engines_way_unless_the_pool_chooses():
    def policy(engine, **batching):
        return deployed(H100, "llama-3.1-8b", engine=engine, batching=batching).batching_policy.policy

    assert policy("sglang") == "prefill_first"
    assert policy("vllm") == "chunked_prefill"
    assert policy("vllm", policy="prefill_first") == "prefill_first"
    assert policy("sglang", policy="static") == "static"


def test_more_matrices_and_experts_per_layer_take_more_launches():
    """A plain layer has four matrices; latent attention has five and experts a router besides."""
    overhead = load_profile(H200, "here").overhead
    plain = deployed(H200, "llama-3.1-8b").coefficients
    assert plain.stage_overhead_s == pytest.approx(overhead.step.si + 32 * overhead.layer.si)
    sparse = deployed(H200, "deepseek-v3", "fp8", tensor=8).coefficients.stage_overhead_s
    experts = 58 * overhead.expert_layer.si
    assert sparse - experts > overhead.step.si + 61 * overhead.layer.si


def test_the_decode_line_ends_where_windows_or_the_best_tokens_fill():
    windowed = deployed(H100, "gemma-3-27b", tensor=2).coefficients
    sparse = deployed(H200, "deepseek-v3.2", "fp8", tensor=8).coefficients
    for c in (windowed, sparse):
        assert decode_line(c, 4.0, 4.0 * (c.window - 1)).limit == 4 * c.window
        assert decode_line(c, 4.0, 4.0 * c.window).limit == math.inf


def test_a_model_without_experts_or_states_has_none_of_their_terms():
    c = deployed(H100, "llama-3.1-8b", tensor=1).coefficients
    assert (c.experts, c.state_s_per_sequence, c.collective_latency_s, c.hop_s_per_token) == (0.0, 0.0, 0.0, 0.0)
    assert load_model("llama-3.1-8b", "here").moe is None
