"""What an audit found, and the story of one request, as frozen records that JSON can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from inferencesim.results.records.base import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Versions of the two documents' fields.
AUDIT_SCHEMA = EXPLANATION_SCHEMA = 1

#: Why a request was made: the call's first; nobody answered the one before; its answer was bad, and the same model was
#: asked again, or the next one.
AskedAs = Literal["first", "sent_again", "asked_again", "escalated"]


#: Requests that are named of those that break a constraint.
EXAMPLES = 5


class ChainFinding(Record):
    """Whether what is in the folder is what was written.

    Attributes
    ----------
    state : {"unchanged", "changed", "unproven"}
    head : str or None
        The head over what is there; None without a chain to follow.
    why : str
        One sentence; it names the first file that is not as it was written.
    """

    state: Literal["unchanged", "changed", "unproven"]
    head: str | None
    why: str


class Coverage(Record):
    """How much of the run the recorded rows cover.

    Attributes
    ----------
    evidence : {"full", "sampled", "off"}
        What the run was told to keep.
    kept : int
        Requests whose rows are there.
    arrived : int or None
        As many came; None of a run that did not come to its end.
    why : str
        What cannot be proven of the rest; empty where evidence is full.
    """

    evidence: Literal["full", "sampled", "off"]
    kept: int
    arrived: int | None
    why: str


class Constraint(Record):
    """One hard constraint, held against every row it concerns.

    Attributes
    ----------
    name : str
        A verdict of the decisions table, or what else was checked.
    statement : str
        In words, as it should be.
    state : {"proven", "sampled", "broken", "unproven"}
        ``sampled``: proven of the rows that a sample kept, and of no others.
    rows : int
        Rows it was held against.
    broken : int
        Of those, the ones that break it.
    examples : tuple of int
        Ids of the first requests that do.
    tasks : tuple of str
        The first tasks that do, as ``class/number``, of a constraint on tasks.
    why : str
        What was found, or what is missing to prove it; empty where it is proven.
    """

    name: str
    statement: str
    state: Literal["proven", "sampled", "broken", "unproven"]
    rows: int
    broken: int
    examples: tuple[int, ...]
    tasks: tuple[str, ...] = ()
    why: str = ""

    @classmethod
    def unproven(cls, name: str, statement: str, why: str) -> Self:
        """Return one that nothing recorded can prove."""
        return cls(name=name, statement=statement, state="unproven", rows=0, broken=0, examples=(), why=why)

    @classmethod
    def judged(cls, name: str, statement: str, rows: int, broken: NDArray[np.int64], why: str) -> Self:
        """Return one held against so many rows; `broken` has the ids of those that break it, and `why` says how."""
        return cls(
            name=name,
            statement=statement,
            state="broken" if broken.size else "proven",
            rows=rows,
            broken=broken.size,
            examples=tuple(int(each) for each in broken[:EXAMPLES]),
            why=why if broken.size else "",
        )


class Cause(Record):
    """Why one promise, or the request itself, was lost; see :mod:`inferencesim.results.causes`.

    Attributes
    ----------
    what : str
        ``rejected``, ``timed_out``, ``cancelled`` or ``failed``; else the promise: ``ttft``, ``tpot``, ``e2e``,
        ``deadline``, ``slowdown``.
    by : str or None
        The reason of a rejection; else where the time went: ``queue``, ``prefill``, ``transfer``, ``preemption``,
        ``decode``, or ``hardware`` where even a request alone is too slow; ``provider`` where one had it. None if
        nobody can tell.
    """

    what: str
    by: str | None


class CauseCount(Cause):
    """How many promises broke by one cause.

    Attributes
    ----------
    requests : int
    worst : tuple of int
        Ids of all of them, the one furthest from what was promised first.
    """

    requests: int
    worst: tuple[int, ...]


class ClassPromises(Record):
    """What became of the promises of one class, of all its requests whose rows were kept, warm-up included.

    Attributes
    ----------
    name : str
    requests, kept, broken, open : int
        Of a class that promises nothing, `kept` are those that completed.
    causes : tuple of CauseCount
        Of those broken, the most frequent first.
    """

    name: str
    requests: int
    kept: int
    broken: int
    open: int
    causes: tuple[CauseCount, ...]


class TaskCause(Record):
    """Why the promise of a task was lost.

    Attributes
    ----------
    what : {"failed", "timed_out", "latency"}
        Its outcome, or that it took too long.
    by : str or None
        Of one that failed, what became of the call it could not do without: ``rejected``, ``timed_out``,
        ``cancelled``, ``failed``, or ``bad_answer``; ``lost_tool`` where it was a tool. Of the
        others the largest of its :class:`.task_findings.LatencyParts`.
    """

    what: Literal["failed", "timed_out", "latency"]
    by: str | None


class TaskCauseCount(TaskCause):
    """How many promises of tasks broke by one cause.

    Attributes
    ----------
    tasks : int
    worst : tuple of str
        All of them as ``class/number``, the one furthest from what was promised first.
    """

    tasks: int
    worst: tuple[str, ...]


class TaskPromises(Record):
    """What became of the promises of one class of tasks, of all whose rows were kept, warm-up included.

    Attributes
    ----------
    name : str
    tasks, kept, broken, open : int
        Of a class that promises nothing, `kept` are those that completed.
    causes : tuple of TaskCauseCount
        Of those broken, the most frequent first.
    """

    name: str
    tasks: int
    kept: int
    broken: int
    open: int
    causes: tuple[TaskCauseCount, ...]


class Audit(Record):
    """What an audit of a run folder found.

    Attributes
    ----------
    schema_version : int
        ``schema`` in JSON.
    name : str
        The scenario's.
    seed : int
    complete : bool
    holds : bool
        Whether no row was changed and no constraint broken, as far as it can be proven.
    chain : ChainFinding
    coverage : Coverage
    constraints : tuple of Constraint
    classes : tuple of ClassPromises
        Of the requests kept; empty where none were.
    tasks : tuple of TaskPromises
        Likewise of the tasks.
    unproven : tuple of str
        What cannot be proven of this run, and why, in sentences.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    name: str
    seed: int
    complete: bool
    holds: bool
    chain: ChainFinding
    coverage: Coverage
    constraints: tuple[Constraint, ...]
    classes: tuple[ClassPromises, ...]
    tasks: tuple[TaskPromises, ...] = ()
    unproven: tuple[str, ...]


class Promised(Record):
    """What a class is promised, in seconds (slowdown: times its E2E alone); null is not promised."""

    ttft_s: float | None
    tpot_s: float | None
    e2e_s: float | None
    deadline_s: float | None
    slowdown: float | None


class Asked(Record):
    """What a request asked for, and on which terms."""

    class_name: Annotated[str, Field(alias="class")]
    kind: str
    arrived_s: float
    prompt_tokens: int
    output_tokens: int
    models: tuple[str, ...]
    promise: Promised
    residency: tuple[str, ...] | None
    precision: str | None
    priority: int
    tenant: str | None


class Called(Record):
    """For which call of which task a request was made, and whether its answer was good.

    Attributes
    ----------
    task : str
        As ``class/number``, which `explain` takes.
    step : str
        Place of the call in the description of the task; ``call`` where the request is all there is to it.
    attempt : int
        From 0.
    asked_as : str
        Why it was made.
    answer : str or None
        ``good``, ``bad`` or ``unnoticed`` (bad, and nobody saw it); None where answers are not judged.
    """

    task: str
    step: str
    attempt: int
    asked_as: AskedAs
    answer: str | None


class Predicted(Record):
    """What was predicted of a request at one candidate when it was placed; the cost is marginal, without idle time.

    The energy is that of the chips, without their site's overhead; null of a provider, which does not say.
    """

    ttft_s: float
    tpot_s: float
    cost_usd: float
    energy_j: float | None


class Candidate(Record):
    """One pool or outside provider, as the decision saw it.

    Attributes
    ----------
    name : str
    outside : bool
        Whether it is a provider.
    verdict : str
    why : str
        The verdict in words.
    score : float or None
        What the policy gave it; None where it was not eligible, or not looked at.
    predicted : Predicted or None
        None where it was not eligible, or predictions were not recorded.
    """

    name: str
    outside: bool
    verdict: str
    why: str
    score: float | None
    predicted: Predicted | None


class Decided(Record):
    """How a request was placed.

    Attributes
    ----------
    placement, balancing : str
        Policies: which pool or provider, and which of the pool's replicas.
    snapshot_age_s : float
        How old the load was that they saw.
    candidates : tuple of Candidate
    pool, provider : str or None
        Both None of a request that nobody could take.
    replica : int or None
    """

    placement: str
    balancing: str
    snapshot_age_s: float
    candidates: tuple[Candidate, ...]
    pool: str | None
    provider: str | None
    replica: int | None

    @property
    def placed(self) -> str | None:
        """The name of the pool or provider that was chosen."""
        return self.pool if self.provider is None else self.provider

    @property
    def predicted_here(self) -> Predicted | None:
        """What was predicted of where it went; None where that was not recorded."""
        return next((each.predicted for each in self.candidates if each.name == self.placed), None)

    @property
    def cheapest_other(self) -> Candidate | None:
        """The other eligible candidate that was predicted to cost least; None without one."""
        others = [each for each in self.candidates if each.predicted is not None and each.name != self.placed]
        return min(others, key=lambda each: each.predicted.cost_usd if each.predicted else 0.0, default=None)


class Spent(Record):
    """Where the time of one request went, in seconds: held at the gateway, then as it came."""

    held_s: float
    queue_s: float
    prefill_s: float
    transfer_s: float
    preempted_s: float
    decode_s: float


class Happened(Record):
    """What became of a request.

    Attributes
    ----------
    outcome : str
    reason : str or None
        Of a rejection.
    held_until : str or None
        What ended its wait at the gateway (see :class:`.records.Held`); None of a request that was not held.
    promise_kept : bool or None
        None while it is open.
    cause : Cause or None
        Why a promise was not kept.
    pool, provider, hardware, model, precision : str or None
        Who served it; of a provider the hardware is unknown, and often the precision.
    replica : int or None
    prefill_pool : str or None
        Where its prompt was read, if elsewhere.
    cached_tokens, generated_tokens, preemptions : int
    scheduled_s, first_token_s, finished_s : float or None
        Times on the simulation's clock.
    queue_time_s, ttft_s, tpot_s, e2e_s : float or None
    spent : Spent
    cost_usd : float
        Its share of its replicas' busy time, or what a provider bills.
    energy_j : float or None
        Its share of the energy of its replicas' steps; null of a provider's: unknown.
    """

    outcome: str
    reason: str | None
    held_until: str | None
    promise_kept: bool | None
    cause: Cause | None
    pool: str | None
    provider: str | None
    hardware: str | None
    model: str | None
    precision: str | None
    replica: int | None
    prefill_pool: str | None
    cached_tokens: int
    generated_tokens: int
    preemptions: int
    scheduled_s: float | None
    first_token_s: float | None
    finished_s: float | None
    queue_time_s: float | None
    ttft_s: float | None
    tpot_s: float | None
    e2e_s: float | None
    spent: Spent
    cost_usd: float
    energy_j: float | None


class Explanation(Record):
    """The story of one request.

    Attributes
    ----------
    schema_version : int
        ``schema`` in JSON.
    request_id : int
    called : Called or None
        None of a request that belongs to no task.
    asked : Asked
    decided : Decided or None
        None where its decision is missing.
    happened : Happened
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    request_id: int
    called: Called | None = None
    asked: Asked
    decided: Decided | None
    happened: Happened
