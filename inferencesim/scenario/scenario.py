"""The scenario: everything a user describes, in one frozen model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from inferencesim.errors import did_you_mean
from inferencesim.scenario.arrivals import ByTasks
from inferencesim.scenario.base import Part, PositiveTime, SampledShare, Time
from inferencesim.scenario.economics import Economics
from inferencesim.scenario.failures import Failure, check_failures
from inferencesim.scenario.fleet import Pool
from inferencesim.scenario.flow import Flow, refuse_unfit
from inferencesim.scenario.power import PowerLimit, check_power_limits
from inferencesim.scenario.providers import Provider
from inferencesim.scenario.routing import Routing
from inferencesim.scenario.tasks import Call, TaskClass, Tool, Tools, walk
from inferencesim.scenario.unions import refuse
from inferencesim.scenario.workload import WorkloadClass

#: Of which requests the rows are kept.
Evidence = Literal["full", "sampled", "off"]

#: Of tasks, where evidence is sampled and nobody says how many.
_SAMPLED_SHARE = 0.01


class Recording(Part):
    """What a run keeps beside its summary, which counts every request whatever is kept.

    `evidence` is the rows of requests and of decisions: all (``full``), those of a `share` of tasks (``sampled``;
    1 % unless it is said), or none (``off``). Which tasks are kept follows from seed, class and number of the task: it
    is the same under every policy, and a task is kept with all its rows or none.

    With `predictions`, each decision kept also says what TTFT, TPOT and marginal cost were predicted of every
    eligible pool, whatever policy then chose.
    """

    evidence: Evidence = "full"
    share: SampledShare | None = None
    predictions: bool = False
    series_interval: PositiveTime | None = None

    @property
    def kept_share(self) -> float:
        """The share of tasks whose rows are kept."""
        if self.evidence == "sampled":
            return _SAMPLED_SHARE if self.share is None else self.share
        return 1.0 if self.evidence == "full" else 0.0

    @field_validator("evidence", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: object) -> object:
        # To YAML `off` is the same as `false`.
        return "off" if value is False else value

    @model_validator(mode="after")
    def _what_stands_with_evidence(self) -> Recording:
        if self.predictions and self.evidence == "off":
            msg = "predictions are recorded with the decisions, and evidence is off: set evidence to full or sampled"
            raise ValueError(msg)
        if self.share is not None and self.evidence != "sampled":
            msg = f"share is of sampled evidence, and evidence is {self.evidence}: set evidence to sampled"
            raise ValueError(msg)
        return self


def _with_variants(schema: dict[str, Any]) -> None:
    """Add what a file may hold beside its scenario, which the loader takes out; see :mod:`.loading`."""
    schema["properties"]["variants"] = {
        "type": "object",
        "description": "by name, the paths that a variant of this scenario changes, and their values",
        "additionalProperties": {"type": "object"},
    }
    schema["properties"]["planning"] = {"type": "object", "description": "what `inferencesim plan` may change"}


class Scenario(Part):
    """A fleet, a load, the policies between them, and for how long.

    Times run from 0 to `horizon`, when arrivals stop; work still inside may
    finish during `drain`. Statistics are of requests that arrived in
    [`warm_up`, `horizon`); money and energy are those of the same window. A
    file may describe `variants` of its scenario; `variant` says which this is.
    `network` has round trips from places to sites, which come before the shipped ones.
    """

    model_config = ConfigDict(json_schema_extra=_with_variants)

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]*$")]
    question: str = ""
    variant: str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    horizon: PositiveTime
    warm_up: Time = 0.0
    drain: Time = 600.0
    pools: Annotated[list[Pool], Field(min_length=1)]
    providers: list[Provider] = Field(default_factory=list)
    workload: list[WorkloadClass] = Field(default_factory=list)
    tasks: list[TaskClass] = Field(default_factory=list)
    tools: list[Tools] = Field(default_factory=list)
    flow: Flow = Flow()
    routing: Routing = Routing()
    economics: Economics = Economics()
    recording: Recording = Recording()
    failures: list[Failure] = Field(default_factory=list)
    power: list[PowerLimit] = Field(default_factory=list)
    network: dict[str, dict[str, Time]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _window_and_names(self) -> Scenario:
        if self.warm_up >= self.horizon:
            msg = f"warm_up ({self.warm_up:g} s) must end before the horizon ({self.horizon:g} s)"
            raise ValueError(msg)
        interval = self.recording.series_interval
        if interval is not None and interval < self.horizon / 1e6:
            msg = f"recording.series_interval ({interval:g} s) must be at least a millionth of the horizon"
            raise ValueError(msg)
        pools, workload = [pool.name for pool in self.pools], [each.name for each in self.workload]
        tasks, tools = [each.name for each in self.tasks], [each.name for each in self.tools]
        providers = [each.name for each in self.providers]
        for kind, names in (
            ("pools and providers", pools + providers),
            ("workload", workload),
            ("workload and tasks", workload + tasks),
            ("pools, providers and tools", pools + providers + tools),
        ):
            doubled = sorted({name for name in names if names.count(name) > 1})
            if doubled:
                msg = f"{kind}: the name {doubled[0]!r} is used twice; each needs its own"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _flow_is_of_this_load(self) -> Scenario:
        refuse_unfit(self.flow, self.workload)
        return self

    @model_validator(mode="after")
    def _steps_name_what_is_there(self) -> Scenario:
        callable_ = [each.name for each in self.workload if isinstance(each.arrivals, ByTasks)]
        drawn = {each.name for each in self.workload if each.has_content}
        tools = {each.name: each for each in self.tools}
        called = set()

        def require_class(name: str, place: str) -> None:
            called.add(name)
            if name not in callable_:
                refuse(f"{place}: no class {name!r} has arrivals {{process: tasks}}", did_you_mean(name, callable_))

        def require_tools(name: str, place: str) -> None:
            if name not in tools:
                refuse(f"{place}: no tools are called {name!r}", did_you_mean(name, tools))

        for index, task in enumerate(self.tasks):
            for key, name in task.called.items():
                require_class(name, f"tasks[{index}].calls.{key}")
            for key, pool in task.tools.items():
                if pool is not None:
                    require_tools(pool, f"tasks[{index}].tools.{key}")
            for place, step in walk(task.steps, f"tasks[{index}].steps"):
                if isinstance(step, Call):
                    require_class(step.call, f"{place}.call")
                    if step.call not in drawn:
                        refuse(f"{place}.call: nothing says what is in requests of {step.call!r}: give it its lengths")
                elif isinstance(step, Tool):
                    require_tools(step.tool, f"{place}.tool")
                    if step.cores > tools[step.tool].cores * tools[step.tool].nodes:
                        refuse(f"{place}.cores: {step.tool!r} has fewer than {step.cores} cores in all")
        for name in callable_:
            if name not in called:
                refuse(f"workload: no task calls {name!r}, whose arrivals are those of tasks")
        return self

    @model_validator(mode="after")
    def _failures_name_what_is_there(self) -> Scenario:
        check_failures(
            self.failures,
            pools=[pool.name for pool in self.pools],
            sites=[*(pool.site for pool in self.pools), *(provider.site for provider in self.providers)],
            providers=[provider.name for provider in self.providers],
            tools=[each.name for each in self.tools],
        )
        return self

    @model_validator(mode="after")
    def _power_is_of_this_fleet(self) -> Scenario:
        check_power_limits(self.power, self.pools)
        return self
