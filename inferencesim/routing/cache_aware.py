"""Policies that route by what prefix caches hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from inferencesim.jit import compiled
from inferencesim.kernel.views import Candidates, Request, uniform
from inferencesim.routing.policy import policy
from inferencesim.routing.scoring import highest, inside

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Floats, Integers


@policy(
    "prefix_affinity",
    "longest cached prefix; least load where that is out of balance; the emptiest cache where little is found",
    reads_caches=True,
    most_apart=64.0,
    most_ratio=1.5,
    least_share=0.3,
)
def prefix_affinity(
    request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers
) -> int:
    """Choose the one whose cache has most of the prompt, as the cache-aware router of SGLang does.

    Where the most loaded has `most_apart` requests more than the least loaded,
    and `most_ratio` times as many, the least loaded. Where no cache has
    `least_share` of the prompt, the one that keeps the fewest tokens. Load is
    requests inside per replica, and decides between equals.
    """
    cached = candidates.cached
    low, high = math.inf, -math.inf
    found = 0
    for i in range(scores.size):
        if candidates.eligible[i]:
            load = inside(candidates, i)
            low, high = min(low, load), max(high, load)
            found = max(found, cached[i]["found_tokens"])
    apart = high - low > parameters[0] and high > parameters[1] * low
    little = found < parameters[2] * request.prompt_tokens
    for i in range(scores.size):
        scores[i] = -inside(candidates, i) * 1e-6
        if not apart:
            scores[i] += -cached[i]["kept_tokens"] if little else cached[i]["found_tokens"]
    return highest(candidates, scores)


@policy(
    "kv_aware_cost",
    "prefill_weight × tokens to prefill, those cached left out, + tokens decoding + request_weight × requests; least",
    reads_caches=True,
    prefill_weight=1.0,
    request_weight=0.0,
    temperature=0.0,
)
def kv_aware_cost(
    request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers
) -> int:
    """Choose by what is to do at a candidate with this request there, per replica, as the KV router of Dynamo does.

    With a `temperature` T the choice is drawn, with odds exp(−cost / T) after
    costs are scaled to [0, 1] between the extremes of the eligible.
    """
    load = candidates.load
    for i in range(scores.size):
        replicas = candidates.traits[i]["replicas"]
        ahead = load[i]["waiting_tokens"] / replicas + request.prompt_tokens - candidates.cached[i]["found_tokens"]
        cost = parameters[0] * max(ahead, 0.0) + load[i]["context_tokens"] / replicas
        scores[i] = -(cost + parameters[1] * inside(candidates, i))
    if parameters[2] <= 0.0:
        return highest(candidates, scores)
    return _drawn(request, candidates, scores, parameters[2])


@compiled
def _drawn(request: Request, candidates: Candidates, scores: Floats, temperature: float) -> int:
    """Return an eligible candidate drawn with odds exp(score / temperature), scores scaled to [0, 1]."""
    low, high = math.inf, -math.inf
    for i in range(scores.size):
        if candidates.eligible[i]:
            low, high = min(low, scores[i]), max(high, scores[i])
    scale = temperature * (high - low) if high > low else 1.0
    total = 0.0
    for i in range(scores.size):
        if candidates.eligible[i]:
            total += math.exp((scores[i] - high) / scale)
    left = uniform(request, 0) * total
    chosen = -1
    for i in range(scores.size):
        if candidates.eligible[i]:
            if left < 0.0:
                break
            left -= math.exp((scores[i] - high) / scale)
            chosen = i
    return chosen
