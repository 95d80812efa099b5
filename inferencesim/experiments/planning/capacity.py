"""How much a replica can do at most: no step is faster than physics, and no batch better than the best.

A step of B decoding sequences and T prompt tokens takes at least ``d(B, T) + σX`` seconds where it reads X tokens of
context. Whoever makes the steps, the seconds of a replica are at least ``λ·D + μ·P + ξ·X`` for all D sequences
decoded, P prompt tokens and X tokens read, for every λ, μ and ξ with ``λB + μT + (ξ − σ)X ≤ d(B, T)`` for all steps
there are: with B up to its seats, T up to its token budget, X up to its KV cache. Each such triple is a cut. A promise
of TPOT raises λ for the class that has it: the mean of the steps its tokens are made in may not be longer than
promised, which rules out large batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inferencesim.deployment.latency import decode_line, step_cost
from inferencesim.deployment.step_time import MixedStep
from inferencesim.experiments.planning.demand import DECODED, FRESH, FRESH_PAIRS, KINDS, PAIRS, PROMPT, READ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.deployment.deployment import Deployment
    from inferencesim.scenario.workload import WorkloadClass
    from inferencesim.simulation.plan import PoolPlan

    Floats = NDArray[np.float64]

#: How far apart the looked-at numbers of sequences and of prompt tokens are: all up to a few, then by these ratios.
_EVERY = 16
_SEQUENCE_RATIO, _TOKEN_RATIO = 1.06, 1.12

#: Prices of a prompt token and of KV that cuts are made with, as shares of the highest possible ones.
_PROMPT_SHARES = (0.0, 0.3, 0.6, 0.8, 0.9, 1.0)
_CACHE_SHARES = (0.0, 0.5, 1.0)

#: Policies whose steps hold no more prompt tokens than the budget, and of those the ones that mix them with decodes.
_WITHIN_BUDGET = ("chunked_prefill", "prefill_first", "decode_first")
_APART = ("prefill_first", "decode_first", "static", "dynamic")

#: Steps of the search for the price of a promise.
_HALVINGS = 40


class Steps(NamedTuple):
    """Kinds of steps, columns of equal length: each stands for all up to the next looked-at numbers."""

    sequences: Floats  #: the most that decode in such a step
    tokens: Floats  #: the most prompt tokens
    seconds: Floats  #: the least it takes, before any context is read


@dataclass(frozen=True)
class Replica:
    """What one deployment needs per unit of work.

    Attributes
    ----------
    cuts : ndarray of float64, shape (cuts, classes, kinds)
        Seconds per unit; NaN in a cut that does not hold. An infinite one: never, whatever the batch.
    """

    cuts: Floats


def replica_of(pool: PoolPlan, deployment: Deployment, classes: Sequence[WorkloadClass], longest: float) -> Replica:
    """Return the cuts of a deployment.

    Parameters
    ----------
    pool : PoolPlan
    deployment : Deployment
        One of its variants.
    classes : sequence of WorkloadClass
        With what they are promised, and how well their tokens are guessed.
    longest : float
        Prompt tokens of the longest request, which some batching policies prefill in one step.
    """
    steps = _steps(deployment, longest)
    measured = deployment.table is not None
    slope = 0.0 if measured else _context_slope(deployment)
    pair_s = 0.0 if measured else deployment.coefficients.prefill_compute_s / max(1.0, deployment.coefficients.ranks)
    decoding = steps.sequences > 0
    prefill_only = ~decoding & (steps.tokens > 0)
    dearest = float((steps.seconds[prefill_only] / steps.tokens[prefill_only]).min())
    elsewhere, caches = pool.spec.prefill_in is not None, pool.spec.prefix_cache
    kinds = (FRESH, FRESH_PAIRS) if caches else (PROMPT, PAIRS)
    seconds, sequences, tokens = steps.seconds[decoding], steps.sequences[decoding], steps.tokens[decoding]
    cuts = np.zeros((len(_PROMPT_SHARES) * len(_CACHE_SHARES), len(classes), len(KINDS)))
    for row, (prompt_share, cache_share) in enumerate((a, b) for a in _PROMPT_SHARES for b in _CACHE_SHARES):
        # A prefix that several share is in the cache once: what they read is not bounded by its size.
        if (caches and cache_share > 0.0) or (elsewhere and prompt_share > 0.0):
            cuts[row] = math.nan
            continue
        prompt_s = prompt_share * dearest
        rest = seconds - prompt_s * tokens
        cache_s = cache_share * max(0.0, float(rest.min()))
        worth = (rest - cache_s) / sequences
        for column, each in enumerate(classes):
            made = deployment.expected_tokens_per_step(each.acceptance)
            promised = math.inf if each.promise.tpot is None else each.promise.tpot
            cut = cuts[row, column]
            cut[DECODED] = _within(worth, seconds, promised * made) / made
            cut[READ] = (slope + cache_s / deployment.memory.kv_tokens) / made
            if not elsewhere:
                cut[kinds[0]], cut[kinds[1]] = prompt_s, pair_s
        if (cuts[row, :, DECODED] < 0.0).any():
            cuts[row] = math.nan
    return Replica(cuts)


def _within(worth: Floats, seconds: Floats, promised_s: float) -> float:
    """Return the least mean worth of steps whose mean duration is as promised; infinite where none is so short."""
    if math.isinf(promised_s):
        return float(worth.min())
    promised_s *= 1.0 + 1e-9
    if seconds.min() > promised_s:
        return math.inf
    # max over ν ≥ 0 of min over steps of worth + ν·(seconds − promised), which is concave in ν: any ν gives a bound.
    over = seconds - promised_s
    best, low, high = float(worth.min()), 0.0, float((worth.max() - worth.min()) / max(1e-12, -over.min())) + 1.0
    for _ in range(_HALVINGS):
        third = (high - low) / 3.0
        left, right = (float((worth + nu * over).min()) for nu in (low + third, high - third))
        best = max(best, left, right)
        low, high = (low, high - third) if left > right else (low + third, high)
    return best


def _steps(deployment: Deployment, longest: float) -> Steps:
    """Look at steps of all sizes."""
    batching, policy = deployment.batching, deployment.batching_policy.policy
    verified, ranks = deployment.coefficients.verified, deployment.coefficients.ranks
    budget = float(batching.token_budget)
    most = budget if policy in _WITHIN_BUDGET else max(budget, batching.max_sequences * longest)
    sequences = [0.0, *_ladder(float(batching.max_sequences), _SEQUENCE_RATIO)]
    tokens = [0.0, *_ladder(most, _TOKEN_RATIO)]
    # As many prompts as there are parts that prefill side by side; of what the host does for each, only one counts.
    prompts = max(1.0, ranks * deployment.coefficients.stages)
    host_s = deployment.coefficients.engine_sequence_s * (prompts - 1.0)
    seconds = np.full((len(sequences), len(tokens)), math.inf)
    for row, decoding in enumerate(sequences):
        if decoding:
            seconds[row, 0] = decode_line(deployment.latency, decoding, 0.0).fixed_s
        for column, prefill in enumerate(tokens[1:], 1):
            fits = policy != "chunked_prefill" or decoding * verified + prefill <= budget
            if fits and not (decoding and policy in _APART):
                step = MixedStep(decoding, 0.0, prompts, prefill, 0.0, 0.0, 0.0, 0.0)
                seconds[row, column] = step_cost(deployment.latency, step).seconds - host_s
    # No step is faster than a larger one: where the model says so, the larger one's time holds.
    seconds = np.minimum.accumulate(seconds[::-1], axis=0)[::-1]
    seconds = np.minimum.accumulate(seconds[:, ::-1], axis=1)[:, ::-1]
    upper = np.meshgrid(_up_to_the_next(sequences), _up_to_the_next(tokens), indexing="ij")
    there = np.isfinite(seconds)
    there[0, 0] = False
    return Steps(upper[0][there], upper[1][there], seconds[there])


def _ladder(most: float, ratio: float) -> list[float]:
    """Return whole numbers from 1 to `most`: all of the small ones, then in steps of `ratio`."""
    rungs, number = [], 1.0
    while number <= most:
        rungs.append(number)
        number = number + 1.0 if number < _EVERY else math.floor(number * ratio) + 1.0
    return rungs if rungs[-1] == most else [*rungs, most]


def _up_to_the_next(rungs: Sequence[float]) -> Floats:
    """Return the largest whole number below the next rung; the last is itself."""
    return np.array([0.0, *(after - 1.0 for after in rungs[2:]), rungs[-1]])


def _context_slope(deployment: Deployment) -> float:
    """Return the least seconds that reading one token of context adds to a step, sliding windows being full."""
    far = 1e15
    return float(
        min(
            decode_line(deployment.latency, number, far).slope_s
            for number in _ladder(float(deployment.batching.max_sequences), _SEQUENCE_RATIO)
        )
    )
