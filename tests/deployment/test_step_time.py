"""A step takes as long as its slowest resource, never beats the speed of light, and grows with its work."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from deploying import changed, chunk_cost, deployed, fitting, layer_matrices, speed_of_light_s, with_factors
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from inferencesim.deployment.engine import engine_names, load_engine
from inferencesim.deployment.step_time import (
    COEFFICIENTS,
    StepCoefficients,
    coefficients_at,
    decode_line,
    distinct_experts,
    encoder_cost,
    step_energy_j,
)
from inferencesim.errors import InputError
from inferencesim.hardware.catalog import load_profile, profile_names
from inferencesim.models.catalog import load_model, model_names

if TYPE_CHECKING:
    from inferencesim.deployment.deployment import Deployment

#: Dense, mixture of experts, latent, sparse and linear attention, sliding windows, and all ways to spread a model.
VARIED = [
    ("nvidia-h100-sxm", "llama-3.1-8b", {}),
    ("nvidia-h100-sxm", "llama-3.1-70b", {"tensor": 4}),
    ("nvidia-h200-sxm", "llama-3.1-70b", {"tensor": 2, "pipeline": 4}),
    ("nvidia-h200-sxm", "gpt-oss-120b", {"precision": "fp8", "tensor": 2}),
    ("nvidia-b200-sxm", "deepseek-v3", {"precision": "fp8", "tensor": 8, "expert": 8}),
    ("nvidia-b200-sxm", "deepseek-v3.2", {"precision": "fp8", "tensor": 8, "expert": 8, "attention_data": 8}),
    ("nvidia-h200-sxm", "qwen3.5-397b-a17b", {"precision": "fp8", "tensor": 8, "attention_data": 2}),
    ("nvidia-b200-sxm", "gpt-oss-120b", {"precision": {"weights": "bf16", "expert_weights": "fp4"}}),
    ("nvidia-h100-sxm", "gemma-3-27b", {"tensor": 2, "pipeline": 2}),
    ("cerebras-cs3", "llama-3.1-70b", {"pipeline": 5, "engine": "compiled"}),
]


def varied(index: int) -> Deployment:
    hardware, model, options = VARIED[index]
    return deployed(hardware, model, **options)


cases = st.integers(0, len(VARIED) - 1).map(varied)
batches = st.integers(1, 512)
contexts = st.integers(1, 40_000)
chunks = st.tuples(st.integers(0, 30_000), st.integers(1, 8192))


@st.composite
def any_deployment(draw: st.DrawFn) -> Deployment:
    """Any shipped chip with any shipped model at a precision it has, on as few chips as hold it, or on more."""
    hardware = draw(st.sampled_from(profile_names()))
    model = draw(st.sampled_from(model_names()))
    profile, spec = load_profile(hardware, "here"), load_model(model, "here")
    activations = draw(st.sampled_from(sorted(profile.compute)))
    weights = draw(st.sampled_from([activations, "int4"] if activations == "bf16" else [activations]))
    fit = fitting(hardware, model, weights, activations)
    assume(fit is not None)
    assert fit is not None
    tensor = fit.tensor * draw(st.sampled_from([n for n in (1, 2, 4) if spec.heads % (fit.tensor * n) == 0]))
    pipeline = fit.pipeline * draw(st.sampled_from([n for n in (1, 2, 3) if fit.pipeline * n <= spec.layers]))
    experts = spec.moe.experts if spec.moe else 1
    expert = draw(st.sampled_from([n for n in (1, tensor) if experts % n == 0]))
    precision = {"weights": weights, "activations": activations, "kv": draw(st.sampled_from(["bf16", "fp8"]))}
    if spec.moe:
        precision["expert_weights"] = draw(st.sampled_from([None, "int4"]))
    ranks = draw(st.sampled_from([n for n in (1, 2, tensor) if tensor % n == 0]))
    try:
        return deployed(
            hardware,
            model,
            precision,
            tensor=tensor,
            pipeline=pipeline,
            expert=expert,
            attention_data=ranks,
            engine=draw(st.sampled_from(engine_names())),
            memory_share=min(profile.usable_memory.si, 0.9),
        )
    except InputError:
        # Each rank has its own copy of the projections, which chips that just hold the model have no room for.
        assume(ranks == 1)
        raise


@settings(max_examples=150, deadline=None)
@given(any_deployment(), st.integers(0, 512), contexts, st.lists(chunks, max_size=3))
def test_no_step_is_faster_than_the_speed_of_light(deployment, decoding, context, prompts):
    assume(decoding or prompts)
    parts = tuple(prompts)
    floor = speed_of_light_s(deployment, decoding, context, parts, len(parts))
    taken = chunk_cost(deployment, decoding, decoding * context, parts, len(parts)).seconds
    assert taken >= floor * (1 - 1e-12)
    if decoding:
        line = decode_line(deployment.coefficients, float(decoding), float(decoding * context))
        alone = line.fixed_s + line.slope_s * decoding * context
        assert alone >= speed_of_light_s(deployment, decoding, context) * (1 - 1e-12)


def test_the_speed_of_light_is_not_far_below_a_large_step():
    """The law above would hold for any slow formula; here the floor is near."""
    overlap = load_profile("nvidia-h100-sxm", "here").efficiency.overlap.si
    ideal = with_factors("nvidia-h100-sxm", {"overhead.layer": 1e-6, "efficiency.overlap": 1 / overlap})
    assert min(ideal.efficiency.compute.si, ideal.efficiency.memory.si) > 0.5
    deployment = deployed(ideal, "llama-3.1-8b", engine="generic")
    floor = speed_of_light_s(deployment, 1, 1)
    assert deployment.decode_s(1, 1) == pytest.approx(floor / ideal.efficiency.memory.si, rel=0.02)
    prompt = ((0, 8192),)
    taken = chunk_cost(deployment, 0, 0, prompt, 1).seconds
    floor = speed_of_light_s(deployment, 0, 0, prompt, 1)
    # Attention reaches a smaller share of the peak than the matrices do.
    assert 1.0 < taken * ideal.efficiency.compute.si / floor < 1.2


@pytest.mark.parametrize("model", model_names())
def test_all_parameters_of_the_layers_are_charged(model):
    """Also those of a model whose LM head is the embedding."""
    spec = load_model(model, "here")
    profile = load_profile("nvidia-h100-sxm", "here")
    fit = fitting("nvidia-h100-sxm", model, "bf16", "bf16")
    assert fit is not None
    deployment = deployed(profile, spec, tensor=fit.tensor, pipeline=fit.pipeline)
    c, rates, counted = deployment.coefficients, profile.efficiency, layer_matrices(spec)
    flops = profile.compute["bf16"].si * fit.chips
    bandwidth = profile.memory.bandwidth.si * fit.chips
    for seconds, share, work in (
        (c.attention_s_per_token, rates.compute, counted.attention),
        (c.ffn_s_per_token, rates.compute, counted.ffn),
        (c.expert_s_per_token, rates.expert_compute, counted.active),
    ):
        assert seconds * flops * share.si == pytest.approx(2 * work)
    for seconds, share, weights in (
        (c.attention_weight_s, rates.memory, counted.attention),
        (c.ffn_weight_s, rates.memory, counted.ffn),
        (c.expert_weight_s, rates.expert_memory, counted.experts),
        (c.head_weight_s, rates.memory, spec.vocab * spec.hidden if spec.generates else 0),
    ):
        assert seconds * bandwidth * share.si == pytest.approx(2 * weights)


@settings(max_examples=150, deadline=None)
@given(cases, batches, st.floats(0.05, 3.0), st.floats(0.0, 1.0))
def test_the_decode_line_is_the_step_cost_without_prefill(deployment, decoding, share, further):
    """Also in front of and behind the point where the sliding windows are full."""
    c = deployment.coefficients
    window = c.window if c.window < math.inf else 4096.0
    context = max(1.0, decoding * window * share)
    line = decode_line(c, float(decoding), context)
    end = context + further * (min(line.limit, 10 * decoding * window) - context)
    for total in (context, end):
        step = chunk_cost(deployment, decoding, total)
        assert line.fixed_s + line.slope_s * total == pytest.approx(step.seconds, rel=1e-9)
        assert line.fixed_active_s + line.slope_active_s * total == pytest.approx(step.active_s, rel=1e-9)


def test_the_window_bends_the_decode_line():
    deployment = deployed("nvidia-h200-sxm", "gpt-oss-120b", "fp8", tensor=2)
    c = deployment.coefficients
    assert c.window == 128.0
    before, after = decode_line(c, 8.0, 8 * 127.0), decode_line(c, 8.0, 8 * 128.0)
    assert before.limit == 8 * 128.0
    assert after.limit == math.inf
    # Half of the 36 layers are windowed.
    assert after.slope_s == pytest.approx(before.slope_s / 2)
    at = 8 * 128.0
    assert before.fixed_s + before.slope_s * at == pytest.approx(after.fixed_s + after.slope_s * at, rel=1e-12)


@settings(max_examples=200, deadline=None)
@given(
    cases, st.integers(0, 300), contexts, st.integers(0, 4000), st.integers(0, 4096), st.integers(0, 64), contexts,
    st.integers(0, 4096),
)  # fmt: skip
def test_more_work_never_takes_less_time(deployment, decoding, each, before, chunk, more, more_context, more_chunk):
    context = decoding * each
    prompts = ((before, chunk),) if chunk else ()
    taken = chunk_cost(deployment, decoding, context, prompts, 0).seconds
    bigger = [chunk_cost(deployment, decoding + more, context + more * each, prompts).seconds]
    if decoding:
        bigger.append(chunk_cost(deployment, decoding, context + more_context, prompts).seconds)
    if chunk:
        bigger.append(chunk_cost(deployment, decoding, context, ((before, chunk + more_chunk),)).seconds)
        bigger.append(chunk_cost(deployment, decoding, context, ((before + more_context, chunk),)).seconds)
        bigger.append(chunk_cost(deployment, decoding, context, prompts, 1).seconds)
    else:
        bigger.append(chunk_cost(deployment, decoding, context, ((before, more_chunk + 1),)).seconds)
    assert min(bigger) >= taken * (1 - 1e-12)


def test_what_a_pipeline_carries_in_one_chunk_is_not_divided_by_the_decodes_beside_it():
    deployment = deployed("nvidia-h100-sxm", "llama-3.1-70b", pipeline=8)
    alone = chunk_cost(deployment, 0, 0, ((0, 512),), 1).seconds
    for decoding in (1, 7, 64):
        assert chunk_cost(deployment, decoding, decoding * 500, ((0, 512),), 1).seconds >= alone


def test_tensor_parallelism_divides_work_and_adds_collectives():
    before = deployed("nvidia-h200-sxm", "llama-3.1-70b", "fp8").coefficients
    for tensor in (2, 4, 8, 16):
        wider = deployed("nvidia-h200-sxm", "llama-3.1-70b", "fp8", tensor=tensor).coefficients
        for name in ("attention_s_per_token", "attention_weight_s", "ffn_s_per_token", "ffn_weight_s",
                     "head_s_per_output", "head_weight_s", "decode_compute_s", "prefill_compute_s"):  # fmt: skip
            assert getattr(wider, name) == pytest.approx(getattr(before, name) / 2), name
        # The hidden state is on every chip; only what is inside the FFN is divided.
        assert before.activation_s_per_token / 2 < wider.activation_s_per_token < before.activation_s_per_token
        assert wider.decode_memory_s <= before.decode_memory_s
        assert wider.collective_s_per_token > before.collective_s_per_token
        assert wider.collective_latency_s > before.collective_latency_s
        before = wider


def test_beyond_one_chip_per_kv_head_the_cache_is_copied_not_divided():
    at_heads = deployed("nvidia-h200-sxm", "llama-3.1-70b", tensor=8).coefficients
    beyond = deployed("nvidia-h200-sxm", "llama-3.1-70b", tensor=16).coefficients
    assert beyond.decode_memory_s == pytest.approx(at_heads.decode_memory_s)
    assert beyond.decode_compute_s == pytest.approx(at_heads.decode_compute_s / 2)


def test_a_tensor_group_beyond_the_scale_up_domain_speaks_over_the_network():
    inside = deployed("nvidia-h100-sxm", "llama-3.1-70b", tensor=8).coefficients
    across = deployed("nvidia-h100-sxm", "llama-3.1-70b", tensor=16).coefficients
    profile = load_profile("nvidia-h100-sxm", "here")
    ratio = profile.scale_up.bandwidth.si / profile.scale_out.bandwidth.si * (15 / 16) / (7 / 8)
    assert across.collective_s_per_token == pytest.approx(inside.collective_s_per_token * ratio)


def test_collectives_as_counted_by_hand():
    """80 layers × 2 all-reduces: 2 (n − 1) / n × 8192 × 2 B over the link, and a launch and log2 n latencies."""
    profile = load_profile("nvidia-h100-sxm", "here")
    c = deployed(profile, "llama-3.1-70b", tensor=4).coefficients
    bandwidth = profile.scale_up.bandwidth.si * profile.efficiency.link.si
    assert c.collective_s_per_token == pytest.approx(80 * 2 * 1.5 * 8192 * 2 / bandwidth)
    start = profile.overhead.collective.si + 2 * profile.scale_up.latency.si
    assert c.collective_latency_s == pytest.approx(80 * 2 * start)


def test_a_pipeline_does_not_shorten_one_sequence_but_carries_many():
    one = deployed("nvidia-h200-sxm", "llama-3.1-70b", "fp8")
    four = deployed("nvidia-h200-sxm", "llama-3.1-70b", "fp8", pipeline=4)
    # Every token still crosses all layers; hops and launches come on top.
    assert 1.0 < four.decode_s(1, 1000) / one.decode_s(1, 1000) < 1.1
    # Full, each stage works on its own microbatch: nearly four times the tokens in nearly the same time.
    gain = (256 / four.decode_s(256, 1000)) / (64 / one.decode_s(64, 1000))
    assert 3.0 < gain <= 4.0
    assert four.saturated_rate(1000, 200) > 2.5 * one.saturated_rate(1000, 200)


# --- Mixture of experts ------------------------------------------------------------------------------


def test_distinct_experts_at_its_limits():
    assert distinct_experts(256.0, 8.0, 0.0) == 0.0
    assert distinct_experts(0.0, 0.0, 5.0) == 0.0
    assert distinct_experts(256.0, 8.0, 1.0) == pytest.approx(8.0)
    assert distinct_experts(256.0, 8.0, 1e6) == pytest.approx(256.0)


def test_distinct_experts_are_what_drawing_them_gives():
    draws = np.random.default_rng(1)
    found = [
        len({int(e) for _ in range(20) for e in draws.choice(64, size=4, replace=False)})
        for _ in range(400)
    ]  # fmt: skip
    assert distinct_experts(64.0, 4.0, 20.0) == pytest.approx(np.mean(found), rel=0.02)


@given(st.integers(1, 512), st.data())
def test_more_tokens_touch_more_experts_at_a_falling_rate(experts, data):
    active = data.draw(st.integers(1, experts))
    tokens = data.draw(st.integers(1, 2000))
    touched = [distinct_experts(float(experts), float(active), float(tokens + i)) for i in range(3)]
    assert touched[0] <= touched[1] <= touched[2] <= experts
    assert touched[1] - touched[0] >= (touched[2] - touched[1]) * (1 - 1e-6) - 1e-9


def test_a_larger_batch_streams_more_experts_but_never_more_than_all():
    c = deployed("nvidia-b200-sxm", "deepseek-v3", "fp8", tensor=8, engine="generic").coefficients
    one, many = (decode_line(c, batch, 0.0).fixed_s for batch in (1.0, 64.0))
    # One token streams 8 of 256 experts, 64 tokens about 87 %.
    assert many - one > 0.8 * c.expert_weight_s
    assert decode_line(c, 256.0, 0.0).fixed_s - one < 1.1 * c.expert_weight_s + 256 * c.collective_s_per_token + 1e-3


def test_expert_parallelism_changes_who_waits_for_whom_and_nothing_else():
    """Where all chips hold all tokens, owners of experts sum what they computed as owners of slices do."""
    spread = deployed("nvidia-b200-sxm", "deepseek-v3", "fp8", tensor=8, expert=4)
    sliced = deployed("nvidia-b200-sxm", "deepseek-v3", "fp8", tensor=8)
    for name in StepCoefficients._fields:
        same = getattr(spread.coefficients, name) == getattr(sliced.coefficients, name)
        assert same != (name in {"expert_groups", "expert_spread"}), name
    assert spread.memory == sliced.memory


# --- Every number counts -----------------------------------------------------------------------------


def seconds(profile: str, path: str, factor: float, what: str, **options) -> float:
    deployment = deployed(changed(profile, path, factor), "llama-3.1-70b", "fp8", **options)
    return {
        "decode": deployment.decode_s(8, 2000),
        "prefill": deployment.prefill_s(8000),
    }[what]


@pytest.mark.parametrize(
    ("path", "what", "direction", "options"),
    [
        ("memory.bandwidth", "decode", -1, {"tensor": 4}),
        ("compute.fp8", "prefill", -1, {"tensor": 4}),
        ("compute.bf16", "prefill", -1, {"tensor": 4}),  # attention and LM head keep sixteen bits
        ("efficiency.memory", "decode", -1, {"tensor": 4}),
        ("efficiency.compute", "prefill", -1, {"tensor": 4}),
        ("efficiency.attention", "prefill", -1, {"tensor": 4}),
        ("efficiency.cache", "decode", -1, {"tensor": 4}),
        ("efficiency.link", "prefill", -1, {"tensor": 4}),
        ("efficiency.overlap", "prefill", -1, {"tensor": 4}),
        ("efficiency.half_rows", "prefill", 1, {"tensor": 4}),
        ("overhead.collective", "decode", 1, {"tensor": 4}),
        ("scale_up.bandwidth", "prefill", -1, {"tensor": 4}),
        ("scale_up.latency", "decode", 1, {"tensor": 4}),
        ("scale_up.bandwidth", "decode", -1, {"tensor": 2, "pipeline": 2}),
        ("scale_out.bandwidth", "prefill", -1, {"tensor": 16}),
        ("scale_out.latency", "decode", 1, {"tensor": 16}),
        ("scale_out.bandwidth", "prefill", -1, {"tensor": 8, "pipeline": 2}),
        ("scale_out.latency", "decode", 1, {"tensor": 8, "pipeline": 2}),
        ("overhead.layer", "decode", 1, {"tensor": 4}),
        ("overhead.step", "decode", 1, {"tensor": 4}),
    ],
)
def test_each_number_of_a_profile_changes_the_time_it_should(path, what, direction, options):
    plain = seconds("nvidia-h200-sxm", path, 1.0, what, **options)
    less = seconds("nvidia-h200-sxm", path, 0.8, what, **options)
    assert (less - plain) * direction < -1e-9


def test_the_network_does_not_matter_within_the_domain_nor_the_domain_links_to_one_chip():
    for path, options in (("scale_out.bandwidth", {"tensor": 4}), ("scale_up.latency", {})):
        assert seconds("nvidia-h200-sxm", path, 0.1, "prefill", **options) == seconds(
            "nvidia-h200-sxm", path, 1.0, "prefill", **options
        )


def test_the_domain_decides_which_links_a_group_uses():
    small = deployed(changed("nvidia-h200-sxm", "scale_up.domain", 0.25), "llama-3.1-70b", tensor=4)
    assert small.decode_s(1, 100) > deployed("nvidia-h200-sxm", "llama-3.1-70b", tensor=4).decode_s(1, 100)


def test_every_engine_is_different_and_generic_is_the_bound():
    taken = {
        name: deployed("nvidia-h100-sxm", "llama-3.1-8b", engine=name).decode_s(64, 500) for name in engine_names()
    }
    assert len(set(taken.values())) == len(taken) >= 5
    assert min(taken, key=taken.__getitem__) == "generic"
    vllm = load_engine("vllm", "here")
    assert taken["vllm"] - taken["generic"] == pytest.approx(vllm.step.si + 64 * vllm.sequence.si)


def test_precision_quickens_what_it_is_of():
    bf16, fp8 = (deployed("nvidia-h100-sxm", "llama-3.1-8b", name).coefficients for name in ("bf16", "fp8"))
    for name in ("attention", "ffn"):
        assert getattr(fp8, f"{name}_weight_s") == pytest.approx(getattr(bf16, f"{name}_weight_s") / 2)
        ratio = getattr(fp8, f"{name}_s_per_token") / getattr(bf16, f"{name}_s_per_token")
        assert ratio == pytest.approx(989 / 1979, rel=1e-3)
    assert fp8.decode_memory_s == bf16.decode_memory_s
    small_cache = deployed("nvidia-h100-sxm", "llama-3.1-8b", {"weights": "bf16", "kv": "fp8"}).coefficients
    assert small_cache.decode_memory_s == pytest.approx(bf16.decode_memory_s / 2)
    # Weight-only int4 streams fewer bytes, more slowly, and still multiplies in sixteen bits.
    int4 = deployed("nvidia-h100-sxm", "llama-3.1-8b", "int4").coefficients
    unpacking = load_profile("nvidia-h100-sxm", "here").efficiency.four_bit_memory.si
    assert int4.ffn_weight_s == pytest.approx(bf16.ffn_weight_s * 0.5625 / 2 / unpacking)
    assert int4.ffn_s_per_token == bf16.ffn_s_per_token


#: Models that together have every kind of layer, spread in every way.
ALL_KINDS = [
    ("nvidia-b200-sxm", "gpt-oss-120b", {"tensor": 2, "pipeline": 4, "expert": 2, "attention_data": 2}),
    ("nvidia-h200-sxm", "qwen3.5-397b-a17b", {"precision": "fp8", "tensor": 8}),
    ("nvidia-h200-sxm", "qwen2.5-vl-7b", {}),
]


def test_every_coefficient_changes_a_step():
    """Of a step, or of a request; between decodes only and prompts only, with and without contexts to speak of."""
    mixes = ((1, ()), (64, ()), (200, ((3000, 2000),)), (0, ((3000, 2000),)), (0, ((0, 700),)), (3, ((0, 40),) * 3))

    def outcomes(deployment: Deployment, c: StepCoefficients) -> list[float]:
        found = [replace(deployment, coefficients=c).alone_s(100, 10)]
        for decoding, parts in mixes:
            cost = chunk_cost(replace(deployment, coefficients=c), decoding, decoding * 3000, parts, len(parts))
            found += [cost.seconds, step_energy_j(c, cost)]
        return [*found, encoder_cost(c, 2.0).seconds]

    built = [deployed(hardware, model, **options) for hardware, model, options in ALL_KINDS]
    for name in StepCoefficients._fields:
        changes = False
        for each in built:
            c = each.coefficients
            more = c._replace(**{name: getattr(c, name) * 1.5})
            changes |= outcomes(each, more) != outcomes(each, c)
        assert changes, name


def test_the_table_of_coefficients_keeps_every_field_in_its_place():
    table = np.zeros(3, COEFFICIENTS)
    c = StepCoefficients(*(float(i) for i in range(len(StepCoefficients._fields))))
    table[1] = tuple(c)
    assert coefficients_at(table, 1) == c


# --- Power -------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(cases, st.integers(0, 300), contexts, st.lists(chunks, max_size=2))
def test_power_stays_between_rest_and_peak(deployment, decoding, each, prompts):
    assume(decoding or prompts)
    cost = chunk_cost(deployment, decoding, decoding * each, tuple(prompts), len(prompts))
    assert 0.0 < cost.active_s <= cost.seconds
    drawn = step_energy_j(deployment.coefficients, cost) / cost.seconds
    assert deployment.idle_w < drawn <= deployment.peak_w * (1 + 1e-12)


@pytest.mark.parametrize(("hardware", "model", "options"), VARIED)
def test_prefill_draws_more_than_decode(hardware, model, options):
    deployment = deployed(hardware, model, **options)
    prefill = chunk_cost(deployment, 0, 0, ((0, 8192),), 1)
    decode = chunk_cost(deployment, 4, 4 * 500)
    assert prefill.active_s / prefill.seconds > decode.active_s / decode.seconds


def test_bubbles_of_a_pipeline_draw_no_dynamic_power():
    deployment = deployed("nvidia-h200-sxm", "llama-3.1-70b", "fp8", pipeline=4)
    lone, full = chunk_cost(deployment, 1, 500), chunk_cost(deployment, 64, 64 * 500)
    assert lone.active_s / lone.seconds < 0.3 * full.active_s / full.seconds


def test_power_is_that_of_all_chips_and_their_hosts():
    profile = load_profile("nvidia-h100-sxm", "here")
    deployment = deployed("nvidia-h100-sxm", "llama-3.1-70b", tensor=4, pipeline=2)
    assert deployment.chips == 8
    assert deployment.idle_w == pytest.approx(8 * (profile.power.idle.si + profile.power.host.si))
    assert deployment.peak_w == pytest.approx(8 * (profile.power.peak.si + profile.power.host.si))
    assert deployment.usd_per_s == pytest.approx(8 * profile.price.per_chip.si)
