"""Independent pieces of work given to workers one by one, some of whom may die.

A worker has one piece at a time, so that whoever dies loses that piece only and
nobody is in doubt which one it was. The piece is done again by another worker;
one that has cost two workers is given up.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

#: Workers that a piece may cost before it is given up.
DEATHS = 2


@dataclass(frozen=True)
class Done:
    """A piece came to its end, with this result."""

    value: Any


@dataclass(frozen=True)
class Raised:
    """A piece ended in an exception."""

    problem: BaseException


@dataclass(frozen=True)
class Died:
    """The worker that had a piece is no more."""

    how: str


Outcome = Done | Raised | Died


class Report(NamedTuple):
    """What became of a piece that a worker had."""

    place: int
    outcome: Outcome


class Crew(Protocol):
    """Workers, each with one piece at a time."""

    def idle(self) -> int:
        """Return how many workers have no piece."""

    def give(self, place: int, piece: Callable[[], Any]) -> None:
        """Give a piece, known by its place, to an idle worker."""

    def wait(self) -> Sequence[Report]:
        """Return what became of pieces since the last call, after waiting for some, or until it may be idle again.

        Raises
        ------
        InputError
            If there is nobody left who could work.
        """


def called(piece: Callable[[], Any]) -> Done | Raised:
    """Call a piece, and return what became of it."""
    try:
        return Done(piece())
    except Exception as problem:  # whatever it is, it is told where the piece came from
        return Raised(problem)


def carry_out(pieces: Iterable[tuple[int, Callable[[], Any]]], crew: Crew) -> Iterator[Report]:
    """Have a crew do pieces of work, and yield what became of each as soon as it is known.

    An outcome is :class:`Died` for pieces that cost :data:`DEATHS` workers.

    Parameters
    ----------
    pieces : iterable of (place, callable)
        The next one is taken when a worker is idle, so that it may depend on what others have done by then.
    crew : Crew
    """
    coming = iter(pieces)
    again: deque[tuple[int, Callable[[], Any]]] = deque()
    given: dict[int, Callable[[], Any]] = {}
    deaths: Counter[int] = Counter()
    while True:
        for _ in range(crew.idle()):
            following = again.popleft() if again else next(coming, None)
            if following is None:
                break
            place, piece = following
            given[place] = piece
            crew.give(place, piece)
        if not given:
            return
        for report in crew.wait():
            piece = given.pop(report.place)
            if isinstance(report.outcome, Died):
                deaths[report.place] += 1
                if deaths[report.place] < DEATHS:
                    again.append((report.place, piece))
                    continue
            yield report
