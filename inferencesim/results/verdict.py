"""Is the fleet keeping up? The sentence that stands above every average."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.tables import REJECTED, TIMED_OUT
from inferencesim.results.records import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records

#: Growth of the number inside from the window's second to its fourth quarter that counts: requests, and share of
#: the arrivals in the window. An overload of 4 % from the start grows by 2 % of the arrivals in half a window.
LEAST_GROWTH = 5.0
LEAST_GROWTH_SHARE = 0.02

#: By how much the fourth quarter must exceed the second: a larger busy fleet fluctuates by more than five.
LEAST_GROWTH_FACTOR = 1.25

#: Share of requests rejected or timed out above which a fleet sheds load.
SHEDDING_SHARE = 0.01

_POINTS_PER_QUARTER = 60


def judge(requests: Records, pools: Sequence[str], classes: Sequence[str], from_s: float, to_s: float) -> Verdict:
    """Say whether the number inside grows somewhere, or load is shed.

    Each pool is judged by itself, since a small one that drowns is not seen
    among all requests of a fleet. Unstable means that the number inside,
    averaged over quarters of the window, grows from the second to the fourth by
    more than :data:`LEAST_GROWTH`, :data:`LEAST_GROWTH_SHARE` of the arrivals
    and :data:`LEAST_GROWTH_FACTOR`, does not shrink within the fourth by more
    than chance would have it, and that departures lag arrivals accordingly. A
    backlog that was submitted at once and shrinks is none of that. Shedding is
    judged class by class.

    Parameters
    ----------
    requests : Records
        TALLY of all requests.
    pools, classes : sequence of str
        Their names, in order.
    from_s, to_s : float
        The window.
    """
    arrived = (requests["arrived_s"] >= from_s) & (requests["arrived_s"] < to_s)
    arrivals = int(arrived.sum())
    if arrivals == 0 and not inside_at(requests, np.linspace(from_s, to_s, _POINTS_PER_QUARTER)[1:]).any():
        return Verdict(state="empty", why="No request arrived in the measurement window.")
    for index, name in enumerate(pools):
        growth = _growth(requests[requests["pool"] == index], from_s, to_s)
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


def _growth(requests: Records, from_s: float, to_s: float) -> str | None:
    """Say how the number inside a pool grows, if it does."""
    arrivals = int(((requests["arrived_s"] >= from_s) & (requests["arrived_s"] < to_s)).sum())
    left = int(((requests["left_s"] >= from_s) & (requests["left_s"] < to_s)).sum())
    inside = inside_at(requests, np.linspace(from_s, to_s, 4 * _POINTS_PER_QUARTER + 1)[1:])
    _, second, _, fourth = inside.reshape(4, _POINTS_PER_QUARTER).mean(axis=1)
    before_last, last = inside.reshape(8, _POINTS_PER_QUARTER // 2).mean(axis=1)[6:]
    # Poisson arrivals of an eighth of the window, against as many departures, stray by this much (1 sigma).
    shrinks = last < before_last - math.sqrt(arrivals / 4.0)
    growth = fourth - second
    grows = growth > max(LEAST_GROWTH, LEAST_GROWTH_SHARE * arrivals) and fourth > LEAST_GROWTH_FACTOR * second
    if not grows or shrinks or arrivals - left <= 0.5 * growth:
        return None
    return (
        f"{second:,.0f} requests were inside in the second quarter of the window, {fourth:,.0f} in the last; "
        f"{arrivals:,} arrived and {left:,} left. Latencies depend on how long the run is."
    )


def inside_at(requests: Records, times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many requests were inside at each of `times_s`: arrived by then, and not left."""
    arrived = np.sort(requests["arrived_s"])
    left = np.sort(requests["left_s"])  # NaN, of those that never left, sorts to the end
    return np.searchsorted(arrived, times_s, side="right") - np.searchsorted(left, times_s, side="right")
