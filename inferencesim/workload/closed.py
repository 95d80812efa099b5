"""Draws of closed-loop clients, keyed by client and turn: never by who asks first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.scenario.workload import Closed
from inferencesim.workload.lengths import sample, sample_seconds
from inferencesim.workload.streams import session_base, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.scenario.workload import WorkloadClass

_BLOCK = 64


@dataclass(frozen=True)
class Draw:
    """One turn of one client.

    Parameters
    ----------
    think_s : float
        Seconds the client thinks before it asks.
    prompt_tokens, output_tokens : int
        Lengths of the request.
    session : int
        −1 where the class has no sessions.
    cancel_after_s : float
        Seconds from arrival until the client cancels; inf if it does not.
    """

    think_s: float
    prompt_tokens: int
    output_tokens: int
    session: int
    cancel_after_s: float


@dataclass(frozen=True)
class _Block:
    number: int
    think_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    session: NDArray[np.int64]
    cancel_after_s: NDArray[np.float64]


class ClosedLoopDraws:
    """All that the clients of a closed-loop class draw.

    A draw depends on seed, class, client and turn alone, so that two policies
    meet the same clients although their turns come at other times and in
    another order. Turns are drawn in blocks; each client keeps its latest.

    Parameters
    ----------
    cls : WorkloadClass
        A class whose arrivals are closed.
    seed : int
        The scenario's seed.

    Raises
    ------
    ValueError
        If the class is not a closed-loop one.
    """

    def __init__(self, cls: WorkloadClass, seed: int) -> None:
        if not isinstance(cls.arrivals, Closed) or cls.prompt_tokens is None or cls.output_tokens is None:
            msg = f"class {cls.name!r} is no closed loop"
            raise ValueError(msg)
        self._cls = cls
        self._think = cls.arrivals.think_time
        self._prompt, self._output = cls.prompt_tokens, cls.output_tokens
        self._seed = seed
        self._blocks: dict[int, _Block] = {}

    def draw(self, client: int, turn: int) -> Draw:
        """Return what `client` does in its `turn`, both counted from 0."""
        number, place = divmod(turn, _BLOCK)
        block = self._blocks.get(client)
        if block is None or block.number != number:
            block = self._blocks[client] = self._draw_block(client, number)
        return Draw(
            think_s=float(block.think_s[place]),
            prompt_tokens=int(block.prompt_tokens[place]),
            output_tokens=int(block.output_tokens[place]),
            session=int(block.session[place]),
            cancel_after_s=float(block.cancel_after_s[place]),
        )

    def _draw_block(self, client: int, number: int) -> _Block:
        cls = self._cls

        def named(purpose: str) -> np.random.Generator:
            return stream(self._seed, cls.name, purpose, client, number)

        session = np.full(_BLOCK, -1, dtype=np.int64)
        if cls.sessions is not None:
            session = session_base(cls.name) + named("session").integers(0, cls.sessions.active, _BLOCK)
        cancel_after_s = np.full(_BLOCK, math.inf)
        if cls.cancellation is not None:
            cancelled = named("cancelled").random(_BLOCK) < cls.cancellation.share
            after_s = sample_seconds(cls.cancellation.after, _BLOCK, named("cancel_after"))
            cancel_after_s = np.where(cancelled, after_s, math.inf)
        return _Block(
            number=number,
            think_s=sample_seconds(self._think, _BLOCK, named("think_time")),
            prompt_tokens=sample(self._prompt, _BLOCK, named("prompt_tokens")),
            output_tokens=sample(self._output, _BLOCK, named("output_tokens")),
            session=session,
            cancel_after_s=cancel_after_s,
        )
