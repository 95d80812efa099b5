"""What a fleet may be made of: kinds of replicas, how many of each, and the providers beside them."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from inferencesim.errors import InputError, did_you_mean
from inferencesim.kernel.tables import ELIGIBLE
from inferencesim.scenario.fleet import Batching
from inferencesim.scenario.planning import PoolOptions
from inferencesim.simulation.plan import plan_pools, plan_providers, verdict
from inferencesim.simulation.providers import provider_verdict

if TYPE_CHECKING:
    from collections.abc import Collection

    from inferencesim.scenario.fleet import Pool
    from inferencesim.scenario.planning import Planning
    from inferencesim.scenario.scenario import Scenario
    from inferencesim.simulation.plan import PoolPlan
    from inferencesim.simulation.providers import ProviderPlan

#: Most replicas of a pool of which nothing is said: so many times those of the scenario, or at least so many.
DEFAULT_TIMES = 4
DEFAULT_MOST = 8


class Fleet(NamedTuple):
    """How many replicas of each candidate, and which providers (1: used)."""

    counts: tuple[int, ...]
    providers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """One kind of replica.

    Attributes
    ----------
    origin : str
        The pool of the scenario that it is an alternative of.
    plan : PoolPlan
        With one replica.
    """

    origin: str
    plan: PoolPlan

    @property
    def name(self) -> str:
        """What its pool is called in a fleet."""
        return self.plan.name

    @property
    def spec(self) -> Pool:
        """Its pool, with one replica."""
        return self.plan.spec

    @property
    def usd_per_s(self) -> float:
        """What a replica costs at least: its price, and its power at rest, at the lowest tariff, if paid apart."""
        return self.usd_per_s_at(self.plan.chip_tariff.lowest)

    def usd_per_s_at(self, usd_per_j: float) -> float:
        """Return what a replica costs at rest at a price of its joules."""
        deployment = self.plan.deployment
        return deployment.usd_per_s + usd_per_j * deployment.idle_w


@dataclass(frozen=True)
class Dropped:
    """A kind of replica that is no candidate, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Space:
    """All fleets there are to choose from.

    Attributes
    ----------
    scenario : Scenario
    candidates : tuple of Candidate
    bounds : dict of (int, int)
        Fewest and most replicas, by pool of the scenario: of all its kinds together.
    providers : tuple of ProviderPlan
    optional : tuple of bool
        Which of them a fleet may do without.
    dropped : tuple of Dropped
    """

    scenario: Scenario
    candidates: tuple[Candidate, ...]
    bounds: dict[str, tuple[int, int]]
    providers: tuple[ProviderPlan, ...]
    optional: tuple[bool, ...]
    dropped: tuple[Dropped, ...] = ()

    @functools.cached_property
    def eligible(self) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
        """Which candidates, and which providers, may serve each class."""
        helpers = {one.spec.prefill_in.pool for one in self.candidates if one.spec.prefill_in is not None}
        return tuple(
            (
                tuple(
                    place
                    for place, one in enumerate(self.candidates)
                    if one.origin not in helpers and verdict(each, one.plan) == ELIGIBLE
                ),
                tuple(place for place, one in enumerate(self.providers) if provider_verdict(each, one) == ELIGIBLE),
            )
            for each in self.scenario.workload
        )

    def of_pool(self, origin: str) -> tuple[int, ...]:
        """Return the places of the candidates that are alternatives of a pool."""
        return tuple(place for place, one in enumerate(self.candidates) if one.origin == origin)

    def allows(self, fleet: Fleet) -> bool:
        """Tell whether a fleet is within all bounds and has somebody for every class."""
        if sum(fleet.counts) < 1 or min(fleet.counts) < 0:
            return False
        for origin, (least, most) in self.bounds.items():
            if not least <= sum(fleet.counts[place] for place in self.of_pool(origin)) <= most:
                return False
        if any(not optional and not used for optional, used in zip(self.optional, fleet.providers, strict=True)):
            return False
        return all(
            any(fleet.counts[place] for place in own) or any(fleet.providers[place] for place in bought)
            for own, bought in self.eligible
        )

    def own(self) -> Fleet:
        """Return the scenario's own fleet: each pool as the first of its kinds."""
        counts = [0] * len(self.candidates)
        for pool in self.scenario.pools:
            for place in self.of_pool(pool.name)[:1]:
                counts[place] = pool.replicas
        return Fleet(tuple(counts), (1,) * len(self.providers))

    def largest(self) -> Fleet:
        """Return the fleet that has the most of each pool, in equal parts of its kinds, and all providers."""
        counts = [0] * len(self.candidates)
        for origin, (_, most) in self.bounds.items():
            places = self.of_pool(origin)
            for number, place in enumerate(places):
                counts[place] = (most + number) // len(places)
        return Fleet(tuple(counts), (1,) * len(self.providers))

    def usd_per_h(self, fleet: Fleet) -> float:
        """Return what a fleet's replicas cost per hour at least."""
        return 3600.0 * sum(count * one.usd_per_s for count, one in zip(fleet.counts, self.candidates, strict=True))

    def scenario_of(self, fleet: Fleet) -> Scenario:
        """Return the scenario with a fleet in place of its own."""
        pools = [
            one.spec.model_copy(update={"replicas": count})
            for count, one in zip(fleet.counts, self.candidates, strict=True)
            if count
        ]
        providers = [one.spec for used, one in zip(fleet.providers, self.providers, strict=True) if used]
        return self.scenario.model_copy(update={"pools": pools, "providers": providers})

    def describe(self, fleet: Fleet) -> str:
        """Return a fleet in a few words: ``2 × express, 1 × small, api``."""
        words = [f"{count} × {one.name}" for count, one in zip(fleet.counts, self.candidates, strict=True) if count]
        words += [one.name for used, one in zip(fleet.providers, self.providers, strict=True) if used]
        return ", ".join(words) or "nothing"

    def without(self, places: dict[int, str]) -> Space:
        """Return the space without some candidates, given why."""
        kept = tuple(one for place, one in enumerate(self.candidates) if place not in places)
        gone = tuple(Dropped(self.candidates[place].name, why) for place, why in places.items())
        bounds = {}
        for origin, (least, most) in self.bounds.items():
            left = any(one.origin == origin for one in kept)
            if left:
                bounds[origin] = (least, most)
        return replace(self, candidates=kept, bounds=bounds, dropped=(*self.dropped, *gone))

    def with_scenario(self, scenario: Scenario) -> Space:
        """Return the same choice under another load."""
        return replace(self, scenario=scenario)


def make_space(scenario: Scenario, planning: Planning) -> Space:
    """Expand a scenario's pools into candidates.

    Raises
    ------
    InputError
        For options of pools or providers that are not there, options that do not go together, or a pool none of
        whose kinds can be deployed.
    """
    where = "planning"
    if scenario.power:
        remedy = "Leave it out, and play the fleet that is found under it."
        raise InputError("power", "a plan knows nothing of limits on power", remedy)
    names, provider_names = [pool.name for pool in scenario.pools], [each.name for each in scenario.providers]
    for name in planning.pools:
        if name not in names:
            raise InputError(f"{where}.pools", f"there is no pool {name!r}", did_you_mean(name, names))
    for name in planning.providers:
        if name not in provider_names:
            raise InputError(f"{where}.providers", f"there is no provider {name!r}", did_you_mean(name, provider_names))
    paired = {pool.prefill_in.pool for pool in scenario.pools if pool.prefill_in is not None}
    paired |= {pool.name for pool in scenario.pools if pool.prefill_in is not None}
    candidates: list[Candidate] = []
    dropped: list[Dropped] = []
    bounds = {}
    for pool in scenario.pools:
        options = planning.pools.get(pool.name, PoolOptions())
        place = f"{where}.pools.{pool.name}"
        _require_sense(pool, options, pool.name in paired, place)
        found, failed = _kinds(scenario, pool, options, place, {*names, *provider_names})
        candidates += found
        dropped += failed
        bounds[pool.name] = _bounds(pool, options, pool.name in paired, place)
    return Space(
        scenario=scenario,
        candidates=tuple(candidates),
        bounds=bounds,
        providers=plan_providers(scenario),
        optional=tuple(planning.providers.get(name, "optional") == "optional" for name in provider_names),
        dropped=tuple(dropped),
    )


def _bounds(pool: Pool, options: PoolOptions, paired: bool, where: str) -> tuple[int, int]:
    if options.replicas is None:
        return int(paired), max(DEFAULT_MOST, DEFAULT_TIMES * pool.replicas)
    if paired and options.replicas.least < 1:
        raise InputError(
            f"{where}.replicas", "a pool that prefills for another, or is prefilled for, cannot be left out",
            "Begin its range with 1.",
        )  # fmt: skip
    return options.replicas.least, options.replicas.most


def _require_sense(pool: Pool, options: PoolOptions, paired: bool, where: str) -> None:
    """Refuse alternatives that what the pool says does not go with."""
    if options.varies and paired:
        raise InputError(where, "a pool that prefills for another, or is prefilled for, has no alternatives yet",
                         "Leave its replicas only.")  # fmt: skip
    if options.hardware is not None and pool.price is not None:
        raise InputError(f"{where}.hardware", f"pool {pool.name} states a price, which is not that of other hardware",
                         "Leave the pool's price out: profiles have prices.")  # fmt: skip
    measured = [name for name in ("kv_blocks", "latency") if getattr(pool, name) is not None]
    if options.varies and measured:
        raise InputError(where, f"pool {pool.name} states {measured[0]}, which is not that of other kinds of replicas",
                         f"Leave {measured[0]} of the pool out.")  # fmt: skip


def _kinds(
    scenario: Scenario, pool: Pool, options: PoolOptions, where: str, taken: Collection[str]
) -> tuple[list[Candidate], list[Dropped]]:
    """Return every combination of a pool's alternatives that can be deployed, and those that cannot."""
    found, failed = [], []
    names = set(taken)
    for spec, suffix in _combinations(pool, options, where):
        name = pool.name if not suffix else _free(f"{pool.name}_{suffix}", names)
        names.add(name)
        try:
            (plan,) = plan_pools(scenario.model_copy(update={"pools": [spec.model_copy(update={"name": name})]}))
        except InputError as problem:
            failed.append((name, problem))
        else:
            found.append(Candidate(pool.name, plan))
    if not found:
        raise failed[0][1]
    return found, [Dropped(name, problem.what) for name, problem in failed]


def _combinations(pool: Pool, options: PoolOptions, where: str) -> list[tuple[Pool, str]]:
    """Return the pools that alternatives make of one, with what tells each from the pool itself."""
    combined = []
    for hardware, precision, parallelism, changes in itertools.product(
        options.hardware or (pool.hardware,),
        options.precision or (pool.precision,),
        options.parallelism or (pool.parallelism,),
        options.batching or ({},),
    ):
        try:
            batching = Batching.model_validate({**pool.batching.model_dump(), **changes})
        except ValueError as problem:
            text = str(problem).splitlines()[2].strip() if len(str(problem).splitlines()) > 2 else str(problem)
            raise InputError(f"{where}.batching", f"{changes} do not make a batching: {text}") from None
        spec = pool.model_copy(
            update={
                "replicas": 1, "hardware": hardware, "precision": precision, "parallelism": parallelism,
                "batching": batching,
            }
        )  # fmt: skip
        combined.append((spec, "_".join(_differences(pool, spec))))
    return combined


def _differences(pool: Pool, spec: Pool) -> list[str]:
    """Return what tells a kind of replica from the pool as the scenario has it, in words fit for a name."""
    words = []
    if spec.hardware != pool.hardware:
        words.append(spec.hardware.rsplit("/", 1)[-1].split(".")[0])
    if spec.precision != pool.precision:
        words.append(spec.precision.weights + ("" if spec.precision.kv == "bf16" else f"-kv-{spec.precision.kv}"))
    if spec.parallelism != pool.parallelism:
        words += [f"{key}{number}" for key, number in spec.parallelism.model_dump().items() if number > 1] or [
            "tensor1"
        ]
    if spec.batching != pool.batching:
        old = pool.batching.model_dump()
        for key, value in spec.batching.model_dump().items():
            if value != old[key]:
                short = value["policy"] if isinstance(value, dict) else value
                words.append(f"{key}-{short}".replace(".", "-"))
    return words


def _free(name: str, taken: Collection[str]) -> str:
    """Return a name, numbered where it is taken."""
    numbered = (name if number == 1 else f"{name}_{number}" for number in itertools.count(1))
    return next(each for each in numbered if each not in taken)
