"""Deployments for the tests of this folder, and the least work a step must do, counted without the package's help."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from inferencesim.deployment.deployment import Deployment, deploy
from inferencesim.deployment.engine import load_engine
from inferencesim.deployment.memory import engine_memory, smallest_fit
from inferencesim.deployment.step_time import MixedStep, StepCost, step_cost
from inferencesim.deployment.work import Counts, peak_rates, streaming, work
from inferencesim.hardware.catalog import load_profile
from inferencesim.hardware.profile import HardwareProfile
from inferencesim.models.catalog import load_model
from inferencesim.scenario.fleet import Parallelism, Pool

if TYPE_CHECKING:
    from inferencesim.models.spec import ModelSpec

BYTES = {"bf16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5625, "fp4": 0.5625}


def pool_of(hardware: str, model: str, precision: Any = "bf16", **fields: Any) -> Pool:
    return Pool.model_validate(
        {"name": "p", "hardware": hardware, "model": model, "precision": precision, **fields},
    )


def deployed(
    hardware: str | HardwareProfile,
    model: str | ModelSpec,
    precision: Any = "bf16",
    *,
    tensor: int = 1,
    pipeline: int = 1,
    expert: int = 1,
    attention_data: int = 1,
    **fields: Any,
) -> Deployment:
    """Deploy one replica; hardware and model by name or given. Efficiencies are the profile's own, not a fit's."""
    profile = load_profile(hardware, "here") if isinstance(hardware, str) else hardware
    spec = load_model(model, "here") if isinstance(model, str) else model
    parallelism = {"tensor": tensor, "pipeline": pipeline, "expert": expert, "attention_data": attention_data}
    pool = pool_of(profile.id, spec.id, precision, parallelism=parallelism, **({"calibration": "none"} | fields))
    return deploy(profile, spec, load_engine(pool.engine, "here"), pool, "pools[0]")


@functools.cache
def fitting(hardware: str, model: str, weights: str, activations: str, engine: str = "vllm") -> Parallelism | None:
    """Return the smallest tensor group that holds a model, else the fewest chips."""
    profile, spec = load_profile(hardware, "here"), load_model(model, "here")
    pool = pool_of(hardware, model, {"weights": weights, "activations": activations}, engine=engine)
    taken = engine_memory(profile, load_engine(pool.engine, "here"), None)
    return smallest_fit(profile, spec, pool.precision, pool.batching, taken)


def changed(hardware: str, path: str, factor: float) -> HardwareProfile:
    """Return a shipped profile with one of its numbers multiplied."""
    return with_factors(hardware, {path: factor})


def with_factors(hardware: str, factors: dict[str, float]) -> HardwareProfile:
    """Return a shipped profile with some of its numbers multiplied."""
    tree = load_profile(hardware, "here").model_dump(by_alias=True)
    for path, factor in factors.items():
        place = tree
        for step in path.split("."):
            place = place[step]
        place["value"] *= factor
    return HardwareProfile.model_validate(tree)


def chunk_cost(
    deployment: Deployment,
    decoding: float,
    context: float,
    chunks: tuple[tuple[int, int], ...] = (),
    outputs: int = 0,
) -> StepCost:
    """Return the cost of a step: `decoding` sequences over `context` tokens in all, and chunks (before, tokens)."""
    c = deployment.coefficients
    tokens = sum(count for _, count in chunks)
    pairs = sum(count * (before + count / 2.0) for before, count in chunks)
    windowed = sum(count * min(before + count / 2.0, c.window) for before, count in chunks)
    read = sum(before + count for before, count in chunks)
    arguments = (decoding, context, len(chunks), tokens, pairs, windowed, read, outputs)
    return step_cost(c, MixedStep(*(float(argument) for argument in arguments)))


def counted(
    deployment: Deployment, decoding: int, context_each: int, chunks: tuple[tuple[int, int], ...] = (), outputs: int = 0
) -> Counts:
    """Return the counts of one step: sequences of equal context, and chunks (before, tokens)."""
    window = deployment.coefficients.window
    tokens = float(sum(count for _, count in chunks))
    passed = streaming(deployment.latency, float(decoding), tokens)
    return Counts(
        decodes=decoding,
        decode_context=decoding * context_each,
        decode_window_context=decoding * min(context_each, window),
        prefill_tokens=tokens,
        prefill_pairs=sum(count * (before + count / 2.0) for before, count in chunks),
        prefill_window_pairs=sum(count * min(before + count / 2.0, window) for before, count in chunks),
        prefill_context=sum(before + count for before, count in chunks),
        prefill_window_context=sum(min(before, window) + count for before, count in chunks),
        chunks=len(chunks),
        ends=outputs,
        **passed._asdict(),
    )


def utilisation(
    deployment: Deployment,
    seconds: float,
    decoding: int,
    context_each: int,
    chunks: tuple[tuple[int, int], ...] = (),
    outputs: int = 0,
) -> tuple[float, float]:
    """Return MFU and MBU of a step that took so long."""
    done = work(deployment, counted(deployment, decoding, context_each, chunks, outputs))
    peak = peak_rates(deployment)
    return done.flops / (peak.flops * seconds), done.bytes / (peak.bytes * seconds)


class Matrices(NamedTuple):
    """Parameters of all layers, counted from the published shapes."""

    attention: float  #: projections of every layer, an indexer and output gates included
    ffn: float  #: dense feed-forward networks, shared experts, routers
    experts: float  #: all routed experts
    active: float  #: of those, what one token meets

    @property
    def always(self) -> float:
        """What every token meets."""
        return self.attention + self.ffn


@functools.cache
def layer_matrices(model: ModelSpec) -> Matrices:
    """Count the parameters of all layers from heads and widths, layer by kind."""
    hidden = model.hidden
    if model.mla is None:
        head_dim = model.head_dim or 0
        # Query, output and, where there is one, the gate of the output; key and value.
        each = hidden * head_dim * (model.heads * (3 if model.output_gate else 2) + 2 * model.kv_heads)
        if model.encoder is not None and model.encoder.cross_attention:
            # Query and output; keys and values are computed with the encoder.
            each += 2 * hidden * head_dim * model.heads
    else:
        mla = model.mla
        query = model.heads * (mla.nope + mla.rope)
        each = (
            (mla.q_lora_rank * (hidden + query) if mla.q_lora_rank else hidden * query)
            + hidden * (mla.kv_lora_rank + mla.rope)
            + mla.kv_lora_rank * model.heads * (mla.nope + mla.v)
            + model.heads * mla.v * hidden
        )
        if model.sparse_attention is not None:
            sparse = model.sparse_attention
            each += (mla.q_lora_rank or hidden) * sparse.index_heads * sparse.index_dim
            each += hidden * (sparse.index_dim + sparse.index_heads)
    attention, with_cache = 0, model.layers
    if model.linear_attention is not None:
        linear = model.linear_attention
        with_cache -= linear.layers
        keys, values = linear.key_heads * linear.key_dim, linear.value_heads * linear.value_dim
        # Query and key; value, gate and output; the update's strength and its decay per value head.
        attention += linear.layers * hidden * (2 * keys + 3 * values + 2 * linear.value_heads)
    attention += with_cache * each
    ffn, experts, active = 0, 0, 0
    dense_layers = model.layers
    if model.moe is not None:
        moe = model.moe
        dense_layers -= moe.layers
        expert = model.ffn_matrices * hidden * moe.ffn
        ffn += moe.layers * (moe.shared * expert + hidden * moe.experts)
        experts, active = moe.layers * moe.experts * expert, moe.layers * moe.active * expert
    if dense_layers:
        ffn += dense_layers * model.ffn_matrices * hidden * (model.dense_ffn or 0)
    return Matrices(float(attention), float(ffn), float(experts), float(active))


class Attention(NamedTuple):
    """Work of attention per layer, in the published shapes."""

    decode_flops: float  #: per query and attended token
    prefill_flops: float
    kv_elements: float  #: per attended token
    index_flops: float  #: of the indexer, per query and context token
    index_elements: float
    full_layers: int  #: that look at the whole context, or at the best `span` of it
    windowed_layers: int
    window: int
    span: float  #: tokens a full layer attends to at most

    def attended(self, context: float) -> float:
        """Return the context tokens one query attends to, over all layers."""
        return self.full_layers * min(context, self.span) + self.windowed_layers * min(context, self.window)


@functools.cache
def attention_of(model: ModelSpec) -> Attention:
    """Count the work of attention from heads and widths."""
    if model.mla is None:
        decode = prefill = 4.0 * model.heads * (model.head_dim or 0)
        # Without a cache, keys and values need not leave the chip.
        elements = 2.0 * model.kv_heads * (model.head_dim or 0) if model.causal_cache else 0.0
    else:
        mla = model.mla
        decode = 2.0 * model.heads * (2 * mla.kv_lora_rank + mla.rope)
        prefill = 2.0 * model.heads * (mla.nope + mla.rope + mla.v)
        elements = float(mla.kv_lora_rank + mla.rope)
    index_flops = index_elements = 0.0
    span = math.inf
    if model.sparse_attention is not None:
        sparse = model.sparse_attention
        # Every query has keys of its own, so that prefill does what decode does.
        prefill = decode
        index_flops = 2.0 * sparse.index_heads * (sparse.index_dim + 1)
        index_elements, span = float(sparse.index_dim), float(sparse.top_k)
    linear = model.linear_attention.layers if model.linear_attention else 0
    full = model.layers - linear - model.windowed_layers
    window = model.sliding_window or 0
    return Attention(decode, prefill, elements, index_flops, index_elements, full, model.windowed_layers, window, span)


def speed_of_light_s(
    deployment: Deployment,
    decoding: int,
    context_each: int,
    chunks: tuple[tuple[int, int], ...] = (),
    outputs: int = 0,
    verified: int = 1,
) -> float:
    """Return max(FLOPs / peak, bytes / bandwidth) over all chips, from datasheet and architecture alone.

    Each decoding sequence processes `verified` tokens, which read its context once.
    """
    hardware, model, precision = deployment.hardware, deployment.model, deployment.precision
    chips = deployment.parallelism.tensor * deployment.parallelism.pipeline
    matrices, attention = layer_matrices(model), attention_of(model)
    expert_weights, expert_activations = precision.of_experts
    tokens = decoding * verified + sum(count for _, count in chunks)
    sampled = decoding * verified + outputs if model.generates else 0

    pairs = decoding * attention.attended(context_each)
    attention_flops = verified * pairs * attention.decode_flops
    index_flops = verified * decoding * attention.full_layers * context_each * attention.index_flops
    cached = float(pairs) * attention.kv_elements
    cached += decoding * attention.full_layers * context_each * attention.index_elements
    for before, count in chunks:
        seen = count * before + count * count / 2.0
        # Queries whose context is cut at a window or at the best `span` tokens: the last of the chunk.
        narrow = 0.0
        for layers, reach in ((attention.full_layers, attention.span), (attention.windowed_layers, attention.window)):
            inside = min(max(reach - before, 0), count)
            narrow += layers * (inside * before + inside * inside / 2.0)
            narrow += layers * (count - inside) * reach if inside < count else 0.0
        attention_flops += narrow * attention.prefill_flops
        index_flops += attention.full_layers * seen * attention.index_flops
        read = attention.full_layers * min(before + count, attention.span + count)
        read += attention.windowed_layers * (min(before, attention.window) + count)
        cached += read * attention.kv_elements
        cached += attention.full_layers * (before + count) * attention.index_elements

    peak = hardware.compute["bf16"].si * chips
    compute_s = 2.0 * matrices.always * tokens / (hardware.compute[precision.activations].si * chips)
    compute_s += 2.0 * matrices.active * tokens / (hardware.compute[expert_activations].si * chips)
    compute_s += (attention_flops + index_flops + 2.0 * model.vocab * model.hidden * sampled) / peak

    touched = 0.0
    if model.moe is not None:
        touched = matrices.experts * (1.0 - (1.0 - model.moe.active / model.moe.experts) ** tokens)
    weight_bytes = matrices.always * BYTES[precision.weights] + touched * BYTES[expert_weights]
    head_bytes = 2.0 * model.vocab * model.hidden if sampled else 0.0
    state_bytes = 0.0
    if model.linear_attention is not None:
        linear = model.linear_attention
        each = linear.layers * linear.value_heads * linear.key_dim * linear.value_dim
        # Read and written once per sequence of the step, in 32 bits.
        state_bytes = (decoding + len(chunks)) * 2.0 * each * 4.0
    if model.encoder is not None and model.encoder.cross_attention:
        crossed = 2.0 * model.layers * model.kv_heads * (model.head_dim or 0) * model.encoder.positions
        state_bytes += (decoding + len(chunks)) * crossed * BYTES[precision.kv]
    total = weight_bytes + head_bytes + cached * BYTES[precision.kv] + state_bytes
    return float(max(compute_s, total / (hardware.memory.bandwidth.si * chips)))
