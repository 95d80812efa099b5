"""Who is in the batch: admission, prefill chunks, preemption, and what a sequence holds.

Scheduling follows vLLM's V1 scheduler: a budget of tokens per step; running
sequences first, one token each in decode or the next chunk in prefill; then
waiting requests, first come first served, while seats, budget and KV last. A
step that would overflow the KV cache preempts the newest running request, which
goes back to the head of the queue and recomputes; no request is admitted in a
step that preempted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from inferencesim.jit import inlined
from inferencesim.kernel.queue import (
    blocks_for,
    count_blocks,
    count_context,
    count_running,
    count_waiting,
    prepend_waiting,
    unlink_waiting,
)
from inferencesim.kernel.tables import DECODING, NEVER, PREFILLING

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Fleet


@inlined
def _hold_blocks(fleet: Fleet, slot: int, replica: int) -> int:
    """Return the KV blocks a running request holds at the end of a step."""
    s = fleet.slots[slot]
    pool = fleet.pools[fleet.replicas[replica]["pool"]]
    if pool["reserve"] or s["phase"] == PREFILLING:
        return int(s["blocks"])
    return int(blocks_for(s["kv_base"] + fleet.replicas[replica]["step"], pool["block_size"]))


@inlined
def _stop_decoding(fleet: Fleet, slot: int, replica: int) -> None:
    """Take a sequence out of the decode batch and book its share of the time it was in."""
    r = fleet.replicas[replica]
    s = fleet.slots[slot]
    block_size = fleet.pools[r["pool"]]["block_size"]
    fleet.residues[replica, s["kv_base"] % block_size] -= 1
    r["decoding"] -= 1
    count_context(fleet, replica, -(s["kv_base"] + r["step"]))
    s["busy_s"] += r["share_s"] - s["busy_base_s"]
    s["energy_j"] += r["share_j"] - s["energy_base_j"]


@inlined
def stop_running(fleet: Fleet, replica: int, place: int) -> int:
    """Take the running request at `place` out of the batch, free its KV, and return its slot."""
    r = fleet.replicas[replica]
    slot = fleet.seats[replica, place]["slot"]
    s = fleet.slots[slot]
    count_blocks(fleet, replica, -_hold_blocks(fleet, slot, replica))
    if s["phase"] == DECODING:
        remaining = fleet.seats[replica, place]["finish_at"] - r["step"]
        s["generated_tokens"] = s["output_tokens"] - remaining
        _stop_decoding(fleet, slot, replica)
    else:
        r["prefilling"] -= 1
        count_waiting(fleet, replica, 0, s["progress"] - s["target"])
    count = fleet.live[replica]["running"]
    for later in range(place + 1, count):
        fleet.seats[replica, later - 1] = fleet.seats[replica, later]
    count_running(fleet, replica, -1)
    return int(slot)


@inlined
def preempt_newest(fleet: Fleet, replica: int) -> None:
    """Send the newest running request back to the head of the queue, to recompute its KV."""
    slot = stop_running(fleet, replica, fleet.live[replica]["running"] - 1)
    s = fleet.slots[slot]
    s["preemptions"] += 1
    s["target"] = s["prompt_tokens"] + s["generated_tokens"]
    s["progress"] = 0
    fleet.replicas[replica]["preemptions"] += 1
    prepend_waiting(fleet, replica, slot)


@inlined
def admit_waiting(fleet: Fleet, replica: int, growth: int, budget: int, now: float) -> int:
    """Admit waiting requests while seats, KV blocks and budget last; return the prefill tokens given to them."""
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    given = 0
    while r["head"] >= 0 and given < budget and fleet.live[replica]["running"] < pool["max_sequences"]:
        slot = r["head"]
        s = fleet.slots[slot]
        held = s["target"]
        if pool["reserve"]:
            held = s["prompt_tokens"] + s["output_tokens"] - 1
        blocks = blocks_for(held, pool["block_size"])
        if r["blocks_used"] + growth + blocks > pool["kv_blocks"]:
            break
        unlink_waiting(fleet, replica, slot)
        count_blocks(fleet, replica, blocks)
        s["blocks"] = blocks
        s["phase"] = PREFILLING
        s["chunk"] = min(budget - given, s["target"])
        given += s["chunk"]
        if math.isnan(s["scheduled_s"]):
            s["scheduled_s"] = now
        place = fleet.live[replica]["running"]
        fleet.seats[replica, place]["slot"] = slot
        fleet.seats[replica, place]["finish_at"] = NEVER
        count_running(fleet, replica, 1)
        r["prefilling"] += 1
    return given


@inlined
def continue_prefill(fleet: Fleet, replica: int, budget: int) -> int:
    """Give the next chunk to each request in prefill, oldest first; return the tokens given."""
    r = fleet.replicas[replica]
    given = 0
    left = r["prefilling"]
    place = fleet.live[replica]["running"] - 1
    # Requests in prefill are nearly always the newest; look for them from the end, then serve from the oldest.
    while left > 0:
        left -= fleet.seats[replica, place]["finish_at"] == NEVER
        place -= 1
    for each in range(place + 1, fleet.live[replica]["running"]):
        if fleet.seats[replica, each]["finish_at"] == NEVER:
            s = fleet.slots[fleet.seats[replica, each]["slot"]]
            s["chunk"] = min(budget - given, s["target"] - s["progress"])
            given += s["chunk"]
    return given
