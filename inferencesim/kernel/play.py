"""The kernel's clock: replicas, clients, tasks and arrivals in one order of time.

:func:`play` runs the fleet up to a moment SimPy names, and comes back earlier
only when something outside has to be done: a table is full, or the turns drawn
for a closed-loop client are used.

Events at one instant happen in this order: ends of segments (by replica
number), crashes and repairs (likewise), KV that comes over a link and answers
of providers that are complete, clients leaving (all by request number), steps
of tasks that end (by node), tasks that time out, tasks that begin, a refresh of
the snapshot, arrivals (closed-loop clients first, by class and number, then
calls of tasks by node, then who comes back from being held, by line and then by
request, then the stream in its order). A client that does not think asks at the
instant of its answer, hence after the next batch has been formed. What SimPy
has at that instant comes after all of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.jit import inner, inner_inlined
from inferencesim.kernel.batch import kv_has_come
from inferencesim.kernel.clients import answer_clients, asks, next_arrival, pass_arrival, write_ask
from inferencesim.kernel.departures import give_up
from inferencesim.kernel.failures import next_failure
from inferencesim.kernel.flow import goes_on
from inferencesim.kernel.gateway import (
    Gateway,
    admit,
    filter_candidates,
    keeps,
    look_into_all_caches,
    look_into_caches,
    pool_candidates,
    replica_candidates,
    request_view,
)
from inferencesim.kernel.graphs import begin_task, task_timer
from inferencesim.kernel.heap import drop_first_timer, first_replica
from inferencesim.kernel.providers import end_outside
from inferencesim.kernel.queue import leave
from inferencesim.kernel.steps import begin_segment, disturb, end_segment
from inferencesim.kernel.tables import (
    CANCELLED,
    COMPLETED,
    LOADED,
    LOADING,
    OPEN,
    OUTSIDE,
    PROVIDED,
    TIMED_OUT,
    Fleet,
    Records,
)
from inferencesim.kernel.views import inside_pool

if TYPE_CHECKING:
    from inferencesim.kernel.forming import Schedulers
    from inferencesim.kernel.views import Request

#: Why :func:`play` came back.
REACHED, TABLE_FULL, SLOTS_FULL, TURNS_USED, DECIDE, BAD_CHOICE = range(6)


@inner_inlined
def _copy_records(source: Records, target: Records) -> None:
    for i in range(source.size):
        target[i] = source[i]


@inner
def _kv_comes(fleet: Fleet, schedulers: Schedulers, now: float) -> None:
    """Handle the first timer: the KV of a loading request has come."""
    timer = fleet.timers[0]
    request_id, slot = timer["number"], timer["slot"]
    drop_first_timer(fleet)
    s = fleet.slots[slot]
    if s["request_id"] != request_id or s["phase"] != LOADING or s["abort"] != OPEN:
        # It has left in the meantime, or its client has.
        return
    source = s["source"]
    kv_has_come(fleet, slot, now)
    disturb(fleet, schedulers, s["at"], now)
    if source >= 0:
        # There is room again where its KV was.
        disturb(fleet, schedulers, source, now)


@inner
def _answer_is_complete(fleet: Fleet, now: float) -> None:
    """Handle the first timer: a provider has answered, unless the client has left."""
    timer = fleet.timers[0]
    request_id, slot = timer["number"], timer["slot"]
    drop_first_timer(fleet)
    if fleet.slots[slot]["request_id"] == request_id:
        end_outside(fleet, slot, True, now)
        leave(fleet, slot, COMPLETED, now)


@inner
def _client_leaves(fleet: Fleet, schedulers: Schedulers, now: float) -> None:
    """Handle the first timer: its client leaves, unless the request has left or (a timeout) has its first token."""
    timer = fleet.timers[0]
    request_id, slot, outcome = timer["number"], timer["slot"], timer["kind"]
    drop_first_timer(fleet)
    s = fleet.slots[slot]
    if s["request_id"] != request_id:
        return
    if outcome == TIMED_OUT and not np.isnan(s["first_token_s"]):
        return
    if outcome == TIMED_OUT and s["phase"] == OUTSIDE and s["first_due_s"] <= now:
        return
    give_up(fleet, schedulers, slot, outcome, now)


def play(
    fleet: Fleet, gateway: Gateway, place: Any, balance: Any, predict: Any, interpreted: bool, until: float
) -> int:
    """Run the fleet up to and including `until`; compiled by :mod:`inferencesim.simulation.compiling`.

    Parameters
    ----------
    fleet : Fleet
    gateway : Gateway
    place, balance : compiled policy
        Called as ``choose(request, candidates, scores, parameters, memory)``.
    predict : compiled function
        Called likewise, with predictions in place of the scores, where the gateway keeps them.
    interpreted : bool
        Come back with DECIDE at each arrival, after its filters, instead of calling the policies.
    until : float

    Returns
    -------
    int
        REACHED, or what has to be done first; then call again.
    """
    clock = fleet.clock[0]
    while True:
        if clock["answered"] < clock["done_count"]:
            at_most = clock["done_count"] - clock["answered"] + fleet.flow.lines.size
            if clock["timer_count"] + at_most > fleet.timers.size:
                return SLOTS_FULL
            if not answer_clients(fleet, gateway):
                return TURNS_USED
        if clock["done_count"] + fleet.seats.shape[1] + 1 + clock["most_at_once"] > fleet.done.size:
            return TABLE_FULL
        at_most = fleet.seats.shape[1] + 5 + clock["most_at_once"] + fleet.flow.lines.size
        if clock["timer_count"] + at_most > fleet.timers.size:
            return SLOTS_FULL
        segment_s = np.inf
        if clock["heap_count"] > 0:
            segment_s = fleet.replicas[first_replica(fleet)]["segment_end_s"]
        timer_s = ask_s = np.inf
        if clock["timer_count"] > 0:
            if asks(fleet.timers[0]["kind"]):
                ask_s = fleet.timers[0]["at_s"]
            else:
                timer_s = fleet.timers[0]["at_s"]
        failure_s = np.inf
        if clock["next_failure"] < fleet.failures.size:
            failure_s = fleet.failures[clock["next_failure"]]["at_s"]
        task_s = np.inf
        if clock["next_task"] < gateway.graphs.tasks.size:
            task_s = gateway.graphs.tasks[clock["next_task"]]["arrived_s"]
        refresh_s = np.inf
        if clock["snapshot_interval_s"] > 0.0:
            refresh_s = clock["snapshot_s"] + clock["snapshot_interval_s"]
        arrival_s = ask_s
        if clock["next_stream"] < gateway.stream.size:
            arrival_s = min(ask_s, gateway.stream[clock["next_stream"]]["arrived_s"])
        first = min(segment_s, failure_s, timer_s, task_s, refresh_s, arrival_s)
        if first > until:
            clock["now_s"] = max(clock["now_s"], until)
            return REACHED
        if segment_s == first:
            replica = first_replica(fleet)
            clock["now_s"] = segment_s
            end_segment(fleet, gateway.schedulers, replica)
            begin_segment(fleet, gateway.schedulers, replica, segment_s)
        elif failure_s == first:
            clock["now_s"] = failure_s
            next_failure(fleet, gateway, failure_s)
        elif timer_s == first:
            clock["now_s"] = timer_s
            kind = fleet.timers[0]["kind"]
            if kind == LOADED:
                _kv_comes(fleet, gateway.schedulers, timer_s)
            elif kind == PROVIDED:
                _answer_is_complete(fleet, timer_s)
            elif kind in (TIMED_OUT, CANCELLED):
                _client_leaves(fleet, gateway.schedulers, timer_s)
            else:
                task_timer(fleet, gateway, timer_s)
        elif task_s == first:
            clock["now_s"] = task_s
            begin_task(fleet, gateway)
        elif refresh_s == first:
            clock["now_s"] = refresh_s
            clock["snapshot_s"] = refresh_s
            _copy_records(fleet.live, fleet.seen)
            _copy_records(fleet.live_pools, fleet.seen_pools)
        else:
            if clock["decision_count"] >= gateway.decisions.size:
                return TABLE_FULL
            if clock["free_slot"] < 0:
                return SLOTS_FULL
            clock["now_s"] = arrival_s
            if ask_s == arrival_s and not write_ask(fleet, gateway):
                continue
            if fleet.flow.active and not goes_on(fleet, gateway):
                continue
            if interpreted:
                return DECIDE
            if not _arrive(fleet, gateway, place, balance, predict):
                return BAD_CHOICE


@inner
def _arrive(fleet: Fleet, gateway: Gateway, place: Any, balance: Any, predict: Any) -> bool:
    """Take in the arrival that is due; return False if a policy chose what it may not."""
    clock = fleet.clock[0]
    arrival = next_arrival(fleet, gateway)
    if filter_candidates(fleet, gateway, arrival) == 0:
        pass_arrival(fleet, gateway)
        admit(fleet, gateway, arrival, -1, -1)
        return True
    if gateway.reads_caches[0]:
        look_into_all_caches(fleet, gateway, arrival)
    request = request_view(fleet, gateway, arrival, clock["now_s"])
    row = clock["decision_count"]
    pools, scores = pool_candidates(fleet, gateway, request.class_index), gateway.decision_scores[row]
    if gateway.predict and keeps(gateway, arrival):
        predictions = gateway.decision_predictions[row]
        predict(request, pools, predictions, gateway.placement_parameters, gateway.memory[0])
    pool = place(request, pools, scores, gateway.placement_parameters, gateway.memory[0])
    if pool < 0 or pool >= gateway.pool_eligible.size or gateway.pool_eligible[pool] == 0:
        return False
    chosen = 0
    if pool < fleet.pools.size and fleet.pools[pool]["replicas"] > 1:
        if gateway.reads_caches[1] and not gateway.reads_caches[0]:
            look_into_caches(fleet, gateway, arrival, pool)
        candidates = replica_candidates(fleet, gateway, pool)
        chosen = balance(
            inside_pool(request, pool),
            candidates,
            gateway.replica_scores[: candidates.eligible.size],
            gateway.balancing_parameters,
            gateway.memory[pool + 1],
        )
        if chosen < 0 or chosen >= candidates.eligible.size or candidates.eligible[chosen] == 0:
            return False
    pass_arrival(fleet, gateway)
    admit(fleet, gateway, arrival, pool, chosen)
    return True


@inner
def open_arrival(fleet: Fleet, gateway: Gateway) -> tuple[int, Request]:
    """Filter the candidates for the arrival that is due; return how many are eligible, and the router's view of it."""
    arrival = next_arrival(fleet, gateway)
    eligible = filter_candidates(fleet, gateway, arrival)
    if gateway.reads_caches[0] or gateway.reads_caches[1]:
        look_into_all_caches(fleet, gateway, arrival)
    return eligible, request_view(fleet, gateway, arrival, fleet.clock[0]["now_s"])


@inner
def close_arrival(fleet: Fleet, gateway: Gateway, candidate: int, place: int) -> None:
    """Admit the arrival that is due to replica `place` of a pool, or to a provider (−1: reject it), and pass on."""
    arrival = next_arrival(fleet, gateway)
    pass_arrival(fleet, gateway)
    admit(fleet, gateway, arrival, candidate, place)
