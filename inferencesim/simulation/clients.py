"""Closed-loop clients: each asks, waits for its answer, thinks, and asks again.

A client that gives up while its request is in a step asks again after that
step: until then the engine holds its connection.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from inferencesim.scenario.workload import Closed
from inferencesim.workload.closed import ClosedLoopDraws

if TYPE_CHECKING:
    import simpy

    from inferencesim.scenario.workload import WorkloadClass


class Door(Protocol):
    """Where clients hand in requests."""

    def submit(
        self,
        class_index: int,
        task: int,
        session: int,
        prompt_tokens: int,
        output_tokens: int,
        patience_s: float,
        cancel_after_s: float,
    ) -> simpy.Event:
        """Hand in a request now; the event succeeds with its outcome when it has left."""


def start_clients(
    env: simpy.Environment, door: Door, index: int, each: WorkloadClass, seed: int, horizon_s: float
) -> None:
    """Start all clients of a closed-loop class; classes of another kind have none."""
    if not isinstance(each.arrivals, Closed):
        return
    draws = ClosedLoopDraws(each, seed)
    for client in range(each.arrivals.clients):
        env.process(_client(env, door, index, each, draws, client, horizon_s))


def _client(
    env: simpy.Environment,
    door: Door,
    index: int,
    each: WorkloadClass,
    draws: ClosedLoopDraws,
    client: int,
    horizon_s: float,
) -> simpy.events.ProcessGenerator:
    assert isinstance(each.arrivals, Closed)
    clients = each.arrivals.clients
    end_s = min(horizon_s, math.inf if each.active.to_s is None else each.active.to_s)
    patience_s = math.inf if each.timeout is None else each.timeout
    yield env.timeout(each.active.from_s)
    turn = 0
    while True:
        draw = draws.draw(client, turn)
        if draw.think_s > 0.0:
            yield env.timeout(draw.think_s)
        if env.now >= end_s:
            return
        # Turns of all clients share the class's task numbers: the same (client, turn) has the same one in every run.
        asked_s = env.now
        yield door.submit(
            index,
            turn * clients + client,
            draw.session,
            draw.prompt_tokens,
            draw.output_tokens,
            patience_s,
            draw.cancel_after_s,
        )
        turn += 1
        if env.now == asked_s:
            # Turned away at once, or gone before it was served. Without a pause a client that does not think
            # would ask again at this very instant, for ever.
            yield env.timeout(each.arrivals.back_off)
