"""Tasks and tools of a run in its summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.graph_tables import TASK_COMPLETED, TASK_FAILED, TASK_OPEN, TASK_TIMED_OUT
from inferencesim.ledger.promises import PROMISE_KEPT, PROMISE_MISSED, PROMISE_OPEN
from inferencesim.results.distributions import distribution, per
from inferencesim.results.records.capacity import ToolsSummary
from inferencesim.results.records.tasks import TaskConservation, TaskSummary
from inferencesim.scenario.arrivals import ByTasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferencesim.ledger.tasks import TaskLedger
    from inferencesim.results.money import ClassCost, ToolsAccount
    from inferencesim.results.records.base import Window
    from inferencesim.results.records.requests import ClassSummary
    from inferencesim.results.records.summary import LedgerRow
    from inferencesim.scenario.workload import WorkloadClass
    from inferencesim.simulation.engine import Result

#: Of these a summary has the means per completed task.
_MEANS = (
    "calls",
    "retries",
    "escalations",
    "people",
    "tools",
    "lost_tools",
    "fan_out",
    "tool_s",
    "tool_wait_s",
    "prompt_tokens",
    "generated_tokens",
)


def summarise_tasks(result: Result, window: Window, costs: Sequence[ClassCost]) -> tuple[TaskSummary, ...]:
    """Return the summary of every class of tasks; `costs` are what each is charged."""
    names = result.tasks.names
    return tuple(
        _summary(result, window, index, cost) for index, cost in zip(range(len(names.classes)), costs, strict=True)
    )


def completed_work(
    workload: Sequence[WorkloadClass], classes: Sequence[ClassSummary], tasks: Sequence[TaskSummary]
) -> int:
    """Return how much of what users wanted was completed in the window: tasks, and requests that belong to none."""
    within_tasks = {each.name for each in workload if isinstance(each.arrivals, ByTasks) or each.is_followed_up}
    alone = sum(each.completed_in_window for each in classes if each.name not in within_tasks)
    return alone + sum(each.completed_in_window for each in tasks)


def _summary(result: Result, window: Window, index: int, cost: ClassCost) -> TaskSummary:
    ledger = result.tasks
    tasks = ledger.graphs.tasks[: result.end.tasks_begun]
    own = tasks["class_index"] == index
    rows = np.flatnonzero(own & (tasks["arrived_s"] >= window.from_s) & (tasks["arrived_s"] < window.to_s))
    of = tasks[rows]
    outcomes = np.bincount(of["outcome"], minlength=4)
    promises = bool(np.isfinite(ledger.names.latency_s[index]))
    verdicts = np.bincount(ledger.verdicts(rows, window.end_s), minlength=3) if promises else np.zeros(3, np.int64)
    completed = of[of["outcome"] == TASK_COMPLETED]
    ended = own & (tasks["outcome"] == TASK_COMPLETED)
    ended &= (tasks["finished_s"] >= window.from_s) & (tasks["finished_s"] < window.to_s)
    return TaskSummary(
        name=ledger.names.classes[index],
        arrived=of.size,
        completed=completed.size,
        failed=int(outcomes[TASK_FAILED]),
        timed_out=int(outcomes[TASK_TIMED_OUT]),
        open=int(outcomes[TASK_OPEN]),
        promises_kept=int(verdicts[PROMISE_KEPT]),
        promises_missed=int(verdicts[PROMISE_MISSED]),
        promises_open=int(verdicts[PROMISE_OPEN]),
        slo_attainment=per(int(verdicts[PROMISE_KEPT]), of.size) if promises else None,
        task_latency_s=distribution(completed["finished_s"] - completed["arrived_s"]),
        good=per(int((completed["wrong"] == 0).sum()), completed.size),
        **{name: per(float(completed[name].sum()), completed.size) for name in _MEANS},
        completed_in_window=int(ended.sum()),
        cost_usd=cost.cost_usd,
        people_usd=float(result.window[1].people_usd[index] - result.window[0].people_usd[index]),
        cost_per_completed_task_usd=per(cost.cost_usd, int(ended.sum())),
        wasted_usd=float(ledger.wasted_usd[rows].sum()),
    )


def task_conservation(ledger: TaskLedger, begun: int) -> TaskConservation:
    """Return what became of all tasks that began."""
    counts = np.bincount(ledger.graphs.tasks["outcome"][:begun], minlength=4)
    return TaskConservation(
        arrived=begun,
        completed=int(counts[TASK_COMPLETED]),
        failed=int(counts[TASK_FAILED]),
        timed_out=int(counts[TASK_TIMED_OUT]),
        open=int(counts[TASK_OPEN]),
    )


def summarise_tools(account: ToolsAccount, ledger: Sequence[LedgerRow]) -> ToolsSummary:
    """Return the summary of a pool of tools, whose rows are in the ledger."""
    tools, rows = account.tools, [row for row in ledger if row.pool == account.tools.name]

    def total(name: str) -> float:
        return float(sum(getattr(row, name) for row in rows))

    return ToolsSummary(
        name=tools.name,
        hardware=tools.hardware.id,
        site=tools.site.id,
        nodes=tools.spec.nodes,
        cores=tools.cores,
        utilisation=account.utilisation,
        power_w=total("energy_j") / account.window_s,
        **{
            name: total(name)
            for name in ("busy_usd", "idle_usd", "energy_usd", "cost_usd", "energy_j", "site_energy_j", "carbon_g")
        },
    )
