"""What became of tasks."""

from __future__ import annotations

from inferencesim.results.records.base import Distribution, Record


class TaskSummary(Record):
    """One class of tasks: of those that began in the window, and what they cost.

    Attributes
    ----------
    arrived, completed, failed, timed_out, open : int
        `failed`: a call was not answered, and the task could not do without it.
    promises_kept, promises_missed, promises_open : int
        Zero for a class that promises nothing.
    slo_attainment : float or None
        promises_kept / arrived.
    task_latency_s : Distribution
        Of completed tasks: last needed event − arrived.
    good : float or None
        Share of completed tasks in which no bad answer went unnoticed.
    calls, retries, escalations, people, tools, lost_tools, fan_out : float or None
    tool_s, tool_wait_s, prompt_tokens, generated_tokens : float or None
        Means per completed task: requests made, of those made again of the same model and of the next one, answers
        given by people, tools used, those that never came back, widest fan-out, seconds in which tools ran, in
        which they waited for cores, and tokens.
    completed_in_window : int
        Tasks that ended well within the window, whenever they began.
    cost_usd : float
        Of the window: its share of all pools and tools, in proportion to what it used of them, idle time included.
    cost_per_completed_task_usd : float or None
        cost_usd / completed_in_window: what failed, timed out or was cancelled is in the numerator.
    people_usd : float
        Of cost_usd, what people were paid.
    wasted_usd : float
        Attributed cost of calls without an answer, or with one that somebody noticed to be bad, of the tasks that
        began in the window.
    """

    name: str
    arrived: int
    completed: int
    failed: int
    timed_out: int
    open: int
    promises_kept: int
    promises_missed: int
    promises_open: int
    slo_attainment: float | None
    task_latency_s: Distribution
    good: float | None
    calls: float | None
    retries: float | None
    escalations: float | None
    people: float | None
    tools: float | None
    lost_tools: float | None
    fan_out: float | None
    tool_s: float | None
    tool_wait_s: float | None
    prompt_tokens: float | None
    generated_tokens: float | None
    completed_in_window: int
    cost_usd: float
    cost_per_completed_task_usd: float | None
    people_usd: float
    wasted_usd: float


class TaskConservation(Record):
    """Tasks of the whole run, warm-up included: arrived = the sum of all others."""

    arrived: int
    completed: int
    failed: int
    timed_out: int
    open: int

    @property
    def holds(self) -> bool:
        """Whether nothing was lost and nothing appeared."""
        return self.arrived == self.completed + self.failed + self.timed_out + self.open
