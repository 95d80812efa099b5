"""What the ledger needs to know of classes and pools to put names, promises and prices on records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.deployment.latency import LatencyModels, alone_seconds, latency_of
from inferencesim.jit import compiled
from inferencesim.kernel.tables import COMPLETED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.ledger.columns import Columns


@dataclass(frozen=True)
class Promises:
    """Promises per class, as arrays of float64 of shape (classes,); infinite where nothing is promised."""

    ttft_s: NDArray[np.float64]
    tpot_s: NDArray[np.float64]
    e2e_s: NDArray[np.float64]
    slowdown: NDArray[np.float64]


@dataclass(frozen=True)
class TokenPrices:
    """What outside providers charge, as arrays of shape (providers,), US dollars per token.

    Attributes
    ----------
    names : tuple of str
    prompt, cached, output : ndarray of float64
        Of a prompt token, of one found in the provider's prompt cache, of one generated.
    whole : ndarray of bool
        Only answers that were completed are paid for.
    """

    names: tuple[str, ...]
    prompt: NDArray[np.float64]
    cached: NDArray[np.float64]
    output: NDArray[np.float64]
    whole: NDArray[np.bool_]

    def is_billed(self, requests: Columns) -> NDArray[np.bool_]:
        """Tell which requests a provider charges for: all it was sent, but for answers not whole that must be."""
        provider = requests["provider"]
        billed: NDArray[np.bool_] = provider >= 0
        if billed.any():
            billed &= ~self.whole[provider] | (requests["outcome"] == COMPLETED)
        return billed

    def usd(self, requests: Columns) -> NDArray[np.float64]:
        """Return what providers charge for each request: its prompt once sent, and the tokens made so far."""
        usd = np.zeros(requests.size)
        billed = np.flatnonzero(self.is_billed(requests))
        at = requests["provider"][billed]
        cached = requests["cached_tokens"][billed]
        usd[billed] = (requests["prompt_tokens"][billed] - cached) * self.prompt[at] + cached * self.cached[at]
        usd[billed] += requests["generated_tokens"][billed] * self.output[at]
        return usd


@dataclass(frozen=True)
class Book:
    """Names, promises and prices.

    Attributes
    ----------
    classes, pools : tuple of str
    providers : TokenPrices
    pool_of : ndarray of int64, shape (replicas,)
        The pool of each replica.
    promises : Promises
    reference_pool : ndarray of int64, shape (classes,)
        The fastest eligible pool: where a request's uncontended run is imagined. −1 without any.
    latency : LatencyModels
        Step times of each pool.
    token_budget : ndarray of int64, shape (pools,)
    usd_per_s : ndarray of float64, shape (pools,)
        Price of one replica's time, without power paid apart.
    usd_per_j : ndarray of float64, shape (pools,)
        Price of one joule at the chip; 0 where the hourly price includes power.
    egress_usd_per_token : ndarray of float64, shape (classes,)
        Price of a token of an answer on its way out of a pool's site.
    """

    classes: tuple[str, ...]
    pools: tuple[str, ...]
    providers: TokenPrices
    pool_of: NDArray[np.int64]
    promises: Promises
    reference_pool: NDArray[np.int64]
    latency: LatencyModels
    token_budget: NDArray[np.int64]
    usd_per_s: NDArray[np.float64]
    usd_per_j: NDArray[np.float64]
    egress_usd_per_token: NDArray[np.float64]

    @property
    def candidates(self) -> tuple[str, ...]:
        """What a request can be placed in: pools, then providers."""
        return (*self.pools, *self.providers.names)

    def attributed_usd(self, requests: Columns) -> NDArray[np.float64]:
        """Return the price of each request: its share of busy time and step energy where spent and its way out.

        Of a request at a provider, the price of its tokens.
        """
        here, there = np.maximum(requests["pool"], 0), np.maximum(requests["prefill_pool"], 0)
        usd: NDArray[np.float64] = (
            requests["busy_s"] * self.usd_per_s[here]
            + requests["energy_j"] * self.usd_per_j[here]
            + requests["prefill_busy_s"] * self.usd_per_s[there]
            + requests["prefill_energy_j"] * self.usd_per_j[there]
            + self.providers.usd(requests)
        )
        if self.egress_usd_per_token.any():
            sent = np.where(requests["pool"] >= 0, requests["generated_tokens"], 0)
            usd += sent * self.egress_usd_per_token[requests["class_index"]]
        return usd

    def uncontended_e2e_s(self, requests: Columns) -> NDArray[np.float64]:
        """Return what each request would take alone on its class's reference pool; NaN without one."""
        pools = self.reference_pool[requests["class_index"]]
        return uncontended_e2e_s(
            self.latency, self.token_budget, pools, requests["prompt_tokens"], requests["output_tokens"]
        )


def uncontended_e2e_s(
    latency: LatencyModels,
    token_budget: NDArray[np.int64],
    pools: NDArray[np.int64],
    prompt_tokens: NDArray[np.int64],
    output_tokens: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return what requests of these lengths would take alone, each on a replica of its pool; NaN for pool −1."""
    seconds = np.full(pools.size, np.nan)
    _uncontended_e2e(latency, token_budget, pools, prompt_tokens, output_tokens, seconds)
    return seconds


@compiled
def _uncontended_e2e(
    latency: LatencyModels,
    token_budget: NDArray[np.int64],
    pools: NDArray[np.int64],
    prompt_tokens: NDArray[np.int64],
    output_tokens: NDArray[np.int64],
    seconds_of: NDArray[np.float64],
) -> None:
    """Fill in the E2E of requests that are alone on a replica of their pool; pool −1 is left out."""
    for i in range(pools.size):
        if pools[i] < 0:
            continue
        seconds_of[i] = alone_seconds(
            latency_of(latency, pools[i]),
            token_budget[pools[i]],
            prompt_tokens[i],
            output_tokens[i],
            latency.acceptance[pools[i]],
        )
