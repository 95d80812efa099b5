"""A crew of Dask workers on other machines, reached through their scheduler.

The scheduler is told which worker plays which piece: one at a time, so that a
worker that dies is known to have had this piece and no other, whatever the
settings of the cluster.
"""

from __future__ import annotations

import contextlib
import pickle
import queue
import time
from typing import TYPE_CHECKING, Any, Self

from inferencesim.errors import InputError
from inferencesim.experiments.execution import Died, Report, carry_out
from inferencesim.experiments.processes import pickled, pickled_outcome
from inferencesim.results.fingerprint import fingerprint
from inferencesim.results.manifest import package_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from types import TracebackType

#: Seconds for the scheduler to answer, and between two looks at who works for it.
_ANSWER_S = 10.0
_LOOK_S = 1.0

_ADDRESS = "Write tcp://HOST:PORT, as `dask scheduler` prints it."

#: Seconds that a cluster may be without any worker.
_WITHOUT_WORKERS_S = 30.0


def on_cluster(pieces: Iterable[tuple[int, Callable[[], Any]]], address: str) -> Generator[Report]:
    """Yield what becomes of each piece of work, as soon as it is known.

    Parameters
    ----------
    pieces : iterable of (place, callable)
        As :func:`~inferencesim.experiments.execution.carry_out` takes them.
    address : str
        Of the scheduler, as in ``tcp://host:8786``.

    Raises
    ------
    InputError
        If it does not answer or goes away, if no worker is left, or if one has another version of this package.
    """
    with Cluster(address) as crew:
        yield from carry_out(pieces, crew)


class Cluster:
    """The workers of a Dask scheduler, those that join later included. To be used as a context."""

    def __init__(self, address: str) -> None:
        distributed = _distributed()
        _require_address(address)
        self._address = address
        try:
            self._client: Any = distributed.Client(address, timeout=_ANSWER_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as problem:
            raise InputError(
                address, f"no Dask scheduler answers there ({problem})", "Start one with `dask scheduler`."
            ) from problem
        self._ended: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._pieces: dict[str, tuple[int, Any] | None] = {}
        self._last_look_s = 0.0
        self._last_seen_s = time.monotonic()

    def __enter__(self) -> Self:
        try:
            self._gather()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(Exception):  # a scheduler that has gone cannot be told
            if self._client.status == "running":
                self._client.cancel([held[1] for held in self._pieces.values() if held is not None], force=True)
            self._client.close(timeout=_LOOK_S)

    def idle(self) -> int:
        """Return how many workers have no piece."""
        return sum(held is None for held in self._pieces.values())

    def give(self, place: int, piece: Callable[[], Any]) -> None:
        """Give a piece to a worker that has none."""
        worker = next(address for address, held in self._pieces.items() if held is None)
        future = self._client.submit(
            _play, pickled(piece, place), workers=[worker], allow_other_workers=False, pure=False
        )
        self._pieces[worker] = (place, future)
        future.add_done_callback(lambda ended: self._ended.put((worker, ended)))

    def wait(self) -> list[Report]:
        """Return what became of pieces, after waiting for the first of them, or for a look at who is there."""
        reports = []
        with contextlib.suppress(queue.Empty):
            worker, future = self._ended.get(timeout=_LOOK_S)
            while True:
                reports += self._report(worker, future)
                worker, future = self._ended.get_nowait()
        if time.monotonic() > self._last_look_s + _LOOK_S:
            reports += self._look()
        return reports

    def _report(self, worker: str, future: Any) -> list[Report]:
        held = self._pieces.get(worker)
        if held is None or held[1] is not future:
            return []  # the worker was given up meanwhile
        self._require_scheduler()
        if future.status != "finished":
            what = f"the worker {worker} cannot play a trial ({future.status}: {future.exception(timeout=_ANSWER_S)})"
            raise InputError(self._address, what, "Look at its log; finished trials are kept.")
        self._pieces[worker] = None
        return [Report(held[0], pickle.loads(future.result(timeout=_ANSWER_S)))]

    def _look(self) -> list[Report]:
        """See who is there: take in those who are new, give up those who are gone."""
        present = self._present()
        reports = []
        for worker in [each for each in self._pieces if each not in present]:
            held = self._pieces.pop(worker)
            if held is not None:
                # Its place is no more; a scheduler would keep the piece for it for ever.
                self._client.cancel([held[1]], force=True)
                reports.append(Report(held[0], Died(f"the worker {worker} is gone")))
        self._admit([each for each in present if each not in self._pieces])
        return reports

    def _present(self) -> dict[str, int]:
        """Return the threads of all workers by address."""
        self._require_scheduler()
        try:
            present: dict[str, int] = self._client.nthreads()
        except (OSError, RuntimeError, TimeoutError):
            raise self._scheduler_is_gone() from None
        now_s = time.monotonic()
        self._last_look_s = now_s
        if present:
            self._last_seen_s = now_s
        elif now_s > self._last_seen_s + _WITHOUT_WORKERS_S:
            what = f"the scheduler has had no worker for {_WITHOUT_WORKERS_S:.0f} s"
            remedy = f"Start some with `dask worker {self._address} --nthreads 1`; finished trials are kept."
            raise InputError(self._address, what, remedy)
        return present

    def _gather(self) -> None:
        """Take in the first workers, and have one on each of their machines compile the kernel."""
        while not (present := self._present()):
            time.sleep(_LOOK_S)
        self._admit(list(present))
        one_each = {_host(worker): worker for worker in present}.values()
        compiling = [
            self._client.submit(_compile_kernel, workers=[worker], allow_other_workers=False, pure=False)
            for worker in one_each
        ]
        for future in compiling:
            while not future.done():
                self._require_scheduler()
                time.sleep(_LOOK_S / 10.0)

    def _admit(self, workers: Sequence[str]) -> None:
        """Take in workers that would simulate what this installation would, one simulation at a time.

        Raises
        ------
        InputError
            For any other.
        """
        if not workers:
            return
        threads = self._client.nthreads(list(workers))
        crowded = next((worker for worker, count in threads.items() if count != 1), None)
        if crowded is not None:
            raise InputError(
                self._address,
                f"the worker {crowded} has {threads[crowded]} threads, and simulations share none",
                "Start workers with --nthreads 1, and one for each core.",
            )
        for worker, about in self._client.run(_about, workers=list(workers), on_error="return").items():
            if isinstance(about, OSError):
                continue  # gone already; the next look will tell
            if about != _about():
                raise InputError(self._address, _other(worker, about), "Install the same versions on all machines.")
            self._pieces[worker] = None

    def _require_scheduler(self) -> None:
        if self._client.status != "running":
            raise self._scheduler_is_gone()

    def _scheduler_is_gone(self) -> InputError:
        return InputError(
            self._address,
            "the scheduler is gone",
            "Finished trials are kept: start another one, and the same sweep again.",
        )


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise InputError(
            "--scheduler", "needs Dask, which is not installed", "Install it with: pip install 'inferencesim[dask]'"
        ) from None
    return distributed


def _require_address(address: str) -> None:
    """Refuse what is no address, which a client would try for long after it has failed."""
    from distributed.comm.addressing import get_address_host_port, normalize_address

    try:
        host, port = get_address_host_port(normalize_address(address), strict=True)
    except ValueError as problem:
        raise InputError("--scheduler", f"{address!r} is no address ({problem})", _ADDRESS) from None
    if not host or not 0 < port < 2**16:
        raise InputError("--scheduler", f"{address!r} names no host and port", _ADDRESS)


def _play(piece: bytes) -> bytes:
    return pickled_outcome(pickle.loads(piece))


def _compile_kernel() -> None:
    from inferencesim.simulation.compiling import is_cached
    from inferencesim.simulation.warm_up import warm_up

    if not is_cached():
        warm_up()


def _about() -> tuple[dict[str, str], str]:
    """Return what an installation is: its versions, and a digest of all that decides what it simulates."""
    return package_versions(), fingerprint()


def _other(worker: str, about: Any) -> str:
    """Say in what way a worker is another than needed."""
    if isinstance(about, BaseException):
        return f"the worker {worker} cannot load this version of inferencesim ({type(about).__name__}: {about})"
    theirs, ours = about[0], package_versions()
    differing = [name for name in ours if theirs.get(name) != ours[name]]
    if not differing:
        return f"the worker {worker} has inferencesim {ours['inferencesim']} too, but with other sources or data"
    name = differing[0]
    return f"the worker {worker} has {name} {theirs.get(name)}, here it is {ours[name]}"


def _host(worker: str) -> str:
    return worker.rpartition(":")[0]
