"""The story of one task: its steps in order, who served each call and why, where its time went and what it cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from inferencesim.errors import InputError, did_you_mean
from inferencesim.results.explanation import Stories
from inferencesim.results.recorded import require_usable
from inferencesim.results.task_causes import promises_of
from inferencesim.results.task_findings import (
    Alternative,
    StepStory,
    TaskCost,
    TaskExplanation,
    TaskLine,
    TaskList,
    Try,
)
from inferencesim.results.task_rows import TaskRows, TaskTables, first_of
from inferencesim.scenario.tasks import Tool, walk
from inferencesim.workload.graphs import task_classes

if TYPE_CHECKING:
    from inferencesim.results.findings import Decided, Explanation
    from inferencesim.results.run import Run
    from inferencesim.results.task_rows import TaskRows
    from inferencesim.simulation.tasks import ToolsPlan

_LISTED = 10


def explain_task(run: Run, name: str, number: int) -> TaskExplanation:
    """Tell the story of one task.

    Parameters
    ----------
    run : Run
    name : str
        Its class of tasks.
    number : int
        Within its class, in order of arrival.

    Raises
    ------
    InputError
        If the task was not kept, there is none such, or the run is of another version.
    """
    return TaskStories(run).of(name, number)


def worst_tasks(run: Run, name: str, count: int = _LISTED) -> TaskList:
    """Return the tasks of a class that went worst: broken promises first, then the longest.

    Raises
    ------
    InputError
        If there is no such class, or the run is of another version.
    """
    return TaskStories(run).worst(name, count)


class TaskStories:
    """What a run recorded of its tasks, to tell the story of any of them.

    Parameters
    ----------
    run : Run

    Raises
    ------
    InputError
        If the run recorded nothing, or is of another version.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._stories = Stories(run)
        tables = {"tasks": run.tasks, "steps": run.steps, "requests": run.requests}
        for name, table in tables.items():
            require_usable(run, name, table)
        self._scenario = self._stories.scenario
        self._classes = task_classes(self._scenario)
        empty = run.tasks.empty or run.requests.empty
        self._tables = None if empty else TaskTables(**tables, end_s=self._stories.end_s)

    def of(self, name: str, number: int) -> TaskExplanation:
        """Tell the story of one task.

        Raises
        ------
        InputError
            If it was not kept, or there is none such.
        """
        rows = None if self._tables is None else self._tables.of(self._known(name), number)
        if rows is None:
            raise self._missing(self._known(name), number)
        task, kept = rows.task, rows.task.promise_kept
        chain = {step.node for step in rows.longest_chain()}
        steps = sorted(rows.steps, key=lambda each: (math.isnan(each.due_s), each.due_s, each.node))
        told = tuple(self._step(rows, step, step.node in chain) for step in steps)
        return TaskExplanation(
            class_name=name,
            task=number,
            arrived_s=task.arrived_s,
            finished_s=_number(task.finished_s),
            outcome=str(task.outcome),
            latency_s=rows.latency_s,
            promised_s=self._promised_s(name),
            promise_kept=None if pd.isna(kept) else bool(kept),
            cause=rows.cause(),
            steps=told,
            parts=rows.parts(),
            calls=task.calls,
            retries=task.retries,
            escalations=task.escalations,
            people=task.people,
            unnoticed=task.wrong,
            fan_out=_fan_out(rows),
            prompt_tokens=task.prompt_tokens,
            generated_tokens=task.generated_tokens,
            cost=TaskCost(
                requests_usd=task.attributed_cost_usd,
                wasted_usd=task.wasted_cost_usd,
                tools_usd=self._tools_usd(name, rows),
                people_usd=task.people_usd,
            ),
            alternative=_alternative([each.told for step in told for each in step.tries]),
        )

    def worst(self, name: str, count: int = _LISTED) -> TaskList:
        """Return the tasks of a class that went worst."""
        self._known(name)
        if self._tables is None:
            raise self._missing(name, None)
        promises = promises_of(self._tables, name)
        every = self._tables.tasks[(self._tables.tasks["task_class"] == name).to_numpy(bool)]
        took_s = every["finished_s"].fillna(self._tables.end_s) - every["arrived_s"]
        kept = every["promise_kept"].astype(object) != False  # noqa: E712 - null is open
        order = every.assign(kept=kept, took_s=took_s).sort_values(["kept", "took_s"], ascending=[True, False])
        found = [self._tables.of(name, int(number)) for number in order["task"].head(count)]
        lines = tuple(_line(rows) for rows in found if rows is not None)
        return TaskList(promised_s=self._promised_s(name), promises=promises, worst=lines)

    def _known(self, name: str) -> str:
        """Return the name of a class of tasks, if there is such a one."""
        if name in self._classes:
            return name
        if not self._classes:
            raise InputError(name, "the run has no tasks", "Give the id of a request.")
        remedy = did_you_mean(name, list(self._classes))
        raise InputError(name, "the run has no such class of tasks", remedy or f"It has {', '.join(self._classes)}.")

    def _missing(self, name: str, number: int | None) -> InputError:
        """Say why a task cannot be explained: it was not kept, or never came."""
        at = name if number is None else f"{name}/{number}"
        numbers = [] if self._tables is None else self._tables.numbers(name)
        known = f"Its numbers run from {numbers[0]} to {numbers[-1]}." if numbers else "It recorded none of this class."
        if self.run.evidence == "sampled":
            return InputError(at, "no row of it was kept: evidence was sampled, or it never came", known)
        if not self.run.complete:
            known += " It was interrupted: what had not ended is missing."
        return InputError(at, "the run has no such task", known)

    def _promised_s(self, name: str) -> float | None:
        return next((each.promise.latency for each in self._scenario.tasks if each.name == name), None)

    def _step(self, rows: TaskRows, step: Any, on_longest_chain: bool) -> StepStory:
        told = [self._stories.of(int(each.request_id)) for each in rows.tries.get(step.node, [])]
        return StepStory(
            node=step.node,
            step=str(step.step),
            kind=str(step.kind),
            state=str(step.state),
            due_s=_number(step.due_s),
            began_s=_number(step.began_s),
            ended_s=_number(step.ended_s),
            tools=None if pd.isna(step.tools) else str(step.tools),
            lost_runs=int(step.lost_runs),
            lost_s=float(step.lost_s),
            on_longest_chain=on_longest_chain,
            tries=tuple(
                Try(attempt=each.called.attempt, asked_as=each.called.asked_as, answer=each.called.answer, told=each)
                for each in told
                if each.called is not None
            ),
            person=rows.answered_by_a_person(step),
        )

    def _tools_usd(self, name: str, rows: TaskRows) -> float | None:
        """Return what the cores of its tools cost while they held them; None where prices are not known any more.

        When those that were lost held them is not known, but that it was between the moment a tool was due and its end.
        """
        used = [step for step in rows.steps if step.kind == "tool" and not math.isnan(step.due_s)]
        if not used:
            return 0.0
        plan = self._stories.plan
        if plan is None:
            return None
        tools = {each.name: each for each in plan.tools}
        described = next((each.steps for each in self._scenario.tasks if each.name == name), ())
        cores = {place: step.cores for place, step in walk(described) if isinstance(step, Tool)}

        def usd(step: Any) -> float:
            pool, ended_s = tools[str(step.tools)], first_of(step.ended_s, rows.end_s)
            began_s = ended_s if step.state == "failed" else first_of(step.began_s, ended_s)
            ran_usd = (ended_s - began_s) * _core_usd_per_s(pool, began_s, ended_s)
            return float(ran_usd + step.lost_s * _core_usd_per_s(pool, step.due_s, ended_s))

        # A tool of a trace has one core.
        return sum(cores.get(str(step.step), 1) * usd(step) for step in used)


def _fan_out(rows: TaskRows) -> int:
    """Return how wide a task was drawn, if it came to branches."""
    branches = [step for step in rows.steps if "fan_out" in str(step.step)]
    came = not branches or any(not math.isnan(step.due_s) for step in branches)
    return int(rows.task.fan_out) if came else 1


def _core_usd_per_s(tools: ToolsPlan, began_s: float, ended_s: float) -> float:
    """Return the price of a core that is busy meanwhile: its share of its node, and the power it adds."""
    return tools.usd_per_s / tools.cores + tools.core_w * tools.node_tariff.mean_between(began_s, ended_s)


def _alternative(requests: list[Explanation]) -> Alternative | None:
    """Return what requests were predicted to cost where they went, and at the cheapest other eligible candidate."""
    both = [each for each in (_predicted(told.decided) for told in requests) if each is not None]
    if not both:
        return None
    return Alternative(
        requests=len(both), chosen_usd=sum(chosen for chosen, _ in both), other_usd=sum(other for _, other in both)
    )


def _predicted(decided: Decided | None) -> tuple[float, float] | None:
    """Return the predicted cost of the chosen candidate and of the cheapest other one; None without both."""
    if decided is None:
        return None
    chosen, other = decided.predicted_here, decided.cheapest_other
    if chosen is None or other is None or other.predicted is None:
        return None
    return chosen.cost_usd, other.predicted.cost_usd


def _line(rows: TaskRows) -> TaskLine:
    task = rows.task
    return TaskLine(
        name=rows.name,
        outcome=str(task.outcome),
        latency_s=rows.latency_s,
        promise_kept=None if pd.isna(task.promise_kept) else bool(task.promise_kept),
        cause=rows.cause(),
        calls=task.calls,
        cost_usd=task.attributed_cost_usd + task.people_usd,
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
