"""One replica's steps: form a batch, know when it ends, and book what it did.

A replica moves in *segments*. A mixed segment is one step with prefill in it; a
decode segment is a run of steps over an unchanged batch, up to the step in
which its first member ends (or the KV cache fills, or a sliding window does).
The time of a decode segment is a sum over a line (:func:`decode_line`), so its
length does not matter. An arrival during a decode segment shortens it to the end
of the step under way.

Scheduling follows vLLM's V1 scheduler: a budget of tokens per step; running
sequences first, one token each in decode or the next chunk in prefill; then
waiting requests, first come first served, while seats, budget and KV last. A
step that would overflow the KV cache preempts the newest running request, which
goes back to the head of the queue and recomputes; no request is admitted in a
step that preempted.
"""

from __future__ import annotations

import math

import numpy as np

from inferencesim.deployment.step_time import (
    DecodeLine,
    StepCoefficients,
    coefficients_at,
    decode_line,
    step_cost,
)
from inferencesim.jit import compiled, inlined
from inferencesim.kernel.heap import reschedule, unschedule
from inferencesim.kernel.queue import (
    blocks_for,
    count_blocks,
    count_context,
    count_running,
    count_waiting,
    leave,
    prepend_waiting,
    unlink_waiting,
)
from inferencesim.kernel.tables import (
    COMPLETED,
    DECODE,
    DECODING,
    IDLE,
    MIXED,
    NEVER,
    OPEN,
    PREFILLING,
    Fleet,
)


@inlined
def _growth(fleet: Fleet, replica: int, step: int) -> int:
    """Return how many decoding sequences need a new KV block in a step."""
    pool = fleet.pools[fleet.replicas[replica]["pool"]]
    if pool["reserve"]:
        return 0
    return int(fleet.residues[replica, (-step) % pool["block_size"]])


@inlined
def _growth_over(fleet: Fleet, replica: int, steps: int) -> int:
    """Return the KV blocks all decoding sequences need over the next `steps` steps."""
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    if pool["reserve"]:
        return 0
    block_size = pool["block_size"]
    rounds = steps // block_size
    blocks = rounds * r["decoding"]
    for ahead in range(rounds * block_size, steps):
        blocks += _growth(fleet, replica, r["step"] + ahead)
    return int(blocks)


@inlined
def _steps_with_room(fleet: Fleet, replica: int, wanted: int) -> int:
    """Return how many of the `wanted` next steps the free KV blocks allow."""
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    free = pool["kv_blocks"] - r["blocks_used"]
    if pool["reserve"] or free >= r["decoding"] * (wanted // pool["block_size"] + 1):
        return wanted
    for ahead in range(wanted):
        free -= _growth(fleet, replica, r["step"] + ahead)
        if free < 0:
            return ahead
    return wanted


@inlined
def _sum_contexts(context: float, decoding: float, steps: float) -> float:
    """Return the context tokens read by `steps` decode steps: context + decoding, context + 2 · decoding, …."""
    return steps * context + decoding * steps * (steps + 1.0) / 2.0


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
def _stop_running(fleet: Fleet, replica: int, place: int) -> int:
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
def _preempt_newest(fleet: Fleet, replica: int) -> None:
    """Send the newest running request back to the head of the queue, to recompute its KV."""
    slot = _stop_running(fleet, replica, fleet.live[replica]["running"] - 1)
    s = fleet.slots[slot]
    s["preemptions"] += 1
    s["target"] = s["prompt_tokens"] + s["generated_tokens"]
    s["progress"] = 0
    fleet.replicas[replica]["preemptions"] += 1
    prepend_waiting(fleet, replica, slot)


@inlined
def _admit(fleet: Fleet, replica: int, growth: int, budget: int, now: float) -> int:
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
def _continue_prefill(fleet: Fleet, replica: int, budget: int) -> int:
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


@compiled
def begin_segment(fleet: Fleet, replica: int, now: float) -> None:
    """Form the next batch of a replica and schedule the end of its segment, or let it idle."""
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    preempted = False
    growth = _growth(fleet, replica, r["step"])
    while r["blocks_used"] + growth > pool["kv_blocks"]:
        _preempt_newest(fleet, replica)
        preempted = True
        growth = _growth(fleet, replica, r["step"])
    budget = pool["token_budget"] - r["decoding"]
    given = 0
    if r["prefilling"] > 0:
        given = _continue_prefill(fleet, replica, budget)
    if not preempted and r["head"] >= 0:
        given += _admit(fleet, replica, growth, budget - given, now)
    r["segment_start_s"] = now
    c = coefficients_at(fleet.coefficients, r["pool"])
    if given > 0:
        _begin_mixed(fleet, replica, c, given)
    elif r["decoding"] > 0:
        _begin_decode(fleet, replica, c, preempted)
    else:
        r["segment"] = IDLE
        unschedule(fleet, replica)
        return
    reschedule(fleet, replica)


@inlined
def _begin_mixed(fleet: Fleet, replica: int, c: StepCoefficients, given: int) -> None:
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
                window_pairs += chunk * min(seen, c.window)
                context += s["progress"] + chunk
                if s["progress"] + chunk == s["target"]:
                    ending += 1
        place -= 1
    decoding = float(r["decoding"])
    read = float(r["context"] + r["decoding"])
    cost = step_cost(c, decoding, read, float(chunks), float(given), pairs, window_pairs, context, float(ending))
    r["decode_part_s"] = 0.0
    r["decode_part_j"] = 0.0
    if decoding > 0.0:
        # Decoding sequences are charged what the step would have taken without the prefill, the prefill the rest.
        line = decode_line(c, decoding, read)
        r["decode_part_s"] = min(cost.seconds, line.fixed_s + line.slope_s * read)
        active = min(cost.active_s, line.fixed_active_s + line.slope_active_s * read)
        r["decode_part_j"] = c.idle_w * r["decode_part_s"] + c.dynamic_w * active
    r["segment"] = MIXED
    r["segment_steps"] = 1
    r["chunk_tokens"] = given
    r["segment_j"] = c.idle_w * cost.seconds + c.dynamic_w * cost.active_s
    r["segment_end_s"] = r["segment_start_s"] + cost.seconds


@inlined
def _plan_decode(fleet: Fleet, replica: int, c: StepCoefficients, line: DecodeLine, steps: int) -> None:
    """Set end and energy of a decode segment of so many steps."""
    r = fleet.replicas[replica]
    contexts = _sum_contexts(float(r["context"]), float(r["decoding"]), float(steps))
    seconds = steps * line.fixed_s + line.slope_s * contexts
    r["segment_steps"] = steps
    r["segment_end_s"] = r["segment_start_s"] + seconds
    r["segment_j"] = c.idle_w * seconds + c.dynamic_w * (steps * line.fixed_active_s + line.slope_active_s * contexts)


@inlined
def _decode_end_s(fleet: Fleet, replica: int, line: DecodeLine, steps: int) -> float:
    r = fleet.replicas[replica]
    contexts = _sum_contexts(float(r["context"]), float(r["decoding"]), float(steps))
    return float(r["segment_start_s"] + (steps * line.fixed_s + line.slope_s * contexts))


@inlined
def _begin_decode(fleet: Fleet, replica: int, c: StepCoefficients, preempted: bool) -> None:
    r = fleet.replicas[replica]
    decoding, context = r["decoding"], r["context"]
    steps = _steps_with_room(fleet, replica, r["next_finish"] - r["step"])
    if preempted:
        # Admission resumes in the next step.
        steps = 1
    line = decode_line(c, float(decoding), float(context + decoding))
    if line.limit < np.inf:
        steps = min(steps, max(1, int((line.limit - context) / decoding)))
    r["segment"] = DECODE
    _plan_decode(fleet, replica, c, line, steps)


@inlined
def _steps_reaching(fleet: Fleet, replica: int, line: DecodeLine, moment: float) -> int:
    """Return the fewest steps of a decode segment that last until `moment`, of those planned at least one."""
    r = fleet.replicas[replica]
    decoding, context = float(r["decoding"]), float(r["context"])
    # n steps take a·n² + b·n: solve for the elapsed time, then settle the rounding by the sum itself.
    a = line.slope_s * decoding / 2.0
    b = line.fixed_s + line.slope_s * (context + decoding / 2.0)
    elapsed = max(0.0, moment - r["segment_start_s"])
    guess = 2.0 * elapsed / (b + math.sqrt(b * b + 4.0 * a * elapsed))
    steps = min(max(math.ceil(guess), 1), int(r["segment_steps"]))
    while steps > 1 and _decode_end_s(fleet, replica, line, steps - 1) >= moment:
        steps -= 1
    while steps < r["segment_steps"] and _decode_end_s(fleet, replica, line, steps) < moment:
        steps += 1
    return int(steps)


@inlined
def _segment_line(fleet: Fleet, replica: int) -> DecodeLine:
    r = fleet.replicas[replica]
    c = coefficients_at(fleet.coefficients, r["pool"])
    return decode_line(c, float(r["decoding"]), float(r["context"] + r["decoding"]))


@compiled
def interrupt(fleet: Fleet, replica: int, now: float) -> None:
    """Shorten a decode segment to the end of the step under way at `now`."""
    r = fleet.replicas[replica]
    if r["segment"] != DECODE or r["segment_steps"] == 1:
        return
    line = _segment_line(fleet, replica)
    steps = _steps_reaching(fleet, replica, line, now)
    if steps < r["segment_steps"]:
        _plan_decode(fleet, replica, coefficients_at(fleet.coefficients, r["pool"]), line, steps)
        reschedule(fleet, replica)


@compiled
def steps_done(fleet: Fleet, replica: int, moment: float) -> int:
    """Return how many steps of a replica's decode segment are over at `moment`; 0 in any other segment."""
    if fleet.replicas[replica]["segment"] != DECODE:
        return 0
    line = _segment_line(fleet, replica)
    steps = _steps_reaching(fleet, replica, line, moment)
    return steps if _decode_end_s(fleet, replica, line, steps) <= moment else steps - 1


@compiled
def decode_share(fleet: Fleet, replica: int, steps: int) -> tuple[float, float]:
    """Return one sequence's share of the first `steps` steps of the decode segment: seconds and joules."""
    r = fleet.replicas[replica]
    line = _segment_line(fleet, replica)
    c = coefficients_at(fleet.coefficients, r["pool"])
    contexts = _sum_contexts(float(r["context"]), float(r["decoding"]), float(steps))
    seconds = steps * line.fixed_s + line.slope_s * contexts
    active = steps * line.fixed_active_s + line.slope_active_s * contexts
    return seconds / r["decoding"], (c.idle_w * seconds + c.dynamic_w * active) / r["decoding"]


@compiled
def end_segment(fleet: Fleet, replica: int) -> float:
    """Book the segment of a replica that ends now; return when that is."""
    r = fleet.replicas[replica]
    now = r["segment_end_s"]
    steps = r["segment_steps"]
    seconds = now - r["segment_start_s"]
    decoding = r["decoding"]
    energy = r["segment_j"]
    if r["segment"] == DECODE:
        r["share_s"] += seconds / decoding
        r["share_j"] += energy / decoding
    else:
        r["steps_mixed"] += 1
        if decoding > 0:
            r["share_s"] += r["decode_part_s"] / decoding
            r["share_j"] += r["decode_part_j"] / decoding
    r["busy_s"] += seconds
    r["busy_energy_j"] += energy
    if decoding > 0:
        count_blocks(fleet, replica, _growth_over(fleet, replica, steps))
        count_context(fleet, replica, steps * decoding)
        r["decode_tokens"] += steps * decoding
        fleet.pools[r["pool"]]["output_tokens"] += steps * decoding
    r["step"] += steps
    if r["aborts"] > 0:
        _release_aborted(fleet, replica)
    if r["next_finish"] <= r["step"]:
        _finish_decoding(fleet, replica, now)
    if r["segment"] == MIXED:
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
            slot = _stop_running(fleet, replica, place)
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
            leave(fleet, _stop_running(fleet, replica, place), COMPLETED, now)
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
            s["first_token_s"] = now
        s["generated_tokens"] += 1
        fleet.pools[r["pool"]]["output_tokens"] += 1
        if s["generated_tokens"] >= s["output_tokens"]:
            leave(fleet, _stop_running(fleet, replica, place), COMPLETED, now)
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
