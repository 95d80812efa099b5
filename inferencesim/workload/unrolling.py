"""Tasks of one class unrolled: which nodes each has, what is in them, and what follows what.

Nothing of a graph depends on the fleet: lengths, loops, widths and tool times
are drawn here, from streams named by task class, step and iteration and read in
order of task numbers, so that every fleet and policy meets the same graphs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.errors import InputError
from inferencesim.kernel.graph_tables import CALL, JOIN, LINEAGE, NODE, TASK, TOOL, WAIT
from inferencesim.scenario.arrivals import RecordedTasks
from inferencesim.scenario.tasks import Call, FanOut, Repeat, Tool, Wait
from inferencesim.workload.arrivals import arrival_times
from inferencesim.workload.content import Draws, prefix_ids, shared_tokens, whole_tokens
from inferencesim.workload.graph_parts import Part, asked_of, blank
from inferencesim.workload.lengths import sample, sample_seconds
from inferencesim.workload.streams import session_base, stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from inferencesim.scenario.scenario import Scenario
    from inferencesim.scenario.tasks import Branches, TaskClass
    from inferencesim.scenario.workload import WorkloadClass

    Integers = NDArray[np.int64]

#: Nodes of one run beyond which its graphs would not fit into the memory of a large machine (270 bytes each).
MOST_NODES = 2e8


@dataclass
class _Thread:
    """Where each task stands in one of its threads; arrays over all tasks of the class.

    Parameters
    ----------
    last : numpy.ndarray
        The node each did last.
    begun : numpy.ndarray
        Whether a model was asked already, with its shared prefix.
    context : numpy.ndarray
        Tokens said so far.
    history : numpy.ndarray
        The row of its history.
    answer : numpy.ndarray
        Tokens of its last answer.
    scope, branch : int
        Serial number of the branches it is one of, and which; −1 for none.
    """

    last: Integers
    begun: NDArray[np.bool_]
    context: Integers
    history: Integers
    answer: Integers
    scope: int = -1
    branch: int = -1


class Unrolling:
    """Draws the tasks of one class, a step of all of them at a time.

    Steps are drawn in the order in which a task does them, branch after branch.
    Hence the nodes of one task, taken in the order in which they were drawn,
    are those of a walk through its graph, depth first.
    """

    def __init__(
        self,
        task: TaskClass,
        index: int,
        scenario: Scenario,
        classes: Mapping[str, tuple[int, WorkloadClass]],
        tools: Mapping[str, int],
    ) -> None:
        self.task = task
        self.where = f"tasks[{index}]"
        self.name = f"task:{task.name}"
        self.seed = scenario.seed
        self.classes, self.tools = classes, tools
        if isinstance(task.arrivals, RecordedTasks):
            msg = f"{task.name!r} is from a trace"
            raise ValueError(msg)
        arrivals = stream(self.seed, self.name, "arrivals")
        times = arrival_times(task.arrivals, task.active, scenario.horizon, arrivals, f"{self.where}.arrivals")
        self.n = len(times)
        self.tasks = np.zeros(self.n, TASK)
        self.tasks["class_index"] = index
        self.tasks["number"] = np.arange(self.n)
        self.tasks["arrived_s"] = times
        self.tasks["timeout_s"] = math.inf if task.timeout is None else task.timeout
        self.tasks["finished_s"] = math.nan
        self.tasks["session"] = session_base(self.name) + np.arange(self.n)
        self.tasks["fan_out"] = 1
        self._parts: list[NDArray[np.void]] = []
        self._edges: list[Integers] = []
        self._lineage: list[NDArray[np.void]] = []
        self._count = self._histories = self._scopes = 0
        self._labels: dict[str, int] = {}
        self._places: list[tuple[int, int, int]] = []  # nodes added together, scope and branch they stand in
        self._joins: list[tuple[int, Integers, Integers]] = []  # scope, tasks, their joins
        self._prefixes: dict[str, Integers] = {}

    def done(self) -> Part:
        """Draw all steps; return the nodes."""
        everybody = np.arange(self.n)
        thread = _Thread(
            last=self._add(everybody, JOIN, "begin", needs=0),
            begun=np.zeros(self.n, np.bool_),
            context=np.zeros(self.n, np.int64),
            history=self._new_histories(everybody),
            answer=np.zeros(self.n, np.int64),
        )
        self._steps(self.task.steps, f"{self.where}.steps", (), everybody, thread)
        end = self._add(everybody, JOIN, "end", needs=1)
        self._link(thread.last, end)
        return self._sorted()

    def _steps(
        self, steps: Sequence[Any], place: str, path: tuple[str | int, ...], members: Integers, thread: _Thread
    ) -> None:
        """Draw steps of those `members` of the class's tasks that do them."""
        for index, step in enumerate(steps):
            here, path_here = f"{place}[{index}]", (*path, index)
            taking = members
            if step.chance < 1.0:
                drawn = self._stream("chance", path_here).random(self.n)
                taking = members[drawn[members] < step.chance]
            if taking.size == 0:
                continue
            if isinstance(step, Call):
                self._call(step, here, path_here, taking, thread)
            elif isinstance(step, (Tool, Wait)):
                self._work(step, here, path_here, taking, thread)
            elif isinstance(step, Repeat):
                times = self._drawn(step.repeat.times, "times", path_here, f"{here}.repeat.times")
                for turn in range(int(times[taking].max())):
                    again = taking[times[taking] > turn]
                    self._steps(step.repeat.steps, f"{here}.repeat.steps", (*path_here, turn), again, thread)
            elif isinstance(step, FanOut):
                self._fan_out(step.fan_out, f"{here}.fan_out", path_here, taking, thread)

    def _call(self, step: Call, place: str, path: tuple[str | int, ...], members: Integers, thread: _Thread) -> None:
        index, each = self.classes[step.call]
        draws = Draws(each, self.n, self.seed, f"workload[{index}]", (self.name, *path))
        content = draws.content()
        own = whole_tokens(content.prompt_tokens)[members]
        output = whole_tokens(content.output_tokens)[members]
        grows = (step.context or self.task.context) == "grows"
        if grows and self.task.max_context is not None:
            too_long = thread.context[members] + own + output > self.task.max_context
            anew = members[too_long & thread.begun[members]]
            thread.begun[anew] = False
            thread.context[anew] = 0
            thread.history[anew] = self._new_histories(anew)
        before, history = np.zeros(members.size, np.int64), np.full(members.size, -1)
        begins = np.ones(members.size, np.bool_)
        if grows:
            before, history, begins = thread.context[members], thread.history[members], ~thread.begun[members]
        prompt = np.where(begins, shared_tokens(each), 0) + before + own
        nodes = self._add(
            members,
            CALL,
            place,
            thread,
            index=index,
            prompt_tokens=prompt,
            output_tokens=output,
            predicted_tokens=draws.predicted_tokens(whole_tokens(content.output_tokens))[members],
            prefix=prefix_ids(self._prefix(each), index)[members],
            history=history,
            media_units=content.media_units[members],
            media_s=content.media_s[members],
            **{name: values[members] for name, values in asked_of(draws).items()},
        )
        self._follow(thread, members, nodes)
        thread.answer[members] = output
        if grows:
            thread.begun[members] = True
            thread.context[members] = prompt + output

    def _prefix(self, each: WorkloadClass) -> Integers:
        """Return the variant of a class's shared prefix that each task has, in all its calls of that class."""
        if each.name not in self._prefixes:
            self._prefixes[each.name] = Draws(each, self.n, self.seed, self.where, (self.name,)).variants()
        return self._prefixes[each.name]

    def _work(
        self, step: Tool | Wait, place: str, path: tuple[str | int, ...], members: Integers, thread: _Thread
    ) -> None:
        lengths, name = (step.time, "time") if isinstance(step, Tool) else (step.wait, "wait")
        work_s = sample_seconds(lengths, self.n, self._stream(name, path), f"{place}.{name}.distribution")
        if isinstance(step, Tool):
            said = {"index": self.tools[step.tool], "cores": step.cores}
            nodes = self._add(members, TOOL, place, thread, work_s=work_s[members], **said)
        else:
            nodes = self._add(members, WAIT, place, thread, work_s=work_s[members])
        self._follow(thread, members, nodes)
        if step.adds is not None:
            thread.context[members] += self._drawn(step.adds, "adds", path, f"{place}.adds")[members]

    def _fan_out(
        self, spec: Branches, place: str, path: tuple[str | int, ...], members: Integers, thread: _Thread
    ) -> None:
        widths = self._drawn(spec.width, "width", path, f"{place}.width")
        self._scopes += 1
        scope, fork = self._scopes, thread.last.copy()
        joined = widths if spec.join == "all" else np.minimum(widths, spec.join)
        taken = joined if spec.takes is None else np.minimum(widths, spec.takes)
        ends: list[tuple[Integers, Integers]] = []
        added = np.zeros(self.n, np.int64)
        for branch in range(int(widths[members].max())):
            inside = members[widths[members] > branch]
            of_branch = self._branch(spec, inside, thread, fork, scope, branch)
            self._steps(spec.steps, f"{place}.steps", (*path, "branch", branch), inside, of_branch)
            ends.append((inside, of_branch.last[inside]))
            added[inside] += np.where(taken[inside] > branch, of_branch.answer[inside], 0)
        join = self._add(members, JOIN, f"{place}.join", thread, needs=joined[members])
        self._joins.append((scope, members, join))
        by_task = np.full(self.n, -1)
        by_task[members] = join
        for inside, last in ends:
            self._link(last, by_task[inside])
        thread.last[members] = join
        thread.context[members] += added[members]
        self.tasks["fan_out"][members] = np.maximum(self.tasks["fan_out"][members], widths[members])

    def _branch(
        self, spec: Branches, inside: Integers, thread: _Thread, fork: Integers, scope: int, branch: int
    ) -> _Thread:
        """Return where a branch begins."""
        shared = spec.context == "shared"
        begun = thread.begun.copy() if shared else np.zeros(self.n, np.bool_)
        context = thread.context.copy() if shared else np.zeros(self.n, np.int64)
        history = np.full(self.n, -1)
        parents = thread.history[inside] if shared else np.full(inside.size, -1)
        history[inside] = self._new_histories(inside, parents, context[inside])
        return _Thread(fork.copy(), begun, context, history, np.zeros(self.n, np.int64), scope, branch)

    def _new_histories(
        self, members: Integers, parents: Integers | None = None, shared: Integers | None = None
    ) -> Integers:
        """Return a new history for each member, which begins with so many tokens of its parent."""
        lineage = np.zeros(members.size, LINEAGE)
        lineage["parent"] = -1 if parents is None else parents
        lineage["shared_tokens"] = 0 if shared is None else shared
        self._lineage.append(lineage)
        first = self._histories
        self._histories += members.size
        return first + np.arange(members.size)

    def _follow(self, thread: _Thread, members: Integers, nodes: Integers) -> None:
        """Have nodes come after what their threads did last."""
        self._link(thread.last[members], nodes)
        thread.last[members] = nodes

    def _link(self, before: Integers, after: Integers) -> None:
        self._edges.append(np.stack([before, after]))

    def _add(self, members: Integers, kind: int, place: str, thread: _Thread | None = None, **said: Any) -> Integers:
        """Add a node of each member; return their numbers."""
        nodes = blank(members.size)
        label = place.removeprefix(f"{self.where}.")
        nodes["task"] = members
        nodes["kind"] = kind
        nodes["label"] = self._labels.setdefault(label, len(self._labels))
        for name, values in ({"needs": 1} | said).items():
            nodes[name] = values
        self._places.append((members.size, *((-1, -1) if thread is None else (thread.scope, thread.branch))))
        self._parts.append(nodes)
        first = self._count
        self._count += members.size
        if self._count > MOST_NODES:
            raise InputError(
                f"{self.where}.steps",
                f"its tasks have more than {MOST_NODES:.0e} steps together, which no memory holds",
                "Ask for fewer tasks, for a shorter horizon, or for shorter loops.",
            )
        return first + np.arange(members.size)

    def _drawn(self, lengths: Any, what: str, path: tuple[str | int, ...], place: str) -> Integers:
        return sample(lengths, self.n, self._stream(what, path), f"{place}.distribution")

    def _stream(self, what: str, path: tuple[str | int, ...]) -> np.random.Generator:
        return stream(self.seed, self.name, what, *path)

    def _sorted(self) -> Part:
        """Return the nodes task by task."""
        drawn = np.concatenate([np.zeros(0, NODE), *self._parts])
        order = np.argsort(drawn["task"], kind="stable")
        nodes = drawn[order]
        place = np.empty(order.size, np.int64)
        place[order] = np.arange(order.size)
        first = np.searchsorted(nodes["task"], np.arange(self.n + 1))
        self.tasks["first_node"], self.tasks["nodes"] = first[:-1], np.diff(first)

        before, after = place[np.concatenate([np.zeros((2, 0), np.int64), *self._edges], axis=1)]
        by_source = np.argsort(before, kind="stable")
        nodes["edges"] = np.bincount(before, minlength=nodes.size)
        nodes["first_edge"] = np.cumsum(nodes["edges"]) - nodes["edges"]
        nodes["before"] = np.bincount(after, minlength=nodes.size)

        self._enclose(nodes, order, place)
        lineage = np.concatenate([np.zeros(0, LINEAGE), *self._lineage])
        return Part(self.tasks, nodes, after[by_source], lineage, tuple(self._labels))

    def _enclose(self, nodes: NDArray[np.void], order: Integers, place: Integers) -> None:
        """Fill in what branches each node stands in, and where they begin and end."""
        places = np.array(self._places, np.int64).reshape(-1, 3)
        scope, branch = np.repeat(places[:, 1:], places[:, 0], axis=0)[order].T
        inside = np.flatnonzero(scope >= 0)
        last_node = self.tasks["first_node"] + self.tasks["nodes"]
        nodes["scope"] = -1
        nodes["branch_end"] = last_node[nodes["task"]]
        nodes["first_inside"] = np.arange(nodes.size)
        if inside.size == 0:
            return
        joins = np.concatenate([number * self.n + tasks for number, tasks, _ in self._joins])
        join_nodes = place[np.concatenate([join for _, _, join in self._joins])]
        by_key = np.argsort(joins)
        keys = scope[inside] * self.n + nodes["task"][inside]
        nodes["scope"][inside] = join_nodes[by_key[np.searchsorted(joins, keys, sorter=by_key)]]
        # Of several nodes of one branch the last writes last, of several inside one join the first.
        width = int(branch.max()) + 1
        _, which = np.unique(keys * width + branch[inside], return_inverse=True)
        end = np.zeros(which.max() + 1, np.int64)
        np.maximum.at(end, which, inside + 1)
        nodes["branch_end"][inside] = end[which]
        # A branch may begin with branches of its own: a join reaches back as far as the joins inside it.
        while True:
            before = nodes["first_inside"].copy()
            np.minimum.at(nodes["first_inside"], nodes["scope"][inside], before[inside])
            if (nodes["first_inside"] == before).all():
                return
