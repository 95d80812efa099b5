"""The scenario: everything a user describes, in one frozen model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from inferencesim.scenario.base import Part, PositiveTime, Time
from inferencesim.scenario.economics import Economics
from inferencesim.scenario.fleet import Pool
from inferencesim.scenario.routing import Routing
from inferencesim.scenario.workload import WorkloadClass


class Recording(Part):
    """What a run keeps beside its summary.

    With `predictions`, each decision also says what TTFT, TPOT and marginal cost were predicted of every eligible
    pool, whatever policy then chose.
    """

    requests: bool = True
    decisions: bool = True
    predictions: bool = False
    series_interval: PositiveTime | None = None

    @model_validator(mode="after")
    def _predictions_stand_with_decisions(self) -> Recording:
        if self.predictions and not self.decisions:
            msg = "predictions are recorded with the decisions, which are off: set decisions to true"
            raise ValueError(msg)
        return self


class Scenario(Part):
    """A fleet, a load, the policies between them, and for how long.

    Times run from 0 to `horizon`, when arrivals stop; work still inside may
    finish during `drain`. Statistics are of requests that arrived in
    [`warm_up`, `horizon`); money and energy are those of the same window.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]*$")]
    question: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    horizon: PositiveTime
    warm_up: Time = 0.0
    drain: Time = 600.0
    pools: Annotated[list[Pool], Field(min_length=1)]
    workload: list[WorkloadClass] = Field(default_factory=list)
    routing: Routing = Routing()
    economics: Economics = Economics()
    recording: Recording = Recording()

    @model_validator(mode="after")
    def _window_and_names(self) -> Scenario:
        if self.warm_up >= self.horizon:
            msg = f"warm_up ({self.warm_up:g} s) must end before the horizon ({self.horizon:g} s)"
            raise ValueError(msg)
        interval = self.recording.series_interval
        if interval is not None and interval < self.horizon / 1e6:
            msg = f"recording.series_interval ({interval:g} s) must be at least a millionth of the horizon"
            raise ValueError(msg)
        for kind, names in (
            ("pools", [pool.name for pool in self.pools]),
            ("workload", [each.name for each in self.workload]),
        ):
            doubled = sorted({name for name in names if names.count(name) > 1})
            if doubled:
                msg = f"{kind}: the name {doubled[0]!r} is used twice; each needs its own"
                raise ValueError(msg)
        return self
