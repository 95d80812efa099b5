"""What the ledger needs to know of classes and pools to put names, promises and prices on records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.deployment.latency import LatencyModels, alone_seconds, latency_of
from inferencesim.jit import compiled

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
class Book:
    """Names, promises and prices.

    Attributes
    ----------
    classes, pools : tuple of str
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
    """

    classes: tuple[str, ...]
    pools: tuple[str, ...]
    pool_of: NDArray[np.int64]
    promises: Promises
    reference_pool: NDArray[np.int64]
    latency: LatencyModels
    token_budget: NDArray[np.int64]
    usd_per_s: NDArray[np.float64]
    usd_per_j: NDArray[np.float64]

    def attributed_usd(self, requests: Columns) -> NDArray[np.float64]:
        """Return the price of each request's share of busy time and step energy, at the rates of where it was spent."""
        here, there = np.maximum(requests["pool"], 0), np.maximum(requests["prefill_pool"], 0)
        usd: NDArray[np.float64] = (
            requests["busy_s"] * self.usd_per_s[here]
            + requests["energy_j"] * self.usd_per_j[here]
            + requests["prefill_busy_s"] * self.usd_per_s[there]
            + requests["prefill_energy_j"] * self.usd_per_j[there]
        )
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
