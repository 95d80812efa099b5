"""What the ledger needs to know of classes and pools to put names, promises and prices on records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.deployment.latency import LatencyModels, alone_seconds, latency_of
from inferencesim.jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records


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

    def prefill_pool(self, records: Records) -> NDArray[np.int64]:
        """Return where each request was prefilled, if in another pool than it was placed in; else −1."""
        replica = records["prefill_replica"]
        return np.where(replica >= 0, self.pool_of[np.maximum(replica, 0)], -1)

    def attributed_usd(self, records: Records) -> NDArray[np.float64]:
        """Return the price of each request's share of busy time and step energy, at the rates of where it was spent."""
        here, there = np.maximum(records["pool"], 0), np.maximum(self.prefill_pool(records), 0)
        return (  # type: ignore[no-any-return]  # fields of a record have no type of their own
            records["busy_s"] * self.usd_per_s[here]
            + records["energy_j"] * self.usd_per_j[here]
            + records["prefill_busy_s"] * self.usd_per_s[there]
            + records["prefill_energy_j"] * self.usd_per_j[there]
        )

    def uncontended_e2e_s(self, records: Records) -> NDArray[np.float64]:
        """Return what each request would take alone on its class's reference pool; NaN without one."""
        pools = self.reference_pool[records["class_index"]]
        seconds = np.full(records.size, np.nan)
        _uncontended_e2e(self.latency, self.token_budget, pools, records, seconds)
        return seconds


@compiled
def _uncontended_e2e(
    latency: LatencyModels,
    token_budget: NDArray[np.int64],
    pools: NDArray[np.int64],
    records: Records,
    seconds_of: NDArray[np.float64],
) -> None:
    """Fill in the E2E of requests that are alone on a replica of their pool; pool −1 is left out."""
    for i in range(pools.size):
        if pools[i] < 0:
            continue
        seconds_of[i] = alone_seconds(
            latency_of(latency, pools[i]),
            token_budget[pools[i]],
            records[i]["prompt_tokens"],
            records[i]["output_tokens"],
            latency.acceptance[pools[i]],
        )
