"""What breaks while a fleet serves: replicas, pools, sites, outside providers, slow nodes, lost tools."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, Tag, model_validator

from inferencesim.errors import did_you_mean
from inferencesim.scenario.base import Fraction, Part, PositiveTime, Time
from inferencesim.scenario.unions import refuse, told_by_key

if TYPE_CHECKING:
    from collections.abc import Sequence

_Name = Annotated[str, Field(min_length=1)]


class _Scheduled(Part):
    """Something that may come once, at a set time.

    Attributes
    ----------
    at, for_s : float or None
        When it begins, and how long it lasts, in seconds.
    """

    at: Time | None = None
    for_s: PositiveTime | None = Field(default=None, alias="for")

    @property
    def once(self) -> tuple[float, float] | None:
        """From when to when, in seconds; None where it has no schedule."""
        return None if self.at is None or self.for_s is None else (self.at, self.at + self.for_s)


class Spells(_Scheduled):
    """Spells in which something is wrong: one, by schedule, or again and again, at random.

    Attributes
    ----------
    mtbf, mttr : float or None
        Means of exponential times: from a repair to the next failure, and from a failure to its repair.
    """

    mtbf: PositiveTime | None = None
    mttr: PositiveTime | None = None

    @model_validator(mode="after")
    def _once_or_at_random(self) -> Spells:
        once, random = (self.at, self.for_s), (self.mtbf, self.mttr)
        if (None in once) == (None in random) or (once != (None, None)) == (random != (None, None)):
            refuse("it has either at and for, or mtbf and mttr")
        return self

    @property
    def means_s(self) -> tuple[float, float]:
        """Mean seconds to a failure, and to its repair; infinite where it comes by schedule."""
        return self.mtbf or math.inf, self.mttr or math.inf


class ReplicaCrashes(Spells):
    """Replicas of a pool crash: each by itself at random, or some of them at once.

    Attributes
    ----------
    replica : str
        The pool.
    share : float or None
        With `at`: of its replicas, rounded, at least one; which ones is drawn. None is one.
    """

    replica: _Name
    share: Annotated[Fraction, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _all_or_some(self) -> ReplicaCrashes:
        if self.share is not None and self.at is None:
            refuse("share goes with at: with mtbf each replica crashes by itself")
        return self


class PoolOutage(Spells):
    """All replicas of a pool are down."""

    pool: _Name


class SiteOutage(Spells):
    """All replicas of all pools at a site are down, and so are the providers there."""

    site: _Name


class ProviderOutage(Spells):
    """An outside provider answers nobody."""

    provider: _Name


class SlowNodes(Spells):
    """Some replicas of a pool are slow for a while: together by schedule, or each by itself at random.

    Attributes
    ----------
    slow : str
        The pool.
    share : float
        Of its replicas, rounded, at least one; which ones is drawn.
    factor : float
        By which their steps take longer.
    """

    slow: _Name
    share: Annotated[Fraction, Field(gt=0)] = 1.0
    factor: Annotated[float, Field(gt=1, le=1000)]


class LostTools(_Scheduled):
    """Some calls of a pool of tools never come back: of those that begin while it lasts, or of all.

    Attributes
    ----------
    tool : str
        The pool of tools.
    share : float
        Of its calls; which ones is drawn for each step of a task and each time it is run.
    timeout : float
        Seconds from its start after which one is given up; until then it keeps its cores.
    retries : int
        Times it is run again; then its step fails.
    """

    tool: _Name
    share: Fraction
    timeout: PositiveTime
    retries: Annotated[int, Field(ge=0, le=1000)] = 0

    @model_validator(mode="after")
    def _always_or_once(self) -> LostTools:
        if (self.at is None) != (self.for_s is None):
            refuse("at and for go together: without both, calls are lost all the time")
        return self


_KINDS: dict[str, type[Part]] = {
    "replica": ReplicaCrashes,
    "pool": PoolOutage,
    "site": SiteOutage,
    "provider": ProviderOutage,
    "slow": SlowNodes,
    "tool": LostTools,
}


_one_of_them, _which = told_by_key(
    _KINDS, "a failure", "failures", ("at", "for", "mtbf", "mttr", "share", "factor", "timeout")
)

Failure = Annotated[
    Annotated[ReplicaCrashes, Tag("[replica]")]
    | Annotated[PoolOutage, Tag("[pool]")]
    | Annotated[SiteOutage, Tag("[site]")]
    | Annotated[ProviderOutage, Tag("[provider]")]
    | Annotated[SlowNodes, Tag("[slow]")]
    | Annotated[LostTools, Tag("[tool]")],
    _which,
    _one_of_them,
]


def check_failures(
    failures: Sequence[Any],
    *,
    pools: Sequence[str],
    sites: Sequence[str],
    providers: Sequence[str],
    tools: Sequence[str],
) -> None:
    """Refuse a failure of something that the scenario does not have, and a second loss of the same tools.

    Raises
    ------
    ValueError
        That names its place and the nearest name.
    """
    known = {
        "replica": pools, "pool": pools, "site": sites, "provider": providers, "slow": pools, "tool": tools,
    }  # fmt: skip
    called = {key: key for key in known} | {
        "replica": "pool", "site": "pool or provider at the site", "slow": "pool", "tool": "tools",
    }  # fmt: skip
    losing = set()
    for index, failure in enumerate(failures):
        kind = next(key for key, model in _KINDS.items() if isinstance(failure, model))
        name = getattr(failure, kind)
        if name not in known[kind]:
            refuse(
                f"failures[{index}].{kind}: there is no {called[kind]} {name!r}",
                did_you_mean(name, set(known[kind])),
            )
        if kind == "tool" and name in losing:
            refuse(f"failures[{index}].tool: {name!r} loses calls already; give both shares as one")
        losing |= {name} if kind == "tool" else set()
