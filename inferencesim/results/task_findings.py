"""The story of one task, and what became of the promises of a class of tasks, as frozen records that JSON can hold."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from inferencesim.results.findings import AskedAs, Explanation, TaskCause, TaskPromises
from inferencesim.results.records.base import Record


class LatencyParts(Record):
    """Where the latency of a task went, in seconds, along its longest chain: the steps that each waited for the last.

    Attributes
    ----------
    queue : float
        Calls waited, at the gateway or in a pool.
    serving : float
        Calls were read and answered, in pools or at providers.
    network : float
        Answers were on their way.
    tools : float
        Tools ran.
    lost : float
        Tools ran that never came back.
    cores : float
        Tools waited for cores.
    waits : float
        Steps that use nothing of the fleet.
    retries : float
        Requests that were in vain, the pauses after them, and the checks of answers that were bad.
    people : float
        A person answered.
    """

    queue: float = 0.0
    serving: float = 0.0
    network: float = 0.0
    tools: float = 0.0
    lost: float = 0.0
    cores: float = 0.0
    waits: float = 0.0
    retries: float = 0.0
    people: float = 0.0

    @property
    def largest(self) -> str | None:
        """The name of the largest part; None where no time went by."""
        parts = self.model_dump()
        name = max(parts, key=lambda each: float(parts[each]))
        return name if parts[name] > 0.0 else None


class Try(Record):
    """One request made for a call.

    Attributes
    ----------
    attempt : int
        From 0.
    asked_as : str
        Why it was made.
    answer : str or None
        ``good``, ``bad`` or ``unnoticed`` (bad, and nobody saw it); None where answers are not judged.
    told : Explanation
        The story of the request.
    """

    attempt: int
    asked_as: AskedAs
    answer: str | None
    told: Explanation


class StepStory(Record):
    """One step of a task.

    Attributes
    ----------
    node : int
        Its number within the task.
    step : str
        Its place in the description of the task.
    kind : {"call", "tool", "wait", "join"}
    state : str
        How it ended, or where it stood.
    due_s, began_s, ended_s : float or None
        On the simulation's clock: all it needs was done; a tool got its cores; it ended. Null where it did not.
    tools : str or None
        Of a tool: the pool it ran on.
    on_longest_chain : bool
        Whether the task waited for it (see :class:`LatencyParts`).
    tries : tuple of Try
        Of a call, in order.
    person : bool
        Whether a person answered in the end.
    """

    node: int
    step: str
    kind: str
    state: str
    due_s: float | None
    began_s: float | None
    ended_s: float | None
    tools: str | None
    lost_runs: int
    lost_s: float
    on_longest_chain: bool
    tries: tuple[Try, ...]
    person: bool


class TaskCost(Record):
    """What one task cost, by who was paid, in US dollars.

    Attributes
    ----------
    requests_usd : float
        Its requests' shares of their replicas' busy time, and what providers billed.
    wasted_usd : float
        Of that, for requests without an answer, or with one that was noticed to be bad.
    tools_usd : float or None
        The cores its tools held, while they held them, at the price of owning and powering them; idle cores are not
        in it.
    people_usd : float
    """

    requests_usd: float
    wasted_usd: float
    tools_usd: float
    people_usd: float

    @property
    def total_usd(self) -> float:
        """All of it."""
        return self.requests_usd + (self.tools_usd or 0.0) + self.people_usd


class Alternative(Record):
    """What a task's requests were predicted to cost at the margin, where they went and elsewhere, in US dollars.

    Attributes
    ----------
    requests : int
        Of which both are known: another candidate was eligible, and predictions were recorded.
    chosen_usd : float
        Where they went.
    other_usd : float
        Each at the cheapest other eligible candidate.
    """

    requests: int
    chosen_usd: float
    other_usd: float


class TaskExplanation(Record):
    """The story of one task.

    Attributes
    ----------
    schema_version : int
        ``schema`` in JSON.
    class_name : str
        ``class`` in JSON: the class of tasks.
    task : int
        Its number within the class.
    arrived_s : float
    finished_s : float or None
    outcome : str
    latency_s : float
        Until it ended, or the simulation did.
    promised_s : float or None
    promise_kept : bool or None
        None while it is open.
    cause : TaskCause or None
        Why a promise was not kept.
    steps : tuple of StepStory
        In the order in which they were due; those that never were come last.
    parts : LatencyParts
    calls, retries, escalations, people, unnoticed, fan_out, prompt_tokens, generated_tokens : int
        Requests made; of those, made again of the same model and of the next one; answers by people; bad answers that
        nobody noticed; its widest fan-out; tokens.
    cost : TaskCost
    alternative : Alternative or None
        None where nothing is known of one.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    class_name: Annotated[str, Field(alias="class")]
    task: int
    arrived_s: float
    finished_s: float | None
    outcome: str
    latency_s: float
    promised_s: float | None
    promise_kept: bool | None
    cause: TaskCause | None
    steps: tuple[StepStory, ...]
    parts: LatencyParts
    calls: int
    retries: int
    escalations: int
    people: int
    unnoticed: int
    fan_out: int
    prompt_tokens: int
    generated_tokens: int
    cost: TaskCost
    alternative: Alternative | None


class TaskLine(Record):
    """One task of a list: how it went in a line.

    Attributes
    ----------
    name : str
        As ``class/number``, which `explain` takes.
    outcome : str
    latency_s : float
    promise_kept : bool or None
    cause : TaskCause or None
    calls : int
    cost_usd : float
        Of its requests and people.
    """

    name: str
    outcome: str
    latency_s: float
    promise_kept: bool | None
    cause: TaskCause | None
    calls: int
    cost_usd: float


class TaskList(Record):
    """The worst tasks of a class.

    Attributes
    ----------
    schema_version : int
        ``schema`` in JSON.
    promised_s : float or None
    promises : TaskPromises
    worst : tuple of TaskLine
        Broken promises first, then by latency.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    promised_s: float | None
    promises: TaskPromises
    worst: tuple[TaskLine, ...]
