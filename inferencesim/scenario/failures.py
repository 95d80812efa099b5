"""What breaks while a fleet serves: replicas, pools, sites, outside providers, slow nodes, lost tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, Tag, model_validator

from inferencesim.errors import did_you_mean
from inferencesim.scenario.base import Fraction, Part, PositiveTime, Time
from inferencesim.scenario.unions import refuse, told_by_key

if TYPE_CHECKING:
    from collections.abc import Sequence

_Name = Annotated[str, Field(min_length=1)]


class ReplicaCrashes(Part):
    """Each replica of a pool crashes by itself: exponential times until it does, and until it is repaired.

    Attributes
    ----------
    replica : str
        The pool.
    mtbf, mttr : float
        Mean seconds from a repair to the next crash, and from a crash to its repair.
    """

    replica: _Name
    mtbf: PositiveTime
    mttr: PositiveTime


class _Outage(Part):
    """Down once, `at` a time and `for` so long, or again and again, as of one replica."""

    at: Time | None = None
    for_s: PositiveTime | None = Field(default=None, alias="for")
    mtbf: PositiveTime | None = None
    mttr: PositiveTime | None = None

    @model_validator(mode="after")
    def _once_or_at_random(self) -> _Outage:
        once, random = (self.at, self.for_s), (self.mtbf, self.mttr)
        if (None in once) == (None in random) or (once != (None, None)) == (random != (None, None)):
            refuse("an outage has either at and for, or mtbf and mttr")
        return self


class PoolOutage(_Outage):
    """All replicas of a pool are down."""

    pool: _Name


class SiteOutage(_Outage):
    """All replicas of all pools at a site are down, and so are the providers there."""

    site: _Name


class ProviderOutage(_Outage):
    """An outside provider answers nobody."""

    provider: _Name


class SlowNodes(Part):
    """Some replicas of a pool are slow for a while.

    Attributes
    ----------
    slow : str
        The pool.
    share : float
        Of its replicas, rounded, at least one; which ones is drawn.
    factor : float
        By which their steps take longer.
    at, for_s : float
        Seconds.
    """

    slow: _Name
    share: Annotated[Fraction, Field(gt=0)] = 1.0
    factor: Annotated[float, Field(gt=1, le=1000)]
    at: Time
    for_s: PositiveTime = Field(alias="for")


class LostTools(Part):
    """Some calls of a pool of tools never come back.

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
