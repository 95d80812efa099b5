"""Who asks: the stream, and closed-loop clients, of whom each waits for its answer, thinks, and asks again.

Tasks ask in the same way as clients, and so do requests that come back after they were held.

A client that gives up while its request is in a step asks again after that
step: until then the engine holds its connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inferencesim.jit import inner, inner_inlined
from inferencesim.kernel.graphs import call_left, count_call, write_call
from inferencesim.kernel.heap import add_timer, drop_first_timer
from inferencesim.kernel.lines import count_held, has_left, look_at_load, write_held
from inferencesim.kernel.tables import ASK, CALL_DUE, LINE_OPENS, SLACK_GONE

if TYPE_CHECKING:
    from inferencesim.kernel.gateway import Gateway
    from inferencesim.kernel.tables import Fleet


@inner
def answer_clients(fleet: Fleet, gateway: Gateway) -> bool:
    """Tell clients and tasks whose requests have left; return False once a client has no turn drawn."""
    clock = fleet.clock[0]
    while clock["answered"] < clock["done_count"]:
        record = fleet.done[clock["answered"]]
        if record["client"] >= 0 and not _think(fleet, gateway, record):
            return False
        if record["node"] >= 0:
            call_left(fleet, gateway, record)
        if fleet.flow.active:
            has_left(fleet, record)
        clock["answered"] += 1
    if fleet.flow.active:
        look_at_load(fleet)
    return True


@inner
def _think(fleet: Fleet, gateway: Gateway, record: Any) -> bool:
    """Set the timer of a client's next ask, if it will ask; return False if that turn has not been drawn."""
    row = record["client"]
    # A completed request is with its client a little later than it leaves the engine.
    at_s = max(fleet.clock[0]["now_s"], record["finished_s"])
    client = gateway.clients[row]
    loop = gateway.loops[client["class_index"]]
    if at_s >= loop["end_s"] or loop["left"] == 0:
        return True
    if client["turn"] == client["drawn"]:
        return False
    if at_s == record["arrived_s"]:
        # Turned away at once, or gone before it was served. Without a pause a client that does not think
        # would ask again at this very instant, for ever.
        at_s += loop["back_off_s"]
    at_s += gateway.turns[row, client["turn"] % gateway.turns.shape[1]]["think_s"]
    if at_s < loop["end_s"]:
        add_timer(fleet, at_s, ASK, row, -1)
    return True


@inner_inlined
def asks(kind: int) -> bool:
    """Tell whether a timer of this kind is somebody's request."""
    return bool(kind in (ASK, CALL_DUE, LINE_OPENS, SLACK_GONE))


@inner_inlined
def ask_is_due(fleet: Fleet) -> bool:
    """Tell whether somebody asks now, or comes back, everything that comes before at this instant being done."""
    clock = fleet.clock[0]
    return bool(
        clock["timer_count"] > 0 and asks(fleet.timers[0]["kind"]) and fleet.timers[0]["at_s"] <= clock["now_s"]
    )


@inner
def write_ask(fleet: Fleet, gateway: Gateway) -> bool:
    """Write the request of whoever asks now; return False, and forget it, if it shall not be asked any more."""
    if fleet.timers[0]["kind"] in (LINE_OPENS, SLACK_GONE):
        return write_held(fleet, gateway)
    gateway.asking[0]["slot"] = -1
    if fleet.timers[0]["kind"] == CALL_DUE:
        return write_call(fleet, gateway)
    row = fleet.timers[0]["number"]
    client = gateway.clients[row]
    loop = gateway.loops[client["class_index"]]
    if loop["left"] == 0:
        drop_first_timer(fleet)
        return False
    turn = gateway.turns[row, client["turn"] % gateway.turns.shape[1]]
    arrival = gateway.asking[0]
    arrival["request_id"] = gateway.stream.size + fleet.clock[0]["asked"]
    # Turns of all clients share the class's task numbers: the same (client, turn) has the same one in every run.
    arrival["task"] = client["turn"] * loop["clients"] + client["number"]
    arrival["class_index"] = client["class_index"]
    arrival["session"] = turn["session"]
    arrival["prompt_tokens"] = turn["prompt_tokens"]
    arrival["output_tokens"] = turn["output_tokens"]
    arrival["arrived_s"] = fleet.timers[0]["at_s"]
    arrival["patience_s"] = loop["patience_s"]
    arrival["cancel_after_s"] = turn["cancel_after_s"]
    arrival["predicted_tokens"] = turn["predicted_tokens"]
    arrival["prefix"] = turn["prefix"]
    arrival["history"] = turn["history"]
    arrival["chain"] = -1
    arrival["media_units"] = turn["media_units"]
    arrival["media_s"] = turn["media_s"]
    arrival["client"] = row
    arrival["node"] = -1
    arrival["attempt"] = 0
    arrival["level"] = -1
    return True


@inner_inlined
def count_ask(fleet: Fleet, gateway: Gateway) -> None:
    """Count the ask that was due as made."""
    if fleet.timers[0]["kind"] in (LINE_OPENS, SLACK_GONE):
        count_held(fleet, gateway)
        return
    if fleet.timers[0]["kind"] == CALL_DUE:
        count_call(fleet)
        return
    client = gateway.clients[fleet.timers[0]["number"]]
    client["turn"] += 1
    gateway.loops[client["class_index"]]["left"] -= 1
    fleet.clock[0]["asked"] += 1
    drop_first_timer(fleet)


@inner
def next_arrival(fleet: Fleet, gateway: Gateway) -> Any:
    """Return the record of the arrival that is due: of a client first, then of the stream."""
    if ask_is_due(fleet):
        return gateway.asking[0]
    return gateway.stream[fleet.clock[0]["next_stream"]]


@inner
def pass_arrival(fleet: Fleet, gateway: Gateway) -> None:
    """Go on to the arrival after the one that is due, whose record stays as it is."""
    if ask_is_due(fleet):
        count_ask(fleet, gateway)
    else:
        fleet.clock[0]["next_stream"] += 1
