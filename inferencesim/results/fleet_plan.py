"""The cheapest fleet that keeps its promises, how it was found, and the highest load that a fleet carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from inferencesim.results.records.base import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd


class Kept(Record):
    """The share of promises that a class keeps, over replications.

    Attributes
    ----------
    name : str
        A class of the workload or of tasks, or ``all`` together.
    mean, lower : float
        `lower` at the confidence of the plan, one-sided; equal to the mean of one replication.
    """

    name: str
    mean: float
    lower: float


class FleetChoice(Record):
    """A fleet that was played.

    Attributes
    ----------
    pools : dict of int
        Replicas by kind.
    providers : tuple of str
    usd_per_h : float
        All money of the window, per hour; mean over the replications.
    energy_w : float
        Site power; that of providers is unknown, and not in it.
    provider_share : float
        Of the requests completed.
    replications : int
    kept : tuple of Kept
        The worst first.
    """

    pools: dict[str, int]
    providers: tuple[str, ...]
    usd_per_h: float
    energy_w: float
    provider_share: float
    replications: int
    kept: tuple[Kept, ...]

    @property
    def worst(self) -> Kept | None:
        """The class that keeps least; None where nothing arrived."""
        return self.kept[0] if self.kept else None

    @property
    def text(self) -> str:
        """The fleet in a few words: ``2 × express, 1 × small, api``."""
        return ", ".join([*(f"{count} × {name}" for name, count in self.pools.items()), *self.providers])


class Screened(Record):
    """What a replica of a candidate can do for a class at most, without queues, in the mix of its lengths.

    Attributes
    ----------
    requests_per_s : float or None
        Null where it cannot keep the promises at all, or where the load says nothing (closed loops, calls of tasks).
    usd_per_1000 : float or None
        Price of the replica's time for a thousand requests, at that rate.
    """

    candidate: str
    class_name: Annotated[str, Field(alias="class")]
    requests_per_s: float | None
    usd_per_1000: float | None


class Removed(Record):
    """A kind of replica that was no candidate, and why."""

    name: str
    why: str


class Need(Record):
    """What goes wrong with one replica of a kind less.

    Attributes
    ----------
    candidate : str
    class_name : str or None
        ``class`` in JSON: the one that keeps least then; null where no fleet may have fewer.
    kept : float or None
        The share of its promises that it keeps then.
    why : str
    """

    candidate: str
    class_name: Annotated[str | None, Field(alias="class")]
    kept: float | None
    why: str


class Marginal(Record):
    """What more load costs: the plan made anew.

    Attributes
    ----------
    load : float
        Times the load of the scenario.
    fleet : FleetChoice or None
        Null where none was found in the time.
    usd_per_h_per_percent : float or None
        Its further cost per hour, over the per cent of further load.
    complete : bool
        Whether nothing cheaper is left; else it may be less.
    """

    load: float
    fleet: FleetChoice | None
    usd_per_h_per_percent: float | None
    complete: bool


class FleetPlan(Record):
    """The cheapest fleet that keeps its promises, and what speaks for it.

    Attributes
    ----------
    schema_version : int
        ``schema`` in JSON.
    name, question, scenario_digest : str
        The scenario's that was asked about.
    seed, replications : int
        `replications` fresh ones confirmed the answer.
    slo, confidence : float
    classes : tuple of str
        Whose promises are to be kept; empty: all, and all together.
    answer, runner_up : FleetChoice or None
        `answer` is null where no fleet was found; `runner_up` is the next cheapest that kept the promises when it
        was played.
    best : FleetChoice or None
        Where there is no answer: what came nearest.
    scenario : dict or None
        The answer as a scenario.
    bound_usd_per_h : float or None
        No fleet that keeps its promises costs less; null where none can.
    gap : float or None
        (cost of the answer − bound) / bound.
    complete : bool
        Whether no cheaper fleet is left that might do: each was played and fell short when it was screened, is too
        small for the integer programme, or smaller than one that clearly fell short.
    stopped : str
        Why the search ended.
    rejected : tuple of FleetChoice
        Fleets that did when they were chosen, and did not in the fresh replications.
    needs : tuple of Need
        Of each kind in the answer.
    marginal : Marginal or None
        Null where it was not asked for, or the time was over.
    screened : tuple of Screened
    removed : tuple of Removed
    front : tuple of FleetChoice
        Fleets played that no other one played beats in cost, energy and attainment together, the cheapest first.
    tried : tuple of FleetChoice
        All fleets that were played, the cheapest first; those confirmed with what they showed before that.
    simulations : int
    seconds : float
        That all took.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    name: str
    question: str
    scenario_digest: str
    seed: int
    slo: float
    confidence: float
    replications: int
    classes: tuple[str, ...]
    answer: FleetChoice | None
    runner_up: FleetChoice | None
    best: FleetChoice | None
    scenario: dict[str, Any] | None
    bound_usd_per_h: float | None
    gap: float | None
    complete: bool
    stopped: str
    rejected: tuple[FleetChoice, ...]
    needs: tuple[Need, ...]
    marginal: Marginal | None
    screened: tuple[Screened, ...]
    removed: tuple[Removed, ...]
    front: tuple[FleetChoice, ...]
    tried: tuple[FleetChoice, ...]
    simulations: int
    seconds: float

    @property
    def frame(self) -> pd.DataFrame:
        """One row per fleet that was played, the cheapest first.

        ``role`` is ``answer``, ``runner-up``, ``nearest`` (where there is no answer), ``not confirmed`` or empty; then
        come cost, power, share bought, replications, replicas of each kind as ``pools.KIND.replicas``, ``providers``,
        and of each class the share of promises it keeps, as ``kept.CLASS`` and, the lower limit, ``kept.CLASS.lower``.
        """
        import pandas as pd

        roles = {one.text: ("", one) for one in self.tried}
        roles |= {one.text: ("not confirmed", one) for one in self.rejected}
        named = (("nearest", self.best), ("runner-up", self.runner_up), ("answer", self.answer))
        roles |= {one.text: (role, one) for role, one in named if one is not None}
        kinds = dict.fromkeys(kind for _, one in roles.values() for kind in one.pools)
        rows = [{"role": role} | _told(one, kinds) for role, one in roles.values()]
        return pd.DataFrame(rows).sort_values("usd_per_h", kind="stable", ignore_index=True) if rows else pd.DataFrame()


def _told(one: FleetChoice, kinds: Iterable[str]) -> dict[str, Any]:
    """Return a fleet as cells of a table with the counts of these kinds."""
    cells: dict[str, Any] = {
        "usd_per_h": one.usd_per_h,
        "energy_w": one.energy_w,
        "provider_share": one.provider_share,
        "replications": one.replications,
        **{f"pools.{kind}.replicas": one.pools.get(kind, 0) for kind in kinds},
        "providers": ", ".join(one.providers),
    }
    for each in sorted(one.kept, key=lambda kept: kept.name):
        cells |= {f"kept.{each.name}": each.mean, f"kept.{each.name}.lower": each.lower}
    return cells


class MaxRate(Record):
    """The highest load that a fleet carries within its promises.

    Attributes
    ----------
    schema_version : int
        ``schema`` in JSON.
    name, scenario_digest : str
    seed : int
    slo, confidence : float
    classes : tuple of str
        Whose load is multiplied; empty: all.
    factor : float
        Times the load of the scenario; mean over the replications.
    lower, upper : float
        Two-sided interval of that mean, at the confidence.
    factors : tuple of float
        Of each replication.
    tolerance : float
        Relative: so near to each other are loads that a replication carries and does not.
    binding : tuple of str
        The class that keeps least just above its highest load, by replication.
    at_limit : bool
        Whether some replication still kept its promises at the highest load tried.
    simulations : int
    seconds : float
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    name: str
    scenario_digest: str
    seed: int
    slo: float
    confidence: float
    classes: tuple[str, ...]
    factor: float
    lower: float
    upper: float
    factors: tuple[float, ...]
    tolerance: float
    binding: tuple[str, ...]
    at_limit: bool
    simulations: int
    seconds: float

    @property
    def frame(self) -> pd.DataFrame:
        """One row per replication: the highest load it carries, as a factor, and the class that binds."""
        import pandas as pd

        replications = range(len(self.factors))
        return pd.DataFrame({"replication": replications, "factor": self.factors, "binding": self.binding})
