"""Where the bytes of a replica go: weights, activations, and the KV cache in what is left."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from inferencesim.deployment.speculation import on_last_stage
from inferencesim.errors import InputError
from inferencesim.scenario.fleet import BYTES_PER_ELEMENT, Parallelism

if TYPE_CHECKING:
    from inferencesim.deployment.engine import Engine
    from inferencesim.deployment.speculation import Drafter
    from inferencesim.hardware.profile import HardwareProfile
    from inferencesim.models.spec import ModelSpec
    from inferencesim.scenario.fleet import Batching, Precision

#: Embeddings, LM head and norms keep sixteen bits in quantised checkpoints.
EMBEDDING_BYTES = BYTES_PER_ELEMENT["bf16"]

#: Recurrent states of linear attention are kept in 32 bits.
STATE_BYTES = 4.0

#: Live activation values of a layer per token, in units of the hidden size and of the FFN width.
LIVE_HIDDEN = 6.0
LIVE_FFN = 2.0

#: An engine's runtime takes no more of a chip's memory than this: on a chip of little memory it is a smaller one.
LARGEST_RUNTIME = 0.05


class EngineMemory(NamedTuple):
    """What an engine takes of a chip's memory."""

    share: float  #: for all it holds
    runtime_bytes: float  #: of that, before any weights: contexts, communication buffers, captured graphs


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes per chip.

    Attributes
    ----------
    usable_bytes : float
        What the engine may take of one chip, for all it holds.
    runtime_bytes : float
        Contexts, communication buffers, captured graphs.
    weight_bytes : float
        Those of everything that runs there.
    draft_bytes, encoder_bytes : float
        Of these, the weights of a draft model and of an encoder.
    activation_bytes : float
        Live activations and logits, and what a full batch keeps beside its cache: recurrent states, keys and values
        of an encoder's positions.
    kv_bytes_per_token : float
        KV cache of one token on one chip, a draft model's too; on the chips of the stage that has most to keep.
        0 without a cache.
    kv_blocks : int
        Blocks of the replica, those of all attention ranks; 0 if the model does not fit. Of a model without a cache,
        as many as its seats could ask for.
    block_size : int
        Tokens per block.
    """

    usable_bytes: float
    runtime_bytes: float
    weight_bytes: float
    draft_bytes: float
    encoder_bytes: float
    activation_bytes: float
    kv_bytes_per_token: float
    kv_blocks: int
    block_size: int

    @property
    def kv_tokens(self) -> int:
        """Tokens the KV cache of the replica holds."""
        return self.kv_blocks * self.block_size


def kv_shards(model: ModelSpec, tensor: int) -> int:
    """Return over how many chips of a tensor group the KV cache is divided.

    Heads are divided until each chip has one; beyond that they are copied. The
    compressed cache of latent attention belongs to all heads and is copied.
    """
    return 1 if model.mla else min(tensor, model.kv_heads)


def plan_memory(
    hardware: HardwareProfile,
    model: ModelSpec,
    precision: Precision,
    parallelism: Parallelism,
    batching: Batching,
    taken: EngineMemory,
    drafter: Drafter | None = None,
) -> MemoryPlan:
    """Lay out the memory of one chip, of the stage that has a draft model or an encoder if there is one.

    Pipeline stages are taken as equal: each holds its share of layers,
    embedding and LM head, and one microbatch's activations.
    """
    tensor, pipeline, ranks = parallelism.tensor, parallelism.pipeline, parallelism.attention_data
    weights = weight_bytes(model, precision, parallelism)
    draft_weights = draft_kv = 0.0
    if drafter is not None and drafter.model is not None:
        spread = on_last_stage(parallelism, drafter.model)
        draft_weights = layer_bytes(drafter.model, precision, spread)
        if not drafter.is_head:
            draft_weights = weight_bytes(drafter.model, precision, spread)
        draft_kv = kv_bytes_on_chip(drafter.model, precision, spread)
    activation = BYTES_PER_ELEMENT[precision.activations]
    widest = model.dense_ffn or 0
    if model.moe is not None:
        widest = max(widest, model.moe.ffn * (model.moe.active + model.moe.shared))
    live = activation * (LIVE_HIDDEN * model.hidden + LIVE_FFN * widest / tensor)
    sampled = batching.max_sequences * (1 if drafter is None else drafter.drafts + 1)
    logits = sampled * (model.vocab if model.generates else 0) / tensor * 4.0  # fp32
    activations = (batching.token_budget * live + logits) / pipeline
    kv = kv_bytes_on_chip(model, precision, parallelism) + draft_kv
    state = model.state_elements * STATE_BYTES / parallelism.rank_chips
    state += model.cross_elements * BYTES_PER_ELEMENT[precision.kv] / kv_shards(model, parallelism.rank_chips)
    state *= batching.max_sequences / ranks / pipeline
    usable = hardware.memory.capacity.si * taken.share
    # In sixteen bits, as checkpoints keep them.
    encoder = 0.0 if model.encoder is None else model.encoder.parameters * BYTES_PER_ELEMENT["bf16"] / tensor
    weights += draft_weights + encoder
    room = usable - taken.runtime_bytes - weights - activations - state
    if kv > 0.0:
        blocks = ranks * max(0, int(room // (kv * batching.block_size)))
    else:
        # No cache to run out of: every seat can take the longest context.
        blocks = batching.max_sequences * math.ceil(model.max_context / batching.block_size) if room >= 0.0 else 0
    return MemoryPlan(
        usable_bytes=usable,
        runtime_bytes=taken.runtime_bytes,
        weight_bytes=weights,
        draft_bytes=draft_weights,
        encoder_bytes=encoder,
        activation_bytes=activations + state,
        kv_bytes_per_token=kv,
        kv_blocks=blocks,
        block_size=batching.block_size,
    )


def kv_bytes_on_chip(model: ModelSpec, precision: Precision, parallelism: Parallelism) -> float:
    """Return the bytes of one token's KV cache on one chip of those that hold it."""
    shards = parallelism.pipeline * kv_shards(model, parallelism.rank_chips)
    return model.attention_layers * model.cache_elements_per_token_per_layer * BYTES_PER_ELEMENT[precision.kv] / shards


def weight_bytes(model: ModelSpec, precision: Precision, parallelism: Parallelism) -> float:
    """Return the bytes of weights on one chip, but an encoder's; what is outside the layers is divided over all."""
    outside = model.parameters_outside_layers * EMBEDDING_BYTES
    outside += model.other_parameters * BYTES_PER_ELEMENT[precision.weights]
    return layer_bytes(model, precision, parallelism) + outside / parallelism.chips


def layer_bytes(model: ModelSpec, precision: Precision, parallelism: Parallelism) -> float:
    """Return the bytes of layers on one chip: attention divided over the chips of a rank, all else over all."""
    attention = (
        model.attention_layers * model.attention_parameters + model.linear_layers * model.linear_attention_parameters
    )
    experts = model.moe_layers * model.moe.experts * model.expert_parameters if model.moe is not None else 0
    others = model.layer_parameters - attention - experts
    expert_weights, _ = precision.of_experts
    element = BYTES_PER_ELEMENT[precision.weights]
    divided = others * element + experts * BYTES_PER_ELEMENT[expert_weights]
    return (attention * element / parallelism.rank_chips + divided / parallelism.tensor) / parallelism.pipeline


def engine_memory(hardware: HardwareProfile, engine: Engine, chosen: float | None) -> EngineMemory:
    """Return what an engine takes of a chip's memory; its share is the user's choice, else the tighter default."""
    share = min(hardware.usable_memory.si, engine.memory_share.si) if chosen is None else chosen
    return EngineMemory(share, min(engine.runtime.si, LARGEST_RUNTIME * hardware.memory.capacity.si))


def require_fit(
    plan: MemoryPlan,
    hardware: HardwareProfile,
    model: ModelSpec,
    precision: Precision,
    parallelism: Parallelism,
    batching: Batching,
    taken: EngineMemory,
    where: str,
    drafter: Drafter | None = None,
) -> None:
    """Raise, with the arithmetic and what parallelism would do, if the model does not fit.

    Raises
    ------
    InputError
        If not a single KV block is left.
    """
    if plan.kv_blocks > 0:
        return
    gigabyte = 1e9
    parts = (("draft", plan.draft_bytes), ("encoder", plan.encoder_bytes))
    named = [f"{amount / gigabyte:.2f} GB of them the {name}'s" for name, amount in parts if amount]
    of_others = f" ({', '.join(named)})" if named else ""
    what = (
        f"{model.id} in {precision.weights} does not fit {hardware.id} with tensor {parallelism.tensor} × pipeline "
        f"{parallelism.pipeline}: weights {plan.weight_bytes / gigabyte:.2f} GB{of_others} + activation reserve "
        f"{plan.activation_bytes / gigabyte:.2f} GB + runtime {plan.runtime_bytes / gigabyte:.2f} GB per chip leave "
        f"no KV block in {plan.usable_bytes / gigabyte:.2f} GB ({taken.share:.0%} of "
        f"{hardware.memory.capacity.si / gigabyte:g} GB) × {parallelism.chips} chips"
    )
    fewest = fewest_chips(hardware, model, precision, batching, taken, drafter)
    if fewest is None:
        remedy = (
            "No tensor × pipeline up to 1024 chips would: "
            "choose a smaller precision, a smaller token_budget, fewer max_sequences or a larger chip."
        )
    else:
        remedy = f"parallelism: {_told(fewest)} would."
        group = smallest_fit(hardware, model, precision, batching, taken, drafter)
        if group is not None and group != fewest:
            remedy = f"parallelism: {_told(fewest)} would, and so would {_told(group)}."
    raise InputError(where, what, remedy)


def smallest_fit(
    hardware: HardwareProfile,
    model: ModelSpec,
    precision: Precision,
    batching: Batching,
    taken: EngineMemory,
    drafter: Drafter | None = None,
) -> Parallelism | None:
    """Return a parallelism that holds the model and a KV cache of one full step.

    The smallest tensor group within the scale-up domain, up to 16 chips; where
    none is large enough, :func:`fewest_chips`.
    """
    for tensor in _widths(hardware, model):
        if _holds(Parallelism(tensor=tensor), hardware, model, precision, batching, taken, drafter):
            return Parallelism(tensor=tensor)
    return fewest_chips(hardware, model, precision, batching, taken, drafter)


def fewest_chips(
    hardware: HardwareProfile,
    model: ModelSpec,
    precision: Precision,
    batching: Batching,
    taken: EngineMemory,
    drafter: Drafter | None = None,
) -> Parallelism | None:
    """Return the tensor groups and pipeline stages of the fewest chips that hold the model and one full step.

    Of equally many chips, those in the widest groups: they share every layer of
    a step, where stages wait for one another.
    """
    best: Parallelism | None = None
    for tensor in reversed(_widths(hardware, model)):
        for pipeline in range(1, min(model.layers, 1024 // tensor) + 1):
            candidate = Parallelism(tensor=tensor, pipeline=pipeline)
            if best is not None and candidate.chips >= best.chips:
                break
            if _holds(candidate, hardware, model, precision, batching, taken, drafter):
                best = candidate
                break
    return best


def _holds(
    candidate: Parallelism,
    hardware: HardwareProfile,
    model: ModelSpec,
    precision: Precision,
    batching: Batching,
    taken: EngineMemory,
    drafter: Drafter | None,
) -> bool:
    """Tell whether the model fits with a KV cache of one full step."""
    plan = plan_memory(hardware, model, precision, candidate, batching, taken, drafter)
    return plan.kv_tokens >= (batching.token_budget if model.causal_cache else 1)


def _widths(hardware: HardwareProfile, model: ModelSpec) -> list[int]:
    """Return how many chips a tensor group may have, up to 16 of one scale-up domain."""
    domain = int(hardware.scale_up.domain.si)
    return [n for n in (1, 2, 4, 8, 16) if n <= max(1, domain) and model.heads % n == 0]


def _told(parallelism: Parallelism) -> str:
    return f"{{tensor: {parallelism.tensor}, pipeline: {parallelism.pipeline}}} ({parallelism.chips} chips)"
