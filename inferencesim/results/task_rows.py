"""The recorded rows of a task, its longest chain of steps, and what its latency or its promise was lost to.

A step begins at the very instant at which the last of those it needs ends, so
the chain a task waited for is read from the recorded times alone: from its
last step back, each time to the step that ended when this one was due.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from inferencesim.results.findings import TaskCause
from inferencesim.results.task_findings import LatencyParts

if TYPE_CHECKING:
    from collections.abc import Sequence
#: Columns of the three tables that the story of a task needs.
NEEDED = {
    "tasks": (
        *("task_class", "task", "arrived_s", "finished_s", "outcome", "promise_kept", "calls", "retries"),
        *("escalations", "people", "wrong", "tools", "lost_tools", "fan_out", "tool_s", "tool_wait_s"),
        "people_usd",
        *("prompt_tokens", "generated_tokens", "attributed_cost_usd", "wasted_cost_usd"),
    ),
    "steps": (
        *("task_class", "task", "node", "step", "kind", "tools", "request_id", "due_s", "began_s", "ended_s"),
        *("state", "lost_runs", "lost_s"),
    ),
    "requests": (
        *("request_id", "class", "task_class", "task", "step", "node", "attempt", "answer", "outcome", "arrived_s"),
        *("finished_s", "waiting_s", "network_s", "prompt_tokens", "generated_tokens", "attributed_cost_usd"),
    ),
}

_BAD, _COMPLETED = "bad", "completed"


@dataclass(frozen=True)
class TaskRows:
    """The rows of one task, as named tuples of their columns.

    Attributes
    ----------
    task : row of the tasks table
    steps : sequence of rows of the steps table
        By node.
    tries : dict of int to sequence of rows of the requests table
        By node of the call, in order of attempt.
    end_s : float
        When it ended; of an open one, when the simulation stopped.
    """

    task: Any
    steps: Sequence[Any]
    tries: dict[int, list[Any]] = field(default_factory=dict)
    end_s: float = math.inf

    @property
    def name(self) -> str:
        """Its class and number, as ``class/number``."""
        return f"{self.task.task_class}/{self.task.task}"

    @property
    def latency_s(self) -> float:
        """Until it ended, or the simulation did."""
        return float(self.end_s - self.task.arrived_s)

    def answered_by_a_person(self, step: Any) -> bool:
        """Tell whether a person answered a call in the end, or was about to."""
        tries = self.tries.get(step.node, [])
        if not tries or tries[-1].answer != _BAD:
            return False
        return bool(step.state == "done" or (step.state != "failed" and self.task.people > 0))

    def longest_chain(self) -> list[Any]:
        """Return the steps that the task waited for, in order."""
        chain: list[Any] = []
        step = self._last()
        while step is not None:
            chain.append(step)
            step = self._before(step, {each.node for each in chain})
        return chain[::-1]

    def _last(self) -> Any:
        """Return the step that ended the task, or that it was waiting for: of several, for the longest time."""
        outcome = self.task.outcome
        if outcome in (_COMPLETED, "failed"):
            state = "done" if outcome == _COMPLETED else "failed"
            ends = [each for each in self.steps if each.state == state and each.ended_s == self.end_s]
            calls = [each for each in ends if each.kind == "call"]
            return ((outcome == "failed" and calls) or ends or [None])[-1]
        stands = [each for each in self.steps if each.due_s <= self.end_s and not each.ended_s < self.end_s]
        return min(stands, key=lambda each: each.due_s, default=None)

    def _before(self, step: Any, seen: set[int]) -> Any:
        """Return the step whose end let this one begin; None of the first."""
        ends = [each for each in self.steps if each.ended_s == step.due_s and each.state == "done"]
        ends = [each for each in ends if each.node not in seen]
        earlier = [each for each in ends if each.node < step.node]
        return (earlier or ends or [None])[-1]

    def parts(self) -> LatencyParts:
        """Return where the latency went along the longest chain."""
        found = dict.fromkeys(LatencyParts.model_fields, 0.0)
        for step in self.longest_chain():
            for name, taken_s in self._parts_of(step).items():
                found[name] += max(0.0, taken_s)
        return LatencyParts(**found)

    def _parts_of(self, step: Any) -> dict[str, float]:
        ended_s = first_of(step.ended_s, self.end_s)
        if step.kind == "tool":
            began_s = first_of(step.began_s, ended_s)
            ran_s = 0.0 if step.state == "failed" else ended_s - began_s  # else in the runs that were lost
            return {"cores": ended_s - step.due_s - ran_s - step.lost_s, "tools": ran_s, "lost": step.lost_s}
        if step.kind == "wait":
            return {"waits": ended_s - step.due_s}
        tries = self.tries.get(step.node)
        if step.kind != "call" or not tries:
            return {}
        last = tries[-1]
        left_s = first_of(last.finished_s, ended_s)
        network_s = 0.0 if math.isnan(last.network_s) else float(last.network_s)
        queue_s = min(float(last.waiting_s), left_s - last.arrived_s)
        vain_s, after_s = last.arrived_s - step.due_s, ended_s - left_s
        person = self.answered_by_a_person(step)
        return {
            "queue": queue_s,
            "network": network_s,
            "serving": left_s - last.arrived_s - queue_s - network_s,
            "retries": vain_s + (0.0 if person else after_s),
            "people": after_s if person else 0.0,
        }

    def cause(self) -> TaskCause | None:
        """Return why its promise was lost; None if it was not."""
        kept = self.task.promise_kept
        if pd.isna(kept) or kept:
            return None
        if self.task.outcome == "failed":
            return TaskCause(what="failed", by=self._failed_by())
        return TaskCause(what="timed_out" if self.task.outcome == "timed_out" else "latency", by=self.parts().largest)

    def _failed_by(self) -> str | None:
        """Return what became of the call, or the tool, that the task could not do without."""
        step = self._last()
        if step is not None and step.kind == "tool":
            return "lost_tool"
        tries = [] if step is None else self.tries.get(step.node, [])
        if not tries:
            return None
        return "bad_answer" if tries[-1].answer == _BAD else str(tries[-1].outcome)


def first_of(moment_s: float, end_s: float) -> float:
    """Return a moment, or the end where it never came or came later."""
    return end_s if math.isnan(moment_s) else min(float(moment_s), end_s)


class TaskTables:
    """The tables of tasks, steps and requests, looked up task by task.

    Parameters
    ----------
    tasks, steps, requests : DataFrame
    end_s : float
        When the simulation stopped.
    """

    def __init__(self, tasks: pd.DataFrame, steps: pd.DataFrame, requests: pd.DataFrame, end_s: float) -> None:
        calls = requests.loc[requests["task_class"].notna(), list(NEEDED["requests"])]
        self.tasks = tasks[list(NEEDED["tasks"])]
        self.steps = steps[list(NEEDED["steps"])].sort_values("node", kind="stable")
        self.calls = calls.astype({"node": np.int64}).sort_values(["node", "attempt"], kind="stable")
        self.end_s = end_s
        self._tasks, self._steps, self._calls = (_by_task(each) for each in (self.tasks, self.steps, self.calls))

    def numbers(self, of: str) -> list[int]:
        """Return the numbers of the tasks of a class."""
        return sorted(number for name, number in self._tasks if name == of)

    def of(self, name: str, number: int) -> TaskRows | None:
        """Return the rows of a task; None without any."""
        places = self._tasks.get((name, number))
        if places is None:
            return None
        task = _tuples(self.tasks.iloc[places[:1]])[0]
        steps = self.steps.iloc[self._steps.get((name, number), [])]
        tries: dict[int, list[Any]] = {}
        for row in _tuples(self.calls.iloc[self._calls.get((name, number), [])]):
            tries.setdefault(row.node, []).append(row)
        end_s = self.end_s if math.isnan(task.finished_s) else float(task.finished_s)
        return TaskRows(task, _tuples(steps), tries, end_s)


def _by_task(table: pd.DataFrame) -> dict[tuple[str, int], list[int]]:
    """Return the places of the rows of each task."""
    places: dict[tuple[str, int], list[int]] = {}
    for place, (name, number) in enumerate(zip(table["task_class"].astype(str), table["task"].tolist(), strict=True)):
        places.setdefault((name, number), []).append(place)
    return places


def _tuples(table: pd.DataFrame) -> list[Any]:
    """Return rows as named tuples; what is not there is NaN or None."""
    return list(table.rename(columns={"class": "class_name"}).itertuples(index=False))
