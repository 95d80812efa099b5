"""The field's routing policies, each under the name it has where it comes from.

Every one is compiled and serves both levels. Ties go to the lowest identity.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.jit import compiled
from inferencesim.kernel.views import Candidates, Request, mix, uniform
from inferencesim.routing import cache_aware, spilling, tag_aware  # noqa: F401 - file their own
from inferencesim.routing.policy import policy
from inferencesim.routing.prediction import predict, promise_ratio
from inferencesim.routing.scoring import INFEASIBLE, OVERFLOW, highest, inside

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Floats, Integers

#: The number whose multiples are spread most evenly, modulo 1.
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


@compiled
def _eligible(candidates: Candidates, rank: int, count: int) -> int:
    """Return the eligible candidate number `rank` of `count`, counted from 0."""
    if count == candidates.eligible.size:
        return rank
    for i in range(candidates.eligible.size):
        if candidates.eligible[i]:
            if rank == 0:
                return i
            rank -= 1
    return -1


@compiled
def _count(candidates: Candidates) -> int:
    total = 0
    for i in range(candidates.eligible.size):
        total += candidates.eligible[i]
    return total


@policy("random", "uniform over the eligible")
def random(request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers) -> int:
    """Choose uniformly, by the request's own random number."""
    count = _count(candidates)
    return _eligible(candidates, int(uniform(request, 0) * count), count)


@policy("round_robin", "cyclic by identity")
def round_robin(request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers) -> int:
    """Choose the next eligible one after the last chosen."""
    n = candidates.eligible.size
    for ahead in range(n):
        i = (memory[0] + ahead) % n
        if candidates.eligible[i]:
            memory[0] = i + 1
            return int(i)
    return -1


@policy("weighted_round_robin", "interleaved by target rate")
def weighted_round_robin(
    request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers
) -> int:
    """Choose in turn, each as often as its share of the target rates of the eligible.

    Turns fall at multiples of the golden ratio, modulo 1, on an interval that
    the candidates divide by weight: of any number in a row each has its share to
    within a few.
    """
    total = 0.0
    for i in range(candidates.eligible.size):
        total += candidates.traits[i]["target_rate"] * candidates.eligible[i]
    memory[0] += 1
    left = total * (memory[0] * _GOLDEN % 1.0)
    chosen = -1
    for i in range(candidates.eligible.size):
        if candidates.eligible[i]:
            if left < 0.0:
                break
            chosen = i
            left -= candidates.traits[i]["target_rate"]
    return chosen


@policy("least_outstanding", "fewest waiting + running, per replica")
def least_outstanding(
    request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers
) -> int:
    """Choose the one with the fewest requests inside, per replica behind it."""
    for i in range(scores.size):
        scores[i] = -inside(candidates, i)
    return highest(candidates, scores)


@policy("join_shortest_queue", "fewest waiting, per replica")
def join_shortest_queue(
    request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers
) -> int:
    """Choose the one with the fewest requests not yet scheduled, per replica behind it."""
    for i in range(scores.size):
        scores[i] = -candidates.load[i]["waiting"] / candidates.traits[i]["replicas"]
    return highest(candidates, scores)


@policy("least_tokens", "fewest outstanding prompt + expected output tokens, per replica")
def least_tokens(request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers) -> int:
    """Choose the one with the fewest tokens still to process, outputs taken at the mean of the request's class."""
    load = candidates.load
    for i in range(scores.size):
        expected = (load[i]["waiting"] + load[i]["running"]) * request.expected_output_tokens
        scores[i] = -(load[i]["waiting_tokens"] + expected) / candidates.traits[i]["replicas"]
    return highest(candidates, scores)


@policy("power_of_two", "the less loaded of two distinct samples")
def power_of_two(request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers) -> int:
    """Choose the one with fewer requests inside (per replica) of two drawn at random."""
    count = _count(candidates)
    first = int(uniform(request, 0) * count)
    if count == 1:
        return _eligible(candidates, 0, count)
    second = int(uniform(request, 1) * (count - 1))
    second += second >= first
    a, b = _eligible(candidates, first, count), _eligible(candidates, second, count)
    if a > b:
        a, b = b, a
    scores[:] = np.nan
    scores[a] = -inside(candidates, a)
    scores[b] = -inside(candidates, b)
    return a if scores[a] >= scores[b] else b


@policy("least_kv", "lowest KV usage")
def least_kv(request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers) -> int:
    """Choose the one with the smallest share of KV blocks in use; of equals, the shortest queue."""
    load = candidates.load
    for i in range(scores.size):
        # KV is taken when a request is scheduled; until then only the queue tells a burst's members apart.
        scores[i] = -load[i]["kv_usage"] - 1e-9 * load[i]["waiting"]
    return highest(candidates, scores)


@policy("least_normalised_load", "fewest outstanding / target rate of that hardware")
def least_normalised_load(
    request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers
) -> int:
    """Choose the one that would need the shortest time at its target rate for what is inside, this request included."""
    load = candidates.load
    for i in range(scores.size):
        scores[i] = -(load[i]["waiting"] + load[i]["running"] + 1) / candidates.traits[i]["target_rate"]
    return highest(candidates, scores)


@policy("session_affinity", "the same session to the same place (rendezvous hash); without one, least outstanding")
def session_affinity(
    request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers
) -> int:
    """Choose by highest random weight of (session, identity): a candidate that leaves moves its own sessions only."""
    for i in range(scores.size):
        if request.session >= 0:
            scores[i] = _affinity(request, candidates, i) / 2147483648.0
        else:
            scores[i] = -inside(candidates, i)
    return highest(candidates, scores)


@policy(
    "predicted_latency",
    "headroom = 1 − prediction / promise for TTFT and TPOT; positive headroom first, then most (or least) of it",
    ttft_weight=0.8,
    tpot_weight=0.2,
    spread=1.0,
)
def predicted_latency(
    request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers
) -> int:
    """Choose by predicted headroom; `spread` 1 takes the most, 0 packs onto the least that is positive.

    Where a promise would be missed the score is −prediction / promise: least bad
    first. A class without a promise of TTFT or TPOT is scored by its predicted E2E.
    """
    for i in range(scores.size):
        predicted = predict(request, candidates, i)
        if math.isinf(request.ttft_s) and math.isinf(request.tpot_s):
            scores[i] = -(predicted.ttft_s + predicted.tpot_s * request.expected_output_tokens)
            continue
        ratio = promise_ratio(request, predicted)
        if ratio > 1.0:
            scores[i] = -ratio
            continue
        headroom = parameters[0] * (1.0 - predicted.ttft_s / request.ttft_s)
        headroom += parameters[1] * (1.0 - predicted.tpot_s / request.tpot_s)
        scores[i] = 1.0 + headroom if parameters[2] > 0.0 else 2.0 - headroom
    return highest(candidates, scores)


@policy(
    "cheapest_feasible",
    "lowest marginal cost among those predicted to keep the promise with a margin; else the least bad miss; "
    "providers: 1 like any other, 2 where no pool keeps the promise (overflow), 0 where no pool is eligible",
    margin=0.5,
    providers=1.0,
)
def cheapest_feasible(
    request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers
) -> int:
    """Choose the cheapest candidate whose predictions stay below `margin` × promise.

    The score is −USD; where the promise would be missed it is INFEASIBLE − the
    ratio of prediction to promise. With `providers` 2 an outside provider that
    keeps the promise stands between the two, at OVERFLOW − USD; with 0 none is
    looked at while a pool is eligible.
    """
    without = parameters[1] <= 0.0 and _is_pool_eligible(candidates)
    for i in range(scores.size):
        if candidates.traits[i]["outside"] and without:
            continue
        predicted = predict(request, candidates, i)
        ratio = promise_ratio(request, predicted)
        scores[i] = -predicted.cost_usd if ratio <= parameters[0] else INFEASIBLE - ratio
        if candidates.traits[i]["outside"] and parameters[1] >= 2.0 and ratio <= parameters[0]:
            scores[i] += OVERFLOW
    return highest(candidates, scores)


@compiled
def _is_pool_eligible(candidates: Candidates) -> bool:
    """Tell whether a candidate that is no outside provider is eligible."""
    pools = 0
    for i in range(candidates.eligible.size):
        pools += candidates.eligible[i] * (1 - candidates.traits[i]["outside"])
    return pools > 0


@compiled
def _scaled(value: float, low: float, high: float) -> float:
    """Return how far below the highest a value is, in [0, 1]; 1 if all are equal."""
    return (high - value) / (high - low) if high > low else 1.0


@policy(
    "weighted_scorers",
    "sum of weight × score in [0, 1]: queue, kv, load, speed, price, session, prefix, energy, network",
    reads_caches="prefix",
    queue=2.0,
    kv=2.0,
    load=0.0,
    speed=0.0,
    price=0.0,
    session=0.0,
    prefix=0.0,
    energy=0.0,
    network=0.0,
)
def weighted_scorers(
    request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers
) -> int:
    """Choose by a weighted sum of scores; all but kv, session and prefix are scaled between extremes of the eligible.

    An outside provider's energy is not known, and taken to be nothing.
    """
    load = candidates.load
    queue_low, queue_high = _extremes(candidates, 0)
    load_low, load_high = _extremes(candidates, 1)
    slow_low, slow_high = _extremes(candidates, 2)
    price_low, price_high = _extremes(candidates, 3)
    energy_low, energy_high = _extremes(candidates, 4)
    way_low, way_high = _extremes(candidates, 5)
    home = _home(request, candidates)
    for i in range(scores.size):
        queue, outstanding, slowness, price, energy, way = _raw_scores(candidates, i)
        scores[i] = parameters[0] * _scaled(queue, queue_low, queue_high)
        scores[i] += parameters[1] * (1.0 - load[i]["kv_usage"])
        scores[i] += parameters[2] * _scaled(outstanding, load_low, load_high)
        scores[i] += parameters[3] * _scaled(slowness, slow_low, slow_high)
        scores[i] += parameters[4] * _scaled(price, price_low, price_high)
        if i == home:
            scores[i] += parameters[5]
        scores[i] += parameters[6] * candidates.cached[i]["found_tokens"] / request.prompt_tokens
        scores[i] += parameters[7] * _scaled(energy, energy_low, energy_high)
        scores[i] += parameters[8] * _scaled(way, way_low, way_high)
    return highest(candidates, scores)


@compiled
def _home(request: Request, candidates: Candidates) -> int:
    """Return the eligible candidate a session belongs to, by rendezvous hash; −1 without a session."""
    home, weight_of_home = -1, -1
    if request.session < 0:
        return home
    for i in range(candidates.eligible.size):
        weight = _affinity(request, candidates, i)
        if candidates.eligible[i] and weight > weight_of_home:
            home, weight_of_home = i, weight
    return home


@compiled
def _affinity(request: Request, candidates: Candidates, i: int) -> int:
    """Return the random weight of (session, identity), in 31 bits."""
    return mix(mix(request.session & 0x7FFFFFFF, 1), candidates.traits[i]["identity"] + 1)


@compiled
def _extremes(candidates: Candidates, which: int) -> tuple[float, float]:
    """Return the lowest and the highest of one raw score among the eligible."""
    low, high = math.inf, -math.inf
    for i in range(candidates.eligible.size):
        if candidates.eligible[i]:
            value = _raw_scores(candidates, i)[which]
            low, high = min(low, value), max(high, value)
    return low, high


@compiled
def _raw_scores(candidates: Candidates, i: int) -> tuple[float, float, float, float, float, float]:
    """Return what is scaled for one candidate, lower being better: queue, load, slowness, price, energy, round trip.

    Price and energy are those of a request at the target rate.
    """
    load, traits = candidates.load, candidates.traits
    outstanding = load[i]["waiting"] + load[i]["running"]
    return (
        load[i]["waiting"] / traits[i]["replicas"],
        outstanding / traits[i]["target_rate"],
        -traits[i]["speed"],
        traits[i]["usd_per_s"] * traits[i]["replicas"] / traits[i]["target_rate"],
        traits[i]["site_w"] * traits[i]["replicas"] / traits[i]["target_rate"],
        candidates.network_s[i],
    )
