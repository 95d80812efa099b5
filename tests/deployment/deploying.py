"""Deployments for the tests of this folder, and the least work a step must do, counted without the package's help."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from inferencesim.deployment.deployment import Deployment, deploy
from inferencesim.deployment.engine import load_engine
from inferencesim.deployment.memory import memory_share, smallest_fit
from inferencesim.deployment.step_time import StepCost, step_cost
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
    **fields: Any,
) -> Deployment:
    """Deploy one replica; hardware and model by name or given."""
    profile = load_profile(hardware, "here") if isinstance(hardware, str) else hardware
    spec = load_model(model, "here") if isinstance(model, str) else model
    parallelism = {"tensor": tensor, "pipeline": pipeline, "expert": expert}
    pool = pool_of(profile.id, spec.id, precision, parallelism=parallelism, **fields)
    return deploy(profile, spec, load_engine(pool.engine, "here"), pool, "pools[0]")


@functools.cache
def fitting(hardware: str, model: str, weights: str, activations: str) -> Parallelism | None:
    """Return the parallelism with the fewest chips, as the error message would recommend it."""
    profile, spec = load_profile(hardware, "here"), load_model(model, "here")
    pool = pool_of(hardware, model, {"weights": weights, "activations": activations})
    share = memory_share(profile, load_engine(pool.engine, "here"), None)
    return smallest_fit(profile, spec, pool.precision, pool.batching, share)


def changed(hardware: str, path: str, factor: float) -> HardwareProfile:
    """Return a shipped profile with one of its numbers multiplied."""
    tree = load_profile(hardware, "here").model_dump(by_alias=True)
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
    return step_cost(c, *(float(argument) for argument in arguments))


def layer_matrices(model: ModelSpec) -> tuple[float, float, float]:
    """Return the parameters of all layers: those every token meets, all routed experts, and the active of them."""
    if model.mla is None:
        head_dim = model.head_dim or 0
        attention = 2 * model.hidden * head_dim * (model.heads + model.kv_heads)
    else:
        mla = model.mla
        query = model.heads * (mla.nope + mla.rope)
        attention = (
            (mla.q_lora_rank * (model.hidden + query) if mla.q_lora_rank else model.hidden * query)
            + model.hidden * (mla.kv_lora_rank + mla.rope)
            + mla.kv_lora_rank * model.heads * (mla.nope + mla.v)
            + model.heads * mla.v * model.hidden
        )
    always, routed, active = float(model.layers * attention), 0.0, 0.0
    dense_layers = model.layers
    if model.moe is not None:
        moe = model.moe
        dense_layers -= moe.layers
        expert = model.ffn_matrices * model.hidden * moe.ffn
        always += moe.layers * (moe.shared * expert + model.hidden * moe.experts)
        routed, active = float(moe.layers * moe.experts * expert), float(moe.layers * moe.active * expert)
    if dense_layers:
        always += dense_layers * model.ffn_matrices * model.hidden * (model.dense_ffn or 0)
    return always, routed, active


def speed_of_light_s(
    deployment: Deployment,
    decoding: int,
    context_each: int,
    chunks: tuple[tuple[int, int], ...] = (),
    outputs: int = 0,
) -> float:
    """Return max(FLOPs / peak, bytes / bandwidth) over all chips, from datasheet and architecture alone."""
    hardware, model, precision = deployment.hardware, deployment.model, deployment.precision
    chips = deployment.parallelism.tensor * deployment.parallelism.pipeline
    always, routed, active = layer_matrices(model)
    tokens = decoding + sum(count for _, count in chunks)
    sampled = decoding + outputs
    window = model.sliding_window or 0
    full_layers = model.layers - model.windowed_layers

    if model.mla is None:
        per_pair_decode = per_pair_prefill = 4.0 * model.heads * (model.head_dim or 0)
        kv_elements = 2.0 * model.kv_heads * (model.head_dim or 0)
    else:
        mla = model.mla
        per_pair_decode = 2.0 * model.heads * (2 * mla.kv_lora_rank + mla.rope)
        per_pair_prefill = 2.0 * model.heads * (mla.nope + mla.rope + mla.v)
        kv_elements = float(mla.kv_lora_rank + mla.rope)

    pairs = decoding * (full_layers * context_each + model.windowed_layers * min(context_each, window))
    attention_flops = pairs * per_pair_decode
    cached = float(pairs)
    for before, count in chunks:
        seen = count * before + count * count / 2.0
        # Queries whose context is cut at the window: the last of the chunk.
        inside = min(max(window - before, 0), count)
        seen_in_window = inside * before + inside * inside / 2.0 + (count - inside) * window
        attention_flops += (full_layers * seen + model.windowed_layers * seen_in_window) * per_pair_prefill
        cached += full_layers * (before + count) + model.windowed_layers * (min(before, window) + count)

    linear_flops = 2.0 * (always + active) * tokens
    head_flops = 2.0 * model.vocab * model.hidden * sampled
    linear_peak = hardware.compute[precision.activations].si * chips
    peak = hardware.compute["bf16"].si * chips
    compute_s = linear_flops / linear_peak + (attention_flops + head_flops) / peak

    touched = 0.0
    if model.moe is not None:
        touched = routed * (1.0 - (1.0 - model.moe.active / model.moe.experts) ** tokens)
    weight_bytes = (always + touched) * BYTES[precision.weights]
    head_bytes = 2.0 * model.vocab * model.hidden if sampled else 0.0
    kv_bytes = cached * kv_elements * BYTES[precision.kv]
    memory_s = (weight_bytes + head_bytes + kv_bytes) / (hardware.memory.bandwidth.si * chips)
    return float(max(compute_s, memory_s))
