"""One replica's steps: form a batch, know when it ends, and book what it did.

A replica moves in *segments*. A mixed segment is one step with prefill in it; a
decode segment is a run of steps over an unchanged batch
(:mod:`inferencesim.kernel.decode`). In a pool that prefills first, a mixed
segment has no decodes in it: they wait. When a segment ends, what it did is booked
and the next batch is formed (:mod:`inferencesim.kernel.batch`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from inferencesim.deployment.latency import LatencyModel, decode_line, latency_of, step_cost
from inferencesim.deployment.step_time import StepCost, line_cost, step_energy_j
from inferencesim.jit import compiled, inlined
from inferencesim.kernel.batch import admit_waiting, continue_prefill, preempt_newest, stop_running
from inferencesim.kernel.decode import begin_decode, growth_in, growth_over
from inferencesim.kernel.heap import reschedule, unschedule
from inferencesim.kernel.queue import count_blocks, count_context, count_waiting, leave
from inferencesim.kernel.tables import COMPLETED, DECODE, DECODING, IDLE, MIXED, NEVER, OPEN, PREFILL, PREFILLING

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Fleet


@compiled
def begin_segment(fleet: Fleet, replica: int, now: float) -> None:
    """Form the next batch of a replica and schedule the end of its segment, or let it idle."""
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    preempted = False
    growth = growth_in(fleet, replica, r["step"])
    while r["blocks_used"] + growth > pool["kv_blocks"]:
        preempt_newest(fleet, replica)
        preempted = True
        growth = growth_in(fleet, replica, r["step"])
    decoding = 0 if pool["prefill_first"] else r["decoding"]
    budget = pool["token_budget"] - decoding
    given = 0
    if r["prefilling"] > 0:
        given = continue_prefill(fleet, replica, budget)
    looks = r["decoding"] == 0 or r["step"] % pool["admission_interval"] == 0
    if not preempted and looks and r["head"] >= 0:
        given += admit_waiting(fleet, replica, growth, budget - given, now)
    r["segment_start_s"] = now
    model = latency_of(fleet.latency, r["pool"])
    if given > 0:
        _begin_mixed(fleet, replica, model, given, decoding)
    elif r["decoding"] > 0:
        begin_decode(fleet, replica, model, preempted)
    else:
        r["segment"] = IDLE
        unschedule(fleet, replica)
        return
    reschedule(fleet, replica)


@inlined
def _begin_mixed(fleet: Fleet, replica: int, model: LatencyModel, given: int, decodes: int) -> None:
    r = fleet.replicas[replica]
    chunks = 0
    ending = 0
    pairs = 0.0
    window_pairs = 0.0
    context = 0.0
    left = r["prefilling"]
    place = fleet.live[replica]["running"] - 1
    while left > 0:
        if fleet.seats[replica, place]["finish_at"] == NEVER:
            left -= 1
            s = fleet.slots[fleet.seats[replica, place]["slot"]]
            chunk = s["chunk"]
            if chunk > 0:
                chunks += 1
                seen = s["progress"] + chunk / 2.0
                pairs += chunk * seen
                window_pairs += chunk * min(seen, model.coefficients.window)
                context += s["progress"] + chunk
                if s["progress"] + chunk == s["target"]:
                    ending += 1
        place -= 1
    decoding = float(decodes)
    read = float(r["context"] + decodes) if decodes > 0 else 0.0
    cost = step_cost(model, decoding, read, float(chunks), float(given), pairs, window_pairs, context, float(ending))
    r["decode_part_s"] = 0.0
    r["decode_part_j"] = 0.0
    if decoding > 0.0:
        # Decoding sequences are charged what the step would have taken without the prefill, the prefill the rest.
        line = decode_line(model, decoding, read)
        alone = line_cost(line, 1.0, read)
        part = StepCost(min(cost.seconds, alone.seconds), min(cost.active_s, alone.active_s))
        r["decode_part_s"] = part.seconds
        r["decode_part_j"] = step_energy_j(model.coefficients, part)
    r["segment"] = PREFILL if decodes == 0 else MIXED
    r["segment_steps"] = 1
    r["chunk_tokens"] = given
    r["segment_j"] = step_energy_j(model.coefficients, cost)
    r["segment_end_s"] = r["segment_start_s"] + cost.seconds


@compiled
def end_segment(fleet: Fleet, replica: int) -> float:
    """Book the segment of a replica that ends now; return when that is."""
    r = fleet.replicas[replica]
    now = r["segment_end_s"]
    steps = r["segment_steps"]
    seconds = now - r["segment_start_s"]
    decoding = 0 if r["segment"] == PREFILL else r["decoding"]
    energy = r["segment_j"]
    if r["segment"] == DECODE:
        r["share_s"] += seconds / decoding
        r["share_j"] += energy / decoding
    else:
        if decoding > 0:
            r["share_s"] += r["decode_part_s"] / decoding
            r["share_j"] += r["decode_part_j"] / decoding
    r["busy_s"] += seconds
    r["busy_energy_j"] += energy
    if decoding > 0:
        count_blocks(fleet, replica, growth_over(fleet, replica, steps))
        count_context(fleet, replica, steps * decoding)
        r["decode_tokens"] += steps * decoding
        fleet.pools[r["pool"]]["output_tokens"] += steps * decoding
        r["step"] += steps
    if r["aborts"] > 0:
        _release_aborted(fleet, replica)
    if r["next_finish"] <= r["step"]:
        _finish_decoding(fleet, replica, now)
    if r["segment"] != DECODE:
        _end_chunks(fleet, replica, seconds, now)
    r["segment"] = IDLE
    return float(now)


@inlined
def _release_aborted(fleet: Fleet, replica: int) -> None:
    """Let go of the requests whose clients left during the step that ends now."""
    r = fleet.replicas[replica]
    place = fleet.live[replica]["running"] - 1
    while place >= 0 and r["aborts"] > 0:
        s = fleet.slots[fleet.seats[replica, place]["slot"]]
        if s["abort"] != OPEN:
            r["aborts"] -= 1
            if s["phase"] == PREFILLING:
                _charge_chunk(
                    fleet,
                    replica,
                    fleet.seats[replica, place]["slot"],
                    r["segment_end_s"] - r["segment_start_s"],
                )
            slot = stop_running(fleet, replica, place)
            leave(fleet, slot, s["abort"], s["left_s"])
        place -= 1
    _find_next_finish(fleet, replica)


@inlined
def _find_next_finish(fleet: Fleet, replica: int) -> None:
    soonest = NEVER
    for place in range(fleet.live[replica]["running"]):
        soonest = min(soonest, fleet.seats[replica, place]["finish_at"])
    fleet.replicas[replica]["next_finish"] = soonest


@inlined
def _finish_decoding(fleet: Fleet, replica: int, now: float) -> None:
    """Complete the sequences that emitted their last token in the step that ends now."""
    r = fleet.replicas[replica]
    place = 0
    while place < fleet.live[replica]["running"]:
        if fleet.seats[replica, place]["finish_at"] <= r["step"]:
            leave(fleet, stop_running(fleet, replica, place), COMPLETED, now)
        else:
            place += 1
    _find_next_finish(fleet, replica)


@inlined
def _charge_chunk(fleet: Fleet, replica: int, slot: int, seconds: float) -> None:
    """Book a request's share of the prefill part of a mixed step: by tokens."""
    r = fleet.replicas[replica]
    s = fleet.slots[slot]
    if s["chunk"] > 0:
        share = s["chunk"] / r["chunk_tokens"]
        s["busy_s"] += share * (seconds - r["decode_part_s"])
        s["energy_j"] += share * (r["segment_j"] - r["decode_part_j"])
        r["prefill_tokens"] += s["chunk"]
        s["progress"] += s["chunk"]
        count_waiting(fleet, replica, 0, -s["chunk"])
        s["chunk"] = 0


@inlined
def _end_chunks(fleet: Fleet, replica: int, seconds: float, now: float) -> None:
    """Advance the prefills of a mixed step; those that end emit a token, and decode or complete."""
    r = fleet.replicas[replica]
    place = 0
    left = r["prefilling"]
    while left > 0:
        if fleet.seats[replica, place]["finish_at"] != NEVER:
            place += 1
            continue
        left -= 1
        slot = fleet.seats[replica, place]["slot"]
        s = fleet.slots[slot]
        _charge_chunk(fleet, replica, slot, seconds)
        if s["progress"] < s["target"]:
            place += 1
            continue
        if math.isnan(s["first_token_s"]):
            s["first_token_s"] = now + fleet.latency.coefficients[r["pool"]]["engine_request_s"]
        s["generated_tokens"] += 1
        fleet.pools[r["pool"]]["output_tokens"] += 1
        if s["generated_tokens"] >= s["output_tokens"]:
            leave(fleet, stop_running(fleet, replica, place), COMPLETED, now)
            continue
        _start_decoding(fleet, replica, place)
        place += 1


@inlined
def _start_decoding(fleet: Fleet, replica: int, place: int) -> None:
    r = fleet.replicas[replica]
    s = fleet.slots[fleet.seats[replica, place]["slot"]]
    s["phase"] = DECODING
    s["kv_base"] = s["target"] - r["step"]
    s["busy_base_s"] = r["share_s"]
    s["energy_base_j"] = r["share_j"]
    fleet.residues[replica, s["kv_base"] % fleet.pools[r["pool"]]["block_size"]] += 1
    r["prefilling"] -= 1
    r["decoding"] += 1
    count_context(fleet, replica, s["target"])
    end = r["step"] + s["output_tokens"] - s["generated_tokens"]
    fleet.seats[replica, place]["finish_at"] = end
    r["next_finish"] = min(r["next_finish"], end)
