"""Slots, waiting queues and the counts that routing reads.

A replica has one waiting queue, or one lane of it per tenant. A lane is in the
order of its requests' ranks, of equals in the order in which they came; who
comes later overtakes those of a higher rank, but nobody who has waited longer
than the pool's starvation limit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.jit import inner, inner_inlined
from inferencesim.kernel.blocks import release_elsewhere
from inferencesim.kernel.forming import Queued
from inferencesim.kernel.tables import COMPLETED, DECODING, FREE, HELD, LOADING, PREFILLING, READY, WAITING, Fleet

if TYPE_CHECKING:
    from inferencesim.kernel.forming import Schedulers


@inner_inlined
def count_coming(fleet: Fleet, replica: int, requests: int) -> None:
    """Add to the requests a router takes to wait at a replica: those that do, and those prefilled for it elsewhere."""
    fleet.live[replica]["waiting"] += requests
    fleet.live_pools[fleet.replicas[replica]["pool"]]["waiting"] += requests


@inner_inlined
def count_waiting(fleet: Fleet, replica: int, requests: int, tokens: int) -> None:
    """Add to the requests waiting at a replica and the tokens it has to prefill, and to those of its pool."""
    pool = fleet.replicas[replica]["pool"]
    fleet.replicas[replica]["queued"] += requests
    fleet.pools[pool]["queued"] += requests
    count_coming(fleet, replica, requests)
    fleet.live[replica]["waiting_tokens"] += tokens
    fleet.live_pools[pool]["waiting_tokens"] += tokens


@inner_inlined
def count_running(fleet: Fleet, replica: int, requests: int) -> None:
    """Add to the running requests of a replica and of its pool."""
    fleet.live[replica]["running"] += requests
    fleet.live_pools[fleet.replicas[replica]["pool"]]["running"] += requests


@inner_inlined
def count_context(fleet: Fleet, replica: int, tokens: float) -> None:
    """Add to the tokens in KV of a replica's decoding sequences."""
    fleet.replicas[replica]["context"] += tokens
    fleet.live[replica]["context_tokens"] += tokens
    fleet.live_pools[fleet.replicas[replica]["pool"]]["context_tokens"] += tokens


@inner_inlined
def take_slot(fleet: Fleet) -> int:
    """Take a free slot; the caller has made sure that there is one."""
    slot = fleet.clock[0]["free_slot"]
    fleet.clock[0]["free_slot"] = fleet.slots[slot]["following"]
    return int(slot)


@inner
def enter_phase(s: Any, phase: int, now: float) -> None:
    """Book the time a request spent in its phase, and begin the next."""
    lasted = max(0.0, now - s["since_s"])
    if not math.isnan(s["lost_s"]):
        s["preempted_s"] += lasted
    elif s["phase"] == WAITING:
        s["waiting_s"] += lasted
    elif s["phase"] == HELD:
        s["waiting_s"] += lasted
        s["held_s"] += lasted
    elif s["phase"] == PREFILLING:
        s["prefill_s"] += lasted
    elif s["phase"] == DECODING:
        s["decode_s"] += lasted
    elif s["phase"] == LOADING or s["phase"] == READY:
        s["transfer_s"] += lasted
    s["phase"] = phase
    s["since_s"] = now


@inner
def queue_up(fleet: Fleet, schedulers: Schedulers, replica: int, slot: int, now: float) -> None:
    """Put a request into the waiting queue of a replica; one that was preempted there comes before its equals."""
    s = fleet.slots[slot]
    enter_phase(s, WAITING, now)
    index = fleet.replicas[replica]["pool"]
    pool = fleet.pools[index]
    c = fleet.classes[s["class_index"]]
    s["at"] = replica
    s["lane"] = c["tenant"] if pool["fair"] else 0
    deadline_s = c["ttft_s"] if c["ttft_s"] < np.inf else c["e2e_s"]
    request = Queued(
        now,
        s["arrived_s"],
        s["arrived_s"] + deadline_s,
        s["class_index"],
        c["tenant"],
        c["priority"],
        s["prompt_tokens"],
        s["predicted_tokens"],
        s["preemptions"],
    )
    s["rank"] = schedulers.rank[pool["order"]](request, schedulers.rank_parameters[index])
    if pool["fair"] and fleet.lanes[replica, s["lane"]]["head"] < 0:
        _lift(fleet, replica, s["lane"])
    if math.isnan(s["lost_s"]):
        before = fleet.lanes[replica, s["lane"]]["tail"]
        while before >= 0 and _may_overtake(fleet, slot, before, now, pool["starvation_s"]):
            before = fleet.slots[before]["previous"]
        following = fleet.lanes[replica, s["lane"]]["head"] if before < 0 else fleet.slots[before]["following"]
    else:
        following = fleet.lanes[replica, s["lane"]]["head"]
        while following >= 0 and fleet.slots[following]["rank"] < s["rank"]:
            following = fleet.slots[following]["following"]
        before = fleet.lanes[replica, s["lane"]]["tail"] if following < 0 else fleet.slots[following]["previous"]
    _link(fleet, replica, slot, before, following)
    count_waiting(fleet, replica, 1, s["target"] - s["progress"])


@inner_inlined
def _may_overtake(fleet: Fleet, slot: int, other: int, now: float, starvation_s: float) -> bool:
    o = fleet.slots[other]
    return bool(o["rank"] > fleet.slots[slot]["rank"] and now - o["since_s"] < starvation_s)


@inner_inlined
def _lift(fleet: Fleet, replica: int, lane: int) -> None:
    """Lift the counter of a tenant that comes back: it has saved up nothing while it was away."""
    lowest = np.inf
    for each in range(fleet.lanes.shape[1]):
        if fleet.lanes[replica, each]["head"] >= 0:
            lowest = min(lowest, fleet.lanes[replica, each]["served"])
    if lowest == np.inf:
        lowest = fleet.lanes[replica, fleet.replicas[replica]["last_lane"]]["served"]
    fleet.lanes[replica, lane]["served"] = max(fleet.lanes[replica, lane]["served"], lowest)


@inner_inlined
def _link(fleet: Fleet, replica: int, slot: int, before: int, following: int) -> None:
    s = fleet.slots[slot]
    s["previous"] = before
    s["following"] = following
    if before >= 0:
        fleet.slots[before]["following"] = slot
    else:
        fleet.lanes[replica, s["lane"]]["head"] = slot
    if following >= 0:
        fleet.slots[following]["previous"] = slot
    else:
        fleet.lanes[replica, s["lane"]]["tail"] = slot


@inner
def first_waiting(fleet: Fleet, replica: int) -> int:
    """Return the request that is served next, −1 if none waits: of the tenant that was given the least."""
    if not fleet.pools[fleet.replicas[replica]["pool"]]["fair"]:
        return int(fleet.lanes[replica, 0]["head"])
    chosen = -1
    for lane in range(fleet.lanes.shape[1]):
        if fleet.lanes[replica, lane]["head"] >= 0 and (
            chosen < 0 or fleet.lanes[replica, lane]["served"] < fleet.lanes[replica, chosen]["served"]
        ):
            chosen = lane
    return int(fleet.lanes[replica, chosen]["head"]) if chosen >= 0 else -1


@inner
def unlink_waiting(fleet: Fleet, slot: int) -> None:
    """Take a request out of its waiting queue, wherever it stands; its tokens stay counted as to be prefilled."""
    s = fleet.slots[slot]
    replica = s["at"]
    before, after = s["previous"], s["following"]
    if before >= 0:
        fleet.slots[before]["following"] = after
    else:
        fleet.lanes[replica, s["lane"]]["head"] = after
    if after >= 0:
        fleet.slots[after]["previous"] = before
    else:
        fleet.lanes[replica, s["lane"]]["tail"] = before
    fleet.replicas[replica]["last_lane"] = s["lane"]
    count_waiting(fleet, replica, -1, 0)


@inner
def leave(fleet: Fleet, slot: int, outcome: int, at_s: float) -> None:
    """Move a request from its slot to the table of those done, and free the slot.

    What is completed is with its client a little later: the way back holds no seat.
    """
    clock = fleet.clock[0]
    s = fleet.slots[slot]
    if s["source"] >= 0 or s["swapped"] > 0:
        release_elsewhere(fleet, slot)
    if s["prefill_replica"] >= 0 and s["at"] == s["prefill_replica"]:
        count_coming(fleet, s["replica"], -1)
    enter_phase(s, FREE, at_s)
    s["outcome"] = outcome
    if outcome == COMPLETED and s["pool"] >= 0:
        at_s += s["network_s"] + fleet.latency.coefficients[s["row"]]["engine_request_s"]
    s["finished_s"] = at_s
    clock["last_left_s"] = max(clock["last_left_s"], at_s)
    if s["pool"] >= 0:
        pool = fleet.pools[s["pool"]]
        pool["left"] += 1
        if outcome == COMPLETED:
            pool["completed"] += 1
    # A record is the first part of a request; copied field by field it would take a line for each.
    record, words = fleet.done_words[clock["done_count"]], fleet.slot_words[slot]
    for word in range(record.size):
        record[word] = words[word]
    clock["done_count"] += 1
    clock["inside"] -= 1
    s["request_id"] = -1
    s["following"] = clock["free_slot"]
    clock["free_slot"] = slot
