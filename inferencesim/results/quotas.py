"""The quotas of tenants, held against the requests that went into the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.flow_tables import NOT_RELEASED, RELEASES
from inferencesim.kernel.tables import QUOTA_EXCEEDED, SHED, VERDICTS
from inferencesim.results.findings import Constraint

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from inferencesim.scenario.flow import Quota
    from inferencesim.simulation.plan import Plan

#: Seconds by which recorded moments may miss those of the simulation.
_ROUNDING_S = 1e-6

_MINUTE_S = 60.0
_STATEMENT = "no tenant sent more into the fleet than its quota"


def check_quotas(plan: Plan, requests: pd.DataFrame | None, missing: str) -> tuple[Constraint, ...]:
    """Play the quotas of a scenario over its recorded requests; nothing if it has none.

    Parameters
    ----------
    plan : Plan
    requests : DataFrame or None
    missing : str
        Which requests have no row; empty if all have one.
    """
    quotas = plan.scenario.flow.quotas
    if not quotas:
        return ()
    if requests is None or missing:
        return (Constraint.unproven("quotas", _STATEMENT, missing or "requests were not recorded"),)
    tenant_of = {each.name: each.tags.tenant or each.name for each in plan.scenario.workload}
    entered = requests[has_entered(requests)]
    tenants = entered["class"].astype(str).map(tenant_of)
    rows, beyond = 0, []
    for name, quota in quotas.items():
        own = entered[(tenants == name).to_numpy(bool)]
        rows += len(own)
        beyond.append(_beyond(own, quota))
    ids = np.sort(np.concatenate(beyond))
    return (Constraint.judged("quotas", _STATEMENT, rows, ids, "more was sent than the quota had left"),)


def was_decided(requests: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell of which requests there is a decision: not of those that were held until they left, or are held still."""
    waited: NDArray[np.bool_] = (requests["held_until"] != RELEASES[NOT_RELEASED]).to_numpy(np.bool_)
    return waited


def has_entered(requests: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell which requests flow control let go on to their placement, whatever came of that."""
    turned_away = requests["reason"].isin([VERDICTS[QUOTA_EXCEEDED], VERDICTS[SHED]]).to_numpy(np.bool_)
    entered: NDArray[np.bool_] = was_decided(requests) & ~turned_away
    return entered


def entered_s(requests: pd.DataFrame) -> NDArray[np.float64]:
    """Return when requests went on to their placement."""
    held_s = requests["held_s"].to_numpy(np.float64, na_value=np.nan)
    moments: NDArray[np.float64] = requests["arrived_s"].to_numpy(np.float64) + np.nan_to_num(held_s)
    return moments


def left_s(requests: pd.DataFrame) -> NDArray[np.float64]:
    """Return when requests left the fleet, a little early for what was rounded; NaN of those still inside."""
    finished_s = requests["finished_s"].to_numpy(np.float64, na_value=np.nan)
    # The way back to the client takes nothing of the fleet.
    back_s = np.nan_to_num(requests["network_s"].to_numpy(np.float64, na_value=np.nan))
    moments: NDArray[np.float64] = finished_s - back_s - _ROUNDING_S
    return moments


def _beyond(requests: pd.DataFrame, quota: Quota) -> NDArray[np.int64]:
    """Return the ids of one tenant's requests that its quota had no room for."""
    order = np.lexsort((requests["request_id"].to_numpy(), entered_s(requests)))
    requests = requests.iloc[order]
    at_s = entered_s(requests)
    beyond = np.zeros(at_s.size, np.bool_)
    if quota.requests_per_minute is not None:
        beyond |= _empties(at_s, np.full(at_s.size, _MINUTE_S / quota.requests_per_minute), quota.burst)
    if quota.tokens_per_minute is not None:
        tokens = (requests["prompt_tokens"] + requests["output_tokens"]).to_numpy(np.float64)
        beyond |= _empties(at_s, tokens * _MINUTE_S / quota.tokens_per_minute, quota.burst)
    if quota.in_flight is not None:
        beyond |= _in_flight(at_s, requests) > quota.in_flight
    return requests["request_id"].to_numpy(np.int64)[beyond]


def _empties(at_s: NDArray[np.float64], needs_s: NDArray[np.float64], burst_s: float) -> NDArray[np.bool_]:
    """Tell which takings a bucket did not hold, given the seconds in which each comes back, in order of time.

    What is more than the bucket ever holds is taken from a full one.
    """
    beyond, full_s = np.zeros(at_s.size, np.bool_), -np.inf
    for index, (now, need) in enumerate(zip(at_s.tolist(), needs_s.tolist(), strict=True)):
        beyond[index] = max(full_s, now) + min(need, burst_s) - burst_s > now + _ROUNDING_S
        full_s = max(full_s, now) + need
    return beyond


def _in_flight(at_s: NDArray[np.float64], requests: pd.DataFrame) -> NDArray[np.int64]:
    """Return how many requests were in the fleet with each one, itself included, when it came."""
    gone_s = left_s(requests)
    came = np.arange(1, at_s.size + 1)
    inside: NDArray[np.int64] = came - np.searchsorted(np.sort(gone_s[~np.isnan(gone_s)]), at_s, side="right")
    return inside
