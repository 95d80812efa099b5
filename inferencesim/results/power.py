"""The limits on power, held against the requests that replicas had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.power import ROUNDING
from inferencesim.results.findings import Constraint
from inferencesim.results.quotas import entered_s, left_s
from inferencesim.simulation.power import power_limits

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from inferencesim.simulation.plan import Plan

_STATEMENT = "no limit on power exceeded, were every replica that has a request at its peak"


def check_power(plan: Plan, requests: pd.DataFrame | None, missing: str) -> tuple[Constraint, ...]:
    """Add up what the machines of each limit drew at most, from the recorded requests; nothing if there is no limit.

    Parameters
    ----------
    plan : Plan
    requests : DataFrame or None
    missing : str
        Which requests have no row; empty if all have one.
    """
    limits = power_limits(plan.scenario, plan.pools)
    if limits.headroom_w.size == 0:
        return ()
    if requests is None or missing:
        return (Constraint.unproven("power", _STATEMENT, missing or "requests were not recorded"),)
    placed = requests[requests["replica"].notna().to_numpy()]
    replica, begin_s, end_s, first = _spells(placed)
    pool_of = np.repeat(np.arange(len(plan.pools)), [pool.replicas for pool in plan.pools])
    beyond = [
        first[_exceeds(limits.start_w[index, pool_of[replica]], begin_s, end_s, headroom_w)]
        for index, headroom_w in enumerate(limits.headroom_w.tolist())
    ]
    ids = np.unique(np.concatenate(beyond))
    why = "a replica began to work for which no power was left"
    return (Constraint.judged("power", _STATEMENT, len(placed), ids, why),)


def _spells(
    placed: pd.DataFrame,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the spells in which replicas had requests: replica, begin, end, and the request that began it."""
    came_s = entered_s(placed)
    gone_s = left_s(placed)
    gone_s = np.where(np.isnan(gone_s), np.inf, np.maximum(gone_s, came_s))
    replica = placed["replica"].to_numpy(np.int64)
    order = np.lexsort((placed["request_id"].to_numpy(), came_s, replica))
    replica, came_s, gone_s = replica[order], came_s[order], gone_s[order]
    until_s, begins = np.full(order.size, -np.inf), np.ones(order.size, np.bool_)
    for each in np.unique(replica):
        own = np.flatnonzero(replica == each)
        until_s[own] = np.maximum.accumulate(gone_s[own])
        begins[own[1:]] = came_s[own[1:]] >= until_s[own[:-1]]
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], order.size) - 1 if starts.size else starts
    return replica[starts], came_s[starts], until_s[ends], placed["request_id"].to_numpy(np.int64)[order][starts]


def _exceeds(
    start_w: NDArray[np.float64], begin_s: NDArray[np.float64], end_s: NDArray[np.float64], headroom_w: float
) -> NDArray[np.bool_]:
    """Tell which spells began when their power was more than was left; at one instant ends come first."""
    spells = np.arange(begin_s.size)
    times_s = np.concatenate([end_s, begin_s])
    change_w = np.concatenate([-start_w, start_w])
    begins = np.repeat([0, 1], begin_s.size)
    order = np.lexsort((begins, times_s))
    drawn_w = np.cumsum(change_w[order])
    beyond = np.zeros(begin_s.size, np.bool_)
    too_much = (drawn_w > headroom_w * (1.0 + ROUNDING)) & (begins[order] == 1)
    beyond[np.concatenate([spells, spells])[order][too_much]] = True
    return beyond & (start_w > 0.0)
