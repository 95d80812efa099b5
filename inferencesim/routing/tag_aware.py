"""The express lane and the freight: a policy that places work by how soon its answers are wanted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from inferencesim.jit import compiled
from inferencesim.kernel.tables import INTERACTIVE, RELAXED
from inferencesim.routing.policy import policy
from inferencesim.routing.prediction import predict, promise_ratio
from inferencesim.routing.scoring import INFEASIBLE, highest

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Floats, Integers
    from inferencesim.kernel.views import Candidates, Request
    from inferencesim.routing.prediction import Prediction

#: A score below this, and above INFEASIBLE, says that the candidate keeps its room for interactive work.
RESERVED = -1e3


@policy(
    "tag_aware",
    "cheapest that keeps the promise; what is not interactive leaves interactive work its room while it can wait",
    margin=0.5,
    slack=0.9,
    reserve=0.2,
)
def tag_aware(request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers) -> int:
    """Choose the cheapest candidate that is predicted to keep the promise and whose room is not reserved.

    A promise is kept where predictions stay below `margin` × promise, or below
    `slack` × promise for relaxed work, whose promise is mostly a deadline. Work
    that is not interactive leaves a candidate to those who wait where, with it,
    predictions would exceed `margin` × what is promised to interactive work
    there, or less than the share `reserve` of seats or KV cache would stay
    free. If only such candidates keep its promise, it takes the one it disturbs
    least. Where no candidate keeps the promise, the least bad miss.
    """
    margin = parameters[1] if request.sensitivity == RELAXED else parameters[0]
    for i in range(scores.size):
        if not candidates.eligible[i]:
            continue
        predicted = predict(request, candidates, i)
        ratio = promise_ratio(request, predicted)
        if ratio > margin:
            scores[i] = INFEASIBLE - ratio
            continue
        scores[i] = -predicted.cost_usd
        if request.sensitivity != INTERACTIVE:
            harm = _harm(request, candidates, i, predicted, parameters[0], parameters[2])
            if harm > 0.0:
                scores[i] = RESERVED - harm
    return highest(candidates, scores)


@compiled
def _harm(
    request: Request, candidates: Candidates, i: int, predicted: Prediction, margin: float, reserve: float
) -> float:
    """Return by how much a request would exceed what interactive work leaves it at a candidate; above 0 is too much.

    Who comes next waits for as long as this request does, and shares its steps: what is predicted of it is
    predicted of them.
    """
    load, traits = candidates.load[i], candidates.traits[i]
    if math.isinf(traits["interactive_ttft_s"]) and math.isinf(traits["interactive_tpot_s"]):
        return -1.0
    late = max(predicted.ttft_s / traits["interactive_ttft_s"], predicted.tpot_s / traits["interactive_tpot_s"])
    seats = traits["seats"] * traits["replicas"]
    held = load["context_tokens"] + load["waiting_tokens"] + request.prompt_tokens
    taken = max(load["kv_usage"], held / (traits["kv_tokens"] * traits["replicas"]))
    taken = max(taken, (load["waiting"] + load["running"] + 1) / seats)
    return float(max(late - margin, taken - (1.0 - reserve)))
