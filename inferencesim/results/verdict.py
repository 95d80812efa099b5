"""Is the fleet keeping up? The sentence that stands above every average."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim import jit
from inferencesim.batching.policy import find_former
from inferencesim.kernel.forming import Batch
from inferencesim.kernel.tables import REJECTED, TIMED_OUT
from inferencesim.results.records.summary import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records
    from inferencesim.simulation.plan import PoolPlan

#: Growth of the number inside from the window's second to its fourth quarter that counts: requests, and share of
#: the arrivals in the window. An overload of 4 % from the start grows by 2 % of the arrivals in half a window.
LEAST_GROWTH = 5.0
LEAST_GROWTH_SHARE = 0.02

#: By how much the fourth quarter must exceed the second: a larger busy fleet fluctuates by more than five.
LEAST_GROWTH_FACTOR = 1.25

#: Share of requests rejected or timed out above which a fleet sheds load.
SHEDDING_SHARE = 0.01

_POINTS_PER_QUARTER = 60


def judge(
    requests: Records,
    pools: Sequence[str],
    classes: Sequence[str],
    from_s: float,
    to_s: float,
    held: Sequence[int] = (),
) -> Verdict:
    """Say whether the number inside grows somewhere, or load is shed.

    Each pool is judged by itself, since a small one that drowns is not seen
    among all requests of a fleet. Unstable means that the number inside,
    averaged over quarters of the window, grows from the second to the fourth by
    more than :data:`LEAST_GROWTH`, :data:`LEAST_GROWTH_SHARE` of the arrivals
    and :data:`LEAST_GROWTH_FACTOR`, does not shrink within the fourth by more
    than chance would have it, and that departures lag arrivals accordingly. A
    backlog that was submitted at once and shrinks is none of that, and no more
    are those that wait for a batch worth running. A request that is prefilled in
    another pool is inside that one until its first token; one that is held at
    the gateway is in none. Shedding is judged class by class.

    Parameters
    ----------
    requests : Records
        TALLY of all requests.
    pools, classes : sequence of str
        Their names, in order.
    from_s, to_s : float
        The window.
    held : sequence of int
        Requests that each pool lets wait while it could run them, see :func:`held_by`; left out, none.
    """
    arrived = (requests["arrived_s"] >= from_s) & (requests["arrived_s"] < to_s)
    arrivals = int(arrived.sum())
    if arrivals == 0 and not _anybody_inside(requests, from_s, to_s):
        return Verdict(state="empty", why="No request arrived in the measurement window.")
    for index, name in enumerate(pools):
        growth = _growth(*stays_in(requests, index), from_s, to_s, held[index] if held else 0)
        if growth is not None:
            return Verdict(state="unstable", why=f"The queue of pool {name} grows without bound: {growth}")
    outcome, of_class = requests["outcome"][arrived], requests["class_index"][arrived]
    for index, name in enumerate(classes):
        of = outcome[of_class == index]
        rejected, timed_out = int((of == REJECTED).sum()), int((of == TIMED_OUT).sum())
        if of.size and (rejected + timed_out) / of.size > SHEDDING_SHARE:
            why = (
                f"{(rejected + timed_out) / of.size:.1%} of the {name} requests were turned away or gave up: "
                f"{rejected:,} rejected, {timed_out:,} timed out. Latencies are of those that stayed."
            )
            return Verdict(state="shedding", why=why)
    left = int(((requests["left_s"] >= from_s) & (requests["left_s"] < to_s)).sum())
    why = f"{arrivals:,} requests arrived and {left:,} left; the number inside grows in no pool."
    return Verdict(state="stable", why=why)


def held_by(pool: PoolPlan) -> int:
    """Return the most requests that the batching policy of a pool lets wait before replicas that are empty."""
    deployment = pool.deployment
    choice, batching, blocks = deployment.batching_policy, deployment.batching, deployment.memory.kv_blocks
    former = find_former(choice.policy, choice.parameters, f"{pool.name}.batching")
    parameters = np.array([choice.parameters.get(name, value) for name, value in former.parameters.items()])
    form, held = jit.plain(former.choose), 0
    while held < batching.max_sequences:
        empty = Batch(
            now_s=0.0,
            seats=batching.max_sequences,
            token_budget=batching.token_budget,
            running=0,
            decoding=0,
            tokens_per_decode=1 + deployment.drafts,
            prefilling=0,
            waiting=held + 1,
            next_tokens=1,
            next_waits_s=0.0,
            free_blocks=blocks,
            kv_blocks=blocks,
        )
        if form(empty, parameters).admit > 0:
            break
        held += 1
    return held * pool.replicas


def stays_in(requests: Records, pool: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return when requests came into a pool and when they left it (NaN: never), some for their prefill only."""
    first_s = requests["arrived_s"] + requests["ttft_s"]
    elsewhere = requests["prefill_pool"] >= 0
    placed_s = requests["arrived_s"] + requests["held_s"]
    came_s = np.where(elsewhere, np.fmin(first_s, requests["left_s"]), placed_s)
    # Whoever got no token elsewhere never came.
    own = (requests["pool"] == pool) & ~(elsewhere & np.isnan(first_s))
    sent = requests["prefill_pool"] == pool
    entered_s = np.concatenate([came_s[own], placed_s[sent]])
    left_s = np.concatenate([requests["left_s"][own], np.fmin(first_s, requests["left_s"])[sent]])
    return entered_s, left_s


def _anybody_inside(requests: Records, from_s: float, to_s: float) -> bool:
    moments = np.linspace(from_s, to_s, _POINTS_PER_QUARTER)[1:]
    return bool(inside_at(requests["arrived_s"], requests["left_s"], moments).any())


def _growth(
    entered_s: NDArray[np.float64], left_s: NDArray[np.float64], from_s: float, to_s: float, held: int
) -> str | None:
    """Say how the number inside a pool grows beyond those it holds, if it does."""
    arrivals = int(((entered_s >= from_s) & (entered_s < to_s)).sum())
    left = int(((left_s >= from_s) & (left_s < to_s)).sum())
    inside = inside_at(entered_s, left_s, np.linspace(from_s, to_s, 4 * _POINTS_PER_QUARTER + 1)[1:])
    _, second, _, fourth = inside.reshape(4, _POINTS_PER_QUARTER).mean(axis=1)
    before_last, last = inside.reshape(8, _POINTS_PER_QUARTER // 2).mean(axis=1)[6:]
    # Poisson arrivals of an eighth of the window, against as many departures, stray by this much (1 sigma).
    shrinks = last < before_last - math.sqrt(arrivals / 4.0)
    growth = fourth - second
    least = max(LEAST_GROWTH, LEAST_GROWTH_SHARE * arrivals, float(held))
    grows = growth > least and fourth > LEAST_GROWTH_FACTOR * second
    if not grows or shrinks or arrivals - left <= 0.5 * growth:
        return None
    return (
        f"{second:,.0f} requests were inside in the second quarter of the window, {fourth:,.0f} in the last; "
        f"{arrivals:,} arrived and {left:,} left. Latencies depend on how long the run is."
    )


def inside_at(
    entered_s: NDArray[np.float64], left_s: NDArray[np.float64], times_s: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return how many were inside at each of `times_s`: come by then, and not left."""
    # NaN, of those that never left, sorts to the end.
    come, gone = (np.searchsorted(np.sort(each), times_s, side="right") for each in (entered_s, left_s))
    return come - gone
