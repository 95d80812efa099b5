"""Independent pieces of work on several processes."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from typing import TYPE_CHECKING, Any, TypeVar

from inferencesim.experiments.execution import DEATHS, Died, Raised, Report, called, carry_out
from inferencesim.experiments.processes import Processes, pickled
from inferencesim.simulation.compiling import is_cached

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

T = TypeVar("T")

#: Pieces that pay for starting a process, where a piece is one short simulation.
PIECES_PER_PROCESS = 100

#: What starting a process takes, in seconds: imports, and loading the compiled kernel.
_STARTING_S = 4.0


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
    RuntimeError
        If a piece has cost two processes, as one may that needs more memory than there is.
    KeyboardInterrupt
        After Ctrl-C; the other processes say nothing.
    """
    enough = PIECES_PER_PROCESS if pieces_per_process is None else pieces_per_process
    processes = min(jobs, len(work) // enough)
    if processes <= 1:
        processes = 0
    else:
        for place, piece in enumerate(work):
            pickled(piece, place)
    values: dict[int, T] = {}
    with contextlib.closing(on_processes(enumerate(work), processes)) as reports:
        for report in reports:
            values[report.place] = value_of(report)
            if progress is not None:
                progress(len(values), len(work))
    return [values[place] for place in range(len(work))]


def begin_here(work: Sequence[Callable[[], T]], note: Callable[[int], None]) -> tuple[list[T], int]:
    """Call the first two pieces of work here, where nobody knows how long one takes.

    The first also loads the kernel; the second tells.

    Parameters
    ----------
    work : sequence of callables
    note : callable
        Called with the number of pieces done, after each.

    Returns
    -------
    list, int
        Their results, and how many such pieces pay for starting a process (see :func:`run_all`).
    """
    results: list[T] = []
    took_s = 0.0
    for piece in work[:2]:
        began = time.perf_counter()
        results.append(piece())
        took_s = time.perf_counter() - began
        note(len(results))
    return results, max(1, math.ceil(_STARTING_S / max(took_s, 1e-3)))


def value_of(report: Report) -> Any:
    """Return the result of a piece of work, or raise what it raised.

    Raises
    ------
    RuntimeError
        If it was given up.
    """
    place, outcome = report
    if isinstance(outcome, Raised):
        raise outcome.problem
    if isinstance(outcome, Died):
        msg = f"piece {place + 1} of the work was given up after {DEATHS} attempts: {outcome.how}"
        raise RuntimeError(msg)
    return outcome.value


def on_processes(pieces: Iterable[tuple[int, Callable[[], Any]]], count: int) -> Generator[Report]:
    """Yield what becomes of each piece of work, as soon as it is known.

    Parameters
    ----------
    pieces : iterable of (place, callable)
        As :func:`~inferencesim.experiments.execution.carry_out` takes them.
    count : int
        Processes; with none, this one does all.
    """
    coming = iter(pieces)
    # Processes that start before the kernel is compiled would each compile it.
    here = None if count == 0 else 0 if is_cached() else 1
    for place, piece in itertools.islice(coming, here):
        yield Report(place, called(piece))
    if count > 0:
        with Processes(count) as crew:
            yield from carry_out(coming, crew)
