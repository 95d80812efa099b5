"""How far the means of one run can be trusted: their intervals by batch means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.results.records.summary import MeanInterval
from inferencesim.scenario.stationarity import why_not_stationary
from inferencesim.statistics.batch_means import FEWEST_BATCHES, MOST_BATCHES, ratio_of_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records
    from inferencesim.results.records.base import Window
    from inferencesim.results.records.summary import Verdict
    from inferencesim.scenario.scenario import Scenario

CONFIDENCE = 0.95

#: Fewer requests than this say nothing of how they depend on each other.
LEAST_REQUESTS = 500

#: Latencies whose means have intervals, by their name in tally and summary.
LATENCIES = ("ttft_s", "e2e_s")


def mean_intervals(
    scenario: Scenario, requests: Records, window: Window, verdict: Verdict, classes: Sequence[str]
) -> tuple[MeanInterval, ...]:
    """Return the intervals of the mean latencies of the fleet and of each class, of requests that arrived in a window.

    The window is cut into batches of equal time; see :mod:`inferencesim.statistics.batch_means`. Sums of a batch need
    no sorting: this takes milliseconds for a million requests.

    Parameters
    ----------
    scenario : Scenario
    requests : Records
        TALLY of all requests.
    window : Window
    verdict : Verdict
    classes : sequence of str
    """
    changing = why_not_stationary(scenario)
    reason = None if changing is None else f"the load changes over time: {changing}"
    if reason is None and verdict.state == "unstable":
        reason = "the fleet is unstable: its means depend on how long the run is"
    arrived_s = requests["arrived_s"]
    # Field by field: NumPy takes records out of an array at a twentieth of the speed.
    inside = np.flatnonzero((arrived_s >= window.from_s) & (arrived_s < window.to_s))
    places = ((arrived_s[inside] - window.from_s) * (MOST_BATCHES / window.length_s)).astype(np.int64)
    # The last moment of the window may be rounded up into the next batch.
    batch = requests["class_index"][inside].astype(np.int64) * MOST_BATCHES + np.minimum(places, MOST_BATCHES - 1)
    found = []
    for latency in LATENCIES:
        values = requests[latency][inside]
        known = ~np.isnan(values)
        of, shape = batch[known], (len(classes), MOST_BATCHES)
        counts = np.bincount(of, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
        sums = np.bincount(of, weights=values[known], minlength=shape[0] * shape[1]).reshape(shape)
        found.append(_interval("fleet", latency, sums.sum(axis=0), counts.sum(axis=0), reason))
        found += [
            _interval(f"class {name}", latency, sums[index], counts[index], reason)
            for index, name in enumerate(classes)
        ]
    return tuple(found)


def _interval(
    scope: str, latency: str, sums: NDArray[np.float64], counts: NDArray[np.float64], reason: str | None
) -> MeanInterval:
    total = float(counts.sum())
    mean = float(sums.sum()) / total if total else None
    told = None
    if reason is None and total < LEAST_REQUESTS:
        reason = f"fewer than {LEAST_REQUESTS} requests"
    if reason is None:
        told = ratio_of_batches(sums, counts, CONFIDENCE)
        if told is None:
            reason = f"even {FEWEST_BATCHES} batches depend on each other: the window is too short"
    return MeanInterval(
        scope=scope,
        metric=f"{latency}.mean",
        mean=mean,
        low=None if told is None else told.interval.low,
        high=None if told is None else told.interval.high,
        confidence=CONFIDENCE,
        batches=None if told is None else told.batches,
        reason=reason,
    )
