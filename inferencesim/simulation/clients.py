"""The tables of closed-loop clients: who they are, and what they do in their next turns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inferencesim.kernel.tables import ASK, CLIENT, LOOP, NEVER, TIMER, TURN
from inferencesim.scenario.arrivals import Closed
from inferencesim.workload.closed import TURNS_PER_BLOCK, draw_turns

if TYPE_CHECKING:
    from inferencesim.kernel.gateway import Gateway
    from inferencesim.kernel.tables import Records
    from inferencesim.scenario.scenario import Scenario

#: Blocks of turns kept per client: one it is in, and the next.
_KEPT_BLOCKS = 2


class ClientTables(NamedTuple):
    """What the kernel knows of clients; see the fields of the same names of the gateway."""

    clients: Records
    turns: Records
    loops: Records


def new_clients(scenario: Scenario) -> ClientTables:
    """Lay out the clients of all closed-loop classes, with their first turns drawn."""
    loops = np.zeros(len(scenario.workload), LOOP)
    for row, each in zip(loops, scenario.workload, strict=True):
        row["patience_s"] = math.inf if each.timeout is None else each.timeout
        if not isinstance(each.arrivals, Closed):
            continue
        row["clients"] = each.arrivals.clients
        row["end_s"] = min(scenario.horizon, math.inf if each.active.to_s is None else each.active.to_s)
        row["back_off_s"] = each.arrivals.back_off
        row["left"] = NEVER if each.arrivals.requests is None else each.arrivals.requests
    clients = np.zeros(loops["clients"].sum(), CLIENT)
    clients["class_index"] = np.repeat(np.arange(loops.size), loops["clients"])
    clients["number"] = np.arange(clients.size) - np.repeat(
        np.cumsum(loops["clients"]) - loops["clients"], loops["clients"]
    )
    tables = ClientTables(clients, np.zeros((clients.size, _KEPT_BLOCKS * TURNS_PER_BLOCK), TURN), loops)
    draw_next_turns(tables, scenario)
    return tables


def draw_next_turns(tables: ClientTables | Gateway, scenario: Scenario) -> None:
    """Draw the next block of turns of every client that has used all but one block."""
    clients, turns = tables.clients, tables.turns
    has_room = clients["drawn"] - clients["turn"] <= (_KEPT_BLOCKS - 1) * TURNS_PER_BLOCK
    for index, each in enumerate(scenario.workload):
        of_class = np.flatnonzero(has_room & (clients["class_index"] == index))
        blocks = clients["drawn"][of_class] // TURNS_PER_BLOCK
        for block in np.unique(blocks):
            rows = of_class[blocks == block]
            numbers = clients["number"][rows]
            drawn = draw_turns(each, scenario.seed, int(numbers[-1]) + 1, int(block), index)
            first = int(block) % _KEPT_BLOCKS * TURNS_PER_BLOCK
            for name in TURN.names or ():
                turns[name][rows, first : first + TURNS_PER_BLOCK] = getattr(drawn, name)[numbers]
            clients["drawn"][rows] += TURNS_PER_BLOCK


def first_asks(tables: ClientTables | Gateway, scenario: Scenario) -> Records:
    """Return the timers of all clients' first asks, after their first thought, in order: a heap."""
    begin_s = np.array([each.active.from_s for each in scenario.workload])
    index = tables.clients["class_index"]
    at_s = begin_s[index] + tables.turns["think_s"][:, 0]
    asking = np.flatnonzero(at_s < tables.loops["end_s"][index])
    asking = asking[np.argsort(at_s[asking], kind="stable")]
    timers = np.zeros(asking.size, TIMER)
    timers["at_s"] = at_s[asking]
    timers["kind"] = ASK
    timers["number"] = asking
    timers["slot"] = -1
    return timers
