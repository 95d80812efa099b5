"""One measurement of a serving system: its setup, its load, and the figures observed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Figures a measurement may hold. Times in seconds; rates per second; the last two count one user or one prompt.
Metric = Literal[
    "ttft_s",
    "tpot_s",
    "e2e_s",
    "makespan_s",
    "output_tokens_per_s",
    "total_tokens_per_s",
    "requests_per_s",
    "output_tokens_per_s_per_user",
    "prefill_tokens_per_s",
]


@dataclass(frozen=True)
class TokenRange:
    """Lengths drawn uniformly from `low` to `high` tokens, both included; fixed where they are equal."""

    low: int
    high: int

    @property
    def mean(self) -> float:
        """Mean length in tokens."""
        return (self.low + self.high) / 2.0

    @classmethod
    def around(cls, mean: float, deviation: float = 0.0) -> TokenRange:
        """Return the uniform lengths of this mean and standard deviation (half-width √3 σ), none below one token."""
        half = math.sqrt(3.0) * deviation
        return cls(max(round(mean - half), 1), max(round(mean + half), 1))


@dataclass(frozen=True)
class MeasuredLoad:
    """How the system was driven.

    Attributes
    ----------
    kind : {"closed", "offline", "open", "static", "replayed"}
        ``closed``: `concurrency` clients that ask again at once. ``offline``: all `requests` queued at t = 0.
        ``open``: Poisson arrivals at `rate_per_s`. ``static``: one batch of `concurrency` sequences, started together.
        ``replayed``: requests at recorded times, each of its own lengths.
    prompt_tokens, output_tokens : TokenRange
        Of a replayed load, their mean alone.
    concurrency : int
        Clients (closed) or sequences (static); 0 otherwise.
    requests : int
        Requests of the whole measurement; 0 where that was not stated: as many as a steady state needs.
    rate_per_s : float
        Arrivals per second (open); 0 otherwise.
    """

    kind: Literal["closed", "offline", "open", "static", "replayed"]
    prompt_tokens: TokenRange
    output_tokens: TokenRange
    concurrency: int = 0
    requests: int = 0
    rate_per_s: float = 0.0


class NotReproducibleError(Exception):
    """Why a row cannot be reproduced."""


@dataclass(frozen=True)
class Workers:
    """Identical replicas of one side of a disaggregated deployment; as in :class:`MeasuredSetup`."""

    parallelism: dict[str, int]
    replicas: int


@dataclass(frozen=True)
class MeasuredSetup:
    """What served it, in this project's names, as a pool of a scenario takes them.

    Attributes
    ----------
    hardware, model, engine : str
        Ids of a hardware profile, a model and an engine.
    engine_version : str
        As reported; empty if it was not.
    precision : dict of str to str
        ``weights``, ``activations``, ``kv`` and, where the experts differ, ``expert_weights`` and
        ``expert_activations``.
    parallelism : dict of str to int
        ``tensor`` (chips of one pipeline stage), ``pipeline``, ``expert``, ``attention_data``.
    replicas : int
        Identical copies behind a balancer.
    batching : dict of str to int
        ``token_budget`` and ``max_sequences``, as a pool's `batching` takes them; absent where not stated.
    memory_share : float or None
        Share of a chip's memory the engine may use; None if not stated.
    admission_steps : float
        Decode steps that a prompt waits, on average, before the engine considers it: engines that poll for prompts
        only every few steps, or gather some, do that. One that finds no sequence decoding does not wait.
    prefill : Workers or None
        Who prefilled, where that was somebody else: `parallelism` and `replicas` are then of those who decoded.
    """

    hardware: str
    model: str
    engine: str
    engine_version: str
    precision: dict[str, str]
    parallelism: dict[str, int]
    replicas: int = 1
    batching: dict[str, int] = field(default_factory=dict)
    memory_share: float | None = None
    admission_steps: float = 0.0
    prefill: Workers | None = None


@dataclass(frozen=True)
class Measurement:
    """One measurement, twins merged.

    Attributes
    ----------
    id : str
        The row's own name.
    source : str
        The data set it belongs to (``silicon``, ``published`` …), for grouping.
    reference : str
        Where the figure was published.
    setup : MeasuredSetup
    load : MeasuredLoad
    observed : dict of Metric to float
        Means over all requests unless `statistic` says otherwise.
    statistic : {"mean", "median"}
    twins : tuple of str
        Names of other rows that repeat this measurement.
    """

    id: str
    source: str
    reference: str
    setup: MeasuredSetup
    load: MeasuredLoad
    observed: dict[Metric, float]
    statistic: Literal["mean", "median"] = "mean"
    twins: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Unsupported:
    """A row that cannot be reproduced, and why.

    Attributes
    ----------
    id, source : str
        As in :class:`Measurement`.
    hardware, model, engine : str
        As the row names them, for grouping.
    reason : str
        A short phrase; rows with the same one are counted together.
    twins : tuple of str
        Names of other rows that repeat this one.
    """

    id: str
    source: str
    hardware: str
    model: str
    engine: str
    reason: str
    twins: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Readings:
    """What was read from one file, or from several.

    Attributes
    ----------
    measurements : tuple of Measurement
    unsupported : tuple of Unsupported
    rows : int
        Rows (results, in a JSON file) that were read; several may be one measurement.
    """

    measurements: tuple[Measurement, ...]
    unsupported: tuple[Unsupported, ...]
    rows: int

    @classmethod
    def together(cls, parts: Iterable[Readings]) -> Readings:
        """Return all readings as one, in their order."""
        every = list(parts)
        return cls(
            tuple(one for part in every for one in part.measurements),
            tuple(one for part in every for one in part.unsupported),
            sum(part.rows for part in every),
        )
