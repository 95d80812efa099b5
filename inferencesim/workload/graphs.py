"""All tasks of a scenario as graphs: those it describes, those of traces, and requests that are followed up."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.graph_tables import CALL, TASK
from inferencesim.scenario.arrivals import ByTasks, RecordedTasks
from inferencesim.workload.content import Draws
from inferencesim.workload.graph_parts import Part, asked_of, blank, joined
from inferencesim.workload.recorded import Recorded, with_chains
from inferencesim.workload.unrolling import Unrolling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.scenario.scenario import Scenario
    from inferencesim.scenario.workload import WorkloadClass
    from inferencesim.workload.graph_parts import Graphs
    from inferencesim.workload.load import Load

#: What a call takes over from a request of the load.
_FROM_LOAD = (
    "prompt_tokens",
    "output_tokens",
    "predicted_tokens",
    "prefix",
    "history",
    "chain",
    "chain_blocks",
    "media_units",
    "media_s",
    "cancel_after_s",
)


def followed_up(scenario: Scenario) -> list[WorkloadClass]:
    """Return the classes whose requests are tasks of their own: what follows their end is part of them."""
    return [each for each in scenario.workload if each.is_followed_up and not isinstance(each.arrivals, ByTasks)]


def task_classes(scenario: Scenario) -> tuple[str, ...]:
    """Return the names of all classes of tasks, in the order in which they are numbered."""
    return (*(each.name for each in scenario.tasks), *(each.name for each in followed_up(scenario)))


def promised_latencies(scenario: Scenario) -> NDArray[np.float64]:
    """Return the seconds in which a task of each class is promised to be done, in their order; infinite: nothing is."""
    promised = [each.promise.latency for each in scenario.tasks]
    for each in followed_up(scenario):
        limits = [limit for limit in (each.promise.e2e, each.promise.deadline) if limit is not None]
        promised.append(min(limits, default=None))
    return np.array([math.inf if limit is None else limit for limit in promised], np.float64)


def unroll(scenario: Scenario, load: Load, strict: bool = False) -> tuple[Graphs, Load]:
    """Draw all tasks of a scenario, and make tasks of those requests of its load that are followed up.

    Parameters
    ----------
    scenario : Scenario
    load : Load
        Its open-loop requests.
    strict : bool
        Whether a malformed row of a trace is an error.

    Returns
    -------
    graphs : Graphs
        Classes of tasks are numbered as the scenario has them; those of :func:`followed_up` come after.
    load : Load
        The requests that remain, with the cache blocks, malformed rows and notes of all traces.

    Raises
    ------
    InputError
        If a process or a distribution is not registered, a trace cannot be read or used, or the tasks have more nodes
        than memory holds.
    """
    classes = {each.name: (index, each) for index, each in enumerate(scenario.workload)}
    tools = {each.name: index for index, each in enumerate(scenario.tools)}
    recorded = {
        index: Recorded(task, index, scenario, classes, tools, strict)
        for index, task in enumerate(scenario.tasks)
        if isinstance(task.arrivals, RecordedTasks)
    }
    if recorded:
        block_ids, chain_tokens = with_chains(recorded, load.block_ids, load.chain_tokens)
        rows = {row for each in recorded.values() for row in each.malformed}
        notes = {note for each in recorded.values() for note in each.notes}
        load = replace(
            load,
            block_ids=block_ids,
            chain_tokens=chain_tokens,
            malformed=tuple(sorted(rows.union(load.malformed))),
            trace_notes=tuple(sorted(notes.union(load.trace_notes))),
        )
    parts = [
        recorded[index].part if index in recorded else Unrolling(task, index, scenario, classes, tools).done()
        for index, task in enumerate(scenario.tasks)
    ]
    taken = np.zeros(len(load), np.bool_)
    for each in followed_up(scenario):
        index = classes[each.name][0]
        of_class = load.class_index == index
        draws = Draws(each, int(of_class.sum()), scenario.seed, f"workload[{index}]")
        parts.append(_alone(load.of(of_class), draws, len(parts)))
        taken |= of_class
    graphs = joined(parts)
    graphs.tasks["promised_s"] = promised_latencies(scenario)[graphs.tasks["class_index"]]
    return graphs, load.of(~taken) if taken.any() else load


def _alone(load: Load, draws: Draws, index: int) -> Part:
    """Return requests as tasks of one call."""
    tasks, nodes = np.zeros(len(load), TASK), blank(len(load))
    tasks["class_index"] = index
    tasks["number"] = load.task
    tasks["arrived_s"] = load.arrived_s
    tasks["timeout_s"] = math.inf
    tasks["finished_s"] = math.nan
    tasks["session"] = load.session
    tasks["first_node"] = nodes["task"] = np.arange(len(load))
    tasks["nodes"] = tasks["fan_out"] = 1
    nodes["kind"] = CALL
    nodes["index"] = load.class_index
    nodes["branch_end"] = np.arange(1, len(load) + 1)
    nodes["first_inside"] = np.arange(len(load))
    for name in _FROM_LOAD:
        nodes[name] = getattr(load, name)
    for name, values in asked_of(draws).items():
        nodes[name] = values
    return Part(tasks, nodes, labels=("call",))
