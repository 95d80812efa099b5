"""Every request's way in: filter, place, balance, record, enqueue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from inferencesim.jit import compiled, inlined
from inferencesim.kernel.decode import interrupt
from inferencesim.kernel.heap import add_timer
from inferencesim.kernel.queue import append_waiting, leave, take_slot
from inferencesim.kernel.steps import begin_segment
from inferencesim.kernel.tables import (
    CANCELLED,
    CONTEXT_TOO_LONG,
    ELIGIBLE,
    IDLE,
    OPEN,
    QUEUE_FULL,
    REJECTED,
    TIMED_OUT,
    Fleet,
    Floats,
    Integers,
    Records,
)
from inferencesim.kernel.views import Candidates, Request, mix

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What routing knows of a class.
CLASS = np.dtype(
    [
        ("expected_output_tokens", np.float64),
        ("ttft_s", np.float64),  # promised, infinite if nothing is
        ("tpot_s", np.float64),
        ("e2e_s", np.float64),
    ]
)


class Gateway(NamedTuple):
    """What the way in needs beside the fleet: the load, the classes, the policies' memory, the record."""

    stream: Records  #: ARRIVAL, in order of time: the open-loop load
    clients: Records  #: CLIENT of all closed loops, in order of class and number
    turns: Records  #: TURN, (clients, turns kept per client)
    loops: Records  #: LOOP[C]
    asking: Records  #: ARRIVAL[1]: the request of the client that asks now
    classes: Records  #: CLASS[C]
    verdicts: Integers  #: constraints settled once per class and pool, (C, P)
    pool_traits: Records  #: TRAITS[P]
    replica_traits: Records  #: TRAITS[R]
    pool_eligible: NDArray[np.uint8]  #: work space, P
    replica_eligible: NDArray[np.uint8]  #: all one, R
    placement_parameters: Floats
    balancing_parameters: Floats
    memory: Integers  #: of the policies: row 0 for placement, then a row per pool for balancing
    replica_scores: Floats  #: work space, R
    decisions: Records  #: DECISION
    decision_verdicts: NDArray[np.uint8]  #: (decisions, P)
    decision_scores: Floats  #: (decisions, P)
    seed: int
    record: int  #: 1 to keep decisions


@inlined
def request_view(gateway: Gateway, arrival: Any, now: float) -> Request:
    """Return what the router knows of a request."""
    index = arrival["class_index"]
    return Request(
        index,
        arrival["prompt_tokens"],
        gateway.classes[index]["expected_output_tokens"],
        arrival["session"],
        now,
        gateway.classes[index]["ttft_s"],
        gateway.classes[index]["tpot_s"],
        gateway.classes[index]["e2e_s"],
        mix(mix(gateway.seed, index + 1), arrival["task"] + 1),
    )


@compiled
def filter_pools(fleet: Fleet, gateway: Gateway, arrival: Any) -> int:
    """Give each pool its verdict for a request, in the decision under way; return how many are eligible."""
    row = fleet.clock[0]["decision_count"]
    total = arrival["prompt_tokens"] + arrival["output_tokens"]
    eligible = 0
    for pool in range(fleet.pools.size):
        verdict = gateway.verdicts[arrival["class_index"], pool]
        if verdict == ELIGIBLE:
            limit = fleet.pools[pool]["queue_limit"]
            if total > fleet.pools[pool]["context_limit"]:
                verdict = CONTEXT_TOO_LONG
            elif limit >= 0 and fleet.live_pools[pool]["waiting"] >= limit:
                verdict = QUEUE_FULL
        gateway.decision_verdicts[row, pool] = verdict
        gateway.decision_scores[row, pool] = np.nan
        gateway.pool_eligible[pool] = verdict == ELIGIBLE
        eligible += verdict == ELIGIBLE
    return eligible


@inlined
def pool_candidates(fleet: Fleet, gateway: Gateway) -> Candidates:
    """Return the pools as candidates; :func:`filter_pools` has set which are eligible."""
    return Candidates(gateway.pool_eligible, fleet.seen_pools, gateway.pool_traits, fleet.latency)


@inlined
def replica_candidates(fleet: Fleet, gateway: Gateway, pool: int) -> Candidates:
    """Return the replicas of a pool as candidates."""
    first = fleet.pools[pool]["first_replica"]
    last = first + fleet.pools[pool]["replicas"]
    return Candidates(
        gateway.replica_eligible[first:last],
        fleet.seen[first:last],
        gateway.replica_traits[first:last],
        fleet.latency,
    )


@compiled
def admit(fleet: Fleet, gateway: Gateway, arrival: Any, pool: int, place: int) -> None:
    """Record the decision and hand the request to replica `place` of `pool` (pool −1: reject it)."""
    clock = fleet.clock[0]
    now = clock["now_s"]
    row = clock["decision_count"]
    replica = -1
    if pool >= 0:
        replica = fleet.pools[pool]["first_replica"] + place
    if gateway.record:
        decision = gateway.decisions[row]
        decision["request_id"] = arrival["request_id"]
        decision["time_s"] = now
        decision["class_index"] = arrival["class_index"]
        decision["pool"] = pool
        decision["replica"] = replica
        decision["snapshot_age_s"] = now - clock["snapshot_s"] if clock["snapshot_interval_s"] > 0.0 else 0.0
    slot = take_slot(fleet)
    s = fleet.slots[slot]
    s["request_id"] = arrival["request_id"]
    s["task"] = arrival["task"]
    s["class_index"] = arrival["class_index"]
    s["session"] = arrival["session"]
    s["prompt_tokens"] = arrival["prompt_tokens"]
    s["output_tokens"] = arrival["output_tokens"]
    s["arrived_s"] = now
    s["patience_s"] = arrival["patience_s"]
    s["cancel_after_s"] = arrival["cancel_after_s"]
    s["client"] = arrival["client"]
    s["pool"] = pool
    s["replica"] = replica
    s["outcome"] = OPEN
    s["reason"] = ELIGIBLE
    s["scheduled_s"] = np.nan
    s["first_token_s"] = np.nan
    s["finished_s"] = np.nan
    s["generated_tokens"] = 0
    s["preemptions"] = 0
    s["busy_s"] = 0.0
    s["energy_j"] = 0.0
    s["target"] = arrival["prompt_tokens"]
    s["progress"] = 0
    s["chunk"] = 0
    s["abort"] = OPEN
    clock["arrived"] += 1
    clock["inside"] += 1
    if gateway.record:
        clock["decision_count"] += 1
    if pool < 0:
        for each in range(fleet.pools.size):
            # Codes are in the order of the filters: the highest is the last hurdle it met anywhere.
            s["reason"] = max(s["reason"], gateway.decision_verdicts[row, each])
        leave(fleet, slot, REJECTED, now)
        return
    fleet.pools[pool]["arrived"] += 1
    if s["patience_s"] < np.inf:
        add_timer(fleet, now + s["patience_s"], TIMED_OUT, arrival["request_id"], slot)
    if s["cancel_after_s"] < np.inf:
        add_timer(fleet, now + s["cancel_after_s"], CANCELLED, arrival["request_id"], slot)
    r = fleet.replicas[replica]
    blocked = r["head"] >= 0
    append_waiting(fleet, replica, slot)
    if r["segment"] == IDLE:
        begin_segment(fleet, replica, now)
    elif not blocked:
        # A queue that exists already waits for seats or memory, which only a completion frees.
        interrupt(fleet, replica, now)
