"""What it will take to finish the requests that are still inside when a simulation stops.

Nothing more is simulated, and nobody comes any more. Each pool has a present batch: the requests that run, spread
over the replicas that run any, and the tokens they hold in KV (half of what they will yet make included). In it,

- a token of prompt takes ``(step with a chunk of prompts − the same step without) / chunk`` of its replica's time,
  where the chunk is what waits per replica, as far as the token budget has room for it;
- a token of output takes ``decode step / batch / tokens per step``. Whoever waits takes a seat that somebody leaves, so
  its tokens are made in the present batch; those who run now are in one that shrinks as one after the other ends;
- and the time costs what a replica costs, power at its mean included where it is paid apart, at the day's mean tariff.

What an outside provider has yet to make costs its price; of answers that are paid for as a whole, the prompt too. Who
is held at the gateway counts as waiting in the first pool that its class may use.

Prompts that a cache will be found to hold, KV that is yet to be lost to others, and media that an encoder has yet to
read are not foreseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.deployment.latency import cost_of, line_of, tokens_per_step
from inferencesim.deployment.step_time import MixedStep, line_cost
from inferencesim.kernel.tables import DECODING, HELD, PREFILLING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.deployment.latency import LatencyModels
    from inferencesim.kernel.gateway import Gateway
    from inferencesim.kernel.tables import Fleet, Records

#: Batch sizes at which a decode step is timed; between them its share per request is a line.
_SIZES = 24


@dataclass(frozen=True)
class Unfinished:
    """What is left to do, by class.

    Attributes
    ----------
    requests, prompt_tokens, output_tokens : ndarray of int64, shape (classes,)
        Requests inside, the tokens they have yet to prefill, and those they have yet to make.
    replica_s, usd : ndarray of float64, shape (classes,)
    """

    requests: NDArray[np.int64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    replica_s: NDArray[np.float64]
    usd: NDArray[np.float64]


def unfinished(fleet: Fleet, gateway: Gateway, inside: Records) -> Unfinished:
    """Return what is left to do of some requests.

    Parameters
    ----------
    fleet : Fleet
    gateway : Gateway
    inside : Records
        REQUEST of all that are inside, with what they did so far booked.
    """
    classes, traits = fleet.classes.size, gateway.pool_traits
    outside, inside = inside[inside["provider"] >= 0], _placed(fleet, gateway, inside[inside["provider"] < 0])
    of_class, pool = inside["class_index"], inside["pool"]
    here = fleet.replicas["pool"][inside["at"]]
    prompt = np.maximum(inside["target"] - inside["progress"], 0)
    output = np.maximum(inside["output_tokens"] - inside["generated_tokens"], 0)
    # The step with the end of a prompt makes a token, too.
    further = np.maximum(output - (prompt > 0), 0)
    # Who is prefilled for another pool has the variant of where it is; this is the one it decodes on.
    variant = np.where(here == pool, inside["row"], gateway.rows[of_class, pool])
    prefill_s, decode_s = np.zeros(inside.size), np.zeros(inside.size)
    for row in np.unique(np.concatenate([inside["row"], variant])).tolist():
        batch = _Batch(fleet.latency, row, inside, further)
        unread, unsaid = (inside["row"] == row) & (prompt > 0), (variant == row) & (further > 0)
        if unread.any():
            budget = float(traits["token_budget"][here[unread][0]])
            prefill_s[unread] = prompt[unread] * batch.prompt_token_s(budget, inside[unread], prompt[unread])
        decode_s[unsaid] = batch.output_s(unsaid, further)
    usd = prefill_s * traits["usd_per_s"][here] + decode_s * traits["usd_per_s"][pool]

    unheard, unmade = _left_outside(outside)
    at = traits[fleet.pools.size + outside["provider"]]
    # Whose tokens take no time comes as a whole, and is not paid for until then.
    billed = unheard * (outside["token_s"] == 0.0) * at["usd_per_prompt_token"] + unmade * at["usd_per_output_token"]

    def by_class(values: NDArray[Any], of_providers: NDArray[Any]) -> NDArray[np.float64]:
        sums = np.bincount(of_class, values, classes) + np.bincount(outside["class_index"], of_providers, classes)
        return np.asarray(sums, np.float64)

    return Unfinished(
        requests=by_class(np.ones(inside.size), np.ones(outside.size)).astype(np.int64),
        prompt_tokens=by_class(prompt, unheard).astype(np.int64),
        output_tokens=by_class(output, unmade).astype(np.int64),
        replica_s=by_class(prefill_s + decode_s, np.zeros(outside.size)),
        usd=by_class(usd, billed),
    )


def _placed(fleet: Fleet, gateway: Gateway, inside: Records) -> Records:
    """Return requests inside with those held at the gateway put where their class may go; who may go nowhere is out."""
    held = inside["phase"] == HELD
    if not held.any():
        return inside
    placed = inside.copy()
    pool = fleet.flow.uses.argmax(axis=1)[inside["class_index"][held]]
    placed["pool"][held], placed["at"][held] = pool, fleet.pools["first_replica"][pool]
    placed["row"][held] = gateway.rows[inside["class_index"][held], pool]
    known: Records = placed[placed["row"] >= 0]
    return known


def _left_outside(outside: Records) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the tokens that providers have yet to read, as far as one can tell, and to make."""
    made = outside["generated_tokens"]
    return np.where(made == 0, outside["prompt_tokens"], 0), outside["output_tokens"] - made


class _Batch:
    """The present batch of one variant, on average over the replicas that run any of it.

    Parameters
    ----------
    latency : LatencyModels
    row : int
        The variant.
    inside : Records
        REQUEST of all that are inside.
    further : ndarray of int64
        Tokens that each of them makes after the step with the end of its prompt.
    """

    def __init__(self, latency: LatencyModels, row: int, inside: Records, further: NDArray[np.int64]) -> None:
        self._latency, self._row = latency, row
        own, phase = inside["row"] == row, inside["phase"]
        tokens = inside["prompt_tokens"] + inside["generated_tokens"]
        self._running = own & ((phase == DECODING) | (phase == PREFILLING))
        decoding = own & (phase == DECODING)
        self._replicas = max(1, np.unique(inside["at"][self._running]).size)
        self._decoding, self._context = decoding.sum() / self._replicas, tokens[decoding].sum() / self._replicas
        held = self._running if self._running.any() else np.ones(inside.size, np.bool_)
        each = float((tokens + further / 2.0)[held].mean())
        made = tokens_per_step(latency.coefficients[row]["verified"], latency.acceptance[row])
        self._sizes = np.geomspace(1.0, max(1.0, self._running.sum() / self._replicas), _SIZES)
        self._shares = np.array([self._decode_s(size, size * each) / size / made for size in self._sizes])

    def output_s(self, of: NDArray[np.bool_], further: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the replica's time that the further tokens of some requests take."""
        seconds: NDArray[np.float64] = further * self._shares[-1]
        left = further[self._running]
        order = np.argsort(left, kind="stable")
        sizes = np.arange(order.size, 0, -1) / self._replicas
        shares = np.interp(sizes, self._sizes, self._shares)
        shrinking = np.empty(order.size)
        shrinking[order] = np.cumsum(np.diff(left[order], prepend=0) * shares)
        seconds[self._running] = shrinking
        asked: NDArray[np.float64] = seconds[of]
        return asked

    def prompt_token_s(self, budget: float, unread: Records, prompt: NDArray[np.int64]) -> float:
        """Return the replica's time that a token of prompt takes beside this batch.

        Parameters
        ----------
        budget : float
            Tokens per step.
        unread : Records
            REQUEST of those whose prompts are not read to their end.
        prompt : ndarray of int64
            Tokens that each of them has left.
        """
        c = self._latency.coefficients[self._row]
        seen = np.average(unread["progress"] + prompt / 2.0, weights=prompt)
        waiting = prompt.sum() / np.unique(unread["at"]).size
        room = max(1.0, budget - c["verified"] * self._decoding)
        chunk = min(room, max(1.0, waiting))
        many = max(1.0, chunk / prompt.mean())
        windowed = chunk * min(seen, float(c["window"]))
        read = many * (seen + min(chunk, prompt.mean()) / 2.0)
        step = MixedStep(self._decoding, self._context, many, chunk, chunk * seen, windowed, read, many)
        without_s = self._decode_s(self._decoding, self._context) if self._decoding > 0.0 else 0.0
        return float((cost_of(self._latency, self._row, step).seconds - without_s) / chunk)

    def _decode_s(self, decoding: float, context: float) -> float:
        line = line_of(self._latency, self._row, decoding, context)
        return float(line_cost(line, 1.0, context).seconds)
