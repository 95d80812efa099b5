"""Slots, waiting queues and the counts that routing reads."""

from __future__ import annotations

from inferencesim.jit import compiled, inlined
from inferencesim.kernel.tables import COMPLETED, FREE, WAITING, Fleet


@inlined
def count_waiting(fleet: Fleet, replica: int, requests: int, tokens: int) -> None:
    """Add to the requests waiting at a replica and the tokens it has to prefill, and to those of its pool."""
    pool = fleet.replicas[replica]["pool"]
    fleet.live[replica]["waiting"] += requests
    fleet.live_pools[pool]["waiting"] += requests
    fleet.live[replica]["waiting_tokens"] += tokens
    fleet.live_pools[pool]["waiting_tokens"] += tokens


@inlined
def count_running(fleet: Fleet, replica: int, requests: int) -> None:
    """Add to the running requests of a replica and of its pool."""
    fleet.live[replica]["running"] += requests
    fleet.live_pools[fleet.replicas[replica]["pool"]]["running"] += requests


@inlined
def count_context(fleet: Fleet, replica: int, tokens: int) -> None:
    """Add to the tokens in KV of a replica's decoding sequences."""
    fleet.replicas[replica]["context"] += tokens
    fleet.live[replica]["context_tokens"] += tokens
    fleet.live_pools[fleet.replicas[replica]["pool"]]["context_tokens"] += tokens


@inlined
def count_blocks(fleet: Fleet, replica: int, blocks: int) -> None:
    """Take (or give back, if negative) KV blocks of a replica."""
    pool = fleet.replicas[replica]["pool"]
    fleet.replicas[replica]["blocks_used"] += blocks
    capacity = fleet.pools[pool]["kv_blocks"]
    fleet.live[replica]["kv_usage"] = fleet.replicas[replica]["blocks_used"] / capacity
    fleet.pools[pool]["blocks_used"] += blocks
    everywhere = capacity * fleet.pools[pool]["replicas"]
    fleet.live_pools[pool]["kv_usage"] = fleet.pools[pool]["blocks_used"] / everywhere


@inlined
def take_slot(fleet: Fleet) -> int:
    """Take a free slot; the caller has made sure that there is one."""
    slot = fleet.clock[0]["free_slot"]
    fleet.clock[0]["free_slot"] = fleet.slots[slot]["following"]
    return int(slot)


@inlined
def append_waiting(fleet: Fleet, replica: int, slot: int) -> None:
    """Put a request at the end of a replica's waiting queue."""
    r = fleet.replicas[replica]
    s = fleet.slots[slot]
    s["phase"] = WAITING
    s["previous"] = r["tail"]
    s["following"] = -1
    if r["tail"] >= 0:
        fleet.slots[r["tail"]]["following"] = slot
    else:
        r["head"] = slot
    r["tail"] = slot
    count_waiting(fleet, replica, 1, s["target"])


@inlined
def prepend_waiting(fleet: Fleet, replica: int, slot: int) -> None:
    """Put a preempted request at the head of the waiting queue."""
    r = fleet.replicas[replica]
    s = fleet.slots[slot]
    s["phase"] = WAITING
    s["previous"] = -1
    s["following"] = r["head"]
    if r["head"] >= 0:
        fleet.slots[r["head"]]["previous"] = slot
    else:
        r["tail"] = slot
    r["head"] = slot
    count_waiting(fleet, replica, 1, s["target"])


@inlined
def unlink_waiting(fleet: Fleet, replica: int, slot: int) -> None:
    """Take a request out of the waiting queue, wherever it stands; its tokens stay counted as to be prefilled."""
    r = fleet.replicas[replica]
    s = fleet.slots[slot]
    before, after = s["previous"], s["following"]
    if before >= 0:
        fleet.slots[before]["following"] = after
    else:
        r["head"] = after
    if after >= 0:
        fleet.slots[after]["previous"] = before
    else:
        r["tail"] = before
    count_waiting(fleet, replica, -1, 0)


@compiled
def leave(fleet: Fleet, slot: int, outcome: int, at_s: float) -> None:
    """Move a request from its slot to the table of those done, and free the slot.

    What is completed is with its client a little later: the way back holds no seat.
    """
    clock = fleet.clock[0]
    s = fleet.slots[slot]
    s["outcome"] = outcome
    if outcome == COMPLETED:
        at_s += fleet.latency.coefficients[s["pool"]]["engine_request_s"]
    s["finished_s"] = at_s
    clock["last_left_s"] = max(clock["last_left_s"], at_s)
    if s["pool"] >= 0:
        pool = fleet.pools[s["pool"]]
        pool["left"] += 1
        if outcome == COMPLETED:
            pool["completed"] += 1
    fleet.done[clock["done_count"]] = s
    clock["done_count"] += 1
    clock["inside"] -= 1
    s["phase"] = FREE
    s["request_id"] = -1
    s["following"] = clock["free_slot"]
    clock["free_slot"] = slot


@inlined
def blocks_for(tokens: int, block_size: int) -> int:
    """Return the KV blocks that hold so many tokens."""
    return (tokens + block_size - 1) // block_size
