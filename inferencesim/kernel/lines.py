"""Requests held at the gateway: the lines they stand in, the quotas of their tenants, and when a line goes on.

A held request has its slot, and the timers of its client run; it is at no
replica. Each line has one timer at most that counts: at that moment its first
request comes back as an arrival, or the line finds that it has to wait longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.jit import inner, inner_inlined
from inferencesim.kernel.flow_tables import BATCH, LOAD_FELL, NOT_RELEASED, QUOTA, SLACK, WINDOW
from inferencesim.kernel.heap import add_timer, drop_first_timer
from inferencesim.kernel.queue import enter_phase
from inferencesim.kernel.tables import HELD, LINE_OPENS, QUOTA_EXCEEDED, SHED, SLACK_GONE

if TYPE_CHECKING:
    from inferencesim.kernel.gateway import Gateway
    from inferencesim.kernel.tables import Fleet

_DAY_S = 86400.0


@inner
def load_of(fleet: Fleet, class_index: int) -> float:
    """Return the load of the pools that a class may use: requests inside / sequences they run together at most."""
    inside = seats = 0
    for pool in range(fleet.pools.size):
        if fleet.flow.uses[class_index, pool]:
            inside += fleet.live_pools[pool]["waiting"] + fleet.live_pools[pool]["running"]
            seats += fleet.flow.seats[pool]
    return inside / seats if seats > 0 else 0.0


@inner
def is_shed(fleet: Fleet, class_index: int) -> bool:
    """Tell whether a rule turns work of a class away now; it goes on doing so until the load is low enough."""
    flow = fleet.flow
    shed = False
    for rule in range(flow.thresholds.shape[0]):
        if flow.shedding[rule, class_index] < 0:
            continue
        load = load_of(fleet, class_index)
        if load > flow.thresholds[rule, 0]:
            flow.shedding[rule, class_index] = 1
        elif load < flow.thresholds[rule, 1]:
            flow.shedding[rule, class_index] = 0
        shed = shed or flow.shedding[rule, class_index] == 1
    return shed


@inner
def is_window_open(fleet: Fleet, now: float) -> bool:
    """Tell whether a window of the day is open; one that closes before it opens is open over midnight."""
    windows = fleet.flow.windows
    day_s = np.floor(now / _DAY_S) * _DAY_S
    for window in range(windows.shape[0]):
        began, ended = now >= day_s + windows[window, 0], now >= day_s + windows[window, 1]
        if (began and not ended) or (windows[window, 0] > windows[window, 1] and (began or not ended)):
            return True
    return False


@inner
def next_window_s(fleet: Fleet, now: float) -> float:
    """Return when a window opens next, after now; infinite without any."""
    opens_s = np.inf
    for window in range(fleet.flow.windows.shape[0]):
        at_s = np.floor(now / _DAY_S) * _DAY_S + fleet.flow.windows[window, 0]
        if at_s <= now:
            at_s = (np.floor(now / _DAY_S) + 1.0) * _DAY_S + fleet.flow.windows[window, 0]
        opens_s = min(opens_s, at_s)
    return opens_s


@inner_inlined
def _bucket_opens_s(full_s: float, needs_s: float, burst_s: float) -> float:
    """Return when a bucket holds what comes back in `needs_s`, of which no more is asked than it can hold."""
    return float(full_s + min(needs_s, burst_s) - burst_s)


@inner
def quota_opens_s(fleet: Fleet, tenant: int, tokens: int) -> float:
    """Return the moment from which a tenant may send a request of so many tokens; infinite: once others have left."""
    quota = fleet.flow.quotas[tenant]
    if 0 <= quota["most_in_flight"] <= quota["in_flight"]:
        return np.inf
    opens_s = -np.inf
    if quota["request_s"] > 0.0:
        opens_s = _bucket_opens_s(quota["requests_full_s"], quota["request_s"], quota["burst_s"])
    if quota["token_s"] > 0.0:
        needs_s = tokens * quota["token_s"]
        opens_s = max(opens_s, _bucket_opens_s(quota["tokens_full_s"], needs_s, quota["burst_s"]))
    return float(opens_s)


@inner
def take_quota(fleet: Fleet, tenant: int, tokens: int, now: float) -> None:
    """Count a request that its tenant sends into the fleet."""
    quota = fleet.flow.quotas[tenant]
    quota["in_flight"] += 1
    quota["requests_full_s"] = max(quota["requests_full_s"], now) + quota["request_s"]
    quota["tokens_full_s"] = max(quota["tokens_full_s"], now) + tokens * quota["token_s"]


@inner_inlined
def is_of_tenant(fleet: Fleet, line: int) -> bool:
    """Tell whether a line waits for quota; else it is of a class whose work is deferred."""
    return bool(line >= fleet.classes.size)


@inner
def look_at(fleet: Fleet, line: int, at_s: float) -> None:
    """See to it that a line is looked at not later than at `at_s`."""
    if at_s < fleet.flow.lines[line]["opens_s"]:
        fleet.flow.lines[line]["opens_s"] = at_s
        add_timer(fleet, at_s, LINE_OPENS, line, -1)


@inner
def stand_in(fleet: Fleet, line: int, slot: int, now: float) -> None:
    """Put a request at the end of a line."""
    queue, s = fleet.flow.lines[line], fleet.slots[slot]
    enter_phase(s, HELD, now)
    s["released"] = NOT_RELEASED
    s["line"] = line
    s["previous"] = queue["tail"]
    s["following"] = -1
    if queue["tail"] >= 0:
        fleet.slots[queue["tail"]]["following"] = slot
    else:
        queue["head"] = slot
    queue["tail"] = slot
    queue["held"] += 1


@inner
def step_out(fleet: Fleet, slot: int, now: float) -> None:
    """Take a request out of its line, wherever it stands."""
    s = fleet.slots[slot]
    line, first = s["line"], s["previous"] < 0
    queue = fleet.flow.lines[line]
    if s["previous"] >= 0:
        fleet.slots[s["previous"]]["following"] = s["following"]
    else:
        queue["head"] = s["following"]
    if s["following"] >= 0:
        fleet.slots[s["following"]]["previous"] = s["previous"]
    else:
        queue["tail"] = s["previous"]
    queue["held"] -= 1
    queue["leaving"] = min(queue["leaving"], queue["held"])
    if first and queue["held"] > 0 and is_of_tenant(fleet, line):
        # The next may be smaller than the one that waited for so much.
        look_at(fleet, line, now)


@inner
def write_held(fleet: Fleet, gateway: Gateway) -> bool:
    """Write the request that comes back now; return False, and forget the timer, if none does."""
    at_s, number, slot = fleet.timers[0]["at_s"], fleet.timers[0]["number"], fleet.timers[0]["slot"]
    if fleet.timers[0]["kind"] == SLACK_GONE:
        s = fleet.slots[slot]
        if s["request_id"] != number or s["phase"] != HELD or is_of_tenant(fleet, s["line"]):
            # It has left, or come back before.
            drop_first_timer(fleet)
            return False
        s["released"] = SLACK
    else:
        line = fleet.flow.lines[number]
        if line["opens_s"] != at_s or not _goes_on(fleet, number, at_s):
            _look_later(fleet, number, at_s)
            return False
        slot = line["head"]
        fleet.slots[slot]["released"] = line["released"]
    _write(fleet, gateway, slot)
    return True


@inner
def _goes_on(fleet: Fleet, number: int, now: float) -> bool:
    """Tell whether the first request of a line comes back now, and note why."""
    line = fleet.flow.lines[number]
    if line["held"] == 0:
        return False
    if is_of_tenant(fleet, number):
        line["released"] = QUOTA
        head = fleet.slots[line["head"]]
        tokens = head["prompt_tokens"] + head["output_tokens"]
        return quota_opens_s(fleet, number - fleet.classes.size, tokens) <= now
    if line["leaving"] > 0:
        return True
    if is_window_open(fleet, now):
        line["leaving"] = line["held"]
        line["released"] = WINDOW
        return True
    line["released"] = LOAD_FELL
    return bool(load_of(fleet, number) < fleet.flow.deferrals[number]["load_below"])


@inner
def _look_later(fleet: Fleet, number: int, now: float) -> None:
    """Forget the first timer, and look at its line again when time alone may let it go on."""
    line = fleet.flow.lines[number]
    drop_first_timer(fleet)
    if line["opens_s"] != now:
        # The line has another timer.
        return
    line["opens_s"] = np.inf
    if line["held"] == 0:
        return
    if is_of_tenant(fleet, number):
        head = fleet.slots[line["head"]]
        at_s = quota_opens_s(fleet, number - fleet.classes.size, head["prompt_tokens"] + head["output_tokens"])
    else:
        at_s = next_window_s(fleet, now)
    look_at(fleet, number, at_s)


@inner
def _write(fleet: Fleet, gateway: Gateway, slot: int) -> None:
    s, arrival = fleet.slots[slot], gateway.asking[0]
    arrival["request_id"] = s["request_id"]
    arrival["task"] = s["task"]
    arrival["class_index"] = s["class_index"]
    arrival["session"] = s["session"]
    arrival["prompt_tokens"] = s["prompt_tokens"]
    arrival["output_tokens"] = s["output_tokens"]
    arrival["arrived_s"] = s["arrived_s"]
    arrival["client"] = s["client"]
    arrival["node"] = s["node"]
    arrival["attempt"] = s["attempt"]
    arrival["level"] = s["level"]
    arrival["predicted_tokens"] = s["predicted_tokens"]
    arrival["prefix"] = s["prefix"]
    arrival["history"] = s["history"]
    arrival["chain"] = s["chain"]
    arrival["chain_blocks"] = s["chain_blocks"]
    arrival["media_units"] = s["media_units"]
    arrival["media_s"] = s["media_s"]
    # The timers of its client run already.
    arrival["patience_s"] = np.inf
    arrival["cancel_after_s"] = np.inf
    arrival["slot"] = slot


@inner
def count_held(fleet: Fleet, gateway: Gateway) -> None:
    """Let the request that came back go on from its line."""
    at_s, kind, number = fleet.timers[0]["at_s"], fleet.timers[0]["kind"], fleet.timers[0]["number"]
    drop_first_timer(fleet)
    if kind == LINE_OPENS:
        line = fleet.flow.lines[number]
        line["opens_s"] = np.inf
        line["leaving"] = max(0, line["leaving"] - 1)
        if line["held"] > 1:
            look_at(fleet, number, at_s)
    step_out(fleet, gateway.asking[0]["slot"], at_s)


@inner
def all_may_go(fleet: Fleet, line: int, now: float) -> None:
    """Let all go who are in a line of deferred work: enough have come."""
    fleet.flow.lines[line]["leaving"] = fleet.flow.lines[line]["held"]
    fleet.flow.lines[line]["released"] = BATCH
    look_at(fleet, line, now)


@inner
def has_left(fleet: Fleet, record: Any) -> None:
    """Count a request that has left out of its tenant's quota, and look at those who wait for that."""
    tenant = fleet.classes[record["class_index"]]["tenant"]
    if fleet.flow.quotas[tenant]["limited"] == 0 or record["released"] == NOT_RELEASED:
        return
    if record["reason"] in (QUOTA_EXCEEDED, SHED):
        return
    quota, line = fleet.flow.quotas[tenant], fleet.classes.size + tenant
    was_full = quota["in_flight"] == quota["most_in_flight"]
    quota["in_flight"] -= 1
    if was_full and fleet.flow.lines[line]["held"] > 0:
        look_at(fleet, line, fleet.clock[0]["now_s"])


@inner
def look_at_load(fleet: Fleet) -> None:
    """Look at the deferred work that may go while the load is low: some has left."""
    for line in range(fleet.classes.size):
        below = fleet.flow.deferrals[line]["load_below"]
        if below > 0.0 and fleet.flow.lines[line]["held"] > 0 and load_of(fleet, line) < below:
            look_at(fleet, line, fleet.clock[0]["now_s"])
