"""What holds of every task, held against the rows that a run recorded of tasks, steps and requests.

The graphs are drawn anew from the manifest's scenario and its seed, by the
function that drew them for the simulation: which steps a task has, which need
which, how long tools and waits last and how many cores they take is not
believed to the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from inferencesim.errors import InputError
from inferencesim.kernel.graph_tables import JOIN, NODE_KINDS, TOOL, WAIT
from inferencesim.ledger.promises import with_rounding
from inferencesim.results.causes import codes
from inferencesim.results.findings import EXAMPLES, Constraint
from inferencesim.results.task_tries import check_tries
from inferencesim.workload.graphs import task_classes, unroll
from inferencesim.workload.load import generate_load

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.results.records.tasks import TaskConservation
    from inferencesim.simulation.plan import Plan
    from inferencesim.workload.graph_parts import Graphs

    Flags = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


_STATEMENTS = {
    "steps_drawn": "every task has the steps that seed and scenario draw for it, tools and waits as long",
    "step_order": "every step was due when what it needs was done, and none before",
    "joins": "every join passed on when branches enough were done, and none before",
    "tool_cores": "tools never held more cores than there are",
    "tries": "a call asks again only after its last request, which nobody answered, or badly",
    "retry_budget": "no call asked more often than its class allows",
    "task_sums": "what a task counts is what its requests and steps add up to",
    "task_promises": "recorded promises of tasks are kept or broken as the recorded times say",
    "tasks_all_there": "as many tasks as the summary counts, and none without its requests, or they without it",
}

#: Of sums of money and of seconds, and of moments on the simulation's clock.
_RELATIVE, _ROUNDING_S = 1e-9, 1e-6


def check_tasks(
    plan: Plan,
    tables: dict[str, pd.DataFrame] | None,
    end_s: float | None,
    counted: TaskConservation | None,
    *,
    sampled: bool = False,
) -> tuple[Constraint, ...]:
    """Hold everything that is to hold of tasks against the rows of a run; nothing of a scenario without tasks.

    Parameters
    ----------
    plan : Plan
        Of the manifest's scenario.
    tables : dict of DataFrame or None
        ``tasks``, ``steps`` and ``requests``; None if they were not recorded.
    end_s : float or None
        When the simulation stopped; None of a run that did not come to its end.
    counted : TaskConservation or None
        What its summary counts.
    sampled : bool
        Whether a sample of the tasks was kept only.
    """
    if not task_classes(plan.scenario):
        return ()
    if tables is None:
        return tuple(_unproven(name, "tasks were not recorded") for name in _STATEMENTS)
    rows = _Rows.of(plan, **tables)
    asks_again, asks_too_often = check_tries(plan, rows.requests, rows.steps)
    found = [
        *_drawn(plan, rows),
        rows.finding("tries", rows.of_calls(asks_again), len(rows.requests)),
        rows.finding("retry_budget", rows.of_calls(asks_too_often), len(rows.requests)),
        rows.finding("task_sums", _sums_differ(rows), len(rows.tasks)),
    ]
    if end_s is None or counted is None:
        why = "the run did not come to its end, where tasks were still open"
        return (*found, _unproven("task_promises", why), _unproven("tasks_all_there", why))
    return (
        *found,
        rows.finding("task_promises", _belied(plan, rows, end_s), len(rows.tasks)),
        _all_there(rows, counted, sampled=sampled),
    )


def _unproven(name: str, why: str) -> Constraint:
    return Constraint.unproven(name, _STATEMENTS[name], why)


@dataclass(frozen=True)
class _Rows:
    """The three tables, each with the task its rows are of.

    Attributes
    ----------
    tasks, steps, requests : DataFrame
        Of requests those of tasks only. The index of `tasks` numbers them; `of` of the others says which of them a
        row is of, −1 none.
    """

    tasks: pd.DataFrame
    steps: pd.DataFrame
    requests: pd.DataFrame

    @classmethod
    def of(cls, plan: Plan, tasks: pd.DataFrame, steps: pd.DataFrame, requests: pd.DataFrame) -> _Rows:
        """Return the tables with tasks numbered, and every other row given the number of its task."""
        names = task_classes(plan.scenario)
        tasks = tasks.assign(owner=codes(tasks["task_class"], names)).reset_index(drop=True)
        key = pd.MultiIndex.from_arrays([tasks["owner"], tasks["task"]])
        first = ~key.duplicated()
        unique = key[first]

        def numbered(table: pd.DataFrame) -> pd.DataFrame:
            own = pd.MultiIndex.from_arrays([codes(table["task_class"], names), table["task"]])
            place = unique.get_indexer(own)
            return table.assign(of=np.where(place >= 0, np.flatnonzero(first)[place], -1)).reset_index(drop=True)

        calls = numbered(requests[requests["task_class"].notna()])
        calls = calls.assign(node=calls["node"].fillna(-1).astype(np.int64))
        return cls(tasks, numbered(steps), calls.sort_values(["of", "node", "attempt"], kind="stable"))

    def of_calls(self, broken: Flags) -> Integers:
        """Return the tasks of some rows of the requests."""
        found: Integers = self.requests["of"].to_numpy(np.int64)[broken]
        return found

    def finding(self, name: str, broken: Integers, rows: int, why: str = "") -> Constraint:
        """Return what was found of a constraint, given the tasks that break it (−1: some without a row)."""
        tasks = np.unique(broken)
        known = self.tasks.loc[tasks[tasks >= 0][:EXAMPLES], ["task_class", "task"]]
        return Constraint(
            name=name,
            statement=_STATEMENTS[name],
            state="broken" if broken.size else "proven",
            rows=rows,
            broken=int(broken.size),
            examples=(),
            tasks=tuple(f"{of}/{number}" for of, number in known.itertuples(index=False, name=None)),
            why=(why or "the rows say otherwise") if broken.size else "",
        )


def _drawn(plan: Plan, rows: _Rows) -> list[Constraint]:
    """Check what depends on the graphs as they were drawn."""
    names = ("steps_drawn", "step_order", "joins", "tool_cores")
    scenario = plan.scenario
    try:
        load = generate_load(scenario.workload, scenario.horizon, scenario.seed, Path())
        graphs, _ = unroll(scenario, load)
    except InputError as problem:
        return [_unproven(name, f"the tasks cannot be drawn any more ({problem})") for name in names]
    drawn = _Drawn(graphs, rows)
    nodes = drawn.node >= 0
    joins = nodes & (drawn.of_nodes("kind") == JOIN)
    wrong = drawn.too_early()
    of = rows.steps["of"].to_numpy(np.int64)
    return [
        rows.finding("steps_drawn", np.concatenate([drawn.other_tasks(), of[drawn.other_steps()]]), len(rows.steps)),
        rows.finding("step_order", of[wrong & ~joins], int((nodes & ~joins).sum())),
        rows.finding("joins", of[wrong & joins], int(joins.sum())),
        _cores_held(drawn, rows, of[drawn.beyond_cores(plan)]),
    ]


def _cores_held(drawn: _Drawn, rows: _Rows, beyond: Integers) -> Constraint:
    """Return what was found of the cores that tools held; of runs that were lost, nobody wrote down when they began."""
    tools = drawn.of_nodes("kind") == TOOL
    lost = int(rows.steps["lost_runs"].sum() - (drawn.failed & tools).sum())
    if lost and not beyond.size:
        return _unproven("tool_cores", f"of {lost:,} runs that never came back it is not recorded when they began")
    return rows.finding("tool_cores", beyond, int(tools.sum()))


class _Drawn:
    """Recorded steps beside the graphs as they were drawn.

    Parameters
    ----------
    graphs : Graphs
    rows : _Rows
    """

    def __init__(self, graphs: Graphs, rows: _Rows) -> None:
        self.graphs, self.rows, steps = graphs, rows, rows.steps
        key = pd.MultiIndex.from_arrays([graphs.tasks["class_index"], graphs.tasks["number"]])
        #: Of each recorded task, the row among those drawn; −1 of one that was not.
        self.task = key.get_indexer(pd.MultiIndex.from_arrays([rows.tasks["owner"], rows.tasks["task"]]))
        of = steps["of"].to_numpy(np.int64)
        task = np.where(of >= 0, np.append(self.task, -1)[of], -1)
        place = steps["node"].to_numpy(np.int64)
        known = (task >= 0) & (place >= 0) & (place < np.append(graphs.tasks["nodes"], 0)[task])
        #: Of each recorded step, the node among those drawn; −1 of one that was not.
        self.node = np.where(known, np.append(graphs.tasks["first_node"], 0)[task] + place, -1)
        self.due_s, self.began_s, self.ended_s = (
            steps[name].to_numpy(np.float64, na_value=np.nan) for name in ("due_s", "began_s", "ended_s")
        )
        self.done, self.failed = ((steps["state"] == state).to_numpy(bool) for state in ("done", "failed"))

    def of_nodes(self, name: str) -> NDArray[np.generic]:
        """Return what was drawn of the node of each recorded step; of an unknown one, of some other."""
        found: NDArray[np.generic] = self.graphs.nodes[name][self.node]
        return found

    def other_tasks(self) -> Integers:
        """Return the recorded tasks that were not drawn so, or have fewer or more steps."""
        tasks = self.rows.tasks
        count = np.bincount(self.rows.steps["of"].to_numpy(np.int64) + 1, minlength=len(tasks) + 1)[1:]
        drawn = np.append(self.graphs.tasks["nodes"], -1)[self.task]
        arrived_s = np.append(self.graphs.tasks["arrived_s"], np.nan)[self.task]
        return np.flatnonzero((count != drawn) | (tasks["arrived_s"].to_numpy() != arrived_s))

    def other_steps(self) -> Flags:
        """Tell which recorded steps were not drawn, or not so."""
        steps, kind = self.rows.steps, self.of_nodes("kind")
        labels = codes(steps["step"], self.graphs.labels)
        other = (codes(steps["kind"], NODE_KINDS) != kind) | (labels != self.of_nodes("label"))
        lasted = self.ended_s - np.where(kind == TOOL, self.began_s, self.due_s)
        timed = self.done & np.isin(kind, (TOOL, WAIT))
        found: Flags = (self.node < 0) | other | (timed & (abs(lasted - self.of_nodes("work_s")) > _ROUNDING_S))
        return found

    def too_early(self) -> Flags:
        """Tell which steps were due at another moment than what they need says, or ended before they began."""
        nodes, known = self.graphs.nodes, self.node >= 0
        done_s = np.full(nodes.size, np.inf)
        ended = known & self.done
        done_s[self.node[ended]] = self.ended_s[ended]
        needs, came_s = nodes["needs"], np.empty(self.graphs.edges.size)
        came_s[_edges_of(nodes)] = np.repeat(done_s, nodes["edges"])
        order = np.lexsort((came_s, self.graphs.edges))
        first = np.cumsum(nodes["before"]) - nodes["before"]
        needed_s = self.graphs.tasks["arrived_s"][nodes["task"]].copy()
        some = needs > 0
        needed_s[some] = came_s[order][first[some] + needs[some] - 1]
        due = ~np.isnan(self.due_s)
        with np.errstate(invalid="ignore"):
            early = due & (self.due_s != needed_s[self.node])
            backwards = (self.began_s < self.due_s) | (self.ended_s < np.fmax(self.due_s, self.began_s))
        found: Flags = known & (early | backwards | (self.done & ~due))
        return found

    def beyond_cores(self, plan: Plan) -> Flags:
        """Tell which tools began while more cores were held, theirs included, than there are."""
        beyond = np.zeros(len(self.rows.steps), np.bool_)
        held = (self.node >= 0) & (self.of_nodes("kind") == TOOL) & ~np.isnan(self.began_s)
        for index, tools in enumerate(plan.tools):
            own = np.flatnonzero(held & (self.of_nodes("index") == index))
            cores = self.graphs.nodes["cores"][self.node[own]]
            ends = np.where(np.isnan(self.ended_s[own]), np.inf, self.ended_s[own])
            moment, change = np.concatenate([self.began_s[own], ends]), np.concatenate([cores, -cores])
            # At one instant cores are given back before they are taken; who takes none of the time holds none.
            order = np.lexsort((change, moment))
            in_use = np.empty(moment.size, np.int64)
            in_use[order] = np.cumsum(change[order])
            beyond[own] = (in_use[: own.size] > tools.cores) & (ends > self.began_s[own])
        return beyond


def _edges_of(nodes: NDArray[np.void]) -> Integers:
    """Return where the edges of each node stand among all edges, node by node."""
    first = np.repeat(nodes["first_edge"], nodes["edges"])
    place = np.arange(first.size) - np.repeat(np.cumsum(nodes["edges"]) - nodes["edges"], nodes["edges"])
    found: Integers = first + place
    return found


def _sums_differ(rows: _Rows) -> Integers:
    """Return the tasks whose counts and sums are not those of their requests and steps."""
    tasks, calls, steps = rows.tasks, rows.requests, rows.steps
    completed = (calls["outcome"] == "completed").to_numpy(bool)
    left = (calls["outcome"] != "open").to_numpy(bool)
    bad, cost = (calls["answer"] == "bad").to_numpy(bool), calls["attributed_cost_usd"].to_numpy(np.float64)
    further = (calls["attempt"] > 0).to_numpy(bool)
    began_s, due_s, ended_s = (
        steps[name].to_numpy(np.float64, na_value=np.nan) for name in ("began_s", "due_s", "ended_s")
    )
    began = (steps["kind"] == "tool").to_numpy(bool) & ~np.isnan(began_s)
    # The last run of a tool that failed is one of those that were lost.
    ran = began & (steps["state"] != "failed").to_numpy(bool)
    lost_runs, lost_s = (steps[name].to_numpy(np.float64) for name in ("lost_runs", "lost_s"))
    waited_s = np.where(ran, began_s, ended_s) - due_s - lost_s

    def total(table: pd.DataFrame, values: Floats | Flags | Integers) -> Floats:
        own = table["of"].to_numpy(np.int64)
        sums = np.bincount(own + 1, weights=np.asarray(values, np.float64), minlength=len(tasks) + 1)[1:]
        return sums.astype(np.float64)

    expected = {
        "calls": total(calls, np.ones(len(calls))),
        "prompt_tokens": total(calls, calls["prompt_tokens"].to_numpy() * left),
        "generated_tokens": total(calls, calls["generated_tokens"].to_numpy() * left),
        "attributed_cost_usd": total(calls, cost),
        "wasted_cost_usd": total(calls, cost * (~completed | bad)),
        "wrong": total(calls, (calls["answer"] == "unnoticed").to_numpy(bool)),
        "tools": total(steps, ran + lost_runs),
        "lost_tools": total(steps, lost_runs),
        "tool_s": total(steps, np.nan_to_num((ended_s - began_s) * ran) + lost_s),
        "tool_wait_s": total(steps, np.nan_to_num(waited_s * began)),
    }
    differs = np.zeros(len(tasks), np.bool_)
    # How long one that waits to be run again had waited before it was lost is not recorded.
    waits_again = total(steps, (lost_runs > 0.0) & ~began) > 0.0
    for name, values in expected.items():
        said = tasks[name].to_numpy(np.float64)
        known = ~waits_again if name == "tool_wait_s" else np.True_
        differs |= known & ~np.isclose(said, values, rtol=_RELATIVE, atol=_ROUNDING_S if "tool" in name else _RELATIVE)
    # What was to be asked again may have been cancelled before it was.
    again = (tasks["retries"] + tasks["escalations"]).to_numpy()
    differs |= again < total(calls, further)
    last_s = np.full(len(tasks) + 1, -np.inf)
    np.fmax.at(last_s, steps["of"].to_numpy(np.int64) + 1, ended_s)
    finished_s = tasks["finished_s"].to_numpy(np.float64, na_value=np.nan)
    differs |= (tasks["outcome"] == "completed").to_numpy(bool) & (last_s[1:] != finished_s)
    return np.flatnonzero(differs)


def _belied(plan: Plan, rows: _Rows, end_s: float) -> Integers:
    """Return the tasks whose recorded word on their promise is not what their times say."""
    tasks, names = rows.tasks, task_classes(plan.scenario)
    latency = {each.name: each.promise.latency for each in plan.scenario.tasks}
    promised = np.array([latency.get(name) or np.inf for name in names] + [np.inf])[tasks["owner"]]
    outcome = tasks["outcome"].astype(str).to_numpy()
    finished_s = tasks["finished_s"].to_numpy(np.float64, na_value=np.nan)
    inside = outcome == "open"
    took_s = np.where(inside, end_s, finished_s) - tasks["arrived_s"].to_numpy()
    late = (took_s > with_rounding(promised)) | ~np.isin(outcome, ("open", "completed"))
    recorded = tasks["promise_kept"].astype(object)
    missed, undecided = (recorded == False).to_numpy(np.bool_), recorded.isna().to_numpy()  # noqa: E712 - not null
    return np.flatnonzero((late != missed) | (undecided != (inside & ~late)))


def _all_there(rows: _Rows, counted: TaskConservation, *, sampled: bool) -> Constraint:
    """Hold the rows of tasks against the summary's counts, and those of requests and steps against tasks."""
    said = counted.model_dump(include={"completed", "failed", "timed_out", "open"})
    there = rows.tasks["outcome"].astype(str).value_counts().to_dict()
    differs = [
        f"{count:,} {name} in the summary, {there.get(name, 0):,} rows"
        for name, count in said.items()
        if there.get(name, 0) > count or (there.get(name, 0) < count and not sampled)
    ]
    lost = int((rows.requests["of"] < 0).sum() + (rows.steps["of"] < 0).sum())
    lost += int(rows.tasks.duplicated(["owner", "task"]).sum())
    if lost:
        differs.append(f"{lost:,} rows of requests or steps without a task, or tasks with two rows")
    if sampled and not differs:
        return _unproven("tasks_all_there", "only a sample of the rows was kept")
    return rows.finding("tasks_all_there", np.full(len(differs), -1), len(rows.tasks), "; ".join(differs))
