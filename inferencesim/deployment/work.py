"""The work a replica did: counts that the kernel sums, as FLOPs and bytes of its model's architecture.

Model FLOPs utilisation (MFU) is FLOPs per second of busy time over the peak, and
model bandwidth utilisation (MBU) the same of bytes: of weights and cache, without
activations. Efficiencies do not enter: they are what the two ratios show. What a chip reads counts on each chip that
reads it: where data-parallel attention or more chips than heads keep copies,
every copy is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inferencesim.deployment.latency import latency_of
from inferencesim.deployment.memory import EMBEDDING_BYTES, STATE_BYTES, kv_shards
from inferencesim.deployment.speculation import on_last_stage
from inferencesim.deployment.step_time import coefficients_at, distinct_experts, microbatches
from inferencesim.jit import compiled
from inferencesim.scenario.fleet import BYTES_PER_ELEMENT

if TYPE_CHECKING:
    from inferencesim.deployment.deployment import Deployment
    from inferencesim.deployment.latency import LatencyModel, LatencyModels
    from inferencesim.models.spec import ModelSpec
    from inferencesim.scenario.fleet import Parallelism, Precision


class Counts(NamedTuple):
    """What a replica's steps processed, summed over them; none is derived from another."""

    decodes: float = 0.0  #: decoding sequences, one for each step it was in, whatever it verified there
    decode_context: float = 0.0  #: context tokens they read in total
    decode_window_context: float = 0.0  #: the same, at most `window` of the coefficients for each sequence
    prefill_tokens: float = 0.0  #: tokens of all chunks
    prefill_pairs: float = 0.0  #: (query, context) pairs of the chunks: Σ chunk · (before + chunk / 2)
    prefill_window_pairs: float = 0.0  #: the same, with the context cut at `window`
    prefill_context: float = 0.0  #: context tokens the chunks read: Σ (before + chunk)
    prefill_window_context: float = 0.0  #: the same in layers with a window: Σ (min(before, window) + chunk)
    chunks: float = 0.0  #: chunks of prompts
    ends: float = 0.0  #: of those, the ones that end their prompt, hence sample a token
    passes: float = 0.0  #: passes over the weights: microbatches of all steps
    expert_passes: float = 0.0  #: the same over the experts: Σ share of them that a pass touches
    draft_passes: float = 0.0  #: passes over a draft model's weights
    draft_expert_passes: float = 0.0  #: the same over its experts
    media_units: float = 0.0  #: units of encoder work


#: A table of counts: one record per replica, fields as in :class:`Counts`.
COUNTS = np.dtype([(name, np.float64) for name in Counts._fields])


class Streaming(NamedTuple):
    """Passes over weights of one step, by the fields of :class:`Counts` they add to."""

    passes: float
    expert_passes: float
    draft_passes: float
    draft_expert_passes: float


class Work(NamedTuple):
    """Floating-point operations and bytes of memory traffic; or both per second."""

    flops: float
    bytes: float


@compiled
def streaming(model: LatencyModel, decoding: float, prefill_tokens: float) -> Streaming:
    """Return the passes over weights of a step with so many decoding sequences and tokens of chunks."""
    c = model.coefficients
    passes = microbatches(c, decoding, prefill_tokens)
    share = _experts_touched(c.experts, c.experts_active, (c.verified * decoding + prefill_tokens) / passes)
    if model.passes == 0:
        return Streaming(passes, passes * share, 0.0, 0.0)
    draft = coefficients_at(model.drafts, model.row)
    # The first pass of the draft has the chunks in it, the others the decoding sequences alone.
    first = _experts_touched(draft.experts, draft.experts_active, decoding + prefill_tokens)
    further = model.passes - 1.0 if decoding > 0.0 else 0.0
    each = _experts_touched(draft.experts, draft.experts_active, decoding)
    return Streaming(passes, passes * share, 1.0 + further, first + further * each)


@compiled
def streaming_of(models: LatencyModels, row: int, decoding: float, prefill_tokens: float) -> Streaming:
    """Return :func:`streaming` of one deployment."""
    return streaming(latency_of(models, row), decoding, prefill_tokens)


@compiled
def _experts_touched(experts: float, active: float, tokens: float) -> float:
    """Return the share of a layer's experts that so many tokens touch; 0 without experts."""
    return distinct_experts(experts, active, tokens) / experts if experts > 0.0 else 0.0


def work(deployment: Deployment, counts: Counts) -> Work:
    """Return the FLOPs and bytes of what a replica processed, over all its chips."""
    precision, parallelism = deployment.precision, deployment.parallelism
    own = _work_of(
        deployment.model,
        precision,
        parallelism,
        counts._replace(draft_passes=0.0),
        deployment.drafts + 1.0,
    )
    encoder = deployment.model.encoder
    flops = own.flops + (0.0 if encoder is None else encoder.flops * counts.media_units)
    drafter = deployment.drafter
    if drafter is None or drafter.model is None:
        return Work(flops, own.bytes)
    times = float(drafter.drafts)
    of_draft = counts._replace(
        decodes=times * counts.decodes,
        decode_context=times * counts.decode_context,
        decode_window_context=times * counts.decode_window_context,
        passes=counts.draft_passes,
        expert_passes=counts.draft_expert_passes,
    )
    draft = _work_of(drafter.model, precision, on_last_stage(parallelism, drafter.model), of_draft, 1.0)
    return Work(flops + draft.flops, own.bytes + draft.bytes)


def _work_of(model: ModelSpec, precision: Precision, parallelism: Parallelism, counts: Counts, verified: float) -> Work:
    """Return the work of one model whose decoding sequences have `verified` tokens in a step."""
    tokens = verified * counts.decodes + counts.prefill_tokens
    outputs = verified * counts.decodes + counts.ends
    sparse = model.sparse_attention is not None
    # Layers by what a query sees: the whole context (an indexer, with sparse attention) or a window of it.
    whole, narrow = model.full_layers, model.full_layers if sparse else model.windowed_layers
    whole_decode = model.indexer_flops if sparse else model.attention_flops_decode
    whole_prefill = model.indexer_flops if sparse else model.attention_flops_prefill
    pairs = model.pairs_per_causal_pair * counts.prefill_pairs
    flops = (
        model.linear_flops_per_token * tokens
        + model.head_flops_per_token * outputs
        + whole * (whole_decode * verified * counts.decode_context + whole_prefill * pairs)
        + narrow * model.attention_flops_decode * verified * counts.decode_window_context
        + narrow * model.attention_flops_prefill * counts.prefill_window_pairs
    )

    rank_chips = parallelism.rank_chips
    element = BYTES_PER_ELEMENT[precision.kv]
    kv_bytes = model.kv_elements_per_token_per_layer * element * rank_chips / kv_shards(model, rank_chips)
    whole_bytes = model.index_elements_per_token_per_layer * element * rank_chips if sparse else kv_bytes
    expert_weights, _ = precision.of_experts
    experts = float(model.moe_layers * model.moe.experts * model.expert_parameters) if model.moe is not None else 0.0
    attention = float(
        model.attention_layers * model.attention_parameters + model.linear_layers * model.linear_attention_parameters
    )
    others = model.layer_parameters - experts - attention
    weights = (parallelism.attention_data * attention + others) * BYTES_PER_ELEMENT[precision.weights]
    states = 2.0 * model.state_elements * STATE_BYTES
    states += model.cross_elements * element * rank_chips / kv_shards(model, rank_chips)
    return Work(
        flops,
        counts.passes * (weights + model.head_parameters * EMBEDDING_BYTES)
        + counts.expert_passes * experts * BYTES_PER_ELEMENT[expert_weights]
        + whole * whole_bytes * (counts.decode_context + counts.prefill_context)
        + narrow * kv_bytes * (counts.decode_window_context + counts.prefill_window_context)
        + states * (counts.decodes + counts.chunks),
    )


def peak_rates(deployment: Deployment) -> Work:
    """Return what all chips of a replica do per second at most, in the fastest format it multiplies in."""
    hardware, precision = deployment.hardware, deployment.precision
    _, expert_activations = precision.of_experts
    formats = {"bf16", precision.activations} | ({expert_activations} if deployment.model.moe is not None else set())
    flops = max(rate.si for name, rate in hardware.compute.items() if name in formats)
    return Work(flops * deployment.chips, hardware.memory.bandwidth.si * deployment.chips)
