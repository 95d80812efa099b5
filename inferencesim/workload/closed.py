"""Draws of closed-loop clients, keyed by client and turn: never by who asks first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.scenario.arrivals import Closed
from inferencesim.workload.lengths import sample, sample_seconds
from inferencesim.workload.streams import session_base, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.scenario.workload import WorkloadClass

#: Turns of a client that are drawn together. Another number gives other draws.
TURNS_PER_BLOCK = 16


@dataclass(frozen=True)
class Turns:
    """One block of turns of some clients; columns of shape (clients, TURNS_PER_BLOCK).

    Parameters
    ----------
    think_s : numpy.ndarray
        float64, seconds a client thinks before it asks.
    prompt_tokens, output_tokens : numpy.ndarray
        int64, lengths of its request.
    session : numpy.ndarray
        int64, −1 where the class has no sessions.
    cancel_after_s : numpy.ndarray
        float64, seconds from arrival until the client cancels; inf if it does not.
    """

    think_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    session: NDArray[np.int64]
    cancel_after_s: NDArray[np.float64]


def draw_turns(each: WorkloadClass, seed: int, clients: int, block: int, where: str = "workload") -> Turns:
    """Draw what the first `clients` of a closed-loop class do in turns [16 `block`, 16 (`block` + 1)).

    A draw depends on seed, class, client and turn alone, so that two policies
    meet the same clients although their turns come at other times and in
    another order. A block has one stream per quantity, in which every client
    has its place: how many clients are drawn makes no difference to any.

    Parameters
    ----------
    each : WorkloadClass
        A class whose arrivals are closed.
    seed : int
        The scenario's seed.
    clients : int
        How many, counted from client 0.
    block : int
        Which block of turns.
    where : str
        Place of the class, named if a distribution is not registered.

    Returns
    -------
    Turns

    Raises
    ------
    ValueError
        If the class is not a closed-loop one.
    InputError
        If a distribution is not registered.
    """
    if not isinstance(each.arrivals, Closed) or each.prompt_tokens is None or each.output_tokens is None:
        msg = f"class {each.name!r} is no closed loop"
        raise ValueError(msg)
    shape = (clients, TURNS_PER_BLOCK)
    n = clients * TURNS_PER_BLOCK

    def named(purpose: str) -> np.random.Generator:
        return stream(seed, each.name, purpose, "turns", block)

    session = np.full(n, -1, dtype=np.int64)
    if each.sessions is not None:
        session = session_base(each.name) + named("session").integers(0, each.sessions.active, n)
    cancel_after_s = np.full(n, math.inf)
    if each.cancellation is not None:
        cancelled = named("cancelled").random(n) < each.cancellation.share
        place = f"{where}.cancellation.after.distribution"
        after_s = sample_seconds(each.cancellation.after, n, named("cancel_after"), place)
        cancel_after_s = np.where(cancelled, after_s, math.inf)
    think = each.arrivals.think_time
    think_s = sample_seconds(think, n, named("think_time"), f"{where}.arrivals.think_time.distribution")
    prompt = sample(each.prompt_tokens, n, named("prompt_tokens"), f"{where}.prompt_tokens.distribution")
    output = sample(each.output_tokens, n, named("output_tokens"), f"{where}.output_tokens.distribution")
    return Turns(
        think_s=think_s.reshape(shape),
        prompt_tokens=prompt.reshape(shape),
        output_tokens=output.reshape(shape),
        session=session.reshape(shape),
        cancel_after_s=cancel_after_s.reshape(shape),
    )
