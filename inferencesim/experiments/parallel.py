"""Independent pieces of work on several processes."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import pickle
import signal
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from inferencesim.simulation.compiling import is_cached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

#: Pieces that pay for starting a process, where a piece is one short simulation.
PIECES_PER_PROCESS = 100

#: Pieces handed to a process at once: few enough that all end together, and that Ctrl-C does not wait long.
_HANDED_AT_ONCE = 8


def run_all(
    work: Sequence[Callable[[], T]],
    *,
    jobs: int = 1,
    pieces_per_process: int | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> list[T]:
    """Call every piece of work and return the results in the same order.

    Parameters
    ----------
    work : sequence of callables
        Where `jobs` is above one they are pickled, so partials of a module's functions.
    jobs : int
        Processes at most; this one alone where more would not pay.
    pieces_per_process : int, optional
        Pieces that pay for starting a process: fewer the longer one takes; default :data:`PIECES_PER_PROCESS`.
    progress : callable, optional
        Called with (pieces done, pieces in all).

    Raises
    ------
    TypeError
        For work that other processes should do and that cannot be pickled, before any of it is called.
    KeyboardInterrupt
        After Ctrl-C, when the pieces under way have ended; the other processes say nothing.
    """
    results: list[T] = []

    def note(result: T) -> None:
        results.append(result)
        if progress is not None:
            progress(len(results), len(work))

    enough = PIECES_PER_PROCESS if pieces_per_process is None else pieces_per_process
    processes = min(jobs, len(work) // enough)
    alone = processes <= 1
    pickled = [] if alone else [_pickled(piece, place) for place, piece in enumerate(work, 1)]
    # Processes that start before the kernel is compiled would each compile it.
    here = work if alone else work[: 0 if is_cached() else 1]
    for piece in here:
        note(piece())
    if alone:
        return results
    workers = concurrent.futures.ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_leave_interrupts_to_the_parent,
    )
    try:
        with _children_ignore_interrupts():
            outcomes = workers.map(_call, pickled[len(here) :], chunksize=min(_HANDED_AT_ONCE, enough))
        for outcome in outcomes:
            note(outcome)
    finally:
        workers.shutdown(cancel_futures=True)
    return results


def _pickled(piece: Callable[[], T], place: int) -> bytes:
    """Pickle a piece here: an executor that fails to pickle may wait for ever."""
    try:
        return pickle.dumps(piece)
    except (pickle.PicklingError, AttributeError, TypeError) as problem:
        msg = f"piece {place} of the work cannot be pickled for another process: {problem}"
        raise TypeError(msg) from problem


def _call(pickled: bytes) -> Any:
    piece = pickle.loads(pickled)
    return piece()


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _children_ignore_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C from their first moment: they inherit it, and imports take a second."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
