"""Tasks in the ledger: what each cost, which promises were kept, and what became of every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from inferencesim.kernel.graph_tables import (
    BAD,
    CALL,
    CANCELLED,
    NODE_KINDS,
    NODE_STATES,
    TASK_COMPLETED,
    TASK_FAILED,
    TASK_OPEN,
    TASK_OUTCOMES,
    TASK_TIMED_OUT,
    TOOL,
)
from inferencesim.kernel.tables import CANCELLED as REQUEST_CANCELLED
from inferencesim.kernel.tables import COMPLETED
from inferencesim.ledger.formats import maybe, named, versioned
from inferencesim.ledger.promises import PROMISE_KEPT, PROMISE_MISSED, PROMISE_OPEN, with_rounding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.kernel.graph_tables import Graphs
    from inferencesim.kernel.tables import Records
    from inferencesim.ledger.book import Book
    from inferencesim.ledger.columns import Columns


#: What a task counts, as its row has it.
_COUNTED = (
    "calls",
    "retries",
    "escalations",
    "people",
    "wrong",
    "tools",
    "lost_tools",
    "fan_out",
    "tool_s",
    "tool_wait_s",
    "people_usd",
)


@dataclass(frozen=True)
class TaskNames:
    """Names and promises of a run's tasks.

    Attributes
    ----------
    classes : tuple of str
        Classes of tasks.
    tools : tuple of str
        Pools of tools.
    labels : tuple of str
        Steps, by the label of their nodes.
    latency_s : ndarray of float64, shape (classes,)
        Promised latency; infinite where nothing is.
    """

    classes: tuple[str, ...]
    tools: tuple[str, ...]
    labels: tuple[str, ...]
    latency_s: NDArray[np.float64]


class TaskLedger:
    """What tasks cost, summed up as their requests leave, and the tables of those that have ended.

    Parameters
    ----------
    graphs : Graphs
        The kernel's, which it plays on.
    names : TaskNames
    """

    def __init__(self, graphs: Graphs, names: TaskNames) -> None:
        self.graphs = graphs
        self.names = names
        self.cost_usd = np.zeros(graphs.tasks.size)
        self.wasted_usd = np.zeros(graphs.tasks.size)
        self._flushed = 0

    def class_of(self, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the class of tasks that each node belongs to; −1 for node −1."""
        if self.graphs.nodes.size == 0:
            return np.full(nodes.size, -1)
        rows = self.graphs.nodes["task"][np.maximum(nodes, 0)]
        return np.where(nodes >= 0, self.graphs.tasks["class_index"][rows], -1)

    def given_up(self, requests: Columns) -> NDArray[np.bool_]:
        """Tell which requests were cancelled by their task while it went on: it had branches enough."""
        found = np.zeros(requests.size, np.bool_)
        if self.graphs.nodes.size == 0:
            return found
        calls = np.flatnonzero((requests["node"] >= 0) & (requests["outcome"] == REQUEST_CANCELLED))
        nodes = self.graphs.nodes[requests["node"][calls]]
        tasks = self.graphs.tasks[nodes["task"]]
        lost = np.isin(tasks["outcome"], (TASK_FAILED, TASK_TIMED_OUT)) & (nodes["ended_s"] == tasks["finished_s"])
        found[calls] = (nodes["state"] == CANCELLED) & ~lost
        return found

    def charge(self, requests: Columns, book: Book) -> None:
        """Charge tasks with the attributed cost of their requests that have left or are open."""
        if self.graphs.nodes.size == 0:
            return
        usd = book.attributed_usd(requests)
        calls = np.flatnonzero(requests["node"] >= 0)
        rows = self.graphs.nodes["task"][requests["node"][calls]]
        np.add.at(self.cost_usd, rows, usd[calls])
        wasted = (requests["outcome"][calls] != COMPLETED) | (requests["answer"][calls] == BAD)
        np.add.at(self.wasted_usd, rows[wasted], usd[calls][wasted])

    def closed(self, count: int) -> NDArray[np.int64]:
        """Return the tasks closed since the last call, of `count` so far."""
        rows = self.graphs.closed[self._flushed : count].copy()
        self._flushed = count
        return rows

    def verdicts(self, rows: NDArray[np.int64], end_s: float) -> NDArray[np.int64]:
        """Return for each task whether its promise was kept, missed, or is still open; kept if there is none."""
        tasks = self.graphs.tasks[rows]
        promised = with_rounding(self.names.latency_s[tasks["class_index"]])
        still = tasks["outcome"] == TASK_OPEN
        took_s = np.where(still, end_s, tasks["finished_s"]) - tasks["arrived_s"]
        verdict = np.where(took_s > promised, PROMISE_MISSED, PROMISE_KEPT)
        verdict[still & (took_s <= promised)] = PROMISE_OPEN
        verdict[~still & (tasks["outcome"] != TASK_COMPLETED)] = PROMISE_MISSED
        return verdict

    def task_table(self, rows: NDArray[np.int64], end_s: float) -> pa.Table:
        """Return the tasks table: one row per task."""
        tasks = self.graphs.tasks[rows]
        still = tasks["outcome"] == TASK_OPEN
        verdicts = self.verdicts(rows, end_s)
        columns = {
            "task_class": named(tasks["class_index"], self.names.classes),
            "task": tasks["number"],
            "arrived_s": tasks["arrived_s"],
            "finished_s": pa.array(tasks["finished_s"], mask=still),
            "task_latency_s": maybe(np.where(tasks["outcome"] == TASK_COMPLETED, _latency_s(tasks), np.nan)),
            "outcome": named(tasks["outcome"], TASK_OUTCOMES),
            "promise_kept": pa.array(verdicts == PROMISE_KEPT, mask=verdicts == PROMISE_OPEN),
            **{name: tasks[name] for name in _COUNTED},
            "prompt_tokens": tasks["prompt_tokens"],
            "generated_tokens": tasks["generated_tokens"],
            "attributed_cost_usd": self.cost_usd[rows],
            "wasted_cost_usd": self.wasted_usd[rows],
        }
        return versioned(columns)

    def step_table(self, rows: NDArray[np.int64]) -> pa.Table:
        """Return the steps table: one row per node of these tasks, in their order."""
        tasks = self.graphs.tasks[rows]
        each = np.repeat(np.arange(rows.size), tasks["nodes"])
        place = np.arange(each.size) - (np.cumsum(tasks["nodes"]) - tasks["nodes"])[each]
        nodes = self.graphs.nodes[tasks["first_node"][each] + place]
        used = nodes["kind"] == TOOL
        lost = np.where(used, nodes["tries"], 0)
        lost_s = np.zeros(nodes.size)
        lost_s[used] = lost[used] * self.graphs.tools["notice_s"][nodes["index"][used]]
        # One that was lost and waits to be run again has begun before, in vain.
        again = used & (nodes["queued_s"] > nodes["began_s"])
        columns = {
            "task_class": named(tasks["class_index"][each], self.names.classes),
            "task": tasks["number"][each],
            "node": place,
            "step": named(nodes["label"], self.names.labels),
            "kind": named(nodes["kind"], NODE_KINDS),
            "tools": named(np.maximum(nodes["index"], 0), self.names.tools or ("",), nodes["kind"] != TOOL),
            "request_id": pa.array(nodes["request_id"], mask=(nodes["kind"] != CALL) | (nodes["request_id"] < 0)),
            "due_s": maybe(nodes["due_s"]),
            "began_s": maybe(np.where(again, np.nan, nodes["began_s"])),
            "ended_s": maybe(nodes["ended_s"]),
            "lost_runs": lost,
            "lost_s": lost_s,
            "state": named(nodes["state"], NODE_STATES),
        }
        return versioned(columns)


def _latency_s(tasks: Records) -> NDArray[np.float64]:
    latency: NDArray[np.float64] = tasks["finished_s"] - tasks["arrived_s"]
    return latency
