"""How long a deployment's steps take, by whichever model it has: analytic, or measured.

Both have the same interface, so that kernel, router and ledger do not know
which one they ask. A deployment with a step table takes its times from there
(:mod:`inferencesim.deployment.interpolation`). Its dynamic energy remains that of
the analytic model (:mod:`inferencesim.deployment.step_time`): the work of a step,
its FLOPs and bytes, is the same however long the engine takes over it. Idle power
is drawn for the measured time.

With speculative decoding (:mod:`inferencesim.deployment.speculation`) the draft's
passes are added: as many as drafts beside each decode step, and beside a step
with prefill one pass over the same chunks in place of the first of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inferencesim.deployment import step_time
from inferencesim.deployment.interpolation import decode_seconds, step_seconds
from inferencesim.deployment.step_time import (
    COEFFICIENTS,
    DecodeLine,
    MixedStep,
    StepCoefficients,
    StepCost,
    coefficients_at,
    encoder_cost,
    line_cost,
)
from inferencesim.jit import compiled, inlined
from inferencesim.references import by_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.deployment.step_table import StepTable

#: In place of the start of a table: the analytic model.
ANALYTIC = -1

_analytic_line = step_time.decode_line
_analytic_cost = step_time.step_cost


class StepTimes(NamedTuple):
    """Where a deployment's step times come from."""

    coefficients: StepCoefficients
    table: StepTable | None = None  #: measured step times, in place of the analytic ones
    draft: StepCoefficients | None = None  #: of what guesses tokens, unless nothing does or it costs nothing
    acceptance: float = 0.0  #: of guesses, where a class states none


@by_reference
class LatencyModels(NamedTuple):
    """The latency models of several deployments."""

    coefficients: NDArray[np.void]  #: COEFFICIENTS, one record per deployment
    starts: NDArray[np.int64]  #: where each one's step table begins, or ANALYTIC
    tables: NDArray[np.float64]  #: all step tables, end to end
    passes: NDArray[np.int64]  #: passes of the draft model per step; 0 without, or where it costs nothing
    drafts: NDArray[np.void]  #: COEFFICIENTS of the draft model, one record per deployment
    acceptance: NDArray[np.float64]  #: of guesses, where a class states none


class LatencyModel(NamedTuple):
    """The latency model of one deployment."""

    coefficients: StepCoefficients
    start: int
    tables: NDArray[np.float64]
    passes: int
    drafts: NDArray[np.void]  #: of all deployments: only who drafts reads its row
    row: int


def latency_models(deployments: Sequence[StepTimes]) -> LatencyModels:
    """Lay out the latency models of deployments."""
    count = len(deployments)
    coefficients, drafts = np.zeros(count, COEFFICIENTS), np.zeros(count, COEFFICIENTS)
    starts = np.full(count, ANALYTIC, dtype=np.int64)
    passes, acceptance = np.zeros(count, dtype=np.int64), np.zeros(count)
    # Never empty: a compiled function takes an array of one type, with or without tables in it.
    laid = [np.zeros(1)]
    for index, each in enumerate(deployments):
        coefficients[index] = tuple(each.coefficients)
        acceptance[index] = each.acceptance
        if each.table is not None:
            starts[index] = sum(part.size for part in laid)
            laid.append(each.table.flat())
        if each.draft is not None:
            drafts[index] = tuple(each.draft)
            passes[index] = round(each.coefficients.verified) - 1
    return LatencyModels(coefficients, starts, np.concatenate(laid), passes, drafts, acceptance)


@inlined
def latency_of(models: LatencyModels, row: int) -> LatencyModel:
    """Read the latency model of one deployment."""
    return LatencyModel(
        coefficients_at(models.coefficients, row),
        models.starts[row],
        models.tables,
        models.passes[row],
        models.drafts,
        row,
    )


@compiled
def tokens_per_step(verified: float, acceptance: float) -> float:
    """Return the tokens a step is expected to make of one sequence: ``(1 − p^(k+1)) / (1 − p)`` with k drafts.

    The j-th draft counts if it and all before it are right, p^j; the target's own token always does
    (arXiv:2211.17192, equation 1).
    """
    expected, right = 0.0, 1.0
    for _ in range(int(verified)):
        expected += right
        right *= acceptance
    return expected


@inlined
def decode_line(model: LatencyModel, decoding: float, context: float) -> DecodeLine:
    """Return the cost of decode-only steps as a line in the total context, as the analytic model's does.

    It ends where the sliding windows fill, those of a draft too, or at the next measured context.
    """
    line = _analytic_line(model.coefficients, decoding, context)
    if model.passes > 0:
        return _with_draft(model, line, decoding, context)
    if model.start == ANALYTIC:
        return line
    measured = decode_seconds(model.tables, model.start, decoding, context)
    fixed = measured.value - measured.slope * measured.start
    seconds = fixed + measured.slope * context
    active = line.fixed_active_s + line.slope_active_s * context
    # Dynamic power is drawn no longer than the step lasts.
    share = min(1.0, seconds / active) if active > 0.0 else 1.0
    return DecodeLine(
        fixed,
        measured.slope,
        share * line.fixed_active_s,
        share * line.slope_active_s,
        min(line.limit, measured.end),
    )


@compiled
def _with_draft(model: LatencyModel, line: DecodeLine, decoding: float, context: float) -> DecodeLine:
    """Add the passes of the draft model to the line of its target."""
    draft = _analytic_line(coefficients_at(model.drafts, model.row), decoding, context)
    passes = float(model.passes)
    # The draft's chips are those of one stage, and power is of the replica.
    share = passes / model.coefficients.stages
    return DecodeLine(
        line.fixed_s + passes * draft.fixed_s,
        line.slope_s + passes * draft.slope_s,
        line.fixed_active_s + share * draft.fixed_active_s,
        line.slope_active_s + share * draft.slope_active_s,
        min(line.limit, draft.limit),
    )


@inlined
def step_cost(model: LatencyModel, step: MixedStep) -> StepCost:
    """Return the cost of one step with prefill in it."""
    cost = _analytic_cost(model.coefficients, step)
    if model.passes > 0:
        draft = _draft_cost(model, step)
        return StepCost(cost.seconds + draft.seconds, cost.active_s + draft.active_s)
    if model.start == ANALYTIC:
        return cost
    seconds = step_seconds(
        model.tables,
        model.start,
        step.decoding,
        step.context,
        step.prefilling,
        step.prefill_tokens,
        step.prefill_pairs,
        step.decoding + step.prefill_outputs,
    )
    return StepCost(seconds, min(seconds, cost.active_s))


@compiled
def _draft_cost(model: LatencyModel, step: MixedStep) -> StepCost:
    """Return the cost of the draft's passes beside a step with prefill: the first over its chunks too."""
    c = coefficients_at(model.drafts, model.row)
    window_pairs = step.prefill_window_pairs
    if c.window < np.inf:
        # What was given is cut at the target's window; no query sees more than its context, nor than the draft's.
        window_pairs = min(step.prefill_pairs, step.prefill_tokens * c.window)
    first = MixedStep(
        step.decoding,
        step.context,
        step.prefilling,
        step.prefill_tokens,
        step.prefill_pairs,
        window_pairs,
        step.prefill_context,
        step.prefill_outputs,
    )
    cost = _analytic_cost(c, first)
    seconds, active = cost.seconds, cost.active_s
    if step.decoding > 0.0:
        line = _analytic_line(c, step.decoding, step.context)
        further = line_cost(line, model.passes - 1.0, (model.passes - 1.0) * step.context)
        seconds += further.seconds
        active += further.active_s
    return StepCost(seconds, active / model.coefficients.stages)


@compiled
def line_of(models: LatencyModels, row: int, decoding: float, context: float) -> DecodeLine:
    """Return :func:`decode_line` of one deployment."""
    return decode_line(latency_of(models, row), decoding, context)


@compiled
def cost_of(models: LatencyModels, row: int, step: MixedStep) -> StepCost:
    """Return :func:`step_cost` of one deployment."""
    return step_cost(latency_of(models, row), step)


@compiled
def encoder_cost_of(models: LatencyModels, row: int, units: float) -> StepCost:
    """Return :func:`inferencesim.deployment.step_time.encoder_cost` of one deployment."""
    return encoder_cost(coefficients_at(models.coefficients, row), units)


@inlined
def energy_of(models: LatencyModels, row: int, cost: StepCost) -> float:
    """Return the energy of steps of one deployment: idle power throughout, dynamic power while active."""
    c = models.coefficients[row]
    return float(c["idle_w"] * cost.seconds + c["dynamic_w"] * cost.active_s)


@compiled
def prefill_seconds(model: LatencyModel, token_budget: int, tokens: int) -> float:
    """Return the time to prefill one prompt that is alone, in chunks of the token budget."""
    seconds = 0.0
    before = 0
    while before < tokens:
        chunk = min(token_budget, tokens - before)
        seen = before + chunk / 2.0
        after = before + chunk
        ends = 1.0 if after == tokens else 0.0
        windowed = chunk * min(seen, model.coefficients.window)
        step = MixedStep(0.0, 0.0, 1.0, float(chunk), chunk * seen, windowed, float(after), ends)
        seconds += step_cost(model, step).seconds
        before = after
    return seconds


@compiled
def alone_seconds(
    model: LatencyModel, token_budget: int, prompt_tokens: int, output_tokens: int, acceptance: float
) -> float:
    """Return the E2E of a request that is alone on its replica: prefill, then the decode steps of its further tokens.

    With speculative decoding these are as many as its drafts, accepted with probability `acceptance`, let expect.
    """
    seconds = prefill_seconds(model, token_budget, prompt_tokens)
    context = float(prompt_tokens)
    left = math.ceil((output_tokens - 1) / tokens_per_step(model.coefficients.verified, acceptance))
    grown = (output_tokens - 1) / max(1, left)
    while left > 0:
        line = decode_line(model, 1.0, context + grown)
        steps = left
        if line.limit < np.inf:
            steps = min(left, max(1, int((line.limit - context) / grown)))
        seconds += line_cost(line, float(steps), steps * context + grown * (steps * (steps + 1.0) / 2.0)).seconds
        context += grown * steps
        left -= steps
    return seconds
