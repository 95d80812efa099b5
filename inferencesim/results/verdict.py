"""Is the fleet keeping up? The sentence that stands above every average."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.tables import REJECTED, TIMED_OUT
from inferencesim.results.records import Verdict

if TYPE_CHECKING:
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


def judge(requests: Records, from_s: float, to_s: float) -> Verdict:
    """Say whether the number inside grows, or load is shed.

    Unstable means that the number inside, averaged over quarters of the window,
    grows from the second to the fourth by more than :data:`LEAST_GROWTH`,
    :data:`LEAST_GROWTH_SHARE` of the arrivals and :data:`LEAST_GROWTH_FACTOR`,
    does not shrink within the fourth by more than chance would have it, and that
    departures lag arrivals accordingly. A backlog that was submitted at once and
    shrinks is none of that.

    Parameters
    ----------
    requests : Records
        TALLY of all requests.
    from_s, to_s : float
        The window.
    """
    arrived = (requests["arrived_s"] >= from_s) & (requests["arrived_s"] < to_s)
    arrivals = int(arrived.sum())
    inside = inside_at(requests, np.linspace(from_s, to_s, 4 * _POINTS_PER_QUARTER + 1)[1:])
    if arrivals == 0 and not inside.any():
        return Verdict(state="empty", why="No request arrived in the measurement window.")
    left = int(((requests["left_s"] >= from_s) & (requests["left_s"] < to_s)).sum())
    _, second, _, fourth = inside.reshape(4, _POINTS_PER_QUARTER).mean(axis=1)
    before_last, last = inside.reshape(8, _POINTS_PER_QUARTER // 2).mean(axis=1)[6:]
    # Poisson arrivals of an eighth of the window, against as many departures, stray by this much (1 sigma).
    shrinks = last < before_last - math.sqrt(arrivals / 4.0)
    growth = fourth - second
    grows = growth > max(LEAST_GROWTH, LEAST_GROWTH_SHARE * arrivals) and fourth > LEAST_GROWTH_FACTOR * second
    if grows and not shrinks and arrivals - left > 0.5 * growth:
        return Verdict(
            state="unstable",
            why=(
                f"The queue grows without bound: {second:,.0f} requests were inside in the second quarter of the "
                f"window, {fourth:,.0f} in the last; {arrivals:,} arrived and {left:,} left. "
                "Latencies depend on how long the run is."
            ),
        )
    outcome = requests["outcome"][arrived]
    rejected, timed_out = int((outcome == REJECTED).sum()), int((outcome == TIMED_OUT).sum())
    if arrivals and (rejected + timed_out) / arrivals > SHEDDING_SHARE:
        return Verdict(
            state="shedding",
            why=(
                f"{(rejected + timed_out) / arrivals:.1%} of the requests were turned away or gave up: "
                f"{rejected:,} rejected, {timed_out:,} timed out. Latencies are of those that stayed."
            ),
        )
    return Verdict(
        state="stable",
        why=f"{arrivals:,} requests arrived and {left:,} left; the number inside does not grow.",
    )


def inside_at(requests: Records, times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many requests were inside at each of `times_s`: arrived by then, and not left."""
    arrived = np.sort(requests["arrived_s"])
    left = np.sort(requests["left_s"])  # NaN, of those that never left, sorts to the end
    return np.searchsorted(arrived, times_s, side="right") - np.searchsorted(left, times_s, side="right")
