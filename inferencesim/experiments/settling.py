"""When a fleet that begins empty has settled: the end of its warm-up, found by MSER-5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.results.verdict import inside_at
from inferencesim.statistics.warm_up import mser5

if TYPE_CHECKING:
    from inferencesim.simulation.engine import Result

#: Moments at which the requests inside are counted, from the start to the horizon.
MOMENTS = 2000


def settled_s(result: Result) -> float | None:
    """Return when the number of requests inside the fleet has settled; None where it does not in half of the horizon.

    The number inside is what fills up while the fleet begins: batches, queues and, with them, every latency. It is one
    series for all classes, whether they take milliseconds or minutes.
    """
    horizon = result.plan.scenario.horizon
    requests = result.requests
    moments = horizon * np.arange(1, MOMENTS + 1) / MOMENTS
    settled = mser5(inside_at(requests["arrived_s"], requests["left_s"], moments))
    return None if settled is None else settled * horizon / MOMENTS
