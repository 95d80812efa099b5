"""The counters of all pools at one moment, and the series made of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.accounts import counts_at, kv_usage_at, usage_of_pools
from inferencesim.ledger.formats import maybe, named, versioned
from inferencesim.simulation.work_done import achieved

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from inferencesim.kernel.graph_tables import Graphs
    from inferencesim.kernel.tables import Fleet
    from inferencesim.simulation.plan import Plan


@dataclass(frozen=True)
class Mark:
    """The counters of all pools at one moment.

    Attributes
    ----------
    at_s : float
    busy_s, step_energy_j : ndarray of float64, shape (pools,)
        Of all replicas, since the start.
    output_tokens, completed, arrived, handed_over, preemptions : ndarray of int64, shape (pools,)
        Likewise.
    cached_tokens, prompt_tokens : ndarray of int64, shape (pools,)
        Likewise, of the requests admitted first: of their prompts, what was found in a cache, and all.
    counts : ndarray of float64, shape (pools, fields of COUNTS)
        Likewise, what steps processed.
    counted_s : ndarray of float64, shape (pools,)
        Busy seconds of those steps.
    waiting, running, replicas_up : ndarray of int64, shape (pools,)
        Requests, and replicas that are not down, at the moment.
    kv_usage, cached_share : ndarray of float64, shape (pools,)
        Shares of the KV blocks, at the moment: those held by requests, and those only kept in prefix caches.
    tasks_begun : int
        Since the start.
    core_s : ndarray of float64, shape (pools of tools,)
        Busy core-seconds since the start.
    tool_use : ndarray of float64, shape (pools of tools, classes of tasks)
        The same of the tools that have ended, by who used them.
    people_usd : ndarray of float64, shape (classes of tasks,)
        Paid to people since the start.
    rate_limited : ndarray of int64, shape (providers,)
        Requests that a provider's limits ruled it out for, since the start.
    """

    at_s: float
    busy_s: np.ndarray
    step_energy_j: np.ndarray
    output_tokens: np.ndarray
    completed: np.ndarray
    arrived: np.ndarray
    handed_over: np.ndarray
    preemptions: np.ndarray
    cached_tokens: np.ndarray
    prompt_tokens: np.ndarray
    counts: np.ndarray
    counted_s: np.ndarray
    waiting: np.ndarray
    running: np.ndarray
    replicas_up: np.ndarray
    kv_usage: np.ndarray
    cached_share: np.ndarray
    tasks_begun: int
    core_s: np.ndarray
    tool_use: np.ndarray
    people_usd: np.ndarray
    rate_limited: np.ndarray


class Samples:
    """Sums over samples of what pools hold at a moment: means over the measurement window, with nothing stored."""

    def __init__(self, pools: int) -> None:
        self.taken = 0
        self.running = np.zeros(pools)
        self.kv_usage = np.zeros(pools)

    def add(self, mark: Mark) -> None:
        """Take one more sample in."""
        self.taken += 1
        self.running += mark.running
        self.kv_usage += mark.kv_usage


def take_mark(fleet: Fleet, graphs: Graphs, at_s: float) -> Mark:
    """Read the counters of a fleet and its tools that have been played up to `at_s`."""
    busy_s, step_energy_j, output_tokens = np.zeros((3, fleet.pools.size))
    usage_of_pools(fleet, at_s, busy_s, step_energy_j, output_tokens)
    kv_usage = np.zeros(fleet.pools.size)
    kv_usage_at(fleet, at_s, kv_usage)
    replicas, pools = fleet.replicas, fleet.pools
    seconds = np.zeros(replicas.size)
    counts = counts_at(fleet, at_s, seconds).view(np.float64).reshape(replicas.size, -1)

    def by_pool(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, pools["first_replica"])

    # Of each replica the cache of its device comes first, then those of its tiers.
    stride = 1 + fleet.tiers.shape[1]
    idle = fleet.caches.caches["idle"][: stride * replicas.size : stride]
    return Mark(
        at_s=at_s,
        busy_s=busy_s,
        step_energy_j=step_energy_j,
        # Drafts make fractions of tokens per step, whose sums are whole but for their rounding.
        output_tokens=np.rint(output_tokens).astype(np.int64),
        completed=fleet.pools["completed"].copy(),
        arrived=fleet.pools["arrived"].copy(),
        handed_over=fleet.pools["handed_over"].copy(),
        preemptions=by_pool(replicas["preemptions"]),
        cached_tokens=by_pool(replicas["cached_tokens"]),
        prompt_tokens=by_pool(replicas["prompt_tokens"]),
        counts=by_pool(counts),
        counted_s=by_pool(seconds),
        waiting=fleet.pools["queued"].copy(),
        running=fleet.live_pools["running"][: pools.size].copy(),
        replicas_up=pools["up"].copy(),
        kv_usage=kv_usage,
        # What requests took since their segment began was evicted.
        cached_share=np.minimum(by_pool(idle) / pools["capacity"], 1.0 - kv_usage),
        tasks_begun=int(fleet.clock["next_task"][0]),
        core_s=graphs.tools["core_s"] + graphs.tools["busy"] * (at_s - graphs.tools["since_s"]),
        tool_use=graphs.tool_use.copy(),
        people_usd=graphs.people_usd.copy(),
        rate_limited=fleet.providers["rate_limited"].copy(),
    )


def series_table(plan: Plan, marks: Sequence[Mark]) -> pa.Table:
    """Return the series between successive marks: one row per mark after the first, and pool."""
    pools = plan.pools
    replicas = np.array([pool.replicas for pool in pools])
    idle_w = np.array([pool.deployment.idle_w for pool in pools])
    seconds = np.diff([mark.at_s for mark in marks])[:, None]
    busy = np.diff([mark.busy_s for mark in marks], axis=0)
    energy = np.diff([mark.step_energy_j for mark in marks], axis=0) + idle_w * (replicas * seconds - busy)
    counts = np.diff([mark.counts for mark in marks], axis=0)
    counted_s = np.diff([mark.counted_s for mark in marks], axis=0)
    used = np.stack([achieved(pool, counts[:, index], counted_s[:, index]) for index, pool in enumerate(pools)], axis=1)
    running = np.array([mark.running for mark in marks[1:]])
    prompts = np.diff([mark.prompt_tokens for mark in marks], axis=0)
    cached = np.diff([mark.cached_tokens for mark in marks], axis=0)
    caching = np.array([pool.spec.prefix_cache for pool in pools])
    columns = {
        "time_s": np.repeat([mark.at_s for mark in marks[1:]], len(pools)),
        "pool": named(np.tile(np.arange(len(pools)), len(marks) - 1), [pool.name for pool in pools]),
        "utilisation": (busy / (replicas * seconds)).ravel(),
        "power_w": (energy / seconds).ravel(),
        "mfu": maybe(used[..., 0].ravel()),
        "mbu": maybe(used[..., 1].ravel()),
        "batch": (running / replicas).ravel(),
        "preemptions": np.diff([mark.preemptions for mark in marks], axis=0).ravel(),
        "prefix_hit_rate": maybe(np.where(caching & (prompts > 0), cached / np.maximum(prompts, 1), np.nan).ravel()),
    }
    for name in (
        "waiting",
        "running",
        "replicas_up",
        "kv_usage",
        "cached_share",
        "arrived",
        "completed",
        "output_tokens",
    ):
        columns[name] = np.concatenate([getattr(mark, name) for mark in marks[1:]])
    return versioned(columns)
