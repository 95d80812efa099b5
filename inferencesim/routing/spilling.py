"""Policies that fill candidates in an order: the first while it has room, then the next.

They differ in the order alone: the fastest first, the cheapest, the nearest,
where power is cheapest, where it is cleanest, or by the length of the prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.jit import compiled
from inferencesim.routing.policy import policy
from inferencesim.routing.scoring import highest

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Floats, Integers
    from inferencesim.kernel.views import Candidates, Request


@compiled
def _has_room(candidates: Candidates, i: int, full_at: float) -> bool:
    """Tell whether a candidate has a seat, and its KV cache is claimed below `full_at`, waiting prompts included."""
    load, traits = candidates.load[i], candidates.traits[i]
    claimed = (load["context_tokens"] + load["waiting_tokens"]) / (traits["kv_tokens"] * traits["replicas"])
    inside = load["waiting"] + load["running"]
    return bool(inside < traits["seats"] * traits["replicas"] and max(load["kv_usage"], claimed) < full_at)


@compiled
def _lowest_with_room(candidates: Candidates, scores: Floats, full_at: float) -> int:
    """Choose the lowest of those with room; with room nowhere, the lowest.

    `scores` comes with what is to be low, at least 0, and leaves with the scores:
    minus its share of the largest, plus 1 for room.
    """
    largest = 0.0
    for i in range(scores.size):
        largest = max(largest, scores[i])
    for i in range(scores.size):
        room = 1.0 if _has_room(candidates, i, full_at) else 0.0
        scores[i] = room - (scores[i] / largest if largest > 0.0 else 0.0)
    return highest(candidates, scores)


@policy("premium_first", "the fastest while it has room, then the next", full_at=0.9)
def premium_first(
    request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers
) -> int:
    """Choose the fastest with room: a seat, and a KV cache claimed below `full_at`, waiting prompts included.

    With room nowhere, the fastest. The naive policy that others are measured against.
    """
    fastest = 0.0
    for i in range(scores.size):
        fastest = max(fastest, candidates.traits[i]["speed"])
    for i in range(scores.size):
        scores[i] = fastest - candidates.traits[i]["speed"]
    return _lowest_with_room(candidates, scores, parameters[0])


@policy("cheapest_first", "the cheapest per request at its target rate while it has room, then the next", full_at=0.9)
def cheapest_first(
    request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers
) -> int:
    """Choose the cheapest with room, as :func:`premium_first` chooses the fastest, whatever was promised.

    The price is that of all replicas over their target rate, an outside
    provider's that of a usual request. With room nowhere, the cheapest.
    """
    for i in range(scores.size):
        scores[i] = _usual_usd(candidates, i)
    return _lowest_with_room(candidates, scores, parameters[0])


@compiled
def _usual_usd(candidates: Candidates, i: int) -> float:
    """Return what a usual request costs at a candidate that is kept busy."""
    t = candidates.traits[i]
    if t["outside"]:
        prompt_usd = t["mean_prompt_tokens"] * t["usd_per_prompt_token"]
        return float(prompt_usd + t["mean_output_tokens"] * t["usd_per_output_token"])
    return float(t["usd_per_s"] * t["replicas"] / t["target_rate"])


@policy("region_nearest", "the shortest round trip from the user while it has room, then the next", full_at=0.9)
def region_nearest(
    request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers
) -> int:
    """Choose the nearest with room."""
    for i in range(scores.size):
        scores[i] = candidates.network_s[i]
    return _lowest_with_room(candidates, scores, parameters[0])


@policy("region_cheapest_power", "where electricity is cheapest while there is room, then the next", full_at=0.9)
def region_cheapest_power(
    request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers
) -> int:
    """Choose by the tariff of the site among those with room, an outside provider's too, whoever pays it."""
    for i in range(scores.size):
        scores[i] = candidates.traits[i]["usd_per_j"]
    return _lowest_with_room(candidates, scores, parameters[0])


@policy("lowest_carbon", "where the grid is cleanest while there is room, then the next", full_at=0.9)
def lowest_carbon(
    request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers
) -> int:
    """Choose by the carbon intensity of the site's grid among those with room."""
    for i in range(scores.size):
        scores[i] = candidates.traits[i]["carbon_g_per_j"]
    return _lowest_with_room(candidates, scores, parameters[0])


@policy(
    "length_split",
    "prompts of `threshold` tokens and more where a replica has most KV cache, shorter ones to the others; "
    "to the other side where its own is full",
    threshold=8192.0,
    full_at=0.9,
)
def length_split(request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers) -> int:
    """Choose the side by the length of the prompt, then the one that is soonest done with what is inside.

    Where all have the same KV cache there is one side only.
    """
    largest, smallest = 0.0, 2.0**62
    for i in range(scores.size):
        if candidates.eligible[i]:
            largest = max(largest, float(candidates.traits[i]["kv_tokens"]))
            smallest = min(smallest, float(candidates.traits[i]["kv_tokens"]))
    for i in range(scores.size):
        roomy = candidates.traits[i]["kv_tokens"] >= largest
        ours = largest == smallest or roomy == (request.prompt_tokens >= parameters[0])
        inside = candidates.load[i]["waiting"] + candidates.load[i]["running"]
        busy_s = inside / candidates.traits[i]["target_rate"]
        scores[i] = -busy_s / (1.0 + busy_s) / 2.0
        if _has_room(candidates, i, parameters[1]):
            scores[i] += 2.0 if ours else 1.0
    return highest(candidates, scores)
