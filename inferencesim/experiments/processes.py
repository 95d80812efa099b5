"""A crew of processes on this machine, each at its own pipe."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
import threading
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Self

from inferencesim.experiments.execution import Died, Outcome, Raised, Report, called

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from types import TracebackType

#: What a process says when it is up.
_READY = b"ready"

#: Seconds a process that has nothing to do gets to leave, before it is made to.
_PATIENCE_S = 2.0


class _Worker:
    """A process that plays what comes through its pipe, and ends when nothing can come any more.

    Attributes
    ----------
    connection : Connection
        This end of its pipe.
    process : Process
    place : int or None
        That of the piece it has.
    ready : bool
        Whether it has said that it is up.
    """

    def __init__(self) -> None:
        spawning = multiprocessing.get_context("spawn")
        self.connection, its_end = spawning.Pipe()
        self.process: SpawnProcess = spawning.Process(target=_serve, args=(its_end,), daemon=True)
        with _children_ignore_interrupts():
            self.process.start()
        # Only the process has its end now, so that its death is seen here as the end of the pipe, and ours there.
        its_end.close()
        self.place: int | None = None
        self.ready = False

    def answer(self) -> Outcome | None:
        """Return what became of its piece; None if all it said is that it is up.

        Raises
        ------
        RuntimeError
            If it ended by itself before it was.
        """
        try:
            if not self.ready:
                self.ready = self.connection.recv_bytes() == _READY
                return None
            outcome: Outcome = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            if not self.ready and code is not None and code >= 0:
                msg = (
                    f"a process of its own could not be started (exit code {code}, its reason is above); a script "
                    "that uses several needs its calls below `if __name__ == '__main__':`"
                )
                raise RuntimeError(msg) from None
            return Died(_last_words(code))
        return outcome


class Processes:
    """Processes of this machine; one that dies is replaced. To be used as a context.

    Spawned, not forked: threads of this process (Numba's, a notebook's) do not survive a fork.

    Parameters
    ----------
    count : int
    """

    def __init__(self, count: int) -> None:
        self._workers = [_Worker() for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.connection.close()
            if worker.place is not None:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(_PATIENCE_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def idle(self) -> int:
        """Return how many processes have no piece."""
        return sum(worker.place is None for worker in self._workers)

    def give(self, place: int, piece: Callable[[], Any]) -> None:
        """Give a piece to a process that has none."""
        worker = next(each for each in self._workers if each.place is None)
        if not worker.process.is_alive():
            worker = self._replaced(worker)
        worker.place = place
        with contextlib.suppress(OSError):  # dead already: its end of the pipe tells so when it is asked
            worker.connection.send_bytes(pickled(piece, place))

    def wait(self) -> list[Report]:
        """Return what became of pieces, after waiting for the first of them."""
        busy: dict[Any, _Worker] = {each.connection: each for each in self._workers if each.place is not None}
        return [report for ready in wait(list(busy)) if (report := self._ended(busy[ready])) is not None]

    def _ended(self, worker: _Worker) -> Report | None:
        outcome, place = worker.answer(), worker.place
        if outcome is None or place is None:
            return None
        worker.place = None
        if isinstance(outcome, Died):
            self._replaced(worker)
        return Report(place, outcome)

    def _replaced(self, worker: _Worker) -> _Worker:
        worker.connection.close()
        new = self._workers[self._workers.index(worker)] = _Worker()
        return new


def pickled(piece: Callable[[], Any], place: int) -> bytes:
    """Return a piece in the form in which it travels.

    Raises
    ------
    TypeError
        If it cannot be pickled.
    """
    try:
        return pickle.dumps(piece)
    except (pickle.PicklingError, AttributeError, TypeError) as problem:
        msg = f"piece {place + 1} of the work cannot be pickled for another process: {problem}"
        raise TypeError(msg) from problem


def pickled_outcome(piece: Callable[[], Any]) -> bytes:
    """Call a piece and return what became of it, in the form in which it travels."""
    outcome = called(piece)
    try:
        text = pickle.dumps(outcome)
        if isinstance(outcome, Raised):
            pickle.loads(text)  # exceptions of other packages may not survive the way
    except Exception as problem:
        cause = outcome.problem if isinstance(outcome, Raised) else problem
        return pickle.dumps(Raised(RuntimeError(f"{type(cause).__name__}: {cause}")))
    return text


def _serve(connection: Connection[Any, Any]) -> None:
    """Play the pieces that come, one after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The other end is closed when there is no more to do, or when its process was killed.
    with contextlib.suppress(EOFError, OSError):
        connection.send_bytes(_READY)
        while True:
            piece = pickle.loads(connection.recv_bytes())
            connection.send_bytes(pickled_outcome(piece))


def _last_words(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        with contextlib.suppress(ValueError):
            return f"its process was ended by {signal.Signals(-exit_code).name}"
    return f"its process ended with exit code {exit_code}"


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
