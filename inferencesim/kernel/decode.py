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

from inferencesim.deployment.latency import LatencyModel, decode_line, latency_of
from inferencesim.deployment.step_time import DecodeLine, StepCost, line_cost, step_energy_j
from inferencesim.jit import compiled, inlined
from inferencesim.kernel.heap import reschedule
from inferencesim.kernel.tables import DECODE

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Fleet


@inlined
def growth_in(fleet: Fleet, replica: int, step: int) -> int:
    """Return how many decoding sequences need a new KV block in a step."""
    pool = fleet.pools[fleet.replicas[replica]["pool"]]
    if pool["reserve"]:
        return 0
    return int(fleet.residues[replica, (-step) % pool["block_size"]])


@inlined
def growth_over(fleet: Fleet, replica: int, steps: int) -> int:
    """Return the KV blocks all decoding sequences need over the next `steps` steps."""
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    if pool["reserve"]:
        return 0
    block_size = pool["block_size"]
    rounds = steps // block_size
    blocks = rounds * r["decoding"]
    for ahead in range(rounds * block_size, steps):
        blocks += growth_in(fleet, replica, r["step"] + ahead)
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
        free -= growth_in(fleet, replica, r["step"] + ahead)
        if free < 0:
            return ahead
    return wanted


@inlined
def _cost_of(fleet: Fleet, replica: int, line: DecodeLine, steps: int) -> StepCost:
    """Return the cost of the next `steps` decode steps: they read context + decoding, context + 2 · decoding, …."""
    r = fleet.replicas[replica]
    n, decoding, context = float(steps), float(r["decoding"]), float(r["context"])
    return line_cost(line, n, n * context + decoding * n * (n + 1.0) / 2.0)


@inlined
def _plan_decode(fleet: Fleet, replica: int, model: LatencyModel, line: DecodeLine, steps: int) -> None:
    """Set end and energy of a decode segment of so many steps."""
    r = fleet.replicas[replica]
    cost = _cost_of(fleet, replica, line, steps)
    r["segment_steps"] = steps
    r["segment_end_s"] = r["segment_start_s"] + cost.seconds
    r["segment_j"] = step_energy_j(model.coefficients, cost)


@inlined
def _decode_end_s(fleet: Fleet, replica: int, line: DecodeLine, steps: int) -> float:
    return float(fleet.replicas[replica]["segment_start_s"] + _cost_of(fleet, replica, line, steps).seconds)


@inlined
def begin_decode(fleet: Fleet, replica: int, model: LatencyModel, preempted: bool) -> None:
    """Plan the longest run of decode steps in which nothing changes; after a preemption, a single step."""
    r = fleet.replicas[replica]
    decoding, context = r["decoding"], r["context"]
    steps = _steps_with_room(fleet, replica, r["next_finish"] - r["step"])
    interval = fleet.pools[r["pool"]]["admission_interval"]
    if preempted:
        # Admission resumes in the next step.
        steps = 1
    elif interval > 1 and r["head"] >= 0:
        # Who waits is looked at again then.
        steps = min(steps, interval - r["step"] % interval)
    line = decode_line(model, float(decoding), float(context + decoding))
    if line.limit < np.inf:
        steps = min(steps, max(1, int((line.limit - context) / decoding)))
    r["segment"] = DECODE
    _plan_decode(fleet, replica, model, line, steps)


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
    model = latency_of(fleet.latency, r["pool"])
    return decode_line(model, float(r["decoding"]), float(r["context"] + r["decoding"]))


@compiled
def interrupt(fleet: Fleet, replica: int, now: float) -> None:
    """Shorten a decode segment to the end of the step under way at `now`."""
    r = fleet.replicas[replica]
    if r["segment"] != DECODE or r["segment_steps"] == 1:
        return
    line = _segment_line(fleet, replica)
    steps = _steps_reaching(fleet, replica, line, now)
    if steps < r["segment_steps"]:
        _plan_decode(fleet, replica, latency_of(fleet.latency, r["pool"]), line, steps)
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
    model = latency_of(fleet.latency, r["pool"])
    cost = _cost_of(fleet, replica, line, steps)
    return cost.seconds / r["decoding"], step_energy_j(model.coefficients, cost) / r["decoding"]
