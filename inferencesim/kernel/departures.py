"""Requests that leave before their answer is complete: their clients went, or their task gave them up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.jit import inner
from inferencesim.kernel.batch import leave_running
from inferencesim.kernel.decode import interrupt
from inferencesim.kernel.lines import step_out
from inferencesim.kernel.providers import end_outside
from inferencesim.kernel.queue import count_waiting, first_waiting, leave, unlink_waiting
from inferencesim.kernel.steps import disturb
from inferencesim.kernel.tables import HELD, HOLD, IDLE, OPEN, OUTSIDE, WAITING

if TYPE_CHECKING:
    from inferencesim.kernel.forming import Schedulers
    from inferencesim.kernel.tables import Fleet


@inner
def give_up(fleet: Fleet, schedulers: Schedulers, slot: int, outcome: int, now: float) -> None:
    """Let a request leave with an outcome: at once, or at the end of the step under way if it is in one."""
    s = fleet.slots[slot]
    if s["abort"] != OPEN:
        return
    if s["phase"] == OUTSIDE or s["phase"] == HELD:
        if s["phase"] == OUTSIDE:
            end_outside(fleet, slot, False, now)
        else:
            step_out(fleet, slot, now)
        leave(fleet, slot, outcome, now)
        return
    replica, source = s["at"], s["source"]
    if s["phase"] == WAITING:
        # Under fair queueing who is first changes as others decode.
        fair = fleet.pools[fleet.replicas[replica]["pool"]]["fair"] == 1
        was_first = fair or first_waiting(fleet, replica) == slot
        unlink_waiting(fleet, slot)
        count_waiting(fleet, replica, 0, s["progress"] - s["target"])
        leave(fleet, slot, outcome, now)
        if was_first and fleet.replicas[replica]["queued"] > 0:
            # The next in the queue may be smaller than the one that blocked it.
            disturb(fleet, schedulers, replica, now)
    elif fleet.replicas[replica]["segment"] in (IDLE, HOLD):
        # No step is under way that it would have to wait for.
        place = 0
        while fleet.seats[replica, place]["slot"] != slot:
            place += 1
        leave_running(fleet, replica, place, outcome, now)
        disturb(fleet, schedulers, replica, now)
    else:
        s["abort"] = outcome
        s["left_s"] = now
        fleet.replicas[replica]["aborts"] += 1
        interrupt(fleet, replica, now)
        return
    if source >= 0:
        disturb(fleet, schedulers, source, now)
