"""The twin's closed-loop clients: objects that remember when they will ask next."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from inferencesim.scenario.arrivals import Closed
from inferencesim.workload.closed import TURNS_PER_BLOCK, draw_turns


@dataclass(eq=False)
class Loop:
    """A closed-loop class."""

    index: int
    described: object
    seed: int
    end_s: float
    left: float
    blocks: dict = field(default_factory=dict)

    def turn(self, client, number):
        """Return what a client does in a turn."""
        block, place = divmod(number, TURNS_PER_BLOCK)
        if block not in self.blocks:
            clients = self.described.arrivals.clients
            self.blocks[block] = draw_turns(self.described, self.seed, clients, block, self.index)
        columns = vars(self.blocks[block])
        return {name: column[client, place] for name, column in columns.items()}


@dataclass(eq=False)
class Client:
    """One of them; `asks_s` is infinite while it waits for its answer, and once it has stopped."""

    loop: Loop
    number: int
    asks_s: float
    turns: int = 0
    call: object = None

    def think(self, begin_s):
        think_s = self.loop.turn(self.number, self.turns)["think_s"]
        self.asks_s = begin_s + think_s if begin_s + think_s < self.loop.end_s else math.inf

    def ask(self):
        """Return the turn it asks for now, with its task number; None if its class has asked for all it may."""
        self.asks_s = math.inf
        if self.loop.left == 0:
            return None
        self.loop.left -= 1
        task = self.turns * self.loop.described.arrivals.clients + self.number
        self.turns += 1
        return self.loop.turn(self.number, self.turns - 1) | {"task": task}

    def answered(self, now):
        """Think, after a pause if the request left at the instant it came."""
        asked_s, self.call = self.call.arrived_s, None
        self.think(now + self.loop.described.arrivals.back_off if asked_s == now else now)


def clients_of(described):
    """Return all clients of a scenario, about to ask for the first time."""
    clients = []
    for index, each in enumerate(described.workload):
        if isinstance(each.arrivals, Closed):
            end_s = min(described.horizon, math.inf if each.active.to_s is None else each.active.to_s)
            left = math.inf if each.arrivals.requests is None else each.arrivals.requests
            loop = Loop(index, each, described.seed, end_s, left)
            clients += [Client(loop, number, math.inf) for number in range(each.arrivals.clients)]
            for client in clients[-each.arrivals.clients :]:
                client.think(each.active.from_s)
    return clients
