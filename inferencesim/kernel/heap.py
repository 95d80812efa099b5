"""Two binary heaps: replicas by the end of their segment, and timers of clients and tasks.

Ties are broken by identity (replica, request or client number), so that events
at one instant have one order on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.jit import inner, inner_inlined
from inferencesim.kernel.tables import (
    ASK,
    CALL_DUE,
    LINE_OPENS,
    LOADED,
    NODE_DONE,
    NODE_FAILED,
    PROVIDED,
    SLACK_GONE,
    TASK_LATE,
    TOOL_LOST,
)

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Fleet


@inner_inlined
def _sooner(fleet: Fleet, a: int, b: int) -> bool:
    end_a = fleet.replicas[a]["segment_end_s"]
    end_b = fleet.replicas[b]["segment_end_s"]
    return end_a < end_b or (end_a == end_b and a < b)


@inner_inlined
def _put(fleet: Fleet, place: int, replica: int) -> None:
    fleet.replicas[place]["heap_entry"] = replica
    fleet.replicas[replica]["heap_place"] = place


@inner_inlined
def _sift_up(fleet: Fleet, place: int) -> None:
    replica = fleet.replicas[place]["heap_entry"]
    while place > 0:
        above = fleet.replicas[(place - 1) >> 1]["heap_entry"]
        if not _sooner(fleet, replica, above):
            break
        _put(fleet, place, above)
        place = (place - 1) >> 1
    _put(fleet, place, replica)


@inner_inlined
def _sift_down(fleet: Fleet, place: int) -> None:
    count = fleet.clock[0]["heap_count"]
    replica = fleet.replicas[place]["heap_entry"]
    while True:
        child = 2 * place + 1
        if child >= count:
            break
        below = fleet.replicas[child]["heap_entry"]
        if child + 1 < count and _sooner(fleet, fleet.replicas[child + 1]["heap_entry"], below):
            child += 1
            below = fleet.replicas[child]["heap_entry"]
        if not _sooner(fleet, below, replica):
            break
        _put(fleet, place, below)
        place = child
    _put(fleet, place, replica)


@inner_inlined
def first_replica(fleet: Fleet) -> int:
    """Return the replica whose segment ends first; there is one."""
    return int(fleet.replicas[0]["heap_entry"])


@inner
def reschedule(fleet: Fleet, replica: int) -> None:
    """Put a replica where the end of its segment belongs, adding it if it was idle."""
    place = fleet.replicas[replica]["heap_place"]
    if place < 0:
        place = fleet.clock[0]["heap_count"]
        fleet.clock[0]["heap_count"] += 1
        _put(fleet, place, replica)
    _sift_up(fleet, place)
    _sift_down(fleet, fleet.replicas[replica]["heap_place"])


@inner
def unschedule(fleet: Fleet, replica: int) -> None:
    """Take a replica that has become idle out of the heap."""
    place = fleet.replicas[replica]["heap_place"]
    if place < 0:
        return
    fleet.clock[0]["heap_count"] -= 1
    last = fleet.replicas[fleet.clock[0]["heap_count"]]["heap_entry"]
    fleet.replicas[replica]["heap_place"] = -1
    if last != replica:
        _put(fleet, place, last)
        _sift_up(fleet, place)
        _sift_down(fleet, fleet.replicas[last]["heap_place"])


@inner_inlined
def _rank(kind: int) -> int:
    """Return the order of timers at one instant; see :mod:`inferencesim.kernel.play`."""
    if kind in (LOADED, PROVIDED):
        return 0
    if kind in (NODE_DONE, NODE_FAILED, TOOL_LOST):
        return 2
    if kind == TASK_LATE:
        return 3
    if kind == ASK:
        return 4
    if kind == CALL_DUE:
        return 5
    if kind == LINE_OPENS:
        return 6
    return 7 if kind == SLACK_GONE else 1


@inner_inlined
def _timer_before(fleet: Fleet, a: int, b: int) -> bool:
    first, second = fleet.timers[a], fleet.timers[b]
    if first["at_s"] != second["at_s"]:
        return bool(first["at_s"] < second["at_s"])
    if _rank(first["kind"]) != _rank(second["kind"]):
        return bool(_rank(first["kind"]) < _rank(second["kind"]))
    return bool(first["number"] < second["number"])


@inner_inlined
def _swap_timers(fleet: Fleet, a: int, b: int) -> None:
    first, second = fleet.timers[a], fleet.timers[b]
    at_s, kind, number, slot = first["at_s"], first["kind"], first["number"], first["slot"]
    fleet.timers[a] = second
    second["at_s"] = at_s
    second["kind"] = kind
    second["number"] = number
    second["slot"] = slot


@inner
def add_timer(fleet: Fleet, at_s: float, kind: int, number: int, slot: int) -> None:
    """Remember what happens at `at_s` unless something comes before, as numbered in :data:`.tables.TIMER`."""
    place = fleet.clock[0]["timer_count"]
    fleet.clock[0]["timer_count"] += 1
    timer = fleet.timers[place]
    timer["at_s"] = at_s
    timer["kind"] = kind
    timer["number"] = number
    timer["slot"] = slot
    while place > 0:
        parent = (place - 1) >> 1
        if not _timer_before(fleet, place, parent):
            break
        _swap_timers(fleet, place, parent)
        place = parent


@inner
def drop_first_timer(fleet: Fleet) -> None:
    """Remove the earliest timer."""
    fleet.clock[0]["timer_count"] -= 1
    count = fleet.clock[0]["timer_count"]
    _swap_timers(fleet, 0, count)
    place = 0
    while True:
        child = 2 * place + 1
        if child >= count:
            break
        if child + 1 < count and _timer_before(fleet, child + 1, child):
            child += 1
        if not _timer_before(fleet, child, place):
            break
        _swap_timers(fleet, place, child)
        place = child
