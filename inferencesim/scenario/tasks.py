"""What a user wants done as a whole: tasks of many calls and tools, and the machines that tools run on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from inferencesim.scenario.arrivals import AtOnce, Gamma, Poisson, RecordedTasks, RegisteredArrivals
from inferencesim.scenario.base import Fraction, Part, PositiveTime, WholeTokens
from inferencesim.scenario.lengths import TimeLengths, TokenLengths, greatest
from inferencesim.scenario.task_library import task_names
from inferencesim.scenario.unions import named, refuse, tag, told_by_key
from inferencesim.scenario.workload import Active

if TYPE_CHECKING:
    from collections.abc import Iterator

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_\-]*$")]


class Tools(Part):
    """A pool of CPU nodes on which tools run: `nodes` × `cores`, served first come, first served.

    Attributes
    ----------
    hardware : str
        Profile of one node; its price and power are the node's.
    nodes : int
        Nodes in the pool, owned for the whole run.
    cores : int
        Of one node, for tools.
    site : str
        Where they stand.
    """

    name: Name
    hardware: Annotated[str, Field(min_length=1)]
    nodes: Annotated[int, Field(ge=1, le=100_000)] = 1
    cores: Annotated[int, Field(ge=1, le=100_000)]
    site: str = "us-east-virginia"


class _Step(Part):
    """What all steps have: they are taken with a `chance`, drawn for each task."""

    chance: Fraction = 1.0


class Call(_Step):
    """A request to a model, of a class of the workload whose arrivals are ``tasks``.

    With the task's context its prompt begins with all that was said before
    (shared prefix, prompts, answers, results of tools), and its answer is said
    to all that comes after; ``fresh`` it has its own prompt only, and leaves no
    trace.
    """

    call: Name
    context: Literal["grows", "fresh"] | None = None


class Tool(_Step):
    """A tool that takes `cores` of a pool of tools for so long, and `adds` tokens to the context."""

    tool: Name
    time: TimeLengths
    cores: Annotated[int, Field(ge=1)] = 1
    adds: TokenLengths | None = None


class Wait(_Step):
    """Time in which nothing of the fleet is used: somebody else's service, a person who reads."""

    wait: TimeLengths
    adds: TokenLengths | None = None


class Loop(Part):
    """Steps done over and over, `times` drawn for each task."""

    times: TokenLengths
    steps: Steps


class Repeat(_Step):
    """A loop."""

    repeat: Loop


class Branches(Part):
    """Steps done `width` times side by side, the width drawn for each task.

    Attributes
    ----------
    join : "all" or int
        Branches that have to end well before the task goes on; the others are
        then cancelled (best of n with early stop). With a number, so many
        fewer than the width may fail.
    context : str
        With which branches begin: what was said so far (``shared``), or nothing (``fresh``).
    takes : int or None
        Branches whose last answer is added to the context after the join; None is as many as are joined. Which
        branches end first depends on the fleet, and the load must not: the first ones are taken.
    """

    width: TokenLengths
    join: Literal["all"] | Annotated[int, Field(ge=1)] = "all"
    context: Literal["shared", "fresh"] = "shared"
    takes: Annotated[int, Field(ge=0)] | None = None
    steps: Steps

    @model_validator(mode="after")
    def _enough_branches(self) -> Branches:
        most = max(1, math.ceil(min(greatest(self.width), 1e9)))
        for name in ("join", "takes"):
            wanted = getattr(self, name)
            if isinstance(wanted, int) and wanted > most:
                refuse(
                    f"{name} is {wanted}, and there are at most {most} branches",
                    f"Make it {most} or less, or width more.",
                )
        return self


class FanOut(_Step):
    """Branches and their join."""

    fan_out: Branches


_KINDS: dict[str, type[_Step]] = {"call": Call, "tool": Tool, "wait": Wait, "repeat": Repeat, "fan_out": FanOut}


_one_of_them, _which = told_by_key(_KINDS, "a step", "steps", ("chance", "context", "time", "adds", "cores"))

Step = Annotated[
    Annotated[Call, Tag("[call]")]
    | Annotated[Tool, Tag("[tool]")]
    | Annotated[Wait, Tag("[wait]")]
    | Annotated[Repeat, Tag("[repeat]")]
    | Annotated[FanOut, Tag("[fan_out]")],
    _which,
    _one_of_them,
]
Steps = Annotated[tuple[Step, ...], Field(min_length=1)]

_PROCESSES = ("poisson", "gamma", "burst", "trace")
_Arrivals = Annotated[
    Annotated[Poisson, Tag("[poisson]")]
    | Annotated[Gamma, Tag("[gamma]")]
    | Annotated[AtOnce, Tag("[burst]")]
    | Annotated[RecordedTasks, Tag("[trace]")]
    | Annotated[RegisteredArrivals, Tag("[registered]")],
    tag("process", _PROCESSES),
    named("process", _PROCESSES),
]


#: Stands for all names that are not listed.
OTHERS = "*"

_Classes = Annotated[
    Annotated[Name, Tag("[class]")] | Annotated[dict[str, Name], Field(min_length=1), Tag("[classes]")],
    Discriminator(lambda value: "[classes]" if isinstance(value, dict) else "[class]"),
]


class TaskPromise(Part):
    """What is promised of a whole task: its latency, from its arrival to the end of its last needed step."""

    latency: PositiveTime | None = None


def _or_like(schema: dict[str, Any]) -> None:
    """Say in the JSON Schema what a task of the library spares, and asks for."""
    schema["properties"]["like"] = {"enum": [*task_names(), None], "description": "a task of the library"}
    models = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    schema["properties"]["models"] = {
        "anyOf": [models, {"type": "object", "additionalProperties": models}],
        "description": "of the classes that a task of the library calls and the workload has not; or by class",
    }
    schema["required"] = []
    schema["anyOf"] = [{"required": ["like"]}, {"required": ["name", "arrivals"]}]


class TaskClass(Part):
    """One kind of task: a graph of calls and tools, begun by one arrival.

    Attributes
    ----------
    like : str or None
        The task of the library that it took over what the scenario does not say; see :mod:`.task_library`.
    arrivals : process
        When tasks begin.
    steps : tuple of steps
        Done one after another; a trace brings its own.
    calls : str or dict of str, or None
        The class of the calls of a trace, or that of each agent or model the trace names (``*``: of all others). Of
        the class are models and promises; lengths are the trace's.
    tools : dict of str
        The pool of tools on whose cores a tool of the trace runs (``*``: all others); null, or not to be named, is to
        be waited for.
    context : str
        Whether calls see what was said before (``grows``), unless they say otherwise.
    max_context : int or None
        A call whose prompt and answer would be longer than so many tokens begins anew: what was said before is
        forgotten, as by an agent that compacts its context.
    promise : TaskPromise
    timeout : float or None
        Seconds after which the whole task is given up.
    """

    model_config = ConfigDict(json_schema_extra=_or_like)

    like: str | None = None
    name: Name
    arrivals: _Arrivals
    steps: tuple[Step, ...] = ()
    calls: _Classes | None = None
    tools: dict[str, Name | None] = Field(default_factory=dict)
    context: Literal["grows", "fresh"] = "grows"
    max_context: WholeTokens | None = None
    promise: TaskPromise = TaskPromise()
    timeout: PositiveTime | None = None
    active: Active = Active()

    @property
    def called(self) -> dict[str, str]:
        """The classes of the calls of a trace, by agent or model."""
        return {OTHERS: self.calls} if isinstance(self.calls, str) else self.calls or {}

    @model_validator(mode="after")
    def _steps_or_trace(self) -> TaskClass:
        if isinstance(self.arrivals, RecordedTasks):
            for name in ("steps", "context", "max_context"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    refuse(f"a trace brings its own steps, and what was said before each: remove {name}")
            if self.calls is None:
                refuse("calls is missing: the class of the trace's calls, or {MODEL: CLASS, '*': CLASS}")
            return self
        for name in ("calls", "tools"):
            if getattr(self, name):
                refuse(f"{name} is of tasks from a trace: remove it, or make arrivals {{process: trace, file: FILE}}")
        if not self.steps:
            refuse("steps is missing: what is done, one after another")
        if not any(isinstance(step, Call) for _, step in walk(self.steps)):
            refuse("a task without a call asks nothing of the fleet: give it a step with the key call")
        return self


def walk(steps: tuple[Any, ...], place: str = "steps") -> Iterator[tuple[str, _Step]]:
    """Yield every step with its place, depth first."""
    for index, step in enumerate(steps):
        here = f"{place}[{index}]"
        yield here, step
        if isinstance(step, Repeat):
            yield from walk(step.repeat.steps, f"{here}.repeat.steps")
        elif isinstance(step, FanOut):
            yield from walk(step.fan_out.steps, f"{here}.fan_out.steps")
