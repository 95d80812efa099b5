"""A run of decode steps over an unchanged batch, however long, in one go.

The run lasts until its first member ends, the KV cache fills, or the line of
its step times ends (a sliding window fills; a measured table bends). The time of a step is a line in the total context
(:func:`inferencesim.deployment.latency.decode_line`), so the time of many is
a sum in closed form. An arrival shortens the run to the end of the step under
way.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.deployment.latency import energy_of, line_of
from inferencesim.deployment.step_time import DecodeLine, StepCost, line_cost
from inferencesim.jit import inner, inner_inlined
from inferencesim.kernel.batch import tokens_made
from inferencesim.kernel.blocks import blocks_for, capacity_of
from inferencesim.kernel.heap import reschedule
from inferencesim.kernel.queue import first_waiting
from inferencesim.kernel.tables import DECODE, NEVER

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Fleet


@inner
def _uneven_growth(fleet: Fleet, replica: int, steps: int) -> int:
    """Return the KV blocks that sequences need over the next `steps` steps if each has its own tokens per step."""
    r = fleet.replicas[replica]
    block_size = fleet.pools[r["pool"]]["block_size"]
    blocks = 0
    for place in range(fleet.live[replica]["running"]):
        seat = fleet.seats[replica, place]
        if seat["finish_at"] >= NEVER:
            continue
        held = fleet.slots[seat["slot"]]["target"]
        ahead = min(r["step"] + steps, seat["finish_at"])
        blocks += blocks_for(held + tokens_made(fleet, replica, place, ahead), block_size)
        blocks -= blocks_for(held + tokens_made(fleet, replica, place, r["step"]), block_size)
    return blocks


@inner_inlined
def growth_over(fleet: Fleet, replica: int, steps: int) -> int:
    """Return the KV blocks all decoding sequences need over the next `steps` steps."""
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    if pool["reserve"]:
        return 0
    if pool["drafts"] > 0:
        return _uneven_growth(fleet, replica, steps)
    block_size = pool["block_size"]
    blocks = 0
    if steps >= block_size:
        blocks = steps // block_size * r["decoding"]
        steps = steps % block_size
    residues = fleet.residues[replica]
    residue = r["residue"]
    for _ in range(steps):
        blocks += residues[residue]
        residue = residue - 1 if residue > 0 else block_size - 1
    return int(blocks)


@inner_inlined
def _steps_with_room(fleet: Fleet, replica: int, wanted: int) -> int:
    """Return how many of the `wanted` next steps the free KV blocks allow."""
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    free = capacity_of(fleet, replica) - r["blocks_used"]
    block_size = pool["block_size"]
    # No sequence fills more blocks than that; mostly there is room for all of them.
    if pool["reserve"] or free * block_size >= r["decoding"] * (wanted * (1 + pool["drafts"]) + block_size):
        return wanted
    if pool["drafts"] > 0:
        return _uneven_steps_with_room(fleet, replica, wanted, free)
    residues = fleet.residues[replica]
    residue = r["residue"]
    for ahead in range(wanted):
        free -= residues[residue]
        if free < 0:
            return ahead
        residue = residue - 1 if residue > 0 else block_size - 1
    return wanted


@inner
def _uneven_steps_with_room(fleet: Fleet, replica: int, wanted: int, free: int) -> int:
    fits, too_many = 0, wanted + 1
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if _uneven_growth(fleet, replica, middle) <= free:
            fits = middle
        else:
            too_many = middle
    return fits


@inner_inlined
def contexts_over(fleet: Fleet, replica: int, steps: int) -> float:
    """Return the context tokens that the next `steps` decode steps read: context + growth, context + 2 · growth, …."""
    r = fleet.replicas[replica]
    return float(steps * r["context"] + r["growth"] * steps * (steps + 1.0) / 2.0)


@inner_inlined
def _cost_of(fleet: Fleet, replica: int, line: DecodeLine, steps: int) -> StepCost:
    """Return the cost of the next `steps` decode steps."""
    return line_cost(line, float(steps), contexts_over(fleet, replica, steps))


@inner_inlined
def _plan_decode(fleet: Fleet, replica: int, line: DecodeLine, steps: int) -> None:
    """Set end and energy of a decode segment of so many steps."""
    r = fleet.replicas[replica]
    cost = _cost_of(fleet, replica, line, steps)
    r["segment_steps"] = steps
    r["segment_end_s"] = r["segment_start_s"] + cost.seconds
    r["segment_j"] = energy_of(fleet.latency, r["row"], cost)


@inner_inlined
def _decode_end_s(fleet: Fleet, replica: int, line: DecodeLine, steps: int) -> float:
    return float(fleet.replicas[replica]["segment_start_s"] + _cost_of(fleet, replica, line, steps).seconds)


@inner
def count_service(fleet: Fleet, replica: int, steps: int) -> None:
    """Count for their tenants the tokens of the segment's first `steps` steps that have not been counted yet."""
    r = fleet.replicas[replica]
    for each in range(fleet.lanes.shape[1]):
        lane = fleet.lanes[replica, each]
        lane["served"] += 2.0 * (steps - r["served_steps"]) * lane["growth"]
    r["served_steps"] = steps


@inner
def _steps_of_first_lane(fleet: Fleet, replica: int) -> int:
    """Return the decode steps after which another tenant may have been given less than the one that is next now."""
    steps = int(NEVER)
    first = fleet.lanes[replica, fleet.slots[first_waiting(fleet, replica)]["lane"]]
    for each in range(fleet.lanes.shape[1]):
        lane = fleet.lanes[replica, each]
        if lane["head"] >= 0 and lane["growth"] < first["growth"]:
            ahead = (lane["served"] - first["served"]) / (2.0 * (first["growth"] - lane["growth"]))
            steps = min(steps, max(1, math.ceil(ahead)))
    return int(steps)


@inner
def begin_decode(fleet: Fleet, replica: int, preempted: bool) -> None:
    """Plan the longest run of decode steps in which nothing changes; after a preemption, a single step."""
    r = fleet.replicas[replica]
    decoding, context, growth = r["decoding"], r["context"], r["growth"]
    steps = _steps_with_room(fleet, replica, r["next_finish"] - r["step"])
    interval = fleet.pools[r["pool"]]["admission_interval"]
    if preempted:
        # Admission resumes in the next step.
        steps = 1
    elif interval > 1 and r["queued"] > 0:
        # Who waits is looked at again then.
        steps = min(steps, interval - r["step"] % interval)
    if fleet.pools[r["pool"]]["fair"] and r["queued"] > 0:
        steps = min(steps, _steps_of_first_lane(fleet, replica))
    line = line_of(fleet.latency, r["row"], float(decoding), context + growth)
    line = _at_pace(line, r["pace"])
    if line.limit < np.inf:
        steps = min(steps, max(1, int((line.limit - context) / growth)))
    r["segment"] = DECODE
    _keep_line(fleet, replica, line)
    _plan_decode(fleet, replica, line, steps)


@inner
def _steps_reaching(fleet: Fleet, replica: int, line: DecodeLine, moment: float) -> int:
    """Return the fewest steps of a decode segment that last until `moment`, of those planned at least one."""
    r = fleet.replicas[replica]
    # n steps take a·n² + b·n: solve for the elapsed time, then settle the rounding by the sum itself.
    a = line.slope_s * r["growth"] / 2.0
    b = line.fixed_s + line.slope_s * (r["context"] + r["growth"] / 2.0)
    elapsed = max(0.0, moment - r["segment_start_s"])
    guess = 2.0 * elapsed / (b + math.sqrt(b * b + 4.0 * a * elapsed))
    steps = min(max(math.ceil(guess), 1), int(r["segment_steps"]))
    while steps > 1 and _decode_end_s(fleet, replica, line, steps - 1) >= moment:
        steps -= 1
    while steps < r["segment_steps"] and _decode_end_s(fleet, replica, line, steps) < moment:
        steps += 1
    return int(steps)


@inner_inlined
def _at_pace(line: DecodeLine, pace: float) -> DecodeLine:
    """Return the line of a replica whose steps take `pace` times as long; its chips work no more than they would."""
    return DecodeLine(line.fixed_s * pace, line.slope_s * pace, line.fixed_active_s, line.slope_active_s, line.limit)


@inner_inlined
def _keep_line(fleet: Fleet, replica: int, line: DecodeLine) -> None:
    r = fleet.replicas[replica]
    r["line_fixed_s"], r["line_slope_s"] = line.fixed_s, line.slope_s
    r["line_fixed_active_s"], r["line_slope_active_s"] = line.fixed_active_s, line.slope_active_s


@inner_inlined
def _segment_line(fleet: Fleet, replica: int) -> DecodeLine:
    """Return the line of the decode segment under way, which ends before the line does."""
    r = fleet.replicas[replica]
    return DecodeLine(r["line_fixed_s"], r["line_slope_s"], r["line_fixed_active_s"], r["line_slope_active_s"], np.inf)


@inner
def interrupt(fleet: Fleet, replica: int, now: float) -> None:
    """Shorten a decode segment to the end of the step under way at `now`."""
    r = fleet.replicas[replica]
    if r["segment"] != DECODE or r["segment_steps"] == 1:
        return
    line = _segment_line(fleet, replica)
    steps = _steps_reaching(fleet, replica, line, now)
    if steps < r["segment_steps"]:
        _plan_decode(fleet, replica, line, steps)
        reschedule(fleet, replica)


@inner
def steps_done(fleet: Fleet, replica: int, moment: float) -> int:
    """Return how many steps of a replica's decode segment are over at `moment`; 0 in any other segment."""
    if fleet.replicas[replica]["segment"] != DECODE:
        return 0
    line = _segment_line(fleet, replica)
    steps = _steps_reaching(fleet, replica, line, moment)
    return steps if _decode_end_s(fleet, replica, line, steps) <= moment else steps - 1


@inner
def decode_share(fleet: Fleet, replica: int, steps: int) -> tuple[float, float]:
    """Return one sequence's share of the first `steps` steps of the decode segment: seconds and joules."""
    r = fleet.replicas[replica]
    cost = _cost_of(fleet, replica, _segment_line(fleet, replica), steps)
    return cost.seconds / r["decoding"], energy_of(fleet.latency, r["row"], cost) / r["decoding"]
