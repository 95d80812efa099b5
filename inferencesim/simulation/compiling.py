"""The kernel's entry, compiled once for all policies."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numba.core import event

from inferencesim import jit
from inferencesim.kernel.play import close_arrival, open_arrival, play
from inferencesim.routing.policy import signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inferencesim.kernel.gateway import Gateway
    from inferencesim.kernel.tables import Fleet
    from inferencesim.kernel.views import Request


#: What users are told who wait for it.
COMPILING = "compiling the kernel (once, a few minutes) …"

#: The kernel by the types of its tables: one entry, in a process that simulates.
_PLAY: dict[tuple[Any, ...], Callable[..., int]] = {}


def compiled_play(fleet: Fleet, gateway: Gateway) -> Callable[..., int]:
    """Return :func:`inferencesim.kernel.play.play`, compiled; policies are passed to it as functions.

    Tables have the same types whatever the scenario, so that one compilation
    serves all, and later ones load it from the cache on disk.
    """
    if not jit.JIT_ENABLED:
        return play
    # Numba takes milliseconds to find the types of all tables: as long as a short run takes to play.
    layout = tuple(
        (table.dtype, table.ndim) if isinstance(table, np.ndarray) else type(table) for table in (*fleet, *gateway)
    )
    if layout not in _PLAY:
        _PLAY[layout] = _compiled(fleet, gateway)
    return _PLAY[layout]


def compiled_arrival(fleet: Fleet, gateway: Gateway) -> tuple[Callable[..., tuple[int, Request]], Callable[..., None]]:
    """Return :func:`~inferencesim.kernel.play.open_arrival` and :func:`~inferencesim.kernel.play.close_arrival`.

    They stand around the policies that are written in plain Python.
    """
    if not jit.JIT_ENABLED:
        return open_arrival, close_arrival
    from numba import types

    tables = (jit.array_type(fleet), jit.array_type(gateway))
    opening = jit.compile_for(tables, jit.plain(open_arrival))
    closing = jit.compile_for((*tables, types.int64, types.int64), jit.plain(close_arrival))
    return jit.entry_point(opening), jit.entry_point(closing)


def _compiled(fleet: Fleet, gateway: Gateway) -> Callable[..., int]:
    from numba import types

    policy = jit.as_function(signature())
    tables = (jit.array_type(fleet), jit.array_type(gateway))
    entry = types.int64(*tables, policy, policy, policy, types.boolean, types.float64)
    return jit.entry_point(jit.compile_for(entry, play))


def is_cached() -> bool:
    """Tell whether the kernel has been compiled on this machine, for this version."""
    return not jit.JIT_ENABLED or any(jit.CACHE_FOLDER.rglob("play.play-*.nbc"))


@contextlib.contextmanager
def compilation_watched(begins: Callable[[int], None]) -> Iterator[None]:
    """Call `begins` with how many there were whenever one more function is compiled, not loaded from the cache."""
    watcher = _Watcher(begins)
    with event.install_listener("numba:compile", watcher):
        yield


class _Watcher(event.Listener):
    """Counts the functions that Numba compiles."""

    def __init__(self, begins: Callable[[int], None]) -> None:
        self._begins = begins
        self._begun = 0

    def on_start(self, event: object) -> None:  # noqa: ARG002 - which function it is, nobody asks
        """Count one more."""
        self._begun += 1
        self._begins(self._begun)

    def on_end(self, event: object) -> None:
        """Do nothing: the next one says that this one is done."""
