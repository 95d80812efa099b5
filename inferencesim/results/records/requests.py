"""What became of requests: of a class, and of the fleet."""

from __future__ import annotations

from inferencesim.results.records.base import Distribution, Record


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


class TimeParts(Record):
    """Where the time of completed requests went: mean seconds, which sum to the mean E2E; null without a request.

    Attributes
    ----------
    waiting_s : float or None
        Held at the gateway, or in a queue: before its prefill and (with prefill in another pool) before it was
        admitted to decode.
    prefill_s, decode_s : float or None
        In a batch; at a provider all until the first token, and after it.
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
        cost_usd less what people were paid, over output tokens, and over input and output tokens, of requests
        completed in the window.
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
