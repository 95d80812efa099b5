"""What a router can predict of a request at a candidate, from counts alone.

A prediction is of the average replica behind the candidate. It knows the
coefficients of the deployment, the work in front and the mean output length of
the request's class, and nothing of the future: later arrivals will slow it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from inferencesim.deployment.latency import decode_line, latency_of, step_cost, tokens_per_step
from inferencesim.deployment.step_time import MixedStep, StepCost, line_cost, step_energy_j
from inferencesim.jit import compiled
from inferencesim.kernel.tables import PREDICTED

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Floats, Integers
    from inferencesim.kernel.views import Candidates, Request


class Prediction(NamedTuple):
    """Predicted latencies and marginal cost of one request at one candidate."""

    ttft_s: float
    tpot_s: float
    cost_usd: float


class Joined(NamedTuple):
    """The batch that a request will join, in the average replica behind a candidate."""

    sequences: float  #: itself among them
    context: float  #: tokens in KV that a step of theirs reads


_WIDTH = len(PREDICTED)


@compiled
def predict(request: Request, candidates: Candidates, i: int) -> Prediction:
    """Predict TTFT, TPOT and marginal cost of a request at candidate `i`.

    TTFT is the round trip to the user, the step under way (half of it), the prefill of all tokens in front
    and of its own under the token budget, and, where seats or KV cache are
    taken, the time until enough of the running ones have left: a full batch turns
    over once per mean output. TPOT is a step of the batch it will join, with the
    prefill that keeps such a batch full, over the tokens which drafts (at the
    pool's acceptance) let expect of a step. The marginal cost is its share of the
    replica's time: its own prefill, and one seat of each decode step.

    Of an outside provider the means of its latencies are predicted, which do not
    depend on its load, and the price of its tokens, nothing found in its cache.
    """
    return _predicted(request, candidates, i, own_prefill(request, candidates, i))


@compiled
def _predicted(request: Request, candidates: Candidates, i: int, alone: StepCost) -> Prediction:
    load, traits = candidates.load, candidates.traits
    if traits[i]["outside"]:
        usd = request.prompt_tokens * traits[i]["usd_per_prompt_token"]
        usd += request.expected_output_tokens * traits[i]["usd_per_output_token"]
        return Prediction(candidates.network_s[i] + traits[i]["ttft_s"], traits[i]["tpot_s"], usd)
    model = latency_of(candidates.latency, traits[i]["deployment"])
    replicas = float(traits[i]["replicas"])
    running = load[i]["running"] / replicas
    waiting = load[i]["waiting"] / replicas
    context = load[i]["context_tokens"] / replicas
    ahead = load[i]["waiting_tokens"] / replicas
    seats = float(traits[i]["seats"])
    prompt = float(request.prompt_tokens)
    output = request.expected_output_tokens

    kv_tokens = float(traits[i]["kv_tokens"])
    usual, usual_output = traits[i]["mean_prompt_tokens"], traits[i]["mean_output_tokens"]

    batch, read = batch_joined(request, candidates, i)
    decoding = min(running, seats)
    verified = model.coefficients.verified
    made = tokens_per_step(verified, candidates.latency.acceptance[traits[i]["deployment"]])
    room = max(1.0, traits[i]["token_budget"] - verified * decoding)
    # Whoever leaves the batch is replaced: each step carries that much prefill.
    chunk = min(room, made * batch / usual_output * usual)
    seen = usual / 2.0
    windowed = chunk * min(seen, model.coefficients.window)
    step = MixedStep(batch, read, 1.0, chunk, chunk * seen, windowed, usual, chunk / usual)
    step_s = step_cost(model, step).seconds
    tpot = step_s / made

    ttft = candidates.network_s[i] + model.coefficients.engine_request_s
    ttft += _prefill(candidates, i, decoding, context, ahead + prompt, prompt / 2.0, room).seconds
    if running > 0.0:
        ttft += 0.5 * step_s
    # Too few seats and too little cache are one and the same wait: for enough of the running ones to leave.
    turnovers = 0.0
    crowd = running + waiting + 1.0 - seats
    if crowd > 0.0:
        turnovers = crowd / seats
    missing = context + ahead + prompt + output - kv_tokens
    if missing > 0.0:
        turnovers = max(turnovers, missing / kv_tokens)
    ttft += turnovers * output * tpot
    cost = traits[i]["usd_per_s"] * (alone.seconds + output * tpot / batch)
    return Prediction(ttft, tpot, cost)


@compiled
def batch_joined(request: Request, candidates: Candidates, i: int) -> Joined:
    """Return the batch that a request will join at candidate `i`, which is a pool or a replica."""
    load, traits = candidates.load, candidates.traits
    replicas = float(traits[i]["replicas"])
    context = load[i]["context_tokens"] / replicas
    batch = min(float(traits[i]["seats"]), (load[i]["running"] + load[i]["waiting"]) / replicas + 1.0)
    # Whoever waits reads its context in the steps to come, as far as a batch of usual requests holds that much.
    usual = traits[i]["mean_prompt_tokens"] + traits[i]["mean_output_tokens"] / 2.0
    joining = min(load[i]["waiting_tokens"] / replicas, max(0.0, batch * usual - context))
    own = request.prompt_tokens + request.expected_output_tokens / 2.0
    return Joined(batch, min(float(traits[i]["kv_tokens"]), context + joining + own))


@compiled
def predict_energy_j(request: Request, candidates: Candidates, i: int, alone: StepCost) -> float:
    """Predict the energy of the chips for a request at candidate `i`: its prefill, and its share of decode steps.

    Its prefill, :func:`own_prefill`, is given, for the cost is made of it, too.
    Without their site's overhead; NaN of an outside provider, which does not say.
    """
    traits = candidates.traits[i]
    if traits["outside"]:
        return math.nan
    model = latency_of(candidates.latency, traits["deployment"])
    batch, read = batch_joined(request, candidates, i)
    made = tokens_per_step(model.coefficients.verified, candidates.latency.acceptance[traits["deployment"]])
    steps = request.expected_output_tokens / made
    decode = line_cost(decode_line(model, batch, read), steps, steps * read)
    return step_energy_j(model.coefficients, alone) + step_energy_j(model.coefficients, decode) / batch


@compiled
def promise_ratio(request: Request, predicted: Prediction) -> float:
    """Return the largest of prediction / promise; 0 if nothing is promised."""
    e2e_s = predicted.ttft_s + predicted.tpot_s * max(0.0, request.expected_output_tokens - 1.0)
    return max(predicted.ttft_s / request.ttft_s, predicted.tpot_s / request.tpot_s, e2e_s / request.e2e_s)


def predict_all(
    request: Request,
    candidates: Candidates,
    predictions: Floats,
    parameters: Floats,  # noqa: ARG001 - called like a policy
    memory: Integers,  # noqa: ARG001
) -> int:
    """Fill in PREDICTED of all eligible candidates, one after another."""
    for i in range(candidates.eligible.size):
        if candidates.eligible[i]:
            alone = own_prefill(request, candidates, i)
            predicted = _predicted(request, candidates, i, alone)
            predictions[_WIDTH * i] = predicted.ttft_s
            predictions[_WIDTH * i + 1] = predicted.tpot_s
            predictions[_WIDTH * i + 2] = predicted.cost_usd
            predictions[_WIDTH * i + 3] = predict_energy_j(request, candidates, i, alone)
    return 0


@compiled
def own_prefill(request: Request, candidates: Candidates, i: int) -> StepCost:
    """Return the cost of a request's own prefill with nobody beside it; nothing where that is a provider's affair."""
    traits = candidates.traits[i]
    if traits["outside"]:
        return StepCost(0.0, 0.0)
    prompt = float(request.prompt_tokens)
    return _prefill(candidates, i, 0.0, 0.0, prompt, prompt / 2.0, float(traits["token_budget"]))


@compiled
def _prefill(
    candidates: Candidates, i: int, decoding: float, context: float, tokens: float, seen: float, room: float
) -> StepCost:
    """Return the cost of the steps that prefill `tokens`, each looking back on `seen`, beside `decoding` sequences."""
    model = latency_of(candidates.latency, candidates.traits[i]["deployment"])
    steps = max(1.0, tokens / room)
    chunk = tokens / steps
    windowed = chunk * min(seen, model.coefficients.window)
    step = MixedStep(decoding, context, 1.0, chunk, chunk * seen, windowed, 2.0 * seen, 1.0)
    cost = step_cost(model, step)
    return StepCost(steps * cost.seconds, steps * cost.active_s)
