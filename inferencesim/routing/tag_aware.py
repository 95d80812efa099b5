"""The express lane and the freight: a policy that places work by how soon its answers are wanted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from inferencesim.jit import compiled
from inferencesim.kernel.tables import INTERACTIVE, RELAXED
from inferencesim.kernel.views import Request
from inferencesim.routing.policy import policy
from inferencesim.routing.prediction import predict, promise_ratio
from inferencesim.routing.scoring import INFEASIBLE, OVERFLOW, highest

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Floats, Integers
    from inferencesim.kernel.views import Candidates
    from inferencesim.routing.prediction import Prediction

#: A score below this, and above INFEASIBLE, says that the candidate keeps its room for interactive work; from here to
#: twice as far down, that it has none left for it anyway.
RESERVED = -1e3


@policy(
    "tag_aware",
    "cheapest that keeps the promise; what is not interactive leaves interactive work its room while it can wait; "
    "providers: 1 like any other, 2 where no pool keeps the promise (overflow)",
    margin=0.5,
    slack=0.9,
    reserve=0.2,
    providers=2.0,
)
def tag_aware(request: Request, candidates: Candidates, scores: Floats, parameters: Floats, memory: Integers) -> int:
    """Choose the cheapest candidate that is predicted to keep the promise and whose room is not reserved.

    A promise is kept where predictions stay below `margin` × promise, or below
    `slack` × promise for relaxed work, whose promise is mostly a deadline. Work
    that is not interactive leaves a candidate to those who wait where, with it,
    predictions would exceed `margin` × what is promised to interactive work
    there, or less than the share `reserve` of seats or KV cache would stay
    free. If only such candidates keep its promise, it goes where interactive
    work has lost its room already, first where most; else where it takes least.
    Where no candidate keeps the promise, the least bad miss. With `providers` 2
    an outside provider is asked only where no pool keeps the promise; what may
    wait in a pool that keeps its room for others waits there.
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
        if candidates.traits[i]["outside"]:
            scores[i] += OVERFLOW if parameters[3] >= 2.0 else 0.0
            continue
        if request.sensitivity != INTERACTIVE:
            harm = _harm(request, candidates, i, predicted, parameters)
            if harm > 0.0:
                scores[i] = _reserved(request, candidates, i, harm, parameters)
    return highest(candidates, scores)


@compiled
def _reserved(request: Request, candidates: Candidates, i: int, harm: float, parameters: Floats) -> float:
    """Return the score of a candidate that a request would do `harm` at."""
    least = _with_one_token(request)
    already = _harm(least, candidates, i, predict(least, candidates, i), parameters)
    if already > 0.0:
        # Who waits goes elsewhere by now, and had better not find this request there.
        return RESERVED * (1.0 + 1.0 / (1.0 + already))
    return 2.0 * RESERVED - harm


@compiled
def _harm(request: Request, candidates: Candidates, i: int, predicted: Prediction, parameters: Floats) -> float:
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
    return float(max(late - parameters[0], taken - (1.0 - parameters[2])))


@compiled
def _with_one_token(request: Request) -> Request:
    """Return a request with a prompt of one token: what it meets is what others meet without it."""
    return Request(
        request.class_index,
        1,
        request.expected_output_tokens,
        request.session,
        request.now_s,
        request.ttft_s,
        request.tpot_s,
        request.e2e_s,
        request.sensitivity,
        request.key,
    )
