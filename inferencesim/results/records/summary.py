"""The summary of a run, as one document."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from inferencesim.results.records.base import Record, Window
from inferencesim.results.records.capacity import BreakEven, PoolSummary, ProviderSummary, ToolsSummary
from inferencesim.results.records.requests import ClassSummary, Conservation, FleetSummary
from inferencesim.results.records.tasks import TaskConservation, TaskSummary


class Verdict(Record):
    """Whether the averages mean anything.

    Attributes
    ----------
    state : {"stable", "unstable", "shedding", "empty"}
    why : str
        One sentence.
    """

    state: Literal["stable", "unstable", "shedding", "empty"]
    why: str


class MalformedTraceRow(Record):
    """A row of a trace that was left out: its file, its line counted from 1, and why."""

    file: str
    line: int
    reason: str


class TraceRemark(Record):
    """What the reader of a trace assumed, or left out though nothing is wrong with it."""

    file: str
    text: str


class MeanInterval(Record):
    """A mean latency of this one run, and the interval that contains the mean of an endless one, by batch means.

    Attributes
    ----------
    scope : str
        ``fleet``, ``class chat``.
    metric : str
        Path of the field there, as in ``ttft_s.mean``.
    mean : float or None
        Null without a request.
    low, high : float or None
        Null where no interval would be sound.
    confidence : float
    batches : int or None
        Of equal time, which hardly depend on each other any more.
    reason : str or None
        Why there is no interval.
    """

    scope: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    confidence: float
    batches: int | None
    reason: str | None

    @property
    def half_width(self) -> float | None:
        """Half of the interval's length."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2.0


class LedgerRow(Record):
    """Money and energy of one class in one pool or at one provider, of what tasks used of tools, or of idle time.

    Idle time has neither class nor task. Rows of a pool sum to the pool's totals, those of a provider to its; those of
    all pools, providers, tools and people to the fleet's.

    Attributes
    ----------
    pool : str or None
        A pool, a pool of tools, or ``people``; null of a provider.
    provider : str or None
    class_name : str or None
        ``class`` in JSON; null for tools.
    task_class : str or None
        The tasks that asked; null where requests came by themselves.
    busy_usd, idle_usd, energy_usd : float
        Of what is owned.
    egress_usd : float
        Of answers on their way out of a pool's site.
    provider_usd : float
        Of a provider.
    energy_j, site_energy_j, carbon_g : float or None
        Null of a provider: unknown.
    """

    pool: str | None
    provider: str | None = None
    class_name: Annotated[str | None, Field(alias="class")]
    task_class: str | None = None
    busy_usd: float
    idle_usd: float
    energy_usd: float
    egress_usd: float = 0.0
    provider_usd: float = 0.0
    energy_j: float | None
    site_energy_j: float | None
    carbon_g: float | None

    @property
    def cost_usd(self) -> float:
        """All money of the row."""
        return self.busy_usd + self.idle_usd + self.energy_usd + self.egress_usd + self.provider_usd

    @property
    def is_idle(self) -> bool:
        """Whether nobody used it."""
        return self.class_name is None and self.task_class is None


class PolicyUsed(Record):
    """A policy with the parameters the scenario gave it (the others are its defaults)."""

    policy: str
    parameters: dict[str, float]
    oracle: bool


class BatchingUsed(Record):
    """How a pool forms its batches.

    Attributes
    ----------
    policy, order : PolicyUsed
        `order` is an oracle also where it goes by lengths that some class predicts without error.
    """

    pool: str
    policy: PolicyUsed
    order: PolicyUsed


class Policies(Record):
    """Who decided, and how old what they saw was."""

    placement: PolicyUsed
    balancing: PolicyUsed
    snapshot_age_s: float
    batching: tuple[BatchingUsed, ...]

    @property
    def oracles(self) -> tuple[str, ...]:
        """Those that looked at what nobody can know in a real system, in words."""
        used = [("placement", self.placement), ("balancing", self.balancing)]
        for each in self.batching:
            used += [(f"batching of {each.pool}", each.policy), (f"order of {each.pool}", each.order)]
        return tuple(f"{level} {policy.policy}" for level, policy in used if policy.oracle)

    @property
    def oracle(self) -> bool:
        """Whether there is one."""
        return bool(self.oracles)


class Summary(Record):
    """A run in one document.

    Attributes
    ----------
    schema_version : int
        ``schema`` in JSON.
    name, variant, question : str
        The scenario's; `variant` is null if it describes none, or this is none of them.
    scenario_digest : str
        SHA-256 of the scenario's canonical JSON.
    seed : int
    policies : Policies
    oracle : bool
        Whether a policy knew what a real router cannot; such results are a bound, not a forecast.
    window : Window
    verdict : Verdict
    conservation : Conservation
    fleet : FleetSummary
    classes : tuple of ClassSummary
    pools : tuple of PoolSummary
    tasks : tuple of TaskSummary
    task_conservation : TaskConservation
    tools : tuple of ToolsSummary
    providers : tuple of ProviderSummary
    break_even : tuple of BreakEven
        Every pool against every provider of its model.
    ledger : tuple of LedgerRow
    intervals : tuple of MeanInterval
        Of mean TTFT and E2E, of the fleet and of each class.
    malformed_trace_rows : int
        Rows of traces that were left out.
    first_malformed_rows : tuple of MalformedTraceRow
        The first hundred of them, by file and line.
    trace_notes : tuple of TraceRemark
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    name: str
    variant: str | None = None
    question: str
    scenario_digest: str
    seed: int
    policies: Policies
    oracle: bool
    window: Window
    verdict: Verdict
    conservation: Conservation
    fleet: FleetSummary
    classes: tuple[ClassSummary, ...]
    pools: tuple[PoolSummary, ...]
    tasks: tuple[TaskSummary, ...] = ()
    task_conservation: TaskConservation
    tools: tuple[ToolsSummary, ...] = ()
    providers: tuple[ProviderSummary, ...]
    break_even: tuple[BreakEven, ...]
    ledger: tuple[LedgerRow, ...]
    intervals: tuple[MeanInterval, ...] = ()
    malformed_trace_rows: int
    first_malformed_rows: tuple[MalformedTraceRow, ...] = ()
    trace_notes: tuple[TraceRemark, ...] = ()
