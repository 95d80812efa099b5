"""What a fleet has done by some moment, segments under way included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.jit import compiled
from inferencesim.kernel.batch import tokens_made
from inferencesim.kernel.counting import count_decodes, count_passes
from inferencesim.kernel.decode import contexts_over, decode_share, growth_over, steps_done
from inferencesim.kernel.providers import book_answer
from inferencesim.kernel.queue import enter_phase
from inferencesim.kernel.tables import DECODING, DOWN, HELD, HOLD, IDLE, MIXED, OUTSIDE, PREFILL, WAITING

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Fleet, Floats, Records


@compiled
def usage_at(fleet: Fleet, replica: int, at_s: float) -> tuple[float, float, float]:
    """Return a replica's busy seconds, the joules of its steps and its output tokens up to `at_s`.

    Of the segment under way, time and energy count in proportion, tokens by
    the steps that are over.
    """
    r = fleet.replicas[replica]
    if r["segment"] in (IDLE, HOLD, DOWN):
        return r["busy_s"], r["busy_energy_j"], 0.0
    lasts = r["segment_end_s"] - r["segment_start_s"]
    share = min(1.0, max(0.0, (at_s - r["segment_start_s"]) / lasts)) if lasts > 0.0 else 1.0
    tokens = steps_done(fleet, replica, at_s) * r["growth"]
    return r["busy_s"] + share * lasts, r["busy_energy_j"] + share * r["segment_j"], tokens


@compiled
def usage_of_pools(fleet: Fleet, at_s: float, busy_s: Floats, energy_j: Floats, tokens: Floats) -> None:
    """Fill in busy seconds, joules of steps and output tokens of all replicas of each pool up to `at_s`."""
    for pool in range(fleet.pools.size):
        busy_s[pool] = energy_j[pool] = 0.0
        tokens[pool] = fleet.pools[pool]["output_tokens"]
        first = fleet.pools[pool]["first_replica"]
        for replica in range(first, first + fleet.pools[pool]["replicas"]):
            busy, energy, under_way = usage_at(fleet, replica, at_s)
            busy_s[pool] += busy
            energy_j[pool] += energy
            tokens[pool] += under_way


@compiled
def kv_usage_at(fleet: Fleet, at_s: float, usage: Floats) -> None:
    """Fill in the share of each pool's KV blocks that requests hold at `at_s`."""
    for pool in range(fleet.pools.size):
        usage[pool] = float(fleet.pools[pool]["blocks_used"])
    for replica in range(fleet.replicas.size):
        steps = steps_done(fleet, replica, at_s)
        if steps > 0:
            usage[fleet.replicas[replica]["pool"]] += growth_over(fleet, replica, steps)
    for pool in range(fleet.pools.size):
        usage[pool] /= fleet.pools[pool]["capacity"]


def counts_at(fleet: Fleet, at_s: float, seconds: Floats) -> Records:
    """Return COUNTS of every replica up to `at_s`, and fill in the busy seconds of what they count.

    A step with prefill in it is counted as a whole once it has begun, decode
    steps as they are over; the seconds are of just these.
    """
    seen = fleet._replace(counts=fleet.counts.copy())
    _count_under_way(seen, at_s, seconds)
    return seen.counts


@compiled
def _count_under_way(fleet: Fleet, at_s: float, seconds: Floats) -> None:
    for replica in range(fleet.replicas.size):
        r = fleet.replicas[replica]
        seconds[replica] = r["busy_s"]
        steps = steps_done(fleet, replica, at_s)
        if steps > 0:
            decoding = float(r["decoding"])
            count_decodes(fleet, replica, steps, contexts_over(fleet, replica, steps))
            count_passes(fleet, replica, steps, decoding, 0.0)
            share_s, _ = decode_share(fleet, replica, steps)
            seconds[replica] += share_s * decoding
        elif r["segment"] == MIXED or r["segment"] == PREFILL:
            seconds[replica] += r["segment_end_s"] - r["segment_start_s"]


@compiled
def still_inside(fleet: Fleet, at_s: float, out: Records) -> int:
    """Copy the requests still inside at `at_s` to `out`, with what they did so far booked; return how many."""
    count = 0
    for replica in range(fleet.replicas.size):
        r = fleet.replicas[replica]
        steps = steps_done(fleet, replica, at_s)
        seconds, joules = 0.0, 0.0
        if steps > 0:
            seconds, joules = decode_share(fleet, replica, steps)
        for place in range(fleet.live[replica]["running"]):
            seat = fleet.seats[replica, place]
            out[count] = fleet.slots[seat["slot"]]
            s = out[count]
            enter_phase(s, s["phase"], at_s)
            if s["phase"] == DECODING:
                s["generated_tokens"] += tokens_made(fleet, replica, place, r["step"] + steps)
                s["busy_s"] += r["share_s"] - s["busy_base_s"] + seconds
                s["energy_j"] += r["share_j"] - s["energy_base_j"] + joules
            count += 1
        for lane in range(fleet.lanes.shape[1]):
            slot = fleet.lanes[replica, lane]["head"]
            while slot >= 0:
                out[count] = fleet.slots[slot]
                enter_phase(out[count], WAITING, at_s)
                slot = fleet.slots[slot]["following"]
                count += 1
    if fleet.providers.size > 0:
        for slot in range(fleet.slots.size):
            if fleet.slots[slot]["request_id"] >= 0 and fleet.slots[slot]["phase"] == OUTSIDE:
                out[count] = fleet.slots[slot]
                book_answer(out[count], at_s)
                count += 1
    for line in range(fleet.flow.lines.size):
        slot = fleet.flow.lines[line]["head"]
        while slot >= 0:
            out[count] = fleet.slots[slot]
            enter_phase(out[count], HELD, at_s)
            slot = fleet.slots[slot]["following"]
            count += 1
    return count
