"""What a trace of tasks looks like: how many calls and tools, how deep and wide, how long."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.workload.task_traces.order import depth, in_dependence, width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferencesim.workload.task_traces.spans import TaskTrace


@dataclass(frozen=True)
class PerTask:
    """Mean, quantiles and maximum of a quantity over tasks."""

    mean: float
    p50: float
    p95: float
    max: float


@dataclass(frozen=True)
class TaskReport:
    """What :func:`inspect_tasks` finds.

    Attributes
    ----------
    source, format : str
    tasks, calls, tools, malformed, failed : int
        In the whole file; malformed rows, and calls left out since they failed.
    prompt_tokens, output_tokens : int
        Of all calls.
    calls_per_task, depth, width : PerTask
        Depth is of calls that come one after another; width of steps under way at one time.
    duration_s : PerTask or None
        From the start of a task to its end; None where the trace does not tell when calls began and ended.
    callers, tool_names : dict of int
        Calls by agent and model, and tools by name; how often each.
    notes : tuple of str
        What the reader had to assume.
    """

    source: str
    format: str
    tasks: int
    calls: int
    tools: int
    malformed: int
    failed: int
    prompt_tokens: int
    output_tokens: int
    calls_per_task: PerTask
    depth: PerTask
    width: PerTask
    duration_s: PerTask | None
    callers: dict[str, int]
    tool_names: dict[str, int]
    notes: tuple[str, ...]


def inspect_tasks(trace: TaskTrace) -> TaskReport:
    """Describe the graphs of a trace."""
    steps = [in_dependence(root) for root in trace.tasks]
    leaves = [leaf for root in trace.tasks for leaf in root.leaves()]
    calls = [leaf for leaf in leaves if leaf.kind == "call"]
    has_times = trace.times == ("recorded", "started")
    return TaskReport(
        source=trace.source,
        format=trace.format,
        tasks=len(trace.tasks),
        calls=len(calls),
        tools=len(leaves) - len(calls),
        malformed=len(trace.malformed),
        failed=trace.failed,
        prompt_tokens=sum(call.prompt_tokens for call in calls),
        output_tokens=sum(call.output_tokens for call in calls),
        calls_per_task=_per_task([sum(1 for _ in root.calls()) for root in trace.tasks]),
        depth=_per_task([depth(each) for each in steps]),
        width=_per_task([width(each) for each in steps]),
        duration_s=_per_task([root.end_s - root.start_s for root in trace.tasks]) if has_times else None,
        callers=_counted([" ".join(filter(None, (call.agent, call.model))) for call in calls]),
        tool_names=_counted([leaf.name for leaf in leaves if leaf.kind == "tool"]),
        notes=trace.notes,
    )


def _per_task(values: Sequence[float]) -> PerTask:
    p50, p95 = (float(value) for value in np.percentile(values, (50, 95)))
    return PerTask(mean=float(np.mean(values)), p50=p50, p95=p95, max=float(max(values)))


def _counted(names: Sequence[str]) -> dict[str, int]:
    """Return how often each name comes, the most frequent first."""
    return dict(Counter(sorted(names)).most_common())
