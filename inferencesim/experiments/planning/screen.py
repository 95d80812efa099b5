"""What needs no simulation to be ruled out: replicas too slow for every promise, and those that others outdo in all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from inferencesim.deployment.latency import decode_line, step_cost
from inferencesim.deployment.step_time import MixedStep
from inferencesim.experiments.planning.demand import DECODED, FRESH, PROMPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from inferencesim.deployment.deployment import Deployment
    from inferencesim.experiments.planning.candidates import Candidate, Space
    from inferencesim.experiments.planning.demand import ClassDemand
    from inferencesim.scenario.workload import WorkloadClass
    from inferencesim.simulation.plan import PoolPlan

#: Steps that two kinds of replicas are compared by: sequences, prompt tokens, tokens of context of a sequence.
_SEQUENCES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)
_TOKENS = (0, 16, 128, 512, 2048, 8192)
_CONTEXTS = (100.0, 4000.0)

#: How many times as many of a better pool there may be as of one that it stands in for.
_ENOUGH = 2


class Alone(NamedTuple):
    """The times of a request that is alone on a replica: at most so fast."""

    ttft_s: float
    tpot_s: float
    e2e_s: float


def alone(pool: PoolPlan, deployment: Deployment, work: NDArray[np.float64]) -> Alone:
    """Return the times of a request of this work; its prompt is cached as far as it can be."""
    cached = pool.spec.prefix_cache or pool.spec.prefill_in is not None
    prompt = max(1, int(work[FRESH] if cached else work[PROMPT]))
    decoded = int(work[DECODED])
    # A lucky request has all of its guessed tokens accepted.
    first = deployment.alone_s(prompt, 1, 1.0)
    last = deployment.alone_s(prompt, decoded + 1, 1.0)
    if pool.spec.prefill_in is not None:
        # Prompts are read in another pool, which may be faster.
        last, first = last - first, 0.0
    return Alone(first, (last - first) / decoded if decoded else 0.0, last)


def broken_promise(each: WorkloadClass, times: Alone) -> str | None:
    """Return the promise that such times break, in words; None where all are kept."""
    promise = each.promise
    for name, promised, taken in (
        ("TTFT", promise.ttft, times.ttft_s),
        ("TPOT", promise.tpot, times.tpot_s),
        ("E2E", promise.e2e, times.e2e_s),
        ("deadline", promise.deadline, times.e2e_s),
    ):
        if promised is not None and taken > promised * (1.0 + 1e-6):
            return f"{name} {taken:.3g} s, promised {promised:.3g} s"
    return None


def keeps_alone(each: WorkloadClass, pool: PoolPlan, deployment: Deployment, work: NDArray[np.float64]) -> bool:
    """Tell whether a request of this work can be served at all within its promises."""
    if work[PROMPT] + work[DECODED] + 1.0 > deployment.context_limit:
        return False
    return broken_promise(each, alone(pool, deployment, work)) is None


def infeasible(space: Space, demands: Sequence[ClassDemand]) -> dict[int, str]:
    """Return the candidates that keep no class's promise even to its smallest request, and why."""
    found = {}
    smallest = {one.index: one.least.min(axis=0) for one in demands if one.bins.sum() > 0.0}
    for place, candidate in enumerate(space.candidates):
        served = [index for index in range(len(space.scenario.workload)) if place in space.eligible[index][0]]
        helps = any(
            one.spec.prefill_in is not None and one.spec.prefill_in.pool == candidate.origin for one in space.candidates
        )
        if helps:
            continue
        if not served:
            if space.bounds[candidate.origin][0] == 0:
                found[place] = "no class may be served by it"
            continue
        reasons = []
        for index in served:
            if index not in smallest:
                break
            each = space.scenario.workload[index]
            # Any of its models would do: this one is what the class asks for there.
            models = [one.model.id for one in candidate.plan.variants]
            wanted = next(name for name in each.accepted_models if name in models)
            deployment = candidate.plan.variants[models.index(wanted)]
            broken = broken_promise(each, alone(candidate.plan, deployment, smallest[index]))
            if broken is None:
                break
            reasons.append(f"{each.name} alone: {broken}")
        else:
            if space.bounds[candidate.origin][0] == 0:
                found[place] = "; ".join(reasons)
    return found


def dominated(space: Space) -> dict[int, str]:
    """Return the candidates that another one outdoes in everything: price, speed, room, and whom it may serve."""
    found: dict[int, str] = {}
    serves = [
        frozenset(index for index in range(len(space.scenario.workload)) if place in space.eligible[index][0])
        for place in range(len(space.candidates))
    ]
    for place, one in enumerate(space.candidates):
        if space.bounds[one.origin][0] > 0 and len(space.of_pool(one.origin)) == 1:
            continue
        for other_place, other in enumerate(space.candidates):
            if other_place in (place, *found) or not serves[place] <= serves[other_place]:
                continue
            if space.bounds[one.origin][0] > 0 and one.origin != other.origin:
                continue
            # Kinds of one pool have its bounds together; of another pool, there have to be enough to take its place.
            enough = one.origin == other.origin or (
                space.bounds[other.origin][1] >= _ENOUGH * space.bounds[one.origin][1]
            )
            if enough and _outdoes(other, one) and not (_outdoes(one, other) and place < other_place):
                found[place] = f"{other.name} is as fast, as roomy and as cheap or better, in all"
                break
    return found


def _outdoes(better: Candidate, worse: Candidate) -> bool:
    """Tell whether a replica is nowhere worse than another one, which is otherwise of the same kind."""
    if len(better.plan.variants) > 1 or len(worse.plan.variants) > 1:
        return False
    new, old = better.plan.deployment, worse.plan.deployment
    alike = ("queue_limit", "prefix_cache", "kv_tiers", "kv_link", "prefill_in", "speculation", "latency", "site")
    if any(getattr(better.spec, name) != getattr(worse.spec, name) for name in alike) or new.model.id != old.model.id:
        return False
    # More seats or a larger budget let more in at once, which makes each slower: neither is better in all.
    if better.spec.batching != worse.spec.batching or new.batching_policy != old.batching_policy:
        return False
    for usd_per_j, instead in zip(_extremes(better), _extremes(worse), strict=True):
        # Both stand at one site, and at every hour the price is between those two.
        if better.usd_per_s_at(usd_per_j) > worse.usd_per_s_at(instead):
            return False
        if new.peak_w * usd_per_j > old.peak_w * instead:
            return False
    if new.memory.kv_tokens < old.memory.kv_tokens or new.context_limit < old.context_limit:
        return False
    return all(_step_s(new, *step) <= _step_s(old, *step) for step in _sample(old))


def _extremes(candidate: Candidate) -> tuple[float, float]:
    """Return the lowest and the highest price of a joule of the day at a candidate's chips."""
    tariff = candidate.plan.chip_tariff
    return tariff.lowest, tariff.highest


def _sample(deployment: Deployment) -> list[tuple[int, int, float]]:
    """Return steps that a deployment can make."""
    batching = deployment.batching
    return [
        (sequences, tokens, sequences * context)
        for sequences in _SEQUENCES
        for tokens in _TOKENS
        for context in _CONTEXTS
        if sequences + tokens > 0 and sequences <= batching.max_sequences and tokens <= batching.token_budget
    ]


def _step_s(deployment: Deployment, sequences: int, tokens: int, context: float) -> float:
    if tokens == 0:
        line = decode_line(deployment.latency, float(sequences), context)
        return float(line.fixed_s + line.slope_s * context)
    pairs = tokens * tokens / 2.0
    windowed = tokens * min(tokens / 2.0, deployment.coefficients.window)
    step = MixedStep(float(sequences), context, 1.0, float(tokens), pairs, windowed, float(tokens), 1.0)
    return float(step_cost(deployment.latency, step).seconds)


def rate_at_most(seconds: NDArray[np.float64], demand: ClassDemand) -> float | None:
    """Return the requests per second that one replica completes of a class at most, in its mix of lengths.

    Parameters
    ----------
    seconds : ndarray of float64, shape (cuts, kinds)
        Of a replica, per unit of work.
    demand : ClassDemand
    """
    if demand.needed <= 0.0:
        return None
    most = float((seconds @ demand.total).max())
    return None if math.isinf(most) else demand.needed / most if most > 0.0 else None
