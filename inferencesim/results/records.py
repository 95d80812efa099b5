"""The summary of a run, as frozen records that JSON can hold.

A quantity that does not exist (a percentile of nothing, the attainment of a
class that promises nothing) is null, never zero.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

#: Version of the summary's fields; every file carries it.
SUMMARY_SCHEMA = 1


class Record(BaseModel):
    """Base of all records of a summary: frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_by_name=True, serialize_by_alias=True
    )


class Window(Record):
    """The measurement window [from, to); statistics are of requests that arrived inside it.

    Attributes
    ----------
    from_s, to_s : float
        The end of the warm-up, and the horizon.
    end_s : float
        When the simulation stopped, work still inside having been drained.
    """

    from_s: float
    to_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Seconds of the window."""
        return self.to_s - self.from_s


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


class Conservation(Record):
    """Requests of the whole run, warm-up included: arrived = the sum of all others."""

    arrived: int
    completed: int
    rejected: int
    timed_out: int
    cancelled: int
    failed: int
    open: int

    @property
    def holds(self) -> bool:
        """Whether nothing was lost and nothing appeared."""
        left = self.completed + self.rejected + self.timed_out + self.cancelled + self.failed
        return self.arrived == left + self.open


class Distribution(Record):
    """Mean and percentiles (linear between order statistics) of a quantity; null without a single value."""

    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


class TimeParts(Record):
    """Where the time of completed requests went: mean seconds, which sum to the mean E2E; null without a request.

    Attributes
    ----------
    waiting_s : float or None
        Held at the gateway, or in a queue: before its prefill and (with prefill in another pool) before it was
        admitted to decode.
    prefill_s, decode_s : float or None
        In a batch.
    transfer_s : float or None
        While its KV came over a link.
    preempted_s : float or None
        From losing its KV to having it again.
    network_s : float or None
        To the client and back.
    """

    waiting_s: float | None
    prefill_s: float | None
    decode_s: float | None
    transfer_s: float | None
    preempted_s: float | None
    network_s: float | None


class Reason(Record):
    """How many requests were rejected for one reason (a verdict of the decisions table)."""

    reason: str
    requests: int


class Held(Record):
    """How many requests were held at the gateway until the same thing happened, and how long on average.

    Attributes
    ----------
    until : str
        ``batch``: enough of their class had come; ``window``: one opened; ``load``: it fell; ``slack``: theirs had
        run out; ``quota``: their tenant had some again; ``not_released``: they left before, or are there still.
    requests : int
    mean_s : float
        Seconds at the gateway, of all that time.
    """

    until: str
    requests: int
    mean_s: float


class ToFinish(Record):
    """Requests still inside when the simulation stopped, and what it will take to finish them.

    They are all that were inside, whenever they arrived. Time and cost are a forecast at the pools' batches of that
    moment; see :mod:`inferencesim.simulation.finishing`.

    Attributes
    ----------
    requests : int
    promises_open : int
        Of those, the ones with a promise that is not yet due.
    prompt_tokens, output_tokens : int
        Tokens they have yet to prefill, and to make.
    replica_s : float
        Replicas' time that takes.
    cost_usd : float
        Its price, with power at its mean where that is paid apart, and what providers have yet to bill; idle time is
        none of it.
    """

    requests: int
    promises_open: int
    prompt_tokens: int
    output_tokens: int
    replica_s: float
    cost_usd: float


class Statistics(Record):
    """What became of the requests that arrived in the window, and what they cost.

    Attributes
    ----------
    arrived, completed, rejected, timed_out, cancelled, failed, open : int
        Of those that arrived in the window, whenever they left. `open` were inside when the simulation stopped.
    promises_kept, promises_missed, promises_open : int
        Of requests of classes that promise anything.
    slo_attainment : float or None
        promises_kept / arrived of the classes that promise; what is open counts as not kept (yet). A call that its task
        gave up because it had branches enough promises nothing.
    open_share : float or None
        promises_open / the same.
    queue_time_s, ttft_s, tpot_s, e2e_s : Distribution
        In seconds; see the glossary.
    itl_s : Distribution
        Gaps between the tokens made in the window, each token counting once; within 1.1 %. With speculation, tokens
        that come together have gaps of 0.
    real_time_factor : Distribution
        E2E over the seconds of audio, of requests that have any.
    time_parts : TimeParts
    prefix_hit_rate : float or None
        Prompt tokens found in a cache / prompt tokens, of requests first admitted in the window; null where no pool
        has a prefix cache.
    goodput_per_s : float or None
        promises_kept / seconds of the window.
    completed_in_window : int
        Requests whose last token left within the window, whenever they arrived.
    input_tokens_per_s, output_tokens_per_s : float
        Tokens of those / seconds of the window.
    preemptions : int
    cost_usd : float
        Of the window; idle time included.
    provider_usd : float
        Of it, what outside providers billed for tokens of the window.
    cost_per_completed_request_usd : float or None
        cost_usd / completed_in_window.
    energy_j, site_energy_j : float
        Joules of the machines in the window, idle time included, and those × PUE. What providers use is unknown, and
        not among it.
    energy_per_completed_request_j : float or None
        energy_j / completed_in_window; null where providers completed any of them.
    carbon_g : float
        Grams of CO2 equivalent of site_energy_j.
    rejections : tuple of Reason
        Most frequent first.
    held : tuple of Held
        Of those that arrived in the window; in the order of :data:`inferencesim.kernel.flow_tables.RELEASES`.
    to_finish : ToFinish or None
        Null where nothing was inside when the simulation stopped.
    """

    arrived: int
    completed: int
    rejected: int
    timed_out: int
    cancelled: int
    failed: int
    open: int
    promises_kept: int
    promises_missed: int
    promises_open: int
    slo_attainment: float | None
    open_share: float | None
    queue_time_s: Distribution
    ttft_s: Distribution
    tpot_s: Distribution
    e2e_s: Distribution
    itl_s: Distribution
    real_time_factor: Distribution
    time_parts: TimeParts
    prefix_hit_rate: float | None
    goodput_per_s: float | None
    completed_in_window: int
    input_tokens_per_s: float
    output_tokens_per_s: float
    preemptions: int
    cost_usd: float
    provider_usd: float
    cost_per_completed_request_usd: float | None
    energy_j: float
    site_energy_j: float
    energy_per_completed_request_j: float | None
    carbon_g: float
    rejections: tuple[Reason, ...]
    held: tuple[Held, ...]
    to_finish: ToFinish | None


class ClassSummary(Statistics):
    """One class of work.

    `cost_usd`, energy and carbon are the class's busy share of each pool plus,
    in the same proportion, a share of the idle time of the pools it used; to the
    money comes what providers billed for it.
    """

    name: str


class FleetSummary(Statistics):
    """All classes together, and what the fleet cost.

    Attributes
    ----------
    replicas, chips : int
    utilisation : float
        Busy share of all replicas' time in the window.
    idle_share : float or None
        Money charged for idle time / all money.
    usd_per_million_output_tokens, usd_per_million_tokens : float or None
        cost_usd over output tokens, and over input and output tokens, of requests completed in the window.
    completed_tasks_in_window : int
        What users wanted and got within the window: tasks that ended well, and requests that belong to no task.
    cost_per_completed_task_usd : float or None
        cost_usd / completed_tasks_in_window: what failed, was wasted or stood idle is in the numerator.
    energy_per_completed_task_j : float or None
        energy_j / completed_tasks_in_window; null where providers completed any request.
    """

    replicas: int
    chips: int
    utilisation: float
    idle_share: float | None
    usd_per_million_output_tokens: float | None
    usd_per_million_tokens: float | None
    completed_tasks_in_window: int
    cost_per_completed_task_usd: float | None
    energy_per_completed_task_j: float | None


class PoolSummary(Record):
    """One pool in the window.

    Attributes
    ----------
    name, hardware, model, precision, site : str
    expected_error : str
        What is known about the error of its TPOT: that of a calibration on measurements it had not seen, or that
        nothing was fitted.
    replicas, chips : int
        `chips` of all replicas together.
    arrived, completed : int
        Requests placed or sent here, and finished here, within the window.
    handed_over : int
        Requests prefilled here in the window, to be decoded in another pool.
    preemptions : int
        In the window.
    output_tokens_per_s : float
        Tokens made here within the window, those of requests that did not finish included.
    utilisation : float
        Busy share of its replicas' time.
    availability : float
        Share of its replicas' time in which they were up.
    batch, kv_usage : float or None
        Requests running per replica, and the share of its KV blocks that requests hold: means over the samples of the
        series in the window, null without one.
    prefix_hit_rate : float or None
        Prompt tokens found in a cache here / prompt tokens, of requests first admitted here in the window; null
        without a prefix cache.
    mfu, mbu : float or None
        FLOPs and bytes per second of busy time over the peaks of its chips; null where nothing ran, and where models
        take turns.
    mfu_wall, mbu_wall : float or None
        The same over the whole window: × utilisation.
    power_w : float
        Mean power of the machines.
    owned_usd : float
        Price of all replicas for the whole window: busy_usd + idle_usd.
    energy_usd : float
        Price of the electricity; 0 where the hourly price includes it.
    egress_usd : float
        Price of the answers' way out of its site.
    cost_usd : float
        owned_usd + energy_usd + egress_usd.
    price_includes_power : bool
    energy_j, site_energy_j, carbon_g : float
        Joules of the machines, those × PUE, and grams of CO2 equivalent of the latter.
    """

    name: str
    hardware: str
    model: str
    precision: str
    site: str
    expected_error: str
    replicas: int
    chips: int
    arrived: int
    completed: int
    handed_over: int
    preemptions: int
    output_tokens_per_s: float
    utilisation: float
    availability: float
    batch: float | None
    kv_usage: float | None
    prefix_hit_rate: float | None
    mfu: float | None
    mbu: float | None
    mfu_wall: float | None
    mbu_wall: float | None
    power_w: float
    owned_usd: float
    busy_usd: float
    idle_usd: float
    energy_usd: float
    egress_usd: float
    cost_usd: float
    price_includes_power: bool
    energy_j: float
    site_energy_j: float
    carbon_g: float


class ProviderSummary(Record):
    """One outside provider in the window.

    Attributes
    ----------
    name, model, site, tier : str
    offer : str or None
        The shipped list price; null where the scenario states its own.
    precision : str or None
        Null where it is unknown.
    arrived, completed : int
        Requests sent there, and answered there, within the window.
    availability : float
        Share of the window in which it answered.
    rate_limited : int
        Requests that its limits ruled it out for, each of which would have met a 429; sent elsewhere, or rejected.
    prompt_tokens, cached_tokens, output_tokens : int
        Billed in the window: sent, of them found in its prompt cache, and made.
    cost_usd : float
    usd_per_million_tokens : float or None
        cost_usd over prompt and output tokens.
    energy_j, carbon_g : None
        Unknown: no provider says.
    """

    name: str
    offer: str | None
    model: str
    precision: str | None
    site: str
    tier: str
    arrived: int
    completed: int
    availability: float
    rate_limited: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: float
    usd_per_million_tokens: float | None
    energy_j: None = None
    carbon_g: None = None


class BreakEven(Record):
    """One owned pool against one provider of its model, for the tokens that the pool completed in the window.

    Attributes
    ----------
    pool, provider : str
    utilisation : float
        Of the pool, as measured.
    pool_usd_per_million_tokens : float or None
        All that the pool cost over prompt and output tokens completed there; null without any.
    provider_usd_per_million_tokens : float or None
        What the provider would bill for the very same tokens, none of them cached; null likewise.
    break_even_utilisation : float or None
        At which both are equal if tokens grow in proportion to utilisation; above 1, not even a pool that is always
        busy gets there. Null without tokens, or where a token's electricity alone costs more.
    """

    pool: str
    provider: str
    utilisation: float
    pool_usd_per_million_tokens: float | None
    provider_usd_per_million_tokens: float | None
    break_even_utilisation: float | None


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


class ToolsSummary(Record):
    """One pool of tools in the window.

    Attributes
    ----------
    name, hardware, site : str
    nodes, cores : int
        `cores` of all nodes.
    utilisation : float
        Busy share of its cores' time.
    power_w : float
        Mean power of the nodes.
    busy_usd, idle_usd, energy_usd, cost_usd : float
        Price of the nodes by the share of their cores' time, of the electricity where the price excludes it, and
        their sum.
    energy_j, site_energy_j, carbon_g : float
    """

    name: str
    hardware: str
    site: str
    nodes: int
    cores: int
    utilisation: float
    power_w: float
    busy_usd: float
    idle_usd: float
    energy_usd: float
    cost_usd: float
    energy_j: float
    site_energy_j: float
    carbon_g: float


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
