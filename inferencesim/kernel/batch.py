"""Who is in the batch: admission, prefill chunks, preemption, and what a sequence holds.

A batching policy says how many tokens may be prefilled and how many requests
may join; seats, KV blocks and the order of the queue decide who. Running
requests come first. A step that would overflow the KV cache preempts the
running request of the highest rank, of equals the one admitted last: it goes
back to the queue and recomputes, or is swapped to host memory. No request is
admitted in a step that preempted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.jit import inner, inner_inlined
from inferencesim.kernel.blocks import (
    blocks_for,
    capacity_of,
    fetch_from_tiers,
    hold_matched,
    idle_among,
    match,
    occupy_tier_link,
    release_blocks,
    release_elsewhere,
    share_blocks,
    swap_out,
    take_blocks,
)
from inferencesim.kernel.gaps import begin_gaps, end_gaps
from inferencesim.kernel.heap import add_timer
from inferencesim.kernel.queue import (
    count_coming,
    count_context,
    count_running,
    count_waiting,
    enter_phase,
    first_waiting,
    leave,
    queue_up,
    unlink_waiting,
)
from inferencesim.kernel.tables import AWAY, DECODING, KV_LRU, LOADED, LOADING, NEVER, PREFILLING, READY
from inferencesim.kernel.views import mix

if TYPE_CHECKING:
    from inferencesim.kernel.forming import Formation, Schedulers
    from inferencesim.kernel.tables import Fleet

#: Salt of the random numbers of drafts, apart from those routing uses.
_DRAFTS = 100_003


@inner
def tokens_made(fleet: Fleet, replica: int, place: int, step: int) -> int:
    """Return the tokens a decoding sequence has made by a step of its replica: evenly from first to last."""
    seat = fleet.seats[replica, place]
    s = fleet.slots[seat["slot"]]
    if s["rate"] == 1.0:
        return int(step - s["began"])
    steps = seat["finish_at"] - s["began"]
    left = s["output_tokens"] - s["generated_tokens"]
    return int((step - s["began"]) * left // steps)


@inner_inlined
def _steps_to_make(fleet: Fleet, slot: int, replica: int, tokens: int) -> int:
    """Return the decode steps in which a request makes so many tokens.

    Without speculation one each. With k drafts a step makes one token more than
    drafts are accepted: m of them with probability p^m (1 − p), all k with p^k.
    """
    s = fleet.slots[slot]
    pool = fleet.pools[fleet.replicas[replica]["pool"]]
    if pool["drafts"] == 0:
        return tokens
    acceptance = fleet.classes[s["class_index"]]["acceptance"]
    if math.isnan(acceptance):
        acceptance = pool["acceptance"]
    made = 0
    steps = 0
    while made < tokens:
        drawn = mix(s["key"], _DRAFTS + s["generated_tokens"] + made) / 2147483648.0
        accepted = 0
        passes = acceptance
        while accepted < pool["drafts"] and drawn < passes:
            accepted += 1
            passes *= acceptance
        made += accepted + 1
        steps += 1
    return steps


@inner
def start_decoding(fleet: Fleet, replica: int, place: int, now: float, late_s: float) -> None:
    """Let a request whose prompt is in KV decode from the next step on; it made its last token `late_s` before now."""
    r = fleet.replicas[replica]
    slot = fleet.seats[replica, place]["slot"]
    s = fleet.slots[slot]
    pool = fleet.pools[r["pool"]]
    tokens = s["output_tokens"] - s["generated_tokens"]
    steps = _steps_to_make(fleet, slot, replica, tokens)
    enter_phase(s, DECODING, now)
    s["lost_s"] = np.nan
    s["began"] = r["step"]
    s["rate"] = tokens / steps
    s["busy_base_s"] = r["share_s"]
    s["energy_base_j"] = r["share_j"]
    if pool["drafts"] == 0:
        s["residue"] = (s["target"] + r["residue"]) % pool["block_size"]
        fleet.residues[replica, s["residue"]] += 1
    if pool["fair"]:
        fleet.lanes[replica, s["lane"]]["growth"] += s["rate"]
    r["decoding"] += 1
    r["growth"] += s["rate"]
    count_context(fleet, replica, float(s["target"]))
    begin_gaps(fleet, slot, replica, late_s)
    end = r["step"] + steps
    fleet.seats[replica, place]["finish_at"] = end
    r["next_finish"] = min(r["next_finish"], end)


@inner
def _stop_decoding(fleet: Fleet, slot: int, replica: int) -> None:
    """Take a sequence out of the decode batch and book its share of the time it was in."""
    r = fleet.replicas[replica]
    s = fleet.slots[slot]
    pool = fleet.pools[r["pool"]]
    if pool["drafts"] == 0:
        fleet.residues[replica, s["residue"]] -= 1
    if pool["fair"]:
        fleet.lanes[replica, s["lane"]]["growth"] -= s["rate"]
    r["decoding"] -= 1
    r["growth"] -= s["rate"]
    count_context(fleet, replica, -(s["target"] + s["rate"] * (r["step"] - s["began"])))
    if r["decoding"] == 0:
        # Sums of fractions leave a rest.
        r["growth"] = 0.0
        count_context(fleet, replica, -r["context"])
    s["busy_s"] += r["share_s"] - s["busy_base_s"]
    s["energy_j"] += r["share_j"] - s["energy_base_j"]
    end_gaps(fleet, slot, replica)


@inner
def _leave_seat(fleet: Fleet, replica: int, place: int) -> int:
    slot = fleet.seats[replica, place]["slot"]
    seats = fleet.seats[replica]
    for later in range(place + 1, fleet.live[replica]["running"]):
        seats[later - 1] = seats[later]
    count_running(fleet, replica, -1)
    return int(slot)


@inner
def stop_running(fleet: Fleet, replica: int, place: int, kv_after: int) -> int:
    """Take the running request at `place` out of the batch, free its KV, and return its slot.

    `kv_after` says what becomes of the blocks that stand in the prefix cache.
    """
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    slot = fleet.seats[replica, place]["slot"]
    s = fleet.slots[slot]
    blocks = s["blocks"]
    if s["phase"] == DECODING:
        made = tokens_made(fleet, replica, place, r["step"])
        kept = s["target"] + made
        if not pool["reserve"]:
            blocks = blocks_for(kept, pool["block_size"])
        s["generated_tokens"] += made
        _stop_decoding(fleet, slot, replica)
        if pool["prefix_cache"]:
            share_blocks(fleet, slot, replica, kept // pool["block_size"])
    else:
        count_waiting(fleet, replica, 0, s["progress"] - s["target"])
        if s["phase"] == PREFILLING:
            r["prefilling"] -= 1
        elif s["phase"] == READY:
            r["ready"] -= 1
    release_blocks(fleet, slot, replica, blocks, s["shared"], kv_after)
    s["shared"] = 0
    return _leave_seat(fleet, replica, place)


@inner
def leave_running(fleet: Fleet, replica: int, place: int, outcome: int, at_s: float) -> None:
    """Let the running request at `place` leave for good."""
    index = fleet.slots[fleet.seats[replica, place]["slot"]]["class_index"]
    slot = stop_running(fleet, replica, place, fleet.classes[index]["kv_after"])
    leave(fleet, slot, outcome, at_s)


@inner
def hand_over(fleet: Fleet, schedulers: Schedulers, replica: int, place: int, now: float) -> None:
    """Send a request that was prefilled here to the queue of the replica where it decodes; its KV stays, for now."""
    slot = _leave_seat(fleet, replica, place)
    s = fleet.slots[slot]
    fleet.replicas[replica]["prefilling"] -= 1
    fleet.pools[fleet.replicas[replica]["pool"]]["handed_over"] += 1
    s["source"] = replica
    s["source_blocks"] = s["blocks"]
    s["source_shared"] = s["shared"]
    s["shared"] = 0
    s["row"] = fleet.replicas[s["replica"]]["row"]
    count_coming(fleet, s["replica"], -1)
    queue_up(fleet, schedulers, s["replica"], slot, now)


@inner
def preempt(fleet: Fleet, schedulers: Schedulers, replica: int, now: float) -> None:
    """Send the running request of the highest rank, of equals the last admitted, back to the queue."""
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    chosen = -1
    for place in range(fleet.live[replica]["running"] - 1, -1, -1):
        seat = fleet.seats[replica, place]
        if seat["finish_at"] == AWAY:
            continue
        rank = fleet.slots[seat["slot"]]["rank"]
        if chosen < 0 or rank > fleet.slots[fleet.seats[replica, chosen]["slot"]]["rank"]:
            chosen = place
    decoding = fleet.slots[fleet.seats[replica, chosen]["slot"]]["phase"] == DECODING
    # It will look for its blocks again, whatever becomes of them after its answer.
    slot = stop_running(fleet, replica, chosen, KV_LRU)
    s = fleet.slots[slot]
    s["preemptions"] += 1
    r["preemptions"] += 1
    enter_phase(s, s["phase"], now)
    if math.isnan(s["lost_s"]):
        s["lost_s"] = now
    # The last token made is not in KV yet.
    kept = s["prompt_tokens"] + s["generated_tokens"] - 1 if decoding else s["progress"]
    blocks = blocks_for(kept, pool["block_size"])
    if pool["swap"] and blocks > 0 and swap_out(fleet, slot, replica, blocks, now):
        s["target"] = max(s["target"], kept)
        s["progress"] = kept
    else:
        s["target"] = s["prompt_tokens"] + s["generated_tokens"]
        s["progress"] = 0
    queue_up(fleet, schedulers, replica, slot, now)


@inner
def join_loaded(fleet: Fleet, replica: int, now: float) -> None:
    """Let the requests whose KV has come take part: they prefill what is left, or decode."""
    r = fleet.replicas[replica]
    place = 0
    while r["ready"] > 0:
        slot = fleet.seats[replica, place]["slot"]
        s = fleet.slots[slot]
        if s["phase"] == READY:
            r["ready"] -= 1
            if s["progress"] < s["target"]:
                enter_phase(s, PREFILLING, now)
                r["prefilling"] += 1
                fleet.seats[replica, place]["finish_at"] = NEVER
            else:
                since_s = s["lost_s"]
                if math.isnan(since_s):
                    # Its first token left the replica that prefilled it.
                    row = fleet.replicas[s["prefill_replica"]]["row"]
                    since_s = s["first_token_s"] - s["network_s"]
                    since_s -= fleet.latency.coefficients[row]["engine_request_s"]
                start_decoding(fleet, replica, place, now, now - since_s)
        place += 1


@inner
def kv_has_come(fleet: Fleet, slot: int, now: float) -> None:
    """Take note that the KV of a loading request has come; what held it elsewhere lets it go."""
    s = fleet.slots[slot]
    replica = s["at"]
    pool = fleet.pools[fleet.replicas[replica]["pool"]]
    release_elsewhere(fleet, slot)
    fetched = s["fetched"] * pool["block_size"]
    count_waiting(fleet, replica, 0, -fetched)
    s["progress"] += fetched
    s["fetched"] = 0
    if pool["prefix_cache"]:
        share_blocks(fleet, slot, replica, s["progress"] // pool["block_size"])
    enter_phase(s, READY, now)
    fleet.replicas[replica]["ready"] += 1


@inner
def admit_waiting(fleet: Fleet, replica: int, formation: Formation, growth: int, given: int, now: float) -> int:
    """Admit waiting requests while seats, KV blocks and budget last; return the prefill tokens given to all."""
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    budget = max(0, formation.prefill_tokens)
    admitted = 0
    while given < budget and admitted < formation.admit and fleet.live[replica]["running"] < pool["max_sequences"]:
        slot = first_waiting(fleet, replica)
        if slot < 0:
            break
        s = fleet.slots[slot]
        if s["row"] != r["row"]:
            # It needs another model, which is loaded once nothing runs.
            break
        kept = s["target"]
        if pool["reserve"] and s["prefill_replica"] != replica:
            kept = s["prompt_tokens"] + s["output_tokens"] - 1
        blocks = blocks_for(kept, pool["block_size"])
        matched = 0
        most = 0
        if pool["prefix_cache"] and s["swapped"] == 0:
            # The last token of a prompt is always computed: it makes the first of the answer.
            most = (s["target"] if s["source"] >= 0 else s["target"] - 1) // pool["block_size"]
            matched = match(fleet, slot, replica, most)
        new_blocks = blocks - matched + idle_among(fleet, matched)
        if r["blocks_used"] + growth + new_blocks > capacity_of(fleet, replica):
            break
        left = s["target"] - max(s["progress"], matched * pool["block_size"])
        if formation.whole and given > 0 and left > budget - given:
            break
        unlink_waiting(fleet, slot)
        admitted += 1
        hold_matched(fleet, slot, replica, matched)
        take_blocks(fleet, replica, blocks - matched, now)
        s["blocks"] = blocks
        if pool["fair"] and s["preemptions"] == 0:
            fleet.lanes[replica, s["lane"]]["served"] += s["prompt_tokens"]
        ready_s = _begin_loading(fleet, slot, replica, matched, most, now)
        place = fleet.live[replica]["running"]
        fleet.seats[replica, place]["slot"] = slot
        count_running(fleet, replica, 1)
        if math.isnan(s["scheduled_s"]):
            s["scheduled_s"] = now
            s["cached_tokens"] = (matched + s["fetched"]) * pool["block_size"]
            r["cached_tokens"] += s["cached_tokens"]
            r["prompt_tokens"] += s["prompt_tokens"]
        if s["source"] >= 0 or s["swapped"] > 0 or s["fetched"] > 0:
            fleet.seats[replica, place]["finish_at"] = AWAY
            enter_phase(s, LOADING, now)
            add_timer(fleet, ready_s, LOADED, s["request_id"], slot)
            continue
        fleet.seats[replica, place]["finish_at"] = NEVER
        enter_phase(s, PREFILLING, now)
        r["prefilling"] += 1
        s["chunk"] = left if formation.whole else min(budget - given, left)
        given += s["chunk"]
    return given


@inner
def _begin_loading(fleet: Fleet, slot: int, replica: int, matched: int, most: int, now: float) -> float:
    """Start to move what a request's KV has elsewhere; return when it will have come: now, if there is nothing."""
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    s = fleet.slots[slot]
    s["fetched"] = 0
    if s["source"] >= 0:
        return _transfer(fleet, slot, replica, matched, now)
    if s["swapped"] > 0:
        return occupy_tier_link(fleet, replica, 0, s["swapped"], now)
    count_waiting(fleet, replica, 0, -matched * pool["block_size"])
    s["progress"] = matched * pool["block_size"]
    if pool["tiers"] > 0 and matched < most:
        s["fetched"], ready_s = fetch_from_tiers(fleet, slot, replica, matched, most, now)
        return ready_s
    return now


@inner
def _transfer(fleet: Fleet, slot: int, replica: int, matched: int, now: float) -> float:
    """Send a request's KV from where it was prefilled, but for the blocks that are here; return when it will have come.

    Links carry one transfer after another; it moves at the pace of the slower one.
    """
    s = fleet.slots[slot]
    sender, receiver = fleet.replicas[s["source"]], fleet.replicas[replica]
    out, into = fleet.variants[sender["row"]], fleet.variants[receiver["row"]]
    begin_s = max(now, sender["link_out_s"], receiver["link_in_s"])
    end_s = begin_s + (s["source_blocks"] - matched) * max(out["link_block_s"], into["link_block_s"])
    sender["link_out_s"] = end_s
    receiver["link_in_s"] = end_s
    return float(end_s + out["link_latency_s"] + into["link_latency_s"])


@inner
def continue_prefill(fleet: Fleet, replica: int, formation: Formation) -> int:
    """Give the next chunk to each request in prefill, oldest first; return the tokens given."""
    budget = max(0, formation.prefill_tokens)
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
            left = s["target"] - s["progress"]
            if formation.whole:
                s["chunk"] = left if given == 0 or left <= budget - given else 0
            else:
                s["chunk"] = min(budget - given, left)
            given += s["chunk"]
    return given
