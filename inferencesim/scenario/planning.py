"""What a planner may change about a fleet: how many replicas of what, and which providers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from inferencesim.scenario.base import Part
from inferencesim.scenario.fleet import Batching, Parallelism, PrecisionChoice
from inferencesim.scenario.unions import refuse

#: Most replicas of a pool.
MOST_REPLICAS = 100_000

#: Kinds of replicas that one pool may be tried as: beyond this a search would take days.
MOST_KINDS = 64


class Bounds(Part):
    """Fewest and most replicas, both included."""

    least: Annotated[int, Field(ge=0, le=MOST_REPLICAS)] = 0
    most: Annotated[int, Field(ge=0, le=MOST_REPLICAS)]

    @model_validator(mode="after")
    def _in_order(self) -> Bounds:
        if self.least > self.most:
            refuse(f"{self.least}..{self.most} holds no number: write the smaller one first")
        return self


def _bounds(value: Any) -> Any:
    """Read ``0..32``, or one number, which is both bounds."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"least": value, "most": value}
    if isinstance(value, str):
        least, dots, most = value.partition("..")
        if not (dots and least.strip().isdigit() and most.strip().isdigit()):
            refuse(f"{value!r} is no range: write it as 0..32, or one number")
        return {"least": int(least), "most": int(most)}
    return value


class PoolOptions(Part):
    """Of one pool: how many replicas, and what they may be; nothing said is as the scenario has it.

    Each list holds alternatives, and every combination of them is a kind of
    replica of its own; one fleet may have several kinds. What is listed replaces
    the pool's own, which is tried only where it is on the list.

    Attributes
    ----------
    replicas : Bounds or None
        Of all kinds together, as in ``0..32``; see :data:`inferencesim.experiments.planning.candidates.DEFAULT_MOST`.
    hardware : tuple of str
    precision : tuple of Precision
    parallelism : tuple of Parallelism
    batching : tuple of dict
        Each changes some keys of the pool's batching.
    """

    replicas: Annotated[Bounds, BeforeValidator(_bounds, json_schema_input_type=Bounds | str | int)] | None = None
    hardware: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    precision: Annotated[tuple[PrecisionChoice, ...], Field(min_length=1)] | None = None
    parallelism: Annotated[tuple[Parallelism, ...], Field(min_length=1)] | None = None
    batching: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)] | None = None

    @property
    def varies(self) -> bool:
        """Whether replicas may be of other kinds than the pool's own."""
        return any(getattr(self, name) is not None for name in ("hardware", "precision", "parallelism", "batching"))

    @model_validator(mode="after")
    def _batching_has_such_keys(self) -> PoolOptions:
        for changes in self.batching or ():
            for key in changes:
                if key not in Batching.model_fields:
                    refuse(f"batching has no key {key!r}: it has {', '.join(Batching.model_fields)}")
        return self

    @model_validator(mode="after")
    def _few_enough(self) -> PoolOptions:
        kinds = 1
        for name in ("hardware", "precision", "parallelism", "batching"):
            kinds *= len(getattr(self, name) or (None,))
        if kinds > MOST_KINDS:
            refuse(f"{kinds} kinds of replicas are more than {MOST_KINDS}: list fewer alternatives")
        return self


class Planning(Part):
    """The block ``planning`` of a scenario, or a file of its own.

    Attributes
    ----------
    pools : dict of PoolOptions
        By the pool's name.
    providers : dict of {"optional", "always"}
        By the provider's name: whether a fleet may do without it, which is so where nothing is said.
    """

    pools: dict[str, PoolOptions] = Field(default_factory=dict)
    providers: dict[str, Literal["optional", "always"]] = Field(default_factory=dict)
