"""Tasks of a trace as graphs: their recorded calls, tools and waits, for the kernel to play."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.errors import InputError
from inferencesim.kernel.graph_tables import CALL, JOIN, LINEAGE, TASK, TOOL, WAIT
from inferencesim.scenario.arrivals import RecordedTasks
from inferencesim.scenario.tasks import OTHERS
from inferencesim.workload.chains import Hashes, join_chains
from inferencesim.workload.content import Draws
from inferencesim.workload.graph_parts import Part, asked_of, blank
from inferencesim.workload.streams import session_base
from inferencesim.workload.task_traces.order import as_started, in_dependence, width
from inferencesim.workload.task_traces.reading import read_tasks
from inferencesim.workload.traces.record import BlockHashes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from inferencesim.scenario.scenario import Scenario
    from inferencesim.scenario.tasks import TaskClass
    from inferencesim.scenario.workload import WorkloadClass
    from inferencesim.workload.task_traces.order import Step
    from inferencesim.workload.task_traces.spans import Span, TaskTrace

    Integers = NDArray[np.int64]


class Recorded:
    """The tasks of one class, from its trace.

    Attributes
    ----------
    part : Part
        Calls with hashes have no chains yet; see :func:`with_chains`.
    block_size : int
        Tokens per block of the trace's hashes; 0 without any.
    malformed : tuple of MalformedRow
    notes : tuple of TraceNote
        What the reader assumed or left out.
    """

    def __init__(
        self,
        task: TaskClass,
        index: int,
        scenario: Scenario,
        classes: Mapping[str, tuple[int, WorkloadClass]],
        tools: Mapping[str, int],
        strict: bool,
    ) -> None:
        self._task, self._classes, self._tools = task, classes, tools
        self._where = f"tasks[{index}]"
        self._name = f"task:{task.name}"
        self._seed = scenario.seed
        self._trace, arrived_s = _read(task, scenario.horizon, strict, f"{self._where}.arrivals")
        self.malformed = () if self._trace is None else self._trace.malformed
        self.notes = () if self._trace is None else self._trace.said()
        self.block_size = 0 if self._trace is None else self._trace.block_size or 0
        roots = [] if self._trace is None else [self._trace.tasks[row] for row, _ in arrived_s]
        self._labels: dict[str, int] = {}
        self._calls: list[Span] = []
        self._call_nodes: list[int] = []
        self._columns: list[tuple[int, int, int, int, float, int]] = []
        self._edges: list[tuple[int, int]] = []
        tasks = np.zeros(len(roots), TASK)
        tasks["class_index"] = index
        tasks["number"] = np.arange(len(roots))
        tasks["arrived_s"] = [at_s for _, at_s in arrived_s]
        tasks["timeout_s"] = math.inf if task.timeout is None else task.timeout
        tasks["finished_s"] = math.nan
        tasks["session"] = session_base(self._name) + np.arange(len(roots))
        for number, root in enumerate(roots):
            tasks["first_node"][number] = len(self._columns)
            tasks["fan_out"][number] = self._unfold(number, root)
        tasks["nodes"] = np.diff([*tasks["first_node"], len(self._columns)])
        self.part = Part(tasks, self._nodes(tasks), self._sorted_edges(), labels=tuple(self._labels))
        self._fill_calls()

    def _unfold(self, number: int, root: Span) -> int:
        """Add the nodes of a task; return its width."""
        arrivals = self._task.arrivals
        assert isinstance(arrivals, RecordedTasks)
        steps = in_dependence(root) if arrivals.times == "recorded" else as_started(root)
        begin = self._add(number, JOIN, "begin", ())
        nodes: list[int] = []
        for step in steps:
            before = [nodes[each] for each in step.after] or [begin]
            if step.lag_s > 0.0:
                before = [self._add(number, WAIT, "wait", before, work_s=step.lag_s)]
            nodes.append(self._step(number, step, before))
        return width(in_dependence(root))

    def _step(self, number: int, step: Step, before: Sequence[int]) -> int:
        span = step.span
        if span is None:
            return self._add(number, JOIN, "end", before)
        if span.kind == "call":
            node = self._add(number, CALL, f"call {span.model or span.agent}".strip(), before, self._class_of(span))
            self._calls.append(span)
            self._call_nodes.append(node)
            return node
        pool = self._task.tools.get(span.name, self._task.tools.get(OTHERS))
        kind, index = (WAIT, -1) if pool is None else (TOOL, self._tools[pool])
        return self._add(number, kind, f"tool {span.name}".strip(), before, index, span.end_s - span.start_s)

    def _class_of(self, span: Span) -> int:
        called = self._task.called
        name = next((called[key] for key in (span.agent, span.model, OTHERS) if key in called), None)
        if name is None:
            raise InputError(
                f"{self._where}.calls",
                f"the trace has calls of {span.agent or span.model or 'nobody'!r}, of which no class is named",
                f"Add {{{span.agent or span.model or OTHERS!r}: CLASS}}, or {{{OTHERS!r}: CLASS}} for all others.",
            )
        index, each = self._classes[name]
        if not each.is_traced:
            raise InputError(
                f"{self._where}.calls",
                f"class {name!r} is of kind {each.kind!r}, of whose requests a trace says too little",
                "Name a class of kind chat, embedding, rerank or classify.",
            )
        return index

    def _add(
        self, number: int, kind: int, label: str, before: Sequence[int], index: int = -1, work_s: float = 0.0
    ) -> int:
        node = len(self._columns)
        place = self._labels.setdefault(label, len(self._labels))
        self._columns.append((number, kind, index, place, work_s, len(before)))
        self._edges.extend((each, node) for each in before)
        return node

    def _nodes(self, tasks: NDArray[np.void]) -> NDArray[np.void]:
        nodes = blank(len(self._columns))
        for name, values in zip(
            ("task", "kind", "index", "label", "work_s", "before"), zip(*self._columns, strict=True), strict=False
        ):
            nodes[name] = values
        nodes["needs"] = nodes["before"]
        nodes["cores"] = nodes["kind"] == TOOL
        nodes["branch_end"] = (tasks["first_node"] + tasks["nodes"])[nodes["task"]]
        nodes["first_inside"] = np.arange(nodes.size)
        sources = np.array([before for before, _ in self._edges], np.int64)
        nodes["edges"] = np.bincount(sources, minlength=nodes.size)
        nodes["first_edge"] = np.cumsum(nodes["edges"]) - nodes["edges"]
        return nodes

    def _sorted_edges(self) -> Integers:
        """Return the nodes that follow, node by node."""
        edges = np.array(self._edges, np.int64).reshape(-1, 2)
        following: Integers = edges[np.argsort(edges[:, 0], kind="stable"), 1]
        return following

    def _histories(self) -> tuple[Integers, NDArray[np.void]]:
        """Return the history of each call without hashes, and what each history begins with.

        A call that begins with all that was said up to another continues its
        history, unless a third one did; else it has a history of its own.
        """
        history: dict[int, int] = {}
        lineage: list[tuple[int, int]] = []
        continued: set[int] = set()
        for span in self._calls:
            before, shared = span.shares or (span, 0)
            said = before.prompt_tokens + before.output_tokens
            if 0 < said <= shared and id(before) in history and id(before) not in continued:
                continued.add(id(before))
                history[id(span)] = history[id(before)]
            elif span.blocks is None:
                history[id(span)] = len(lineage)
                lineage.append((history.get(id(before), -1), shared) if before is not span else (-1, 0))
        rows = np.array([history.get(id(span), -1) for span in self._calls], np.int64)
        return rows, np.array(lineage, LINEAGE)

    def _fill_calls(self) -> None:
        """Say what is in the calls."""
        rows = np.array(self._call_nodes, np.int64)
        nodes = self.part.nodes
        nodes["prompt_tokens"][rows] = [span.prompt_tokens for span in self._calls]
        nodes["output_tokens"][rows] = [span.output_tokens for span in self._calls]
        nodes["history"][rows], self.part.lineage = self._histories()
        for name in dict.fromkeys(self._task.called.values()):
            index, each = self._classes[name]
            of_class = rows[nodes["index"][rows] == index]
            draws = Draws(each, of_class.size, self._seed, f"workload[{index}]", (self._name,))
            if not each.generates:
                nodes["output_tokens"][of_class] = 1
            nodes["predicted_tokens"][of_class] = draws.predicted_tokens(nodes["output_tokens"][of_class])
            for column, values in asked_of(draws).items():
                nodes[column][of_class] = values

    def hashes(self) -> Hashes | None:
        """Return the hashes of the prompts of its calls; None without any."""
        if not self.block_size or self._trace is None:
            return None
        blocks = [np.zeros(0, np.int64) if span.blocks is None else np.array(span.blocks) for span in self._calls]
        offsets = np.cumsum([0, *(each.size for each in blocks)])
        values = np.concatenate([np.zeros(0, np.int64), *blocks])
        prompts = np.array([span.prompt_tokens for span in self._calls], np.int64)
        return Hashes(self._trace.source, BlockHashes(offsets, values, self.block_size), prompts)

    def chain(self, chain: Integers, chain_blocks: Integers) -> None:
        """Fill in where the blocks of each call begin, and how many there are."""
        self.part.nodes["chain"][self._call_nodes] = chain
        self.part.nodes["chain_blocks"][self._call_nodes] = chain_blocks

    @property
    def calls(self) -> int:
        """How many calls there are."""
        return len(self._calls)

    @property
    def classes(self) -> Integers:
        """The classes it calls."""
        return np.unique(self.part.nodes["index"][self._call_nodes])


def with_chains(
    recorded: Mapping[int, Recorded], block_ids: Integers, chain_tokens: Integers
) -> tuple[Integers, Integers]:
    """Give the calls of all traces the ids of their cache blocks, after those of the load's requests.

    Parameters
    ----------
    recorded : mapping of int to Recorded
        By the place of their class among those of tasks.
    block_ids, chain_tokens : ndarray of int64
        Of the load; see :class:`inferencesim.workload.load.Load`.

    Returns
    -------
    block_ids, chain_tokens : ndarray of int64
        Of load and tasks.

    Raises
    ------
    InputError
        If a class is called with blocks of two sizes.
    """
    hashes = [each.hashes() for each in recorded.values()]
    chains = join_chains(hashes, [each.calls for each in recorded.values()])
    chain_tokens = chain_tokens.copy()
    for (index, each), chain, blocks in zip(recorded.items(), chains.chain, chains.chain_blocks, strict=True):
        each.chain(np.where(chain >= 0, chain + block_ids.size, -1), blocks)
        if not each.block_size:
            continue
        for called in each.classes:
            if chain_tokens[called] not in (0, each.block_size):
                raise InputError(
                    f"tasks[{index}].calls",
                    f"one class has prompts hashed in blocks of {chain_tokens[called]} and of {each.block_size} tokens",
                    "Give the calls of each trace a class of their own.",
                )
            chain_tokens[called] = each.block_size
    known = int(block_ids.max(initial=-1)) + 1
    return np.concatenate([block_ids, chains.block_ids + known]), chain_tokens


def _read(
    task: TaskClass, horizon_s: float, strict: bool, where: str
) -> tuple[TaskTrace | None, list[tuple[int, float]]]:
    """Return the trace of a class, and its tasks in the simulation: their places there, and when they arrive."""
    arrivals = task.arrivals
    assert isinstance(arrivals, RecordedTasks)
    begin_s = task.active.from_s
    end_s = horizon_s if task.active.to_s is None else min(task.active.to_s, horizon_s)
    if end_s <= begin_s:
        return None, []
    window = arrivals.window
    length_s = (end_s - begin_s) * arrivals.rate_scale
    if window.length is not None:
        length_s = min(length_s, window.length)
    trace = read_tasks(
        Path(arrivals.file),
        arrivals.format,
        strict,
        start_s=window.from_s,
        end_s=window.from_s + length_s,
        where=f"{where}.format",
    )
    if arrivals.times not in trace.times:
        missing = "ends of its calls" if arrivals.times == "recorded" else "starts of its calls"
        raise InputError(
            f"{where}.times",
            f"a trace of format {trace.format} does not tell the {missing}, which {arrivals.times!r} needs",
            f"Write times: {trace.times[0]}.",
        )
    arrived_s = [begin_s + (root.start_s - window.from_s) / arrivals.rate_scale for root in trace.tasks]
    return trace, [(row, at_s) for row, at_s in enumerate(arrived_s) if at_s < end_s]
