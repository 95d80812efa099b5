"""Datasheet and architecture as seconds per unit of work: the coefficients of a step."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, NamedTuple

from inferencesim.deployment.memory import EMBEDDING_BYTES, LIVE_FFN, LIVE_HIDDEN, STATE_BYTES, kv_shards
from inferencesim.deployment.step_time import StepCoefficients
from inferencesim.scenario.fleet import BYTES_PER_ELEMENT

if TYPE_CHECKING:
    from inferencesim.deployment.engine import Engine
    from inferencesim.hardware.profile import HardwareProfile
    from inferencesim.models.spec import ModelSpec
    from inferencesim.scenario.fleet import Parallelism, Precision, PrecisionName

#: Shares of (peak − idle): what a chip draws that runs anything at all, its clocks up, and what full compute and full
#: memory traffic add. The first is fitted to runs of Llama-2-70B on 2, 4 and 8 A100s (arXiv:2311.18677, the shares of
#: peak power in its data) and to servers at full load (MLPerf Inference v4.1 and v5.1, power); the others are class
#: priors: a prefill near peak power, a memory-bound decode at about two thirds.
BUSY_ACTIVITY = 0.2
COMPUTE_ACTIVITY = 0.85
MEMORY_ACTIVITY = 0.45

#: Weight matrices of a plain transformer layer (QKV, output, gate and up, down): what `overhead.layer` is the overhead
#: of. Experts and latent, sparse and linear attention launch more kernels, by their matrices.
PLAIN_MATRICES = 4.0

#: Rows at which grouped multiplications of experts reach half of their efficiency, at most: their kernels pick
#: tiles of 16 rows and fewer for small groups.
GROUPED_HALF_ROWS = 8.0

#: Formats of four bits, whose kernels unpack and rescale.
FOUR_BIT = frozenset({"fp4", "int4"})

#: Collectives move activations in sixteen bits, also in quantised deployments.
COLLECTIVE_BYTES = BYTES_PER_ELEMENT["bf16"]


def step_coefficients(
    hardware: HardwareProfile,
    model: ModelSpec,
    engine: Engine,
    precision: Precision,
    parallelism: Parallelism,
) -> StepCoefficients:
    """Turn datasheet and architecture into seconds per unit of work on one pipeline stage.

    Floating-point work is 2 FLOPs per parameter and token; memory work is each
    weight once per microbatch and each key and value once per query step. Both
    are divided over the chips that share them and by the achievable share of
    the peak (``efficiency`` in the profile): attention over the chips of one
    rank, all else over all chips of the stage.
    """
    tensor, stages, ranks = parallelism.tensor, parallelism.pipeline, parallelism.attention_data
    rank_chips = tensor // ranks
    rates = hardware.efficiency
    dense_flops = _flops(hardware, precision.activations, rates.compute.si)
    dense_bandwidth = hardware.memory.bandwidth.si * rates.memory.si
    if precision.weights in FOUR_BIT:
        dense_bandwidth *= rates.four_bit_memory.si
    expert_weights, expert_activations = precision.of_experts
    expert_flops = _flops(hardware, expert_activations, rates.expert_compute.si)
    expert_bandwidth = hardware.memory.bandwidth.si * rates.expert_memory.si
    attention_flops = hardware.compute["bf16"].si * rates.attention.si * rank_chips
    head_flops = hardware.compute["bf16"].si * rates.compute.si
    cache_bandwidth = hardware.memory.bandwidth.si * rates.cache.si
    plain_bandwidth = hardware.memory.bandwidth.si * rates.memory.si

    experts, active, routed, expert_parameters = 0.0, 0.0, 0.0, 0.0
    if model.moe is not None:
        experts, active = float(model.moe.experts), float(model.moe.active)
        expert_parameters = float(model.moe.layers * model.moe.experts * model.expert_parameters)
        routed = expert_parameters * active / experts
    attention = float(
        model.attention_layers * model.attention_parameters + model.linear_layers * model.linear_attention_parameters
    )
    ffn = float(model.layer_parameters) - attention - expert_parameters

    cache = _cache_costs(model, precision, rank_chips, cache_bandwidth)
    decode_s = model.attention_flops_decode / attention_flops
    prefill_s = model.attention_flops_prefill / attention_flops
    index_s = model.indexer_flops / attention_flops
    # Layers that look at the whole context: full attention, or the indexer of sparse attention.
    sparse = model.sparse_attention is not None
    whole = model.full_layers
    narrow = model.full_layers if sparse else model.windowed_layers
    window = model.attention_span if sparse else float(model.sliding_window or math.inf)

    # A linear layer's state is read and written once per step; its chunked prefill is charged as one pass. Keys and
    # values of an encoder's positions are read.
    state_bytes = 2.0 * model.state_elements * STATE_BYTES / rank_chips
    state_bytes += model.cross_elements * BYTES_PER_ELEMENT[precision.kv] / kv_shards(model, rank_chips)

    collective_s_per_token, collective_latency_s = _collectives(hardware, model, parallelism)
    hop_s_per_token, hop_latency_s = 0.0, 0.0
    if stages > 1:
        link = hardware.scale_up if parallelism.chips <= hardware.scale_up.domain.si else hardware.scale_out
        hop_s_per_token = model.hidden * COLLECTIVE_BYTES / (link.bandwidth.si * rates.link.si)
        hop_latency_s = link.latency.si

    chips = parallelism.chips
    overhead = hardware.overhead
    matrices = sum(matrix.layers for matrix in (*model.gemms, *model.expert_gemms))
    plain_layers = matrices / PLAIN_MATRICES
    layers_s = overhead.layer.si * plain_layers + overhead.expert_layer.si * model.moe_layers
    ffn_s_per_token = 2.0 * ffn / stages / (dense_flops * tensor)
    attention_s_per_token = 2.0 * attention / stages / (dense_flops * rank_chips)
    ffn_weight_s = ffn * BYTES_PER_ELEMENT[precision.weights] / stages / (dense_bandwidth * tensor)
    attention_weight_s = attention * BYTES_PER_ELEMENT[precision.weights] / stages / (dense_bandwidth * rank_chips)
    weights_s, compute_s = ffn_weight_s + attention_weight_s, ffn_s_per_token + attention_s_per_token
    half_rows = rates.half_rows.si
    return StepCoefficients(
        stages=float(stages),
        ranks=float(ranks),
        verified=1.0,
        exposed=1.0 - rates.overlap.si,
        half_tokens=half_rows,
        microbatch_tokens=max(1.0, weights_s / compute_s) + half_rows,
        attention_s_per_token=attention_s_per_token,
        attention_weight_s=attention_weight_s,
        ffn_s_per_token=ffn_s_per_token,
        ffn_weight_s=ffn_weight_s,
        experts=experts,
        experts_active=active,
        expert_s_per_token=2.0 * routed / stages / (expert_flops * tensor),
        expert_weight_s=expert_parameters * BYTES_PER_ELEMENT[expert_weights] / stages / (expert_bandwidth * tensor),
        expert_half_tokens=min(half_rows, GROUPED_HALF_ROWS),
        expert_groups=float(parallelism.expert),
        expert_spread=_largest_of_normals(parallelism.expert),
        activation_s_per_token=_activation_bytes(model, precision, parallelism) / stages / plain_bandwidth,
        decode_compute_s=whole * (index_s if sparse else decode_s) / stages,
        decode_memory_s=whole * (cache.index_s if sparse else cache.kv_s) / stages,
        window_compute_s=narrow * decode_s / stages,
        window_memory_s=narrow * cache.kv_s / stages,
        window=window if narrow else math.inf,
        state_s_per_sequence=state_bytes / stages / cache_bandwidth,
        prefill_compute_s=whole * (index_s if sparse else model.pairs_per_causal_pair * prefill_s) / stages,
        prefill_window_compute_s=narrow * prefill_s / stages,
        # The vocabulary is cut over all chips, each of which takes the outputs of all ranks.
        head_s_per_output=model.head_flops_per_token / stages / (head_flops * rank_chips),
        head_weight_s=model.head_parameters * EMBEDDING_BYTES / stages / (plain_bandwidth * tensor),
        collective_s_per_token=collective_s_per_token / stages,
        collective_latency_s=collective_latency_s / stages,
        hop_s_per_token=hop_s_per_token,
        stage_overhead_s=overhead.step.si + hop_latency_s + layers_s / stages,
        encoder_s_per_unit=_encoder_seconds(hardware, model, tensor),
        prefill_launch_s=engine.launch.si * plain_layers / stages,
        engine_step_s=engine.step.si,
        engine_sequence_s=engine.sequence.si,
        engine_request_s=engine.request.si,
        busy_activity=BUSY_ACTIVITY,
        compute_activity=COMPUTE_ACTIVITY,
        memory_activity=MEMORY_ACTIVITY,
        idle_w=(hardware.power.idle.si + hardware.power.host.si) * chips,
        dynamic_w=(hardware.power.peak.si - hardware.power.idle.si) * chips,
    )


def _encoder_seconds(hardware: HardwareProfile, model: ModelSpec, chips: int) -> float:
    """Return the seconds of one unit of encoder work, in sixteen bits, over the chips of one stage.

    It is bound by compute: a unit has so many positions that its weights are streamed in a fraction of the time.
    """
    encoder = model.encoder
    if encoder is None:
        return 0.0
    peak, rates = hardware.compute["bf16"].si * chips, hardware.efficiency
    tiles = 1.0 + rates.half_rows.si / encoder.positions
    return tiles * encoder.matrix_flops / (peak * rates.compute.si) + encoder.attention_flops / (
        peak * rates.attention.si
    )


def _largest_of_normals(count: int) -> float:
    """Return the expected largest of `count` standard normal numbers (Blom, Statistical Estimates, 1958)."""
    return statistics.NormalDist().inv_cdf((count - 0.375) / (count + 0.25)) if count > 1 else 0.0


def _flops(hardware: HardwareProfile, activations: PrecisionName, share: float) -> float:
    """Return the FLOPS one chip achieves in multiplications of this format: its peak, times what kernels reach."""
    unpacking = hardware.efficiency.four_bit_compute.si if activations in FOUR_BIT else 1.0
    return hardware.compute[activations].si * share * unpacking


def _activation_bytes(model: ModelSpec, precision: Precision, parallelism: Parallelism) -> float:
    """Return the bytes of activations written and read per token: the hidden state on each chip, the FFN's divided."""
    widths = float(model.dense_layers * (model.dense_ffn or 0))
    if model.moe is not None:
        widths += model.moe.layers * model.moe.ffn * (model.moe.active + model.moe.shared)
    element = BYTES_PER_ELEMENT[precision.activations]
    return element * (LIVE_HIDDEN * model.hidden * model.layers + LIVE_FFN * widths / parallelism.tensor)


class _CacheCosts(NamedTuple):
    """Seconds to read the cache of one token in one layer, keys and values or index keys."""

    kv_s: float
    index_s: float


def _cache_costs(model: ModelSpec, precision: Precision, rank_chips: int, bandwidth: float) -> _CacheCosts:
    # Each chip reads its shard at the same time; where heads are copied, so are the bytes.
    element_s = BYTES_PER_ELEMENT[precision.kv] / bandwidth
    shards = kv_shards(model, rank_chips)
    return _CacheCosts(
        model.kv_elements_per_token_per_layer * element_s / shards, model.index_elements_per_token_per_layer * element_s
    )


def _collectives(hardware: HardwareProfile, model: ModelSpec, parallelism: Parallelism) -> tuple[float, float]:
    """Return (seconds per token of a rank, seconds of latency) of all layers' collectives.

    With tensor parallelism alone a layer has two all-reduces, after attention
    and after the FFN: each moves 2 (n − 1) / n of the activations (ring) and
    takes log2 n link latencies (tree) beside its launch. Experts spread over
    the chips change neither: every chip holds all tokens, and the second
    all-reduce sums what the experts' owners computed. With data-parallel
    attention only the chips of one rank reduce after attention; before and
    after the FFN a rank's tokens go to the others and come back: to all of
    them (all-gather and reduce-scatter) or to the owners of their experts
    (all-to-all), whichever moves less.
    """
    n, ranks = parallelism.tensor, parallelism.attention_data
    if n == 1:
        return 0.0, 0.0
    link = hardware.scale_up if n <= hardware.scale_up.domain.si else hardware.scale_out
    launch = hardware.overhead.collective.si
    per_token = model.hidden * COLLECTIVE_BYTES / (link.bandwidth.si * hardware.efficiency.link.si)

    def reduce(group: int) -> tuple[float, float]:
        if group == 1:
            return 0.0, 0.0
        return 2.0 * (group - 1) / group * per_token, launch + math.ceil(math.log2(group)) * link.latency.si

    attention_s, attention_start = reduce(n // ranks)
    second_s, second_start = reduce(n)
    if ranks > 1:
        copies = min(ranks, model.moe.active) if model.moe is not None and parallelism.expert > 1 else ranks
        second_s, second_start = copies * second_s, 2.0 * second_start
    layers = float(model.layers)
    return layers * (attention_s + second_s), layers * (attention_start + second_start)
