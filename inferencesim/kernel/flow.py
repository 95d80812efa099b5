"""Flow control: what is turned away or held before anybody places it.

An arrival is asked three things, in this order: whether its priority band is
shed at this load; whether it is work that can wait for a better time; and
whether its tenant has quota left. The first two are asked of who has just come
only: who was held is not turned away any more, and what was deferred waits for
its tenant's quota even where others are turned away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.deployment.latency import alone_seconds, latency_of
from inferencesim.jit import inner
from inferencesim.kernel.clients import next_arrival, pass_arrival
from inferencesim.kernel.gateway import admit, left_of_task, let_in, start_patience
from inferencesim.kernel.heap import add_timer
from inferencesim.kernel.lines import (
    all_may_go,
    is_of_tenant,
    is_shed,
    is_window_open,
    load_of,
    look_at,
    next_window_s,
    quota_opens_s,
    stand_in,
    take_quota,
)
from inferencesim.kernel.tables import QUOTA_EXCEEDED, SHED, SLACK_GONE

if TYPE_CHECKING:
    from inferencesim.kernel.gateway import Gateway
    from inferencesim.kernel.tables import Fleet


@inner
def goes_on(fleet: Fleet, gateway: Gateway) -> bool:
    """Tell whether the arrival that is due goes on to its placement; else it has been turned away, or is held."""
    arrival, now = next_arrival(fleet, gateway), fleet.clock[0]["now_s"]
    index = arrival["class_index"]
    if arrival["slot"] < 0:
        if is_shed(fleet, index):
            _turn_away(fleet, gateway, arrival, SHED)
            return False
        if fleet.flow.deferrals[index]["deferrable"] and _defer(fleet, gateway, arrival, now):
            return False
    tenant = fleet.classes[index]["tenant"]
    if fleet.flow.quotas[tenant]["limited"] == 0:
        return True
    return _has_quota(fleet, gateway, arrival, tenant, now)


@inner
def _turn_away(fleet: Fleet, gateway: Gateway, arrival: Any, verdict: int) -> None:
    """Reject a request; its decision gives every candidate the same verdict."""
    row = fleet.clock[0]["decision_count"]
    gateway.decision_verdicts[row, :] = verdict
    gateway.decision_scores[row, :] = np.nan
    if gateway.predict:
        gateway.decision_predictions[row, :] = np.nan
    pass_arrival(fleet, gateway)
    admit(fleet, gateway, arrival, -1, -1)


@inner
def _hold(fleet: Fleet, gateway: Gateway, arrival: Any, line: int, now: float) -> int:
    """Put a request into a line, from another one if it was held there; return its slot."""
    slot = arrival["slot"]
    pass_arrival(fleet, gateway)
    if slot < 0:
        slot = let_in(fleet, gateway, arrival, now)
        fleet.slots[slot]["level"] = arrival["level"]
        start_patience(fleet, arrival, slot, now)
    stand_in(fleet, line, slot, now)
    return int(slot)


@inner
def _defer(fleet: Fleet, gateway: Gateway, arrival: Any, now: float) -> bool:
    """Hold a request that can wait, unless it would be let go at once; tell whether it is held."""
    index = arrival["class_index"]
    rule = fleet.flow.deferrals[index]
    if is_window_open(fleet, now) or load_of(fleet, index) < rule["load_below"]:
        return False
    slack_gone_s = np.inf
    promised_s = min(rule["promised_s"], left_of_task(gateway, arrival, now))
    if promised_s < np.inf and rule["pool"] >= 0:
        slack_gone_s = now + promised_s - rule["margin"] * _alone_s(fleet, gateway, arrival, rule["pool"])
        if slack_gone_s <= now:
            return False
    slot = _hold(fleet, gateway, arrival, index, now)
    if slack_gone_s < np.inf:
        add_timer(fleet, slack_gone_s, SLACK_GONE, fleet.slots[slot]["request_id"], slot)
    if 0 < rule["batch"] <= fleet.flow.lines[index]["held"]:
        all_may_go(fleet, index, now)
    else:
        look_at(fleet, index, next_window_s(fleet, now))
    return True


@inner
def _alone_s(fleet: Fleet, gateway: Gateway, arrival: Any, pool: int) -> float:
    """Return what a request would take alone, its output being as long as is predicted."""
    row = gateway.rows[arrival["class_index"], pool]
    output = arrival["predicted_tokens"]
    if np.isnan(output):
        output = fleet.classes[arrival["class_index"]]["expected_output_tokens"]
    return float(
        alone_seconds(
            latency_of(fleet.latency, row),
            fleet.pools[pool]["token_budget"],
            arrival["prompt_tokens"],
            max(1, int(np.ceil(output))),
            fleet.latency.acceptance[row],
        )
    )


@inner
def _has_quota(fleet: Fleet, gateway: Gateway, arrival: Any, tenant: int, now: float) -> bool:
    """Take a request out of its tenant's quota; if none is left, turn it away or hold it, and return False."""
    tokens = arrival["prompt_tokens"] + arrival["output_tokens"]
    held, line = arrival["slot"] >= 0, fleet.classes.size + tenant
    opens_s = quota_opens_s(fleet, tenant, tokens)
    # Who comes back from the line of its tenant is its first; nobody else goes past it.
    first = fleet.flow.lines[line]["held"] == 0 or (held and is_of_tenant(fleet, fleet.slots[arrival["slot"]]["line"]))
    if first and opens_s <= now:
        take_quota(fleet, tenant, tokens, now)
        return True
    if not held and not fleet.flow.quotas[tenant]["queues"]:
        _turn_away(fleet, gateway, arrival, QUOTA_EXCEEDED)
    else:
        _hold(fleet, gateway, arrival, line, now)
        if first:
            look_at(fleet, line, opens_s)
    return False
