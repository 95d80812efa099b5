"""What a scenario says about its load: classes of work, their arrivals, lengths and promises."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NoReturn, TypeAlias, TypeVar

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from inferencesim.errors import did_you_mean
from inferencesim.scenario.base import Fraction, Part, PositiveTime, Rate, Ratio, Time, Tokens

#: Precisions from the least to the most precise: a class tolerates its own and everything after it.
PRECISION_ORDER = ("fp4", "int4", "fp8", "int8", "bf16")

#: Standard normal quantile at 95 %, which turns median and p95 of a lognormal into its sigma.
_Z95 = 1.6448536269514722

Quantity = TypeVar("Quantity")


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


def _named(key: str, known: tuple[str, ...], bare: Any = None) -> BeforeValidator:
    """Refuse an unknown name with the nearest one.

    With `bare`, a type that covers both forms, a value that is no mapping is read as ``fixed``.
    """
    names = sorted(known)

    def check(value: object) -> object:
        if isinstance(value, Part):
            return value
        if not isinstance(value, dict):
            if bare is not None:
                return {key: "fixed", "value": value}
            _refuse(f"expected a mapping with the key {key!r}; known: {', '.join(names)}")
        name = value.get(key)
        if name is None:
            _refuse(f"the key {key!r} is missing; known: {', '.join(names)}")
        if name not in names and "parameters" not in value:
            _refuse(f"unknown {key} {name!r} ({did_you_mean(str(name), names)})")
        return value

    if bare is None:
        return BeforeValidator(check)
    return BeforeValidator(check, json_schema_input_type=bare)


def _tag(key: str, known: tuple[str, ...]) -> Discriminator:
    names = frozenset(known)

    # Brackets tell the error message that this part of the location is no key of the file.
    def choose(value: object) -> str:
        name = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        return f"[{name}]" if name in names else "[registered]"

    return Discriminator(choose)


# --- Length distributions ----------------------------------------------------------------------------


class Fixed(Part, Generic[Quantity]):
    """Always the same length; a bare number means this."""

    distribution: Literal["fixed"]
    value: Quantity


class Uniform(Part, Generic[Quantity]):
    """Every length from `low` to `high`, both included, equally likely."""

    distribution: Literal["uniform"]
    low: Quantity
    high: Quantity

    @model_validator(mode="after")
    def _ordered(self) -> Uniform[Quantity]:
        if self.high < self.low:  # type: ignore[operator]  # quantities are floats
            _refuse(f"high ({self.high}) is below low ({self.low})")
        return self


class Lognormal(Part, Generic[Quantity]):
    """Lognormal by its median and one of `p95`, `sigma` (of the logarithm) or `mean`.

    `min` and `max` clip: what would lie beyond is drawn *at* the bound, as a
    context limit does to real prompts. `median`, `p95` and `mean` describe the
    distribution before clipping.
    """

    distribution: Literal["lognormal"]
    median: Quantity
    p95: Quantity | None = None
    sigma: Annotated[float, Field(ge=0, le=10)] | None = None
    mean: Quantity | None = None
    min: Quantity | None = None
    max: Quantity | None = None

    @model_validator(mode="after")
    def _one_spread(self) -> Lognormal[Quantity]:
        given = [name for name in ("p95", "sigma", "mean") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            _refuse(f"a lognormal needs its median and exactly one of p95, sigma or mean; found {found}")
        for name in ("p95", "mean"):
            value = getattr(self, name)
            if value is not None and value < self.median:
                _refuse(f"{name} ({value}) of a lognormal cannot be below its median ({self.median})")
        if not self.median > 0:  # type: ignore[operator]  # quantities are floats
            _refuse("the median of a lognormal must be above zero")
        if self.min is not None and self.max is not None and self.max < self.min:  # type: ignore[operator]
            _refuse(f"max ({self.max}) is below min ({self.min})")
        return self

    @property
    def log_sigma(self) -> float:
        """Standard deviation of the logarithm: ``ln(p95/median)/z95``, or ``√(2 ln(mean/median))``."""
        median: Any = self.median
        if self.sigma is not None:
            return self.sigma
        if self.p95 is not None:
            p95: Any = self.p95
            return math.log(p95 / median) / _Z95
        mean: Any = self.mean
        return math.sqrt(2.0 * math.log(mean / median))


class Histogram(Part, Generic[Quantity]):
    """Weighted `values`, or bins between `edges` within which every length is equally likely."""

    distribution: Literal["histogram"]
    edges: tuple[Quantity, ...] | None = None
    values: tuple[Quantity, ...] | None = None
    weights: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]

    @model_validator(mode="after")
    def _matching(self) -> Histogram[Quantity]:
        if (self.edges is None) == (self.values is None):
            _refuse("a histogram needs either edges or values, and weights")
        if sum(self.weights) <= 0:
            _refuse("the weights of a histogram must not all be zero")
        if self.values is not None and len(self.values) != len(self.weights):
            _refuse(f"{len(self.values)} values need as many weights; found {len(self.weights)}")
        if self.edges is not None:
            if len(self.edges) != len(self.weights) + 1:
                _refuse(f"{len(self.weights)} weights need {len(self.weights) + 1} edges; found {len(self.edges)}")
            if any(b <= a for a, b in zip(self.edges, self.edges[1:], strict=False)):  # type: ignore[operator]
                _refuse("the edges of a histogram must increase")
        return self


class RegisteredDistribution(Part):
    """A length distribution of another package, by its registered id, with its own parameters."""

    distribution: str
    parameters: dict[str, Any]


# --- Arrivals ----------------------------------------------------------------------------------------


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
            _refuse(f"bursts of {self.length} s every {self.every} s would overlap: make every at least length")
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
            _refuse(f"{len(self.times)} times need as many factors; found {len(self.factors)}")
        if self.times[0] != 0:
            _refuse("the first of times must be 0s, or nothing would say what holds before it")
        if any(b <= a for a, b in zip(self.times, self.times[1:], strict=False)):
            _refuse("times must increase")
        if self.period is not None and self.period <= self.times[-1]:
            _refuse(f"period ({self.period} s) must be longer than the last of times ({self.times[-1]} s)")
        if max(self.factors) == 0:
            _refuse("factors must not all be zero")
        return self


_SHAPES = ("diurnal", "burst", "table")
Profile = Annotated[
    Annotated[Diurnal, Tag("[diurnal]")] | Annotated[Burst, Tag("[burst]")] | Annotated[Table, Tag("[table]")],
    _tag("shape", _SHAPES),
    _named("shape", _SHAPES),
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


_DISTRIBUTIONS = ("fixed", "uniform", "lognormal", "histogram")
_PROCESSES = ("poisson", "gamma", "burst", "closed", "trace")

Lengths: TypeAlias = Fixed[float] | Uniform[float] | Lognormal[float] | Histogram[float] | RegisteredDistribution
"""Any length distribution, of tokens (in tokens) or of times (in seconds)."""

if TYPE_CHECKING:
    TokenLengths: TypeAlias = Lengths
    TimeLengths: TypeAlias = Lengths
else:

    def _lengths(quantity: Any) -> Any:
        """Return the union of distributions whose numbers are of one quantity."""
        union = (
            Annotated[Fixed[quantity], Tag("[fixed]")]
            | Annotated[Uniform[quantity], Tag("[uniform]")]
            | Annotated[Lognormal[quantity], Tag("[lognormal]")]
            | Annotated[Histogram[quantity], Tag("[histogram]")]
            | Annotated[RegisteredDistribution, Tag("[registered]")]
        )
        chooser = _tag("distribution", _DISTRIBUTIONS)
        return Annotated[union, chooser, _named("distribution", _DISTRIBUTIONS, bare=union | float | str)]

    TokenLengths = _lengths(Tokens)
    TimeLengths = _lengths(Time)


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


Arrivals = Annotated[
    Annotated[Poisson, Tag("[poisson]")]
    | Annotated[Gamma, Tag("[gamma]")]
    | Annotated[AtOnce, Tag("[burst]")]
    | Annotated[Closed, Tag("[closed]")]
    | Annotated[TraceArrivals, Tag("[trace]")]
    | Annotated[RegisteredArrivals, Tag("[registered]")],
    _tag("process", _PROCESSES),
    _named("process", _PROCESSES),
]


# --- A class -----------------------------------------------------------------------------------------


class Sessions(Part):
    """Each request belongs to one of `active` sessions, drawn evenly."""

    active: Annotated[int, Field(gt=0, lt=2**31)]


class Tags(Part):
    """What is known of a class besides its numbers: labels so far, which decide nothing."""

    human_waiting: bool = False
    batchable: bool = False
    tenant: str | None = None


class Promise(Part):
    """The promises of a class (see the glossary); null is not promised."""

    ttft: PositiveTime | None = None
    tpot: PositiveTime | None = None
    e2e: PositiveTime | None = None
    slowdown: Annotated[Ratio, Field(ge=1)] | None = None
    deadline: PositiveTime | None = None

    @model_validator(mode="after")
    def _possible(self) -> Promise:
        for name in ("e2e", "deadline"):
            limit = getattr(self, name)
            if limit is not None and self.ttft is not None and limit < self.ttft:
                _refuse(f"{name} ({limit} s) is shorter than ttft ({self.ttft} s), which would then mean nothing")
        return self


class Cancellation(Part):
    """The client cancels this `share` of requests, `after` so long from arrival."""

    share: Fraction
    after: TimeLengths


class Active(Part):
    """When the class exists: arrivals lie in [from, to)."""

    from_s: Time = Field(default=0.0, alias="from")
    to_s: PositiveTime | None = Field(default=None, alias="to")

    @model_validator(mode="after")
    def _forwards(self) -> Active:
        if self.to_s is not None and self.to_s <= self.from_s:
            _refuse(f"to ({self.to_s} s) must be later than from ({self.from_s} s)")
        return self


class WorkloadClass(Part):
    """One kind of work."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_\-]*$")]
    arrivals: Arrivals
    prompt_tokens: TokenLengths | None = None
    output_tokens: TokenLengths | None = None
    sessions: Sessions | None = None
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    precision: Literal["fp4", "int4", "fp8", "int8", "bf16"] | None = None
    residency: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    tags: Tags = Tags()
    promise: Promise = Promise()
    timeout: PositiveTime | None = None
    cancellation: Cancellation | None = None
    active: Active = Active()

    @model_validator(mode="after")
    def _lengths_once(self) -> WorkloadClass:
        for name in ("prompt_tokens", "output_tokens"):
            given = getattr(self, name) is not None
            if isinstance(self.arrivals, TraceArrivals) and given:
                _refuse(f"a trace brings its own lengths: remove {name}")
            if not isinstance(self.arrivals, TraceArrivals) and not given:
                _refuse(f"{name} is missing: give a number of tokens or a distribution")
        if isinstance(self.arrivals, TraceArrivals) and self.sessions is not None:
            _refuse("a trace brings its own sessions: remove sessions")
        return self
