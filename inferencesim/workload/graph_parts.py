"""What the graphs of a run's tasks are made of, before the clock starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.graph_tables import FIRST_HISTORY, LINEAGE, NODE, TASK
from inferencesim.scenario.answers import Threshold
from inferencesim.workload.lengths import sample_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

    from inferencesim.workload.content import Draws

    Integers = NDArray[np.int64]

#: The last of the models on a class's list, however many they are.
LAST_LEVEL = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Graphs:
    """All tasks of a scenario.

    Attributes
    ----------
    tasks : ndarray of TASK
        Sorted by arrival, then class, then number.
    nodes : ndarray of NODE
        Those of each task side by side, in the order of its steps; those of one branch, too.
    edges : ndarray of int64
        Nodes.
    lineage : ndarray of LINEAGE
        By history − FIRST_HISTORY.
    labels : tuple of str
        Steps by their place in their task, as in ``steps[1].repeat.steps[0]``.
    """

    tasks: NDArray[np.void]
    nodes: NDArray[np.void]
    edges: Integers
    lineage: NDArray[np.void]
    labels: tuple[str, ...]


@dataclass
class Part:
    """The graphs of one class of tasks, numbered by themselves; fields are those of :class:`Graphs`."""

    tasks: NDArray[np.void]
    nodes: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, NODE))
    edges: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    lineage: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, LINEAGE))
    labels: tuple[str, ...] = ()


def blank(size: int) -> NDArray[np.void]:
    """Return nodes of which nothing is known yet."""
    nodes = np.zeros(size, NODE)
    for name in ("index", "prefix", "history", "chain", "scope", "level", "slot", "request_id"):
        nodes[name] = -1
    for name in ("predicted_tokens", "difficulty", "due_s", "began_s", "ended_s"):
        nodes[name] = np.nan
    nodes["cancel_after_s"] = np.inf
    return nodes


def asked_of(draws: Draws) -> dict[str, NDArray[Any]]:
    """Draw how hard the requests of a class are, and which of its models each is for first (−1: any)."""
    answers = draws.each.answers
    if answers is None:
        return {}
    place = f"{draws.where}.answers.difficulty.distribution"
    difficulty = np.minimum(sample_seconds(answers.difficulty, draws.n, draws.stream("difficulty"), place), 1.0)
    level = np.full(draws.n, 0 if answers.start == "first" else -1)
    if isinstance(answers.start, Threshold):
        predicted = difficulty + answers.start.sigma * draws.stream("predicted_difficulty").standard_normal(draws.n)
        level = np.where(predicted > answers.start.threshold, LAST_LEVEL, 0)
    return {"difficulty": difficulty, "level": level}


def joined(parts: Sequence[Part]) -> Graphs:
    """Return the tasks of all classes together, in order of arrival."""
    seen = {"tasks": 0, "nodes": 0, "edges": 0, "lineage": 0}
    # Steps of several classes may stand in the same place, each in its own description.
    labels: dict[str, int] = {}
    for part in parts:
        part.tasks["first_node"] += seen["nodes"]
        for name in ("scope", "branch_end", "first_inside"):
            part.nodes[name] += np.where(part.nodes[name] >= 0, seen["nodes"], 0)
        part.nodes["first_edge"] += seen["edges"]
        part.nodes["history"] += np.where(part.nodes["history"] >= 0, FIRST_HISTORY + seen["lineage"], 0)
        of_part = np.array([labels.setdefault(each, len(labels)) for each in part.labels], np.int64)
        part.nodes["label"] = of_part[part.nodes["label"]]
        part.nodes["task"] += seen["tasks"]
        part.edges += seen["nodes"]
        part.lineage["parent"] += np.where(part.lineage["parent"] >= 0, seen["lineage"], 0)
        seen = {name: before + len(getattr(part, name)) for name, before in seen.items()}
    tasks = np.concatenate([np.zeros(0, TASK), *(part.tasks for part in parts)])
    order = np.argsort(tasks["arrived_s"], kind="stable")
    place = np.empty(order.size, np.int64)
    place[order] = np.arange(order.size)
    nodes = np.concatenate([np.zeros(0, NODE), *(part.nodes for part in parts)])
    nodes["task"] = place[nodes["task"]]
    return Graphs(
        tasks=tasks[order],
        nodes=nodes,
        edges=np.concatenate([np.zeros(0, np.int64), *(part.edges for part in parts)]),
        lineage=np.concatenate([np.zeros(0, LINEAGE), *(part.lineage for part in parts)]),
        labels=tuple(labels),
    )
