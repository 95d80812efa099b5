"""How long one engine step takes, and how much power it draws.

A step of a replica processes one token of each decoding sequence (with
speculative decoding also those it verifies) and a chunk of each sequence in
prefill. It is the sum of its operators, each a roofline of its
own: the larger of its compute and its memory time, and of the smaller one the
share that is not hidden behind it. Operators are evaluated for one pipeline
stage, one microbatch and, with data-parallel attention, one rank, then put
together::

    stage     = attention projections + FFN + experts + activations + attention + recurrent state
                + head + collectives + layer overheads
    iteration = stages · stage(tokens / microbatches) + engine overheads

With as many microbatches as stages the pipeline is full, and each stage streams
its share of the weights once per microbatch; with fewer, a token still has to
cross all stages, and the rest of the pipeline idles. The ranks of data-parallel
attention each hold their own sequences and meet in the FFN or the experts.

All times are seconds. Every coefficient already carries its efficiency (a share
of the datasheet peak, at most 1), so no step can beat the speed of light of its
hardware. For a fixed number of decoding sequences the time is piecewise linear
in their total context, which lets the kernel jump over many steps at once
(:func:`decode_line`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inferencesim.jit import inlined

if TYPE_CHECKING:
    from numpy.typing import NDArray


class StepCoefficients(NamedTuple):
    """What the kernel knows of a deployment: seconds per unit of work on one pipeline stage.

    "Per token" and "per sequence" are of one rank for attention, and of all ranks for FFN and experts.
    """

    stages: float  #: pipeline stages
    ranks: float  #: ranks of data-parallel attention
    verified: float  #: tokens of a decoding sequence in one step: 1, and the drafts of speculative decoding
    exposed: float  #: share of the shorter of compute and memory time that the longer one does not hide
    half_tokens: float  #: rows at which a matrix multiplication reaches half of its efficiency
    microbatch_tokens: float  #: prefill tokens worth a microbatch of their own: where compute outlasts the weights
    attention_s_per_token: float  #: projections of attention layers, compute
    attention_weight_s: float  #: streaming their weights once
    ffn_s_per_token: float  #: dense FFN, shared experts and routers, compute
    ffn_weight_s: float  #: streaming their weights once
    experts: float  #: routed experts per layer (0: a dense model)
    experts_active: float  #: routed experts per token
    expert_s_per_token: float  #: expert multiplications of one token, compute
    expert_weight_s: float  #: streaming all experts of the stage once
    expert_half_tokens: float  #: rows per expert at which its multiplication reaches half of its efficiency
    expert_groups: float  #: groups of chips the experts are spread over (1: each expert is divided over all chips)
    expert_spread: float  #: excess load of the busiest group, × √(token-expert pairs of a group)
    activation_s_per_token: float  #: reading and writing activations
    decode_compute_s: float  #: attention (or the indexer) of one query over one context token, whole context, compute
    decode_memory_s: float  #: the same, reading its keys and values (or index keys)
    window_compute_s: float  #: as above, layers that attend to `window` tokens at most
    window_memory_s: float
    window: float  #: tokens such a layer attends to: sliding window or top-k of sparse attention (infinite: none)
    state_s_per_sequence: float  #: reading and writing the recurrent state of linear attention
    prefill_compute_s: float  #: attention (or the indexer) per (query, context) pair in prefill, whole context
    prefill_window_compute_s: float  #: attention per (query, attended) pair in prefill, layers with a window
    head_s_per_output: float  #: LM head, compute, per sampled token
    head_weight_s: float  #: streaming the LM head once
    collective_s_per_token: float  #: moving activations between the chips of a stage
    collective_latency_s: float  #: starting those collectives
    hop_s_per_token: float  #: sending activations to the next stage
    stage_overhead_s: float  #: launches, barriers and hops of one stage
    encoder_s_per_unit: float  #: an encoder's work on one image or window of audio, compute
    prefill_launch_s: float  #: what launching a step with prefill adds: no captured graph covers it
    engine_step_s: float  #: scheduling one step on the host
    engine_sequence_s: float  #: host work per sequence of a step
    engine_request_s: float  #: between client and engine, there and back; it holds no seat
    busy_activity: float  #: dynamic power of a chip that runs anything, as a share of peak − idle
    compute_activity: float  #: what full compute adds, likewise
    memory_activity: float  #: what full memory traffic adds, likewise
    idle_w: float  #: the replica at rest, chips and their share of the host
    dynamic_w: float  #: peak − idle


class StepCost(NamedTuple):
    """Duration of a step and the time its dynamic power was drawn in full."""

    seconds: float
    active_s: float


class MixedStep(NamedTuple):
    """What a step with prefill in it processes."""

    decoding: float  #: decoding sequences
    context: float  #: context tokens they read in total
    prefilling: float  #: sequences with a prefill chunk in this step
    prefill_tokens: float  #: of all chunks
    prefill_pairs: float  #: (query, context) pairs of the chunks: Σ chunk · (before + chunk / 2)
    prefill_window_pairs: float  #: the same, with the context cut at the window
    prefill_context: float  #: context tokens whose keys and values the chunks read: Σ (before + chunk)
    prefill_outputs: float  #: chunks that end their prompt, hence sample a token


class DecodeLine(NamedTuple):
    """A decode-only step as a function of the total context X: seconds = fixed + slope · X up to `limit`."""

    fixed_s: float
    slope_s: float
    fixed_active_s: float
    slope_active_s: float
    limit: float


#: A table of coefficients: one record per deployment, fields as in :class:`StepCoefficients`.
COEFFICIENTS = np.dtype([(name, np.float64) for name in StepCoefficients._fields])


@inlined
def coefficients_at(table: NDArray[np.void], row: int) -> StepCoefficients:
    """Read the coefficients in one row of a COEFFICIENTS table."""
    c = table[row]
    return StepCoefficients(
        c["stages"],
        c["ranks"],
        c["verified"],
        c["exposed"],
        c["half_tokens"],
        c["microbatch_tokens"],
        c["attention_s_per_token"],
        c["attention_weight_s"],
        c["ffn_s_per_token"],
        c["ffn_weight_s"],
        c["experts"],
        c["experts_active"],
        c["expert_s_per_token"],
        c["expert_weight_s"],
        c["expert_half_tokens"],
        c["expert_groups"],
        c["expert_spread"],
        c["activation_s_per_token"],
        c["decode_compute_s"],
        c["decode_memory_s"],
        c["window_compute_s"],
        c["window_memory_s"],
        c["window"],
        c["state_s_per_sequence"],
        c["prefill_compute_s"],
        c["prefill_window_compute_s"],
        c["head_s_per_output"],
        c["head_weight_s"],
        c["collective_s_per_token"],
        c["collective_latency_s"],
        c["hop_s_per_token"],
        c["stage_overhead_s"],
        c["encoder_s_per_unit"],
        c["prefill_launch_s"],
        c["engine_step_s"],
        c["engine_sequence_s"],
        c["engine_request_s"],
        c["busy_activity"],
        c["compute_activity"],
        c["memory_activity"],
        c["idle_w"],
        c["dynamic_w"],
    )


@inlined
def _roofline(c: StepCoefficients, compute_s: float, memory_s: float) -> StepCost:
    """Return the larger of the two times and the exposed share of the smaller, and how much drew dynamic power."""
    seconds = max(compute_s, memory_s) + c.exposed * min(compute_s, memory_s)
    work = c.compute_activity * compute_s + c.memory_activity * memory_s
    return StepCost(seconds, min(seconds, c.busy_activity * seconds + work))


@inlined
def distinct_experts(experts: float, active: float, tokens: float) -> float:
    """Return the expected number of distinct experts a batch touches in one layer.

    Each of `tokens` tokens picks `active` of `experts` uniformly, so an expert
    is left out with probability (1 − active/experts)^tokens.
    """
    if experts <= 0.0 or tokens <= 0.0:
        return 0.0
    return float(experts * (1.0 - (1.0 - active / experts) ** tokens))


@inlined
def expert_imbalance(c: StepCoefficients, tokens: float) -> float:
    """Return the load of the busiest group of experts over the mean load: 1 without expert parallelism.

    Routing at random gives a group of n groups a number of token-expert pairs
    with mean m = tokens · active / n and deviation √m, and the largest of n
    such numbers is about m + z · √m; `expert_spread` is z, the expected largest
    of n standard normal numbers.
    """
    if c.expert_groups <= 1.0:
        return 1.0
    pairs = max(1.0, tokens * c.experts_active / c.expert_groups)
    return min(c.expert_groups, 1.0 + c.expert_spread / math.sqrt(pairs))


@inlined
def _by_tokens(c: StepCoefficients, tokens: float, rank_tokens: float, outputs: float) -> StepCost:
    """Cost of one stage and microbatch, all but attention itself: it depends on the number of tokens only.

    `tokens` are those of all ranks; `rank_tokens` and `outputs` those of the busiest rank.
    """
    projections = _roofline(c, c.attention_s_per_token * (rank_tokens + c.half_tokens), c.attention_weight_s)
    ffn = _roofline(c, c.ffn_s_per_token * (tokens + c.half_tokens), c.ffn_weight_s)
    seconds = projections.seconds + ffn.seconds
    active = projections.active_s + ffn.active_s
    if c.experts > 0.0:
        touched = distinct_experts(c.experts, c.experts_active, tokens)
        busiest = expert_imbalance(c, tokens)
        rows = tokens + c.expert_half_tokens * touched / c.experts_active
        routed = _roofline(
            c, c.expert_s_per_token * rows * busiest, c.expert_weight_s * min(1.0, touched / c.experts * busiest)
        )
        seconds += routed.seconds
        active += routed.active_s
    moved = _roofline(c, 0.0, c.activation_s_per_token * rank_tokens)
    head = _roofline(c, c.head_s_per_output * outputs, c.head_weight_s)
    seconds += moved.seconds + head.seconds
    active += moved.active_s + head.active_s
    between = c.collective_latency_s + (c.collective_s_per_token + c.hop_s_per_token) * rank_tokens
    between += c.stage_overhead_s
    return StepCost(seconds + between, active + c.busy_activity * between)


@inlined
def microbatches(c: StepCoefficients, decoding: float, prefill_tokens: float) -> float:
    """Return into how many microbatches a step is divided: at most one per stage, and no sequence is divided."""
    return min(c.stages, max(1.0, decoding + prefill_tokens / c.microbatch_tokens))


@inlined
def decode_line(c: StepCoefficients, decoding: float, context: float) -> DecodeLine:
    """Return the cost of decode-only steps as a line in the total context.

    Parameters
    ----------
    c : StepCoefficients
    decoding : float
        Sequences in the batch, at least 1.
    context : float
        Total context tokens read by the first of the steps.

    Returns
    -------
    DecodeLine
        Valid from `context` up to its `limit`, where the sliding windows fill.
    """
    micro = microbatches(c, decoding, 0.0)
    tokens = decoding / micro
    # Sequences are not divided: with fewer of them than ranks, each rank that has one takes as long as if all had.
    sharing = min(c.ranks, max(1.0, tokens))
    parts = micro * sharing
    verified = c.verified * tokens
    base = _by_tokens(c, verified, verified / sharing, verified / sharing)
    state = _roofline(c, 0.0, c.state_s_per_sequence * tokens / sharing)
    # All tokens of a sequence attend to the same keys and values, which are read once.
    full = _roofline(c, c.verified * c.decode_compute_s, c.decode_memory_s)
    fixed = base.seconds + state.seconds
    fixed_active = base.active_s + state.active_s
    slope = full.seconds / parts
    slope_active = full.active_s / parts
    limit = np.inf
    if c.window < np.inf:
        windowed = _roofline(c, c.verified * c.window_compute_s, c.window_memory_s)
        if context < decoding * c.window:
            slope += windowed.seconds / parts
            slope_active += windowed.active_s / parts
            limit = decoding * c.window
        else:
            fixed += windowed.seconds * decoding * c.window / parts
            fixed_active += windowed.active_s * decoding * c.window / parts
    host = c.engine_step_s + c.engine_sequence_s * decoding
    return DecodeLine(
        c.stages * fixed + host,
        c.stages * slope,
        # Each stage is busy for its microbatches only: bubbles draw no dynamic power.
        micro * fixed_active,
        micro * slope_active,
        limit,
    )


@inlined
def line_cost(line: DecodeLine, steps: float, contexts: float) -> StepCost:
    """Return the cost of decode steps that read `contexts` context tokens in total."""
    return StepCost(
        steps * line.fixed_s + line.slope_s * contexts, steps * line.fixed_active_s + line.slope_active_s * contexts
    )


@inlined
def step_cost(c: StepCoefficients, step: MixedStep) -> StepCost:
    """Return the cost of one step with prefill in it."""
    decoding, context, prefilling, prefill_tokens = step.decoding, step.context, step.prefilling, step.prefill_tokens
    prefill_pairs, prefill_window_pairs = step.prefill_pairs, step.prefill_window_pairs
    prefill_context, prefill_outputs = step.prefill_context, step.prefill_outputs
    micro = microbatches(c, decoding, prefill_tokens)
    # The pipeline moves at the pace of its largest microbatch, and so do the ranks; a sequence is not divided, nor
    # is prefill into pieces so small that streaming the weights outlasts them.
    share = min(micro, max(1.0, decoding))
    cut = min(micro, max(1.0, prefill_tokens / c.microbatch_tokens))
    verified = c.verified * decoding
    tokens = max((verified + prefill_tokens) / micro, prefill_tokens / cut)
    decoding_ranks = min(c.ranks, max(1.0, decoding / share))
    prefill_ranks = min(c.ranks, max(1.0, prefilling / cut))
    rank_tokens = max(tokens / c.ranks, verified / (share * decoding_ranks), prefill_tokens / (cut * prefill_ranks))
    fewest = c.verified if decoding > 0.0 else 1.0
    outputs = max((verified + prefill_outputs) / (micro * c.ranks), min(prefill_outputs + verified, fewest))
    base = _by_tokens(c, tokens, rank_tokens, outputs)
    sequences = max(
        (decoding + prefilling) / (micro * c.ranks),
        decoding / (share * decoding_ranks),
        prefilling / (cut * prefill_ranks),
    )
    state = _roofline(c, 0.0, c.state_s_per_sequence * sequences)
    seconds = base.seconds + state.seconds
    active = base.active_s + state.active_s
    if decoding > 0.0:
        read = context / (share * decoding_ranks)
        full = _roofline(c, c.verified * c.decode_compute_s * read, c.decode_memory_s * read)
        seconds += full.seconds
        active += full.active_s
        if c.window < np.inf:
            seen = min(context, decoding * c.window) / (share * decoding_ranks)
            windowed = _roofline(c, c.verified * c.window_compute_s * seen, c.window_memory_s * seen)
            seconds += windowed.seconds
            active += windowed.active_s
    if prefill_tokens > 0.0:
        parts = cut * prefill_ranks
        # Pieces of one prompt each read its whole context: only those of different prompts share the reading.
        readers = min(parts, max(1.0, prefilling))
        full = _roofline(c, c.prefill_compute_s * prefill_pairs / parts, c.decode_memory_s * prefill_context / readers)
        seconds += full.seconds
        active += full.active_s
        if c.window < np.inf:
            seen = min(prefill_context / readers, prefill_tokens / parts + prefilling * c.window / readers)
            windowed = _roofline(c, c.prefill_window_compute_s * prefill_window_pairs / parts, c.window_memory_s * seen)
            seconds += windowed.seconds
            active += windowed.active_s
        seconds += c.prefill_launch_s
    host = c.engine_step_s + c.engine_sequence_s * (decoding + prefilling)
    return StepCost(c.stages * seconds + host, min(micro * active, c.stages * seconds))


@inlined
def encoder_cost(c: StepCoefficients, units: float) -> StepCost:
    """Return what an encoder's work on so many units adds to a step; it runs on the chips of one stage."""
    seconds = c.encoder_s_per_unit * units
    return StepCost(seconds, min(1.0, c.busy_activity + c.compute_activity) * seconds / c.stages)


@inlined
def step_energy_j(c: StepCoefficients, cost: StepCost) -> float:
    """Return the energy of a step, or of several: idle power throughout, dynamic power while active."""
    return c.idle_w * cost.seconds + c.dynamic_w * cost.active_s
