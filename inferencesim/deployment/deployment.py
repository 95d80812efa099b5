"""A deployment: one model on one replica's chips, as step-time coefficients, KV capacity, power and price."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from inferencesim.deployment.envelope import require_batching, require_same_deployment
from inferencesim.deployment.latency import (
    LatencyModel,
    alone_seconds,
    decode_line,
    latency_models,
    latency_of,
    prefill_seconds,
    step_cost,
)
from inferencesim.deployment.memory import (
    EMBEDDING_BYTES,
    LIVE_FFN,
    LIVE_HIDDEN,
    MemoryPlan,
    kv_shards,
    memory_share,
    plan_memory,
    require_fit,
)
from inferencesim.deployment.step_table import StepTable, load_step_table
from inferencesim.deployment.step_time import StepCoefficients
from inferencesim.errors import InputError
from inferencesim.jit import plain
from inferencesim.scenario.fleet import BYTES_PER_ELEMENT

if TYPE_CHECKING:
    from inferencesim.deployment.engine import Engine
    from inferencesim.hardware.profile import HardwareProfile
    from inferencesim.models.spec import ModelSpec
    from inferencesim.scenario.fleet import Batching, Parallelism, Pool, Precision

#: Share of (peak − idle) drawn by full compute and by full memory traffic. Class priors: a prefill near peak
#: power, a memory-bound decode at about half (the decode and prefill power ranges of published GPU runs).
COMPUTE_ACTIVITY = 0.85
MEMORY_ACTIVITY = 0.45

#: Collectives move activations in sixteen bits, also in quantised deployments.
COLLECTIVE_BYTES = BYTES_PER_ELEMENT["bf16"]


@dataclass(frozen=True)
class Deployment:
    """The physics of one replica; pure data, no clock.

    Attributes
    ----------
    hardware, model, engine
        What it is built of.
    precision, parallelism, batching
        How.
    coefficients : StepCoefficients
        Seconds per unit of work.
    table : StepTable or None
        Measured step times, which take the place of the analytic ones.
    memory : MemoryPlan
    usd_per_s : float
        Price of the replica's chips, per second.
    price_includes_power : bool
    """

    hardware: HardwareProfile
    model: ModelSpec
    engine: Engine
    precision: Precision
    parallelism: Parallelism
    batching: Batching
    coefficients: StepCoefficients
    table: StepTable | None
    memory: MemoryPlan
    usd_per_s: float
    price_includes_power: bool

    @cached_property
    def latency(self) -> LatencyModel:
        """How long its steps take."""
        return plain(latency_of)(latency_models([(self.coefficients, self.table)]), 0)

    @property
    def chips(self) -> int:
        """Chips of one replica."""
        return self.parallelism.chips

    @property
    def context_limit(self) -> int:
        """Longest prompt + output of one request: the last token's KV is never needed."""
        return min(self.model.max_context, self.memory.kv_tokens + 1)

    @property
    def idle_w(self) -> float:
        """Power of the replica at rest."""
        return self.coefficients.idle_w

    @property
    def peak_w(self) -> float:
        """Power of the replica at full activity."""
        return self.coefficients.idle_w + self.coefficients.dynamic_w

    def decode_s(self, batch: int, context: float) -> float:
        """Return the time of one decode step of `batch` sequences with `context` tokens each."""
        line = decode_line(self.latency, float(batch), batch * context)
        return line.fixed_s + line.slope_s * batch * context

    def prefill_s(self, tokens: int) -> float:
        """Return the time to prefill one prompt of `tokens` alone, in chunks of the token budget."""
        return prefill_seconds(self.latency, self.batching.token_budget, tokens)

    def alone_s(self, prompt_tokens: int, output_tokens: int) -> float:
        """Return the E2E of a request of these lengths that is alone on a replica."""
        return alone_seconds(self.latency, self.batching.token_budget, prompt_tokens, output_tokens)

    def saturated_rate(self, prompt_tokens: float, output_tokens: float) -> float:
        """Return the requests per second one replica completes at most, in steady state.

        The batch is as large as seats, KV cache and token budget allow. Its
        members leave at random, so that the steps with prefill in them are
        either those in which somebody left (Poisson) or as many as the budget
        needs for their prompts, whichever is more.
        """
        model = self.latency
        budget = self.batching.token_budget
        batch = self.saturated_batch(prompt_tokens, output_tokens)
        batch = min(batch, budget / (1.0 + prompt_tokens / output_tokens))
        leaving = batch / output_tokens
        arriving = leaving * prompt_tokens
        mixed = min(1.0, max(1.0 - math.exp(-leaving), arriving / max(1.0, budget - batch)))
        chunk = arriving / mixed
        prompts = max(1.0, chunk / prompt_tokens)
        seen = prompt_tokens / 2.0
        read = prompts * (seen + min(chunk, prompt_tokens) / 2.0)
        context = batch * (prompt_tokens + output_tokens / 2.0)
        mixed_s = step_cost(
            model,
            batch,
            context,
            prompts,
            chunk,
            chunk * seen,
            chunk * min(seen, self.coefficients.window),
            read,
            leaving / mixed,
        ).seconds
        line = decode_line(model, batch, context)
        decode_s = line.fixed_s + line.slope_s * context
        return leaving / (mixed * mixed_s + (1.0 - mixed) * decode_s)

    def saturated_batch(self, prompt_tokens: float, output_tokens: float) -> float:
        """Return the sequences that run together when requests always wait, on average over their lives."""
        held = prompt_tokens + output_tokens / (2.0 if self.batching.kv == "on_demand" else 1.0)
        return max(1.0, min(self.batching.max_sequences, self.memory.kv_tokens / held))


def deploy(hardware: HardwareProfile, model: ModelSpec, engine: Engine, pool: Pool, where: str) -> Deployment:
    """Work out the deployment of a pool's replica.

    Parameters
    ----------
    hardware, model, engine
        The profile, model and engine the pool names.
    pool : Pool
        Precision, parallelism, batching and price overrides.
    where : str
        Path of the pool in the scenario, for errors.

    Raises
    ------
    InputError
        If the chip cannot compute in that precision, the parallelism does not
        divide the model, the model does not fit, or the step table is of another
        deployment.
    """
    precision, parallelism, batching = pool.precision, pool.parallelism, pool.batching
    _require_precision(hardware, precision, f"{where}.precision")
    _require_division(model, parallelism, f"{where}.parallelism")
    share = memory_share(hardware, engine, pool.memory_share)
    memory = plan_memory(hardware, model, precision, parallelism, batching, share)
    if pool.kv_blocks is not None:
        memory = replace(memory, kv_blocks=pool.kv_blocks)
    require_fit(memory, hardware, model, precision, parallelism, batching, share, where)
    coefficients = step_coefficients(hardware, model, engine, precision, parallelism)
    table = _step_table(hardware, model, pool, where)
    price = pool.price if pool.price is not None else hardware.price.per_chip.si
    includes = pool.price_includes_power
    return Deployment(
        hardware=hardware,
        model=model,
        engine=engine,
        precision=precision,
        parallelism=parallelism,
        batching=batching,
        coefficients=coefficients,
        table=table,
        memory=memory,
        usd_per_s=price * parallelism.chips,
        price_includes_power=hardware.price.includes_power if includes is None else includes,
    )


def _step_table(hardware: HardwareProfile, model: ModelSpec, pool: Pool, where: str) -> StepTable | None:
    """Return the step table a pool names, after checking that it was measured on such a pool."""
    if pool.latency is None:
        return None
    table = load_step_table(pool.latency.table, f"{where}.latency.table")
    require_same_deployment(table, hardware.id, model.id, pool, where)
    require_batching(table, pool, where)
    return table


def _require_precision(hardware: HardwareProfile, precision: Precision, where: str) -> None:
    if precision.activations not in hardware.compute:
        known = list(hardware.compute)
        raise InputError(
            where,
            f"{hardware.id} has no {precision.activations} arithmetic",
            f"It computes in {', '.join(known)}; for weights stored in {precision.weights} write "
            f"{{weights: {precision.weights}, activations: bf16}}.",
        )


def _require_division(model: ModelSpec, parallelism: Parallelism, where: str) -> None:
    if model.heads % parallelism.tensor:
        valid = [n for n in (1, 2, 4, 8, 16, 32, 64) if model.heads % n == 0]
        raise InputError(
            f"{where}.tensor",
            f"{parallelism.tensor} does not divide the {model.heads} attention heads of {model.id}",
            f"Possible: {', '.join(map(str, valid))}.",
        )
    if parallelism.pipeline > model.layers:
        raise InputError(
            f"{where}.pipeline",
            f"{parallelism.pipeline} stages are more than the {model.layers} layers of {model.id}",
            f"Use at most {model.layers}.",
        )
    if parallelism.expert > 1 and (model.moe is None or model.moe.experts % parallelism.expert):
        raise InputError(
            f"{where}.expert",
            f"{model.id} has no experts to spread"
            if model.moe is None
            else f"{parallelism.expert} does not divide the {model.moe.experts} experts of {model.id}",
            "Leave it out.",
        )


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
    are divided over the chips of the tensor group and by the achievable share
    of the peak (``efficiency`` in the profile).
    """
    tensor, stages = parallelism.tensor, parallelism.pipeline
    chips_per_stage = float(tensor)
    achievable = hardware.efficiency.compute.si * chips_per_stage
    flops = hardware.compute[precision.activations].si * achievable
    head_flops = hardware.compute["bf16"].si * achievable
    attention_flops = hardware.compute["bf16"].si * hardware.efficiency.attention.si * chips_per_stage
    bandwidth = hardware.memory.bandwidth.si * hardware.efficiency.memory.si * chips_per_stage
    weight_bytes = BYTES_PER_ELEMENT[precision.weights]
    activation_bytes = BYTES_PER_ELEMENT[precision.activations]

    routed, expert_parameters = 0.0, 0.0
    experts, active = 0.0, 0.0
    if model.moe is not None:
        experts, active = float(model.moe.experts), float(model.moe.active)
        expert_parameters = float(model.moe.layers * model.moe.experts * model.expert_parameters)
        routed = float(model.moe.layers * model.moe.active * model.expert_parameters)
    dense = float(model.layer_parameters) - expert_parameters

    kv_element = BYTES_PER_ELEMENT[precision.kv]
    copies = tensor / kv_shards(model, tensor)
    kv_s_per_layer = model.kv_elements_per_token_per_layer * kv_element * copies / bandwidth
    windowed = float(model.windowed_layers)
    full = model.layers - windowed
    decode_s_per_layer = model.attention_flops_decode / attention_flops
    prefill_s_per_layer = model.attention_flops_prefill / attention_flops

    widths = (model.dense_layers * (model.dense_ffn or 0)) if model.dense_layers else 0.0
    if model.moe is not None:
        widths += model.moe.layers * model.moe.ffn * (model.moe.active + model.moe.shared)
    moved = activation_bytes * (LIVE_HIDDEN * model.hidden * model.layers + LIVE_FFN * widths)

    collective_s_per_token, collective_latency_s = _collectives(hardware, model, parallelism)
    hop_s_per_token, hop_latency_s = 0.0, 0.0
    if stages > 1:
        link = hardware.scale_up if parallelism.chips <= hardware.scale_up.domain.si else hardware.scale_out
        hop_s_per_token = model.hidden * COLLECTIVE_BYTES / link.bandwidth.si
        hop_latency_s = link.latency.si

    chips = parallelism.chips
    idle = (hardware.power.idle.si + hardware.power.host.si) * chips
    linear_s_per_token = 2.0 * dense / stages / flops
    linear_weight_s = dense * weight_bytes / stages / bandwidth
    half_rows = hardware.efficiency.half_rows.si
    return StepCoefficients(
        stages=float(stages),
        linear_s_per_token=linear_s_per_token,
        linear_weight_s=linear_weight_s,
        microbatch_tokens=max(1.0, linear_weight_s / linear_s_per_token) + half_rows,
        half_tokens=half_rows,
        experts=experts,
        experts_active=active,
        expert_s_per_token=2.0 * routed / stages / flops,
        expert_weight_s=expert_parameters * weight_bytes / stages / bandwidth,
        activation_s_per_token=moved / stages / bandwidth,
        decode_compute_s=full * decode_s_per_layer / stages,
        decode_memory_s=full * kv_s_per_layer / stages,
        window_compute_s=windowed * decode_s_per_layer / stages,
        window_memory_s=windowed * kv_s_per_layer / stages,
        window=float(model.sliding_window) if model.sliding_window and windowed else math.inf,
        prefill_compute_s=full * prefill_s_per_layer / stages,
        prefill_window_compute_s=windowed * prefill_s_per_layer / stages,
        head_s_per_output=model.head_flops_per_token / stages / head_flops,
        head_weight_s=model.vocab * model.hidden * EMBEDDING_BYTES / stages / bandwidth,
        collective_s_per_token=collective_s_per_token / stages,
        collective_latency_s=collective_latency_s / stages,
        hop_s_per_token=hop_s_per_token,
        stage_overhead_s=hardware.overhead.step.si + hop_latency_s + hardware.overhead.layer.si * model.layers / stages,
        engine_step_s=engine.step.si,
        engine_sequence_s=engine.sequence.si,
        compute_activity=COMPUTE_ACTIVITY,
        memory_activity=MEMORY_ACTIVITY,
        idle_w=idle,
        dynamic_w=(hardware.power.peak.si - hardware.power.idle.si) * chips,
    )


def _collectives(hardware: HardwareProfile, model: ModelSpec, parallelism: Parallelism) -> tuple[float, float]:
    """Return (seconds per token, seconds of latency) of all layers' collectives.

    Two all-reduces a layer, after attention and after the FFN: each moves
    2 (n − 1) / n of the activations (ring) and starts in 2 · log2 n link
    latencies (tree). With expert parallelism the second one of an MoE layer is
    a dispatch and a combine: two all-to-alls of the active experts' inputs.
    """
    n = parallelism.tensor
    if n == 1:
        return 0.0, 0.0
    link = hardware.scale_up if n <= hardware.scale_up.domain.si else hardware.scale_out
    per_token = model.hidden * COLLECTIVE_BYTES / link.bandwidth.si
    start = 2.0 * math.ceil(math.log2(n)) * link.latency.si
    reduce_s = 2.0 * (n - 1) / n * per_token
    layers = float(model.layers)
    bytes_s, latency_s = 2.0 * layers * reduce_s, 2.0 * layers * start
    if parallelism.expert > 1 and model.moe is not None:
        degree = parallelism.expert
        # Each of the `degree` groups starts with its share of the tokens and sends them to the experts' owners.
        exchange_s = 2.0 * (degree - 1) / degree * model.moe.active * per_token / degree
        bytes_s += model.moe.layers * (exchange_s - reduce_s)
        latency_s += model.moe.layers * (2.0 * link.latency.si * (degree - 1) ** 0.5 - start)
    return bytes_s, latency_s
