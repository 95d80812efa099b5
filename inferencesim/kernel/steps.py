"""One replica's steps: form a batch, know when it ends, and book what it did.

A replica moves in *segments*. A mixed segment is one step with prefill in it; a
decode segment is a run of steps over an unchanged batch
(:mod:`inferencesim.kernel.decode`). Where prompts are prefilled in steps of their own,
a prefill segment has no decodes in it: they wait. A replica also holds, for a
batch worth running, and swaps the model it has loaded for another. When a
segment ends, what it did is booked and the next batch is formed
(:mod:`inferencesim.kernel.batch`) as the pool's batching policy says.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.deployment.latency import cost_of, encoder_cost_of, energy_of, line_of
from inferencesim.deployment.step_time import MixedStep, StepCost, line_cost
from inferencesim.jit import inner, inner_inlined
from inferencesim.kernel.batch import (
    admit_waiting,
    continue_prefill,
    hand_over,
    join_loaded,
    leave_running,
    preempt,
    start_decoding,
)
from inferencesim.kernel.blocks import capacity_of, device_cache, share_blocks, take_blocks
from inferencesim.kernel.counting import count_decodes, count_passes
from inferencesim.kernel.decode import (
    begin_decode,
    contexts_over,
    count_service,
    decode_share,
    growth_over,
    interrupt,
    steps_done,
)
from inferencesim.kernel.forming import Batch
from inferencesim.kernel.gaps import record_gap, record_gaps
from inferencesim.kernel.heap import reschedule, unschedule
from inferencesim.kernel.prefix import clear
from inferencesim.kernel.queue import count_context, count_waiting, first_waiting
from inferencesim.kernel.tables import (
    COMPLETED,
    DECODE,
    HOLD,
    IDLE,
    MIXED,
    NEVER,
    OPEN,
    PREFILL,
    PREFILLING,
    SWAP,
)

if TYPE_CHECKING:
    from inferencesim.kernel.forming import Formation, Schedulers
    from inferencesim.kernel.tables import Fleet


@inner
def begin_segment(fleet: Fleet, schedulers: Schedulers, replica: int, now: float) -> None:
    """Form the next batch of a replica and schedule the end of its segment, or let it idle."""
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    r["segment_start_s"] = now
    if r["ready"] > 0:
        join_loaded(fleet, replica, now)
    if fleet.live[replica]["running"] == 0 and r["queued"] > 0 and _begin_swap(fleet, replica):
        return
    preempted = False
    growth = growth_over(fleet, replica, 1)
    while r["blocks_used"] + growth > capacity_of(fleet, replica):
        preempt(fleet, schedulers, replica, now)
        preempted = True
        growth = growth_over(fleet, replica, 1)
    given = 0
    together = True
    wake_s = np.inf
    if r["prefilling"] > 0 or r["queued"] > 0:
        formation = _ask_policy(fleet, schedulers, replica, growth, now)
        together, wake_s = formation.together, formation.wake_s
        given = continue_prefill(fleet, replica, formation)
        interval = pool["admission_interval"]
        looks = interval == 1 or r["decoding"] == 0 or r["step"] % interval == 0
        if not preempted and looks:
            given = admit_waiting(fleet, replica, formation, growth, given, now)
    if given > 0:
        _begin_mixed(fleet, replica, given, r["decoding"] if together else 0)
    elif r["decoding"] > 0:
        begin_decode(fleet, replica, preempted)
    elif now < wake_s < np.inf and r["queued"] > 0:
        r["segment"] = HOLD
        r["segment_end_s"] = wake_s
    else:
        r["segment"] = IDLE
        unschedule(fleet, replica)
        return
    reschedule(fleet, replica)


@inner
def _ask_policy(fleet: Fleet, schedulers: Schedulers, replica: int, growth: int, now: float) -> Formation:
    """Show the replica to its batching policy."""
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    next_tokens, waits_s = 0, 0.0
    slot = first_waiting(fleet, replica)
    if slot >= 0:
        next_tokens = fleet.slots[slot]["target"] - fleet.slots[slot]["progress"]
        waits_s = now - fleet.slots[slot]["since_s"]
    capacity = capacity_of(fleet, replica)
    batch = Batch(
        now,
        pool["max_sequences"],
        pool["token_budget"],
        fleet.live[replica]["running"],
        r["decoding"],
        1 + pool["drafts"],
        r["prefilling"],
        r["queued"],
        next_tokens,
        waits_s,
        capacity - r["blocks_used"] - growth,
        capacity,
    )
    return schedulers.form[pool["former"]](batch, schedulers.form_parameters[r["pool"]])  # type: ignore[no-any-return]  # a policy is Any


@inner_inlined
def _begin_swap(fleet: Fleet, replica: int) -> bool:
    """Load the model that the next request needs, if it is not the one that is loaded."""
    r = fleet.replicas[replica]
    row = fleet.slots[first_waiting(fleet, replica)]["row"]
    if row == r["row"]:
        return False
    r["segment"] = SWAP
    r["next_row"] = row
    r["segment_end_s"] = r["segment_start_s"] + fleet.variants[row]["load_s"]
    r["segment_j"] = fleet.variants[row]["load_s"] * fleet.latency.coefficients[r["row"]]["idle_w"]
    reschedule(fleet, replica)
    return True


@inner
def disturb(fleet: Fleet, schedulers: Schedulers, replica: int, now: float) -> None:
    """Let a replica look at its queue and its batch again, at the end of the step under way."""
    segment = fleet.replicas[replica]["segment"]
    if segment in (IDLE, HOLD):
        begin_segment(fleet, schedulers, replica, now)
    else:
        interrupt(fleet, replica, now)


@inner
def _begin_mixed(fleet: Fleet, replica: int, given: int, decodes: int) -> None:
    """Plan a step with prefill in it, beside so many decoding sequences."""
    r = fleet.replicas[replica]
    counts = fleet.counts[replica]
    c = fleet.latency.coefficients[r["row"]]
    chunks, ending = 0, 0
    pairs, window_pairs, context, window_context, media = 0.0, 0.0, 0.0, 0.0, 0.0
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
                window_pairs += chunk * min(seen, c["window"])
                context += s["progress"] + chunk
                window_context += min(float(s["progress"]), c["window"]) + chunk
                if s["progress"] + chunk == s["target"]:
                    ending += 1
                if s["progress"] == s["cached_tokens"] and s["preemptions"] == 0:
                    # What encoders made of images and audio is kept for a request that has to prefill again.
                    media += s["media_units"]
        place -= 1
    decoding = float(decodes)
    read = r["context"] + r["growth"] if decodes > 0 else 0.0
    step = MixedStep(decoding, read, float(chunks), float(given), pairs, window_pairs, context, float(ending))
    cost = cost_of(fleet.latency, r["row"], step)
    if media > 0.0:
        encoding = encoder_cost_of(fleet.latency, r["row"], media)
        cost = StepCost(cost.seconds + encoding.seconds, cost.active_s + encoding.active_s)
    cost = StepCost(cost.seconds * r["pace"], cost.active_s)
    counts["prefill_tokens"] += given
    counts["prefill_pairs"] += pairs
    counts["prefill_window_pairs"] += window_pairs
    counts["prefill_context"] += context
    counts["prefill_window_context"] += window_context
    counts["chunks"] += chunks
    counts["ends"] += ending
    counts["media_units"] += media
    count_passes(fleet, replica, 1, decoding, float(given))
    r["decode_part_s"] = 0.0
    r["decode_part_j"] = 0.0
    if decodes > 0:
        count_decodes(fleet, replica, 1, read)
        # Decoding sequences are charged what the step would have taken without the prefill, the prefill the rest.
        alone = line_cost(line_of(fleet.latency, r["row"], decoding, read), 1.0, read)
        part = StepCost(min(cost.seconds, alone.seconds * r["pace"]), min(cost.active_s, alone.active_s))
        r["decode_part_s"] = part.seconds
        r["decode_part_j"] = energy_of(fleet.latency, r["row"], part)
    r["segment"] = PREFILL if decodes == 0 else MIXED
    r["segment_steps"] = 1
    r["chunk_tokens"] = given
    r["segment_j"] = energy_of(fleet.latency, r["row"], cost)
    r["segment_end_s"] = r["segment_start_s"] + cost.seconds


@inner_inlined
def _book_steps(
    fleet: Fleet, replica: int, steps: int, steps_s: float, seconds: float, joules: float, now: float
) -> None:
    """Book busy time and its energy up to now, and of it the first `steps` steps, which were done in `steps_s`."""
    r = fleet.replicas[replica]
    decoding = 0 if r["segment"] == PREFILL else r["decoding"]
    if r["segment"] == DECODE:
        if steps > 0:
            count_decodes(fleet, replica, steps, contexts_over(fleet, replica, steps))
            count_passes(fleet, replica, steps, float(decoding), 0.0)
        r["share_s"] += seconds / decoding
        r["share_j"] += joules / decoding
    elif decoding > 0:
        r["share_s"] += r["decode_part_s"] / decoding
        r["share_j"] += r["decode_part_j"] / decoding
    r["busy_s"] += seconds
    r["busy_energy_j"] += joules
    if decoding > 0 and steps > 0:
        tokens = steps * r["growth"]
        take_blocks(fleet, replica, growth_over(fleet, replica, steps), now)
        count_context(fleet, replica, tokens)
        r["decode_tokens"] += tokens
        fleet.pools[r["pool"]]["output_tokens"] += tokens
        if fleet.pools[r["pool"]]["fair"]:
            count_service(fleet, replica, steps)
            r["served_steps"] = 0
        record_gaps(fleet, replica, steps, steps_s / steps)
        r["step"] += steps
        _count_down_residue(fleet, replica, steps)
    elif r["decoding"] > 0:
        r["stall_s"] += seconds


@inner
def end_segment(fleet: Fleet, schedulers: Schedulers, replica: int) -> None:
    """Book the segment of a replica that ends now."""
    r = fleet.replicas[replica]
    if r["segment"] == HOLD:
        r["segment"] = IDLE
        return
    if r["segment"] == SWAP:
        _end_swap(fleet, replica)
        return
    now = r["segment_end_s"]
    steps = r["segment_steps"]
    seconds = now - r["segment_start_s"]
    _book_steps(fleet, replica, steps, seconds, seconds, r["segment_j"], now)
    if r["aborts"] > 0:
        _release_aborted(fleet, schedulers, replica)
    if r["next_finish"] <= r["step"]:
        _finish_decoding(fleet, replica, now)
    if r["segment"] != DECODE:
        _end_chunks(fleet, schedulers, replica, seconds, now)
    r["segment"] = IDLE


@inner
def cut_segment(fleet: Fleet, replica: int, now: float) -> None:
    """Book the segment of a replica that crashes now: of the step it is in, time and energy, but nothing it made."""
    r = fleet.replicas[replica]
    if r["segment"] in (IDLE, HOLD):
        return
    seconds = now - r["segment_start_s"]
    part = seconds / (r["segment_end_s"] - r["segment_start_s"])
    joules = part * r["segment_j"]
    if r["segment"] == SWAP:
        r["busy_s"] += seconds
        r["busy_energy_j"] += joules
        return
    steps = steps_done(fleet, replica, now)
    steps_s = 0.0
    if steps > 0:
        steps_s, _ = decode_share(fleet, replica, steps)
        steps_s *= r["decoding"]
    r["decode_part_s"] *= part
    r["decode_part_j"] *= part
    r["segment_j"] = joules
    _book_steps(fleet, replica, steps, steps_s, seconds, joules, now)
    if r["segment"] != DECODE:
        for place in range(fleet.live[replica]["running"]):
            if fleet.seats[replica, place]["finish_at"] == NEVER:
                _charge_share(fleet, replica, fleet.seats[replica, place]["slot"], seconds)


@inner_inlined
def _count_down_residue(fleet: Fleet, replica: int, steps: int) -> None:
    r = fleet.replicas[replica]
    block_size = fleet.pools[r["pool"]]["block_size"]
    # A division takes a processor longer than all else here.
    r["residue"] -= steps if steps < block_size else steps % block_size
    if r["residue"] < 0:
        r["residue"] += block_size


@inner_inlined
def _end_swap(fleet: Fleet, replica: int) -> None:
    """Have another model loaded; what the cache kept was of the one before."""
    r = fleet.replicas[replica]
    r["busy_s"] += r["segment_end_s"] - r["segment_start_s"]
    r["busy_energy_j"] += r["segment_j"]
    r["row"] = r["next_row"]
    r["segment"] = IDLE
    if fleet.pools[r["pool"]]["prefix_cache"]:
        for cache in range(device_cache(fleet, replica), device_cache(fleet, replica + 1)):
            clear(fleet.caches, cache)


@inner
def _release_aborted(fleet: Fleet, schedulers: Schedulers, replica: int) -> None:
    """Let go of the requests whose clients left during the step that ends now."""
    r = fleet.replicas[replica]
    place = 0
    while r["aborts"] > 0 and place < fleet.live[replica]["running"]:
        s = fleet.slots[fleet.seats[replica, place]["slot"]]
        if s["abort"] == OPEN:
            place += 1
            continue
        r["aborts"] -= 1
        if s["phase"] == PREFILLING:
            _charge_chunk(
                fleet, replica, fleet.seats[replica, place]["slot"], r["segment_end_s"] - r["segment_start_s"]
            )
        source = s["source"]
        leave_running(fleet, replica, place, s["abort"], s["left_s"])
        if source >= 0:
            # There is room again where its KV was.
            disturb(fleet, schedulers, source, r["segment_end_s"])
    _find_next_finish(fleet, replica)


@inner_inlined
def _find_next_finish(fleet: Fleet, replica: int) -> None:
    soonest = NEVER
    seats = fleet.seats[replica]
    for place in range(fleet.live[replica]["running"]):
        soonest = min(soonest, seats[place]["finish_at"])
    fleet.replicas[replica]["next_finish"] = soonest


@inner
def _finish_decoding(fleet: Fleet, replica: int, now: float) -> None:
    """Complete the sequences that emitted their last token in the step that ends now."""
    r = fleet.replicas[replica]
    seats = fleet.seats[replica]
    place = 0
    soonest = NEVER
    while place < fleet.live[replica]["running"]:
        finish_at = seats[place]["finish_at"]
        if finish_at <= r["step"]:
            leave_running(fleet, replica, place, COMPLETED, now)
        else:
            soonest = min(soonest, finish_at)
            place += 1
    r["next_finish"] = soonest


@inner_inlined
def _charge_share(fleet: Fleet, replica: int, slot: int, seconds: float) -> None:
    """Book a request's share of the prefill part of a mixed step: by tokens."""
    r = fleet.replicas[replica]
    s = fleet.slots[slot]
    share = s["chunk"] / r["chunk_tokens"]
    busy_s = share * (seconds - r["decode_part_s"])
    energy_j = share * (r["segment_j"] - r["decode_part_j"])
    if s["prefill_replica"] == replica:
        s["prefill_busy_s"] += busy_s
        s["prefill_energy_j"] += energy_j
    else:
        s["busy_s"] += busy_s
        s["energy_j"] += energy_j


@inner
def _charge_chunk(fleet: Fleet, replica: int, slot: int, seconds: float) -> None:
    """Book a request's share of a mixed step, and the tokens it had prefilled in it."""
    r = fleet.replicas[replica]
    s = fleet.slots[slot]
    if s["chunk"] > 0:
        _charge_share(fleet, replica, slot, seconds)
        r["prefill_tokens"] += s["chunk"]
        s["progress"] += s["chunk"]
        count_waiting(fleet, replica, 0, -s["chunk"])
        s["chunk"] = 0
        pool = fleet.pools[r["pool"]]
        if pool["prefix_cache"]:
            share_blocks(fleet, slot, replica, s["progress"] // pool["block_size"])


@inner
def _end_chunks(fleet: Fleet, schedulers: Schedulers, replica: int, seconds: float, now: float) -> None:
    """Advance the prefills of a mixed step; those that end emit a token, and decode or complete."""
    r = fleet.replicas[replica]
    seats = fleet.seats[replica]
    place = 0
    left = r["prefilling"]
    while left > 0:
        if seats[place]["finish_at"] != NEVER:
            place += 1
            continue
        left -= 1
        slot = seats[place]["slot"]
        s = fleet.slots[slot]
        _charge_chunk(fleet, replica, slot, seconds)
        if s["progress"] < s["target"]:
            place += 1
            continue
        if math.isnan(s["first_token_s"]):
            s["first_token_s"] = now + s["network_s"] + fleet.latency.coefficients[r["row"]]["engine_request_s"]
        else:
            record_gap(fleet, s["class_index"], now - s["lost_s"])
        s["generated_tokens"] += 1
        fleet.pools[r["pool"]]["output_tokens"] += 1
        if fleet.pools[r["pool"]]["fair"]:
            fleet.lanes[replica, s["lane"]]["served"] += 2.0
        if s["generated_tokens"] >= s["output_tokens"]:
            leave_running(fleet, replica, place, COMPLETED, now)
            continue
        if s["prefill_replica"] == replica:
            other = s["replica"]
            if fleet.pools[fleet.replicas[other]["pool"]]["fair"]:
                count_service(fleet, other, steps_done(fleet, other, now))
            hand_over(fleet, schedulers, replica, place, now)
            disturb(fleet, schedulers, other, now)
            continue
        r["prefilling"] -= 1
        start_decoding(fleet, replica, place, now, 0.0)
        place += 1
