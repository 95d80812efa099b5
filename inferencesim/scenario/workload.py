"""What a scenario says about its load: classes of work, what is in their requests, and their promises."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from inferencesim.scenario.arrivals import Arrivals, TraceArrivals
from inferencesim.scenario.base import Fraction, Part, PositiveTime, Ratio, Time
from inferencesim.scenario.lengths import TimeLengths, TokenLengths
from inferencesim.scenario.unions import refuse

#: Precisions from the least to the most precise: a class tolerates its own and everything after it.
PRECISION_ORDER = ("fp4", "int4", "fp8", "int8", "bf16")


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
                refuse(f"{name} ({limit} s) is shorter than ttft ({self.ttft} s), which would then mean nothing")
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
            refuse(f"to ({self.to_s} s) must be later than from ({self.from_s} s)")
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
                refuse(f"a trace brings its own lengths: remove {name}")
            if not isinstance(self.arrivals, TraceArrivals) and not given:
                refuse(f"{name} is missing: give a number of tokens or a distribution")
        if isinstance(self.arrivals, TraceArrivals) and self.sessions is not None:
            refuse("a trace brings its own sessions: remove sessions")
        return self
