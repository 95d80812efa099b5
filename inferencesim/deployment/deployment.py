"""A deployment: one model on one replica's chips, as step-time coefficients, KV capacity, power and price."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.deployment.calibration import MEASURED_TABLE, UNVALIDATED, Calibration, apply, find_calibration
from inferencesim.deployment.coefficients import step_coefficients
from inferencesim.deployment.envelope import require_batching, require_same_deployment
from inferencesim.deployment.latency import (
    LatencyModel,
    StepTimes,
    alone_seconds,
    decode_line,
    latency_models,
    latency_of,
    prefill_seconds,
    step_cost,
    tokens_per_step,
)
from inferencesim.deployment.memory import MemoryPlan, engine_memory, kv_bytes_on_chip, plan_memory, require_fit
from inferencesim.deployment.speculation import Drafter, make_drafter, on_last_stage, require_budget
from inferencesim.deployment.step_table import StepTable, load_step_table
from inferencesim.deployment.step_time import MixedStep
from inferencesim.deployment.work import Counts, work
from inferencesim.errors import InputError
from inferencesim.jit import plain
from inferencesim.scenario.fleet import KvLink
from inferencesim.scenario.policies import PolicyChoice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.deployment.engine import Engine
    from inferencesim.deployment.step_time import StepCoefficients
    from inferencesim.hardware.profile import HardwareProfile
    from inferencesim.models.spec import ModelSpec
    from inferencesim.scenario.fleet import Batching, Parallelism, Pool, Precision


@dataclass(frozen=True)
class Deployment:
    """The physics of one replica; pure data, no clock.

    Attributes
    ----------
    hardware, model, engine
        What it is built of, the parameters of a calibration in place.
    calibration : Calibration or None
        What they were fitted to; None for class priors.
    precision, parallelism, batching
        How.
    coefficients : StepCoefficients
        Seconds per unit of work.
    table : StepTable or None
        Measured step times, which take the place of the analytic ones.
    drafter : Drafter or None
        What guesses tokens in speculative decoding.
    draft_coefficients : StepCoefficients or None
        Of one pass of the draft model; None without, or where guesses cost nothing.
    memory : MemoryPlan
    kv_link : KvLink
        How KV blocks leave or reach all chips of the replica together.
    usd_per_s : float
        Price of the replica's chips, per second.
    price_includes_power : bool
    """

    hardware: HardwareProfile
    model: ModelSpec
    engine: Engine
    calibration: Calibration | None
    precision: Precision
    parallelism: Parallelism
    batching: Batching
    coefficients: StepCoefficients
    table: StepTable | None
    drafter: Drafter | None
    draft_coefficients: StepCoefficients | None
    memory: MemoryPlan
    kv_link: KvLink
    usd_per_s: float
    price_includes_power: bool

    @property
    def step_times(self) -> StepTimes:
        """What its latency model is made of."""
        return StepTimes(self.coefficients, self.table, self.draft_coefficients, self.acceptance)

    @cached_property
    def latency(self) -> LatencyModel:
        """How long its steps take."""
        return plain(latency_of)(latency_models([self.step_times]), 0)

    @cached_property
    def work_per_count(self) -> NDArray[np.float64]:
        """FLOPs and bytes of one of each of the fields of Counts, in which work is linear; shape (fields, 2)."""
        return np.array([work(self, Counts(*row)) for row in np.eye(len(Counts._fields))])

    @property
    def drafts(self) -> int:
        """Tokens guessed per step and sequence; 0 without speculative decoding."""
        return 0 if self.drafter is None else self.drafter.drafts

    @property
    def acceptance(self) -> float:
        """Probability that a guess is right where all before it were, for classes that state none."""
        return 0.0 if self.drafter is None else self.drafter.acceptance

    def expected_tokens_per_step(self, acceptance: float | None = None) -> float:
        """Return the tokens a decode step makes of one sequence, guesses being accepted with this probability."""
        chosen = self.acceptance if acceptance is None else acceptance
        return tokens_per_step(self.coefficients.verified, chosen)

    @property
    def chips(self) -> int:
        """Chips of one replica."""
        return self.parallelism.chips

    @property
    def expected_error(self) -> str:
        """The error of TPOT to expect, as reports print it."""
        if self.table is not None:
            return MEASURED_TABLE
        return UNVALIDATED if self.calibration is None else self.calibration.expected_error

    @property
    def batching_policy(self) -> PolicyChoice:
        """How its steps are formed: the pool's choice, else the engine's way."""
        return self.batching.policy or PolicyChoice(policy=self.engine.batching)

    @property
    def context_limit(self) -> int:
        """Longest prompt + output of one request: the last token's KV is never needed, nor what a prefill answers."""
        longest = self.model.max_context if self.model.generates else self.model.max_context + 1
        return min(longest, self.memory.kv_tokens + 1)

    @property
    def host_link(self) -> KvLink:
        """The links between the chips of the replica and their hosts, all together."""
        link = self.hardware.host_link
        return KvLink(bandwidth=link.bandwidth.si * self.chips, latency=link.latency.si)

    @property
    def load_s(self) -> float:
        """Seconds to bring its weights from the hosts' memory: each chip its own, over its own link, all at a time."""
        link = self.hardware.host_link
        return link.latency.si + self.memory.weight_bytes / link.bandwidth.si

    @property
    def kv_block_bytes(self) -> float:
        """Bytes of one KV block on all chips that hold it, copies and a draft's cache included."""
        holders = self.parallelism.rank_chips
        per_token = kv_bytes_on_chip(self.model, self.precision, self.parallelism) * holders * self.parallelism.pipeline
        if self.drafter is not None and self.drafter.model is not None:
            spread = on_last_stage(self.parallelism, self.drafter.model)
            per_token += kv_bytes_on_chip(self.drafter.model, self.precision, spread) * holders
        return per_token * self.memory.block_size

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

    def lone_tokens_per_s(self, context: float) -> float:
        """Return the output tokens per second of a sequence that is alone on a replica."""
        return self.expected_tokens_per_step() / self.decode_s(1, context)

    def alone_s(self, prompt_tokens: int, output_tokens: int, acceptance: float | None = None) -> float:
        """Return the E2E of a request of these lengths that is alone on a replica."""
        chosen = self.acceptance if acceptance is None else acceptance
        seconds = alone_seconds(self.latency, self.batching.token_budget, prompt_tokens, output_tokens, chosen)
        return self.coefficients.engine_request_s + seconds

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
        verified, made = self.coefficients.verified, self.expected_tokens_per_step()
        batch = min(batch, budget / (verified + made * prompt_tokens / output_tokens))
        leaving = made * batch / output_tokens
        arriving = leaving * prompt_tokens
        mixed = min(1.0, max(1.0 - math.exp(-leaving), arriving / max(1.0, budget - verified * batch)))
        chunk = arriving / mixed
        prompts = max(1.0, chunk / prompt_tokens)
        seen = prompt_tokens / 2.0
        read = prompts * (seen + min(chunk, prompt_tokens) / 2.0)
        context = batch * (prompt_tokens + output_tokens / 2.0)
        windowed = chunk * min(seen, self.coefficients.window)
        step = MixedStep(batch, context, prompts, chunk, chunk * seen, windowed, read, leaving / mixed)
        mixed_s = step_cost(model, step).seconds
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
        divide the model, the model does not fit or lacks the cache that is asked
        for, the draft is of another family, or the step table is of another
        deployment.
    """
    precision, parallelism, batching = pool.precision, pool.parallelism, pool.batching
    _require_precision(hardware, precision, f"{where}.precision")
    _require_division(model, parallelism, f"{where}.parallelism")
    _require_cache(model, pool, where)
    calibration = find_calibration(pool.calibration, hardware, engine, f"{where}.calibration")
    if calibration is not None:
        hardware, engine = apply(calibration, hardware, engine)
    taken = engine_memory(hardware, engine, pool.memory_share)
    drafter = make_drafter(pool.speculation, model, f"{where}.speculation")
    memory = plan_memory(hardware, model, precision, parallelism, batching, taken, drafter)
    if pool.kv_blocks is not None:
        memory = replace(memory, kv_blocks=pool.kv_blocks)
    require_fit(memory, hardware, model, precision, parallelism, batching, taken, where, drafter)
    coefficients = step_coefficients(hardware, model, engine, precision, parallelism)
    draft_coefficients = None
    if drafter is not None:
        require_budget(drafter, batching, f"{where}.speculation")
        coefficients = coefficients._replace(verified=drafter.drafts + 1.0)
        draft_coefficients = _draft_coefficients(hardware, drafter, engine, pool, where)
    table = _step_table(hardware, model, pool, where)
    price = pool.price if pool.price is not None else hardware.price.per_chip.si
    includes = pool.price_includes_power
    return Deployment(
        hardware=hardware,
        model=model,
        engine=engine,
        calibration=calibration,
        precision=precision,
        parallelism=parallelism,
        batching=batching,
        coefficients=coefficients,
        table=table,
        drafter=drafter,
        draft_coefficients=draft_coefficients,
        memory=memory,
        kv_link=pool.kv_link or _network_of(hardware, parallelism),
        usd_per_s=price * parallelism.chips,
        price_includes_power=hardware.price.includes_power if includes is None else includes,
    )


def _network_of(hardware: HardwareProfile, parallelism: Parallelism) -> KvLink:
    """Return the links of all chips of a replica to the network between domains."""
    link = hardware.scale_out
    return KvLink(bandwidth=link.bandwidth.si * parallelism.chips, latency=link.latency.si)


def _draft_coefficients(
    hardware: HardwareProfile, drafter: Drafter, engine: Engine, pool: Pool, where: str
) -> StepCoefficients | None:
    """Return the coefficients of one pass of a draft: the engine schedules and answers once, for the target."""
    if drafter.model is None:
        return None
    spread = on_last_stage(pool.parallelism, drafter.model)
    _require_division(drafter.model, spread, f"{where}.parallelism")
    coefficients = step_coefficients(hardware, drafter.model, engine, pool.precision, spread)
    return coefficients._replace(engine_step_s=0.0, engine_sequence_s=0.0, engine_request_s=0.0)


def _step_table(hardware: HardwareProfile, model: ModelSpec, pool: Pool, where: str) -> StepTable | None:
    """Return the step table a pool names, after checking that it was measured on such a pool."""
    if pool.latency is None:
        return None
    if pool.speculation is not None:
        raise InputError(
            f"{where}.speculation",
            "the pool's step times are measured, without drafts",
            "Leave latency out for the analytic model, or leave speculation out.",
        )
    table = load_step_table(pool.latency.table, f"{where}.latency.table")
    require_same_deployment(table, hardware.id, model.id, pool, where)
    require_batching(table, pool, where)
    return table


def _require_precision(hardware: HardwareProfile, precision: Precision, where: str) -> None:
    _, expert_activations = precision.of_experts
    for name, activations in (("activations", precision.activations), ("expert_activations", expert_activations)):
        if activations not in hardware.compute:
            known = list(hardware.compute)
            raise InputError(
                where,
                f"{hardware.id} has no {activations} arithmetic",
                f"It computes in {', '.join(known)}; for weights stored in {precision.weights} write "
                f"{{weights: {precision.weights}, {name}: bf16}}.",
            )


def _require_division(model: ModelSpec, parallelism: Parallelism, where: str) -> None:
    if model.heads % parallelism.rank_chips:
        valid = [n for n in (1, 2, 4, 8, 16, 32, 64) if model.heads % n == 0]
        raise InputError(
            f"{where}.tensor",
            f"{parallelism.rank_chips} does not divide the {model.heads} attention heads of {model.id}",
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


def _require_cache(model: ModelSpec, pool: Pool, where: str) -> None:
    if not model.generates and pool.speculation is not None:
        raise InputError(f"{where}.speculation", f"{model.id} samples no tokens to guess", "Leave it out.")
    if model.causal_cache:
        return
    for name in ("prefix_cache", "kv_tiers", "prefill_in"):
        if getattr(pool, name):
            raise InputError(f"{where}.{name}", f"{model.id} keeps no KV cache", "Leave it out.")
