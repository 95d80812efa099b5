"""What follows what in a recorded task, and how long after it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferencesim.workload.task_traces.spans import Span


class End(NamedTuple):
    """The recorded end of a step."""

    step: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Step:
    """A call or a tool, or the end of the task.

    Attributes
    ----------
    span : Span or None
        None is the end of the task.
    after : tuple of int
        The steps that have to be done before it; none is the begin of the task.
    lag_s : float
        Seconds from the last end of those until it starts: somebody thinks, or does what was not recorded.
    """

    span: Span | None
    after: tuple[int, ...]
    lag_s: float


def in_dependence(root: Span) -> list[Step]:
    """Return the steps of a task, each after what had ended before it began.

    With A → B where A ended before B began, the steps of a group are partially
    ordered; a step waits for those just before it in that order. Had every
    call taken exactly its recorded time, every step would start exactly when
    it was recorded.
    """
    steps: list[Step] = []
    _place(root, (End(-1, root.start_s),), steps)
    # Whatever has nothing after it the end of the task waits for.
    followed = {before for step in steps for before in step.after}
    last = [End(number, step.span.end_s) for number, step in enumerate(steps) if number not in followed and step.span]
    steps.append(_step(None, last, root.end_s))
    return steps


def as_started(root: Span) -> list[Step]:
    """Return the steps of a task, each at its recorded time, whatever became of those before it."""
    steps = [Step(leaf, (), leaf.start_s - root.start_s) for leaf in root.leaves()]
    return [*steps, Step(None, tuple(range(len(steps))), 0.0)]


def width(steps: Sequence[Step]) -> int:
    """Return how many steps were under way at one time, at most."""
    spans = [step.span for step in steps if step.span is not None]
    # At one instant, ends come before starts; what took no time counts for itself.
    changes = sorted([(span.start_s, 1) for span in spans] + [(span.end_s, -1) for span in spans])
    now, most = 0, 1
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def depth(steps: Sequence[Step]) -> int:
    """Return how many calls come one after another, at most."""
    deep: list[int] = []
    for step in steps:
        is_call = step.span is not None and step.span.kind == "call"
        deep.append(is_call + max((deep[before] for before in step.after), default=0))
    return deep[-1]


def _place(group: Span, after: Sequence[End], steps: list[Step]) -> Sequence[End]:
    """Append the steps of a group that begins after `after`; return the ends that what comes after it waits for."""
    children = sorted(group.children, key=lambda child: (child.start_s, child.end_s))
    front = _Front(after)
    for child in children:
        before = front.at(child.start_s)
        if child.kind == "group":
            ends = _place(child, before, steps)
        else:
            steps.append(_step(child, before, child.start_s))
            ends = (End(len(steps) - 1, child.end_s),)
        front.add(child, ends)
    return front.at(group.end_s)


def _step(span: Span | None, before: Sequence[End], start_s: float) -> Step:
    after = tuple(sorted({end.step for end in before if end.step >= 0}))
    return Step(span, after, max(0.0, start_s - max(end.at_s for end in before)))


class _Front:
    """The children of a group that are done and that no other has followed, as time goes on."""

    def __init__(self, before: Sequence[End]) -> None:
        self._before = before
        self._running: list[tuple[float, int, float, Sequence[End]]] = []
        self._done: list[tuple[float, float, Sequence[End]]] = []
        self._latest_start_s = float("-inf")
        self._count = 0

    def add(self, child: Span, ends: Sequence[End]) -> None:
        """Take a child that starts."""
        heapq.heappush(self._running, (child.end_s, self._count, child.start_s, ends))
        self._count += 1

    def at(self, now: float) -> Sequence[End]:
        """Return the ends just before `now`, which does not decrease; of those before the group if there are none."""
        while self._running and self._running[0][0] <= now:
            end_s, _, start_s, ends = heapq.heappop(self._running)
            self._done.append((end_s, start_s, ends))
            self._latest_start_s = max(self._latest_start_s, start_s)
        # Who ended before another one of them started has been followed by it.
        latest = self._latest_start_s
        self._done = [each for each in self._done if each[0] > latest or each[1] == latest]
        return [end for _, _, ends in self._done for end in ends] or self._before
