"""How requests and tasks arrive: open processes with their rate profiles, bursts, clients that wait, and traces."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from inferencesim.scenario.base import Part, PositiveTime, Rate, Ratio, Time
from inferencesim.scenario.lengths import TimeLengths
from inferencesim.scenario.unions import named, refuse, tag


class Diurnal(Part):
    """A sinusoidal day whose mean over `period` is one, so that `rate` stays the mean rate."""

    shape: Literal["diurnal"]
    peak_to_trough: Annotated[Ratio, Field(ge=1, le=1000)]
    peak_at: Time = 14 * 3600.0
    period: PositiveTime = 24 * 3600.0


class Burst(Part):
    """`rate` times `factor` for `length`, from `start` on; once, or again `every` so often."""

    shape: Literal["burst"]
    factor: Annotated[Ratio, Field(gt=0)]
    start: Time = 0.0
    length: PositiveTime
    every: PositiveTime | None = None

    @model_validator(mode="after")
    def _apart(self) -> Burst:
        if self.every is not None and self.every < self.length:
            refuse(f"bursts of {self.length} s every {self.every} s would overlap: make every at least length")
        return self


class Table(Part):
    """`rate` times ``factors[i]`` from ``times[i]`` on; the last holds, or all repeats with `period`."""

    shape: Literal["table"]
    times: Annotated[tuple[Time, ...], Field(min_length=1)]
    factors: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]
    period: PositiveTime | None = None

    @model_validator(mode="after")
    def _steps(self) -> Table:
        if len(self.times) != len(self.factors):
            refuse(f"{len(self.times)} times need as many factors; found {len(self.factors)}")
        if self.times[0] != 0:
            refuse("the first of times must be 0s, or nothing would say what holds before it")
        if any(b <= a for a, b in zip(self.times, self.times[1:], strict=False)):
            refuse("times must increase")
        if self.period is not None and self.period <= self.times[-1]:
            refuse(f"period ({self.period} s) must be longer than the last of times ({self.times[-1]} s)")
        if max(self.factors) == 0:
            refuse("factors must not all be zero")
        return self


_SHAPES = ("diurnal", "burst", "table")
Profile = Annotated[
    Annotated[Diurnal, Tag("[diurnal]")] | Annotated[Burst, Tag("[burst]")] | Annotated[Table, Tag("[table]")],
    tag("shape", _SHAPES),
    named("shape", _SHAPES),
]


class Poisson(Part):
    """Independent arrivals at `rate`, times the profile."""

    process: Literal["poisson"]
    rate: Rate
    profile: Profile | None = None


class Gamma(Part):
    """Stationary renewal arrivals with gamma-distributed gaps of coefficient of variation `cv`."""

    process: Literal["gamma"]
    rate: Rate
    cv: Annotated[float, Field(gt=0, le=100)]
    profile: Profile | None = None


class RegisteredArrivals(Part):
    """An arrival process of another package, by its registered id, with its own parameters."""

    process: str
    rate: Rate
    parameters: dict[str, Any]
    profile: Profile | None = None


class TraceWindow(Part):
    """The part of a trace that is replayed, in the trace's own time."""

    from_s: Time = Field(default=0.0, alias="from")
    length: PositiveTime | None = None


class TraceArrivals(Part):
    """Arrivals and lengths from a file.

    `rate_scale` compresses the gaps: 2 plays the same requests in half the
    time, hence at twice the rate. `spread` undoes quantised timestamps: rows
    sharing one instant are spread over so long after it; ``auto`` does so only
    where more than half of all gaps are zero. `select` keeps the rows whose
    column has that value, so that several classes can share one file.
    """

    process: Literal["trace"]
    file: Annotated[str, Field(min_length=1)]
    format: str = "auto"
    window: TraceWindow = TraceWindow()
    rate_scale: Ratio = 1.0
    spread: Annotated[
        Annotated[Literal["auto"], Tag("[auto]")] | Annotated[Time, Tag("[time]")],
        Discriminator(lambda value: "[auto]" if value == "auto" else "[time]"),
    ] = "auto"
    select: dict[str, Annotated[str, BeforeValidator(str)]] = Field(default_factory=dict)


class RecordedTasks(Part):
    """Whole tasks from a file, each as it was recorded.

    `rate_scale` compresses the gaps between the starts of tasks; within a task all remains as it was. With `times`
    ``recorded``, what was done waits for what had been done before it, and then for as long as it did when it was
    recorded; ``started`` is at its recorded time, whatever the fleet does.
    """

    process: Literal["trace"]
    file: Annotated[str, Field(min_length=1)]
    format: str = "auto"
    window: TraceWindow = TraceWindow()
    rate_scale: Ratio = 1.0
    times: Literal["recorded", "started"] = "recorded"


class AtOnce(Part):
    """`requests` that all arrive at one moment: when the class becomes active."""

    process: Literal["burst"]
    requests: Annotated[int, Field(gt=0)]


class Closed(Part):
    """`clients` that each wait for their answer, think, and ask again.

    They stop when they have asked `requests` together, or when the class or
    the horizon ends. Turned away at once, they first wait `back_off`.
    """

    process: Literal["closed"]
    clients: Annotated[int, Field(gt=0)]
    requests: Annotated[int, Field(gt=0)] | None = None
    think_time: TimeLengths
    back_off: PositiveTime = 1.0


class ByTasks(Part):
    """Whenever a task calls; see `tasks` of the scenario."""

    process: Literal["tasks"]


_PROCESSES = ("poisson", "gamma", "burst", "closed", "tasks", "trace")

Arrivals = Annotated[
    Annotated[Poisson, Tag("[poisson]")]
    | Annotated[Gamma, Tag("[gamma]")]
    | Annotated[AtOnce, Tag("[burst]")]
    | Annotated[Closed, Tag("[closed]")]
    | Annotated[ByTasks, Tag("[tasks]")]
    | Annotated[TraceArrivals, Tag("[trace]")]
    | Annotated[RegisteredArrivals, Tag("[registered]")],
    tag("process", _PROCESSES),
    named("process", _PROCESSES),
]
