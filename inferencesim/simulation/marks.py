"""The counters of all pools at one moment, and the series made of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from inferencesim.kernel.accounts import pool_usage
from inferencesim.ledger.tables import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferencesim.kernel.tables import Fleet, Records
    from inferencesim.simulation.plan import Plan


@dataclass(frozen=True)
class Mark:
    """The counters of all pools at one moment.

    Attributes
    ----------
    at_s : float
    busy_s, step_energy_j : ndarray of float64, shape (pools,)
        Of all replicas, since the start.
    output_tokens, completed, arrived, waiting, running : ndarray of int64, shape (pools,)
    kv_usage : ndarray of float64, shape (pools,)
    """

    at_s: float
    busy_s: np.ndarray
    step_energy_j: np.ndarray
    output_tokens: np.ndarray
    completed: np.ndarray
    arrived: np.ndarray
    waiting: np.ndarray
    running: np.ndarray
    kv_usage: np.ndarray


@dataclass(frozen=True)
class Charges:
    """What the requests of each class were charged up to one moment: those that had left, and those inside.

    Attributes
    ----------
    busy_s, energy_j : ndarray of float64, shape (pools, classes)
    """

    busy_s: np.ndarray
    energy_j: np.ndarray


def take_charges(records: Sequence[Records], pools: int, classes: int) -> Charges:
    """Sum the shares of some tables of requests by pool and class."""
    # One sum over all, in the order in which they left: the result must not depend on how tables were flushed.
    pool = np.concatenate([table["pool"] for table in records]).astype(np.int64)
    index = np.concatenate([table["class_index"] for table in records]).astype(np.int64)
    placed = pool >= 0
    cell = pool[placed] * classes + index[placed]

    def summed(column: str) -> np.ndarray:
        weights = np.concatenate([table[column] for table in records])[placed]
        return np.bincount(cell, weights=weights, minlength=pools * classes).reshape(pools, classes)

    return Charges(summed("busy_s"), summed("energy_j"))


def take_mark(fleet: Fleet, at_s: float) -> Mark:
    """Read the counters of a fleet that has been played up to `at_s`."""
    busy_s, step_energy_j, output_tokens = zip(
        *(pool_usage(fleet, pool, at_s) for pool in range(fleet.pools.size)), strict=True
    )
    return Mark(
        at_s=at_s,
        busy_s=np.array(busy_s),
        step_energy_j=np.array(step_energy_j),
        # Drafts make fractions of tokens per step, whose sums are whole but for their rounding.
        output_tokens=np.rint(output_tokens).astype(np.int64),
        completed=fleet.pools["completed"].copy(),
        arrived=fleet.pools["arrived"].copy(),
        waiting=fleet.live_pools["waiting"].copy(),
        running=fleet.live_pools["running"].copy(),
        kv_usage=fleet.live_pools["kv_usage"].copy(),
    )


def series_table(plan: Plan, marks: Sequence[Mark]) -> pa.Table:
    """Return the series between successive marks: one row per mark after the first, and pool."""
    pools = plan.pools
    replicas = np.array([pool.replicas for pool in pools])
    idle_w = np.array([pool.deployment.idle_w for pool in pools])
    seconds = np.diff([mark.at_s for mark in marks])[:, None]
    busy = np.diff([mark.busy_s for mark in marks], axis=0)
    energy = np.diff([mark.step_energy_j for mark in marks], axis=0) + idle_w * (replicas * seconds - busy)
    names = pa.array(np.tile(np.arange(len(pools), dtype=np.int32), len(marks) - 1))
    columns = {
        "time_s": np.repeat([mark.at_s for mark in marks[1:]], len(pools)),
        "pool": pa.DictionaryArray.from_arrays(names, pa.array([pool.name for pool in pools], pa.string())),
        "utilisation": (busy / (replicas * seconds)).ravel(),
        "power_w": (energy / seconds).ravel(),
    }
    for name in ("waiting", "running", "kv_usage", "arrived", "completed", "output_tokens"):
        columns[name] = np.concatenate([getattr(mark, name) for mark in marks[1:]])
    return pa.table(columns).replace_schema_metadata({"inferencesim_schema": str(SCHEMA_VERSION)})
