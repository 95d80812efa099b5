"""How long a deployment's steps take, by whichever model it has: analytic, or measured.

Both have the same interface, so that kernel, router and ledger do not know
which one they ask. A deployment with a step table takes its times from there
(:mod:`inferencesim.deployment.interpolation`). Its dynamic energy remains that of
the analytic model (:mod:`inferencesim.deployment.step_time`): the work of a step,
its FLOPs and bytes, is the same however long the engine takes over it. Idle power
is drawn for the measured time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inferencesim.deployment import step_time
from inferencesim.deployment.interpolation import decode_seconds, step_seconds
from inferencesim.deployment.step_time import (
    COEFFICIENTS,
    DecodeLine,
    StepCoefficients,
    StepCost,
    coefficients_at,
    line_cost,
)
from inferencesim.jit import compiled, inlined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.deployment.step_table import StepTable

#: In place of the start of a table: the analytic model.
ANALYTIC = -1

_analytic_line = step_time.decode_line
_analytic_cost = step_time.step_cost


class LatencyModels(NamedTuple):
    """The latency models of several deployments."""

    coefficients: NDArray[np.void]  #: COEFFICIENTS, one record per deployment
    starts: NDArray[np.int64]  #: where each one's step table begins, or ANALYTIC
    tables: NDArray[np.float64]  #: all step tables, end to end


class LatencyModel(NamedTuple):
    """The latency model of one deployment."""

    coefficients: StepCoefficients
    start: int
    tables: NDArray[np.float64]


def latency_models(parts: Sequence[tuple[StepCoefficients, StepTable | None]]) -> LatencyModels:
    """Lay out the latency models of deployments: their coefficients and, where measured, their step tables."""
    coefficients = np.zeros(len(parts), COEFFICIENTS)
    starts = np.full(len(parts), ANALYTIC, dtype=np.int64)
    # Never empty: a compiled function takes an array of one type, with or without tables in it.
    laid = [np.zeros(1)]
    for index, (each, table) in enumerate(parts):
        coefficients[index] = tuple(each)
        if table is not None:
            starts[index] = sum(part.size for part in laid)
            laid.append(table.flat())
    return LatencyModels(coefficients, starts, np.concatenate(laid))


@inlined
def latency_of(models: LatencyModels, row: int) -> LatencyModel:
    """Read the latency model of one deployment."""
    return LatencyModel(coefficients_at(models.coefficients, row), models.starts[row], models.tables)


@inlined
def decode_line(model: LatencyModel, decoding: float, context: float) -> DecodeLine:
    """Return the cost of decode-only steps as a line in the total context, as the analytic model's does.

    It ends where the sliding windows fill, or at the next measured context.
    """
    line = _analytic_line(model.coefficients, decoding, context)
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


@inlined
def step_cost(
    model: LatencyModel,
    decoding: float,
    context: float,
    prefilling: float,
    prefill_tokens: float,
    prefill_pairs: float,
    prefill_window_pairs: float,
    prefill_context: float,
    prefill_outputs: float,
) -> StepCost:
    """Return the cost of one step with prefill in it; arguments as for :func:`.step_time.step_cost`."""
    cost = _analytic_cost(
        model.coefficients,
        decoding,
        context,
        prefilling,
        prefill_tokens,
        prefill_pairs,
        prefill_window_pairs,
        prefill_context,
        prefill_outputs,
    )
    if model.start == ANALYTIC:
        return cost
    seconds = step_seconds(
        model.tables,
        model.start,
        decoding,
        context,
        prefilling,
        prefill_tokens,
        prefill_pairs,
        decoding + prefill_outputs,
    )
    return StepCost(seconds, min(seconds, cost.active_s))


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
        seconds += step_cost(
            model,
            0.0,
            0.0,
            1.0,
            float(chunk),
            chunk * seen,
            chunk * min(seen, model.coefficients.window),
            float(after),
            ends,
        ).seconds
        before = after
    return seconds


@compiled
def alone_seconds(model: LatencyModel, token_budget: int, prompt_tokens: int, output_tokens: int) -> float:
    """Return the E2E of a request that is alone on its replica: prefill, then one decode step per further token."""
    seconds = prefill_seconds(model, token_budget, prompt_tokens)
    context = float(prompt_tokens)
    left = output_tokens - 1
    while left > 0:
        line = decode_line(model, 1.0, context + 1.0)
        steps = left
        if line.limit < np.inf:
            steps = min(left, max(1, int(line.limit - context)))
        seconds += line_cost(line, float(steps), steps * context + steps * (steps + 1.0) / 2.0).seconds
        context += steps
        left -= steps
    return seconds
