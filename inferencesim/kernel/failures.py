"""Replicas that crash, are repaired, or become slow, and providers that fail, as the schedule of a run has it.

A crash takes all that depends on the replica: what waits or runs there, what
is prefilled elsewhere for it, and what has its KV there still, waiting to be
transferred. Such a request leaves as failed: at once, but for one in a step of
another replica, which leaves at the end of that step. Busy time until the crash
is charged to those that ran; what the step under way made is lost. So is all KV
of the replica but that in tiers which survive. Until it is repaired it is
given nothing; then it has an empty cache, and the model it began the run with.
Of a provider that fails, all that is in flight there leaves as failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.jit import inner
from inferencesim.kernel.batch import leave_running
from inferencesim.kernel.blocks import device_cache, release_elsewhere
from inferencesim.kernel.decode import interrupt
from inferencesim.kernel.departures import give_up
from inferencesim.kernel.heap import unschedule
from inferencesim.kernel.prefix import clear
from inferencesim.kernel.steps import cut_segment, disturb
from inferencesim.kernel.tables import CRASH, DOWN, FAILED, IDLE, NEVER, OPEN, OUTSIDE, REPAIR, WAITING

if TYPE_CHECKING:
    from inferencesim.kernel.forming import Schedulers
    from inferencesim.kernel.gateway import Gateway
    from inferencesim.kernel.tables import Fleet


@inner
def next_failure(fleet: Fleet, gateway: Gateway, now: float) -> None:
    """Handle the failure that is due: of a crash one request per call, as the table of those done has room for few."""
    clock = fleet.clock[0]
    failure = fleet.failures[clock["next_failure"]]
    replica = failure["target"]
    if replica >= fleet.replicas.size:
        provider = replica - fleet.replicas.size
        if fleet.providers[provider]["up"]:
            clock["next_lost"] = 0
        fleet.providers[provider]["up"] = failure["kind"] != CRASH
        if failure["kind"] == CRASH and _lose_next_outside(fleet, gateway.schedulers, provider, now):
            return
    elif failure["kind"] == CRASH:
        if fleet.replicas[replica]["segment"] != DOWN:
            _go_down(fleet, gateway, replica, now)
        if _lose_next(fleet, gateway.schedulers, replica, now):
            return
        _forget(fleet, replica)
    elif failure["kind"] == REPAIR:
        _come_up(fleet, gateway, replica)
    else:
        fleet.replicas[replica]["pace"] = failure["pace"]
        # The step under way keeps the pace it began with.
        interrupt(fleet, replica, now)
    clock["next_failure"] += 1


@inner
def _go_down(fleet: Fleet, gateway: Gateway, replica: int, now: float) -> None:
    """End what a replica is doing, and have nothing more placed there."""
    cut_segment(fleet, replica, now)
    unschedule(fleet, replica)
    r = fleet.replicas[replica]
    r["segment"] = DOWN
    fleet.pools[r["pool"]]["up"] -= 1
    gateway.replica_eligible[replica] = 0
    fleet.clock[0]["next_lost"] = 0


@inner
def _lose_next(fleet: Fleet, schedulers: Schedulers, replica: int, now: float) -> bool:
    """Let the next request leave that a crash takes, in the order of slots; return False if there is none."""
    clock = fleet.clock[0]
    while clock["inside"] > 0 and clock["next_lost"] < fleet.slots.size:
        slot = clock["next_lost"]
        clock["next_lost"] += 1
        s = fleet.slots[slot]
        if s["request_id"] < 0 or s["pool"] < 0:
            continue
        if s["at"] == replica:
            _lose(fleet, schedulers, slot, replica, now)
            return True
        if s["replica"] == replica or s["source"] == replica:
            if s["source"] == replica:
                # Its KV goes now, itself perhaps later.
                release_elsewhere(fleet, slot)
            give_up(fleet, schedulers, slot, FAILED, now)
            return True
    return False


@inner
def _lose_next_outside(fleet: Fleet, schedulers: Schedulers, provider: int, now: float) -> bool:
    """Let the next request leave that is in flight at a provider; return False if there is none."""
    clock = fleet.clock[0]
    while clock["inside"] > 0 and clock["next_lost"] < fleet.slots.size:
        slot = clock["next_lost"]
        clock["next_lost"] += 1
        s = fleet.slots[slot]
        if s["request_id"] >= 0 and s["phase"] == OUTSIDE and s["provider"] == provider:
            give_up(fleet, schedulers, slot, FAILED, now)
            return True
    return False


@inner
def _lose(fleet: Fleet, schedulers: Schedulers, slot: int, replica: int, now: float) -> None:
    """Let a request leave that waits or runs at a replica which is down."""
    s = fleet.slots[slot]
    source = s["source"]
    if s["phase"] == WAITING:
        give_up(fleet, schedulers, slot, FAILED, now)
        return
    place = 0
    while fleet.seats[replica, place]["slot"] != slot:
        place += 1
    if s["abort"] == OPEN:
        leave_running(fleet, replica, place, FAILED, now)
    else:
        # Its client had left before.
        leave_running(fleet, replica, place, s["abort"], s["left_s"])
    if source >= 0:
        # There is room again where its KV was.
        disturb(fleet, schedulers, source, now)


@inner
def _forget(fleet: Fleet, replica: int) -> None:
    """Empty the caches of a replica that holds no request any more, and forget what its engine had counted."""
    r = fleet.replicas[replica]
    device = device_cache(fleet, replica)
    clear(fleet.caches, device)
    for tier in range(fleet.tiers.shape[1]):
        fleet.tier_links[replica, tier] = 0.0
        # What is left of another model than the one it starts with is of no use.
        if not fleet.tiers[r["row"], tier]["survives"] or r["row"] != fleet.pools[r["pool"]]["first_row"]:
            clear(fleet.caches, device + 1 + tier)
    for lane in range(fleet.lanes.shape[1]):
        fleet.lanes[replica, lane]["served"] = 0.0
    r["served_steps"] = 0
    r["aborts"] = 0
    r["stall_s"] = 0.0
    r["next_finish"] = NEVER
    r["link_out_s"] = 0.0
    r["link_in_s"] = 0.0


@inner
def _come_up(fleet: Fleet, gateway: Gateway, replica: int) -> None:
    """Have a repaired replica take requests again."""
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    r["segment"] = IDLE
    r["row"] = pool["first_row"]
    pool["up"] += 1
    gateway.replica_eligible[replica] = 1
