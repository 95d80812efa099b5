"""From names to things: resolve a scenario's hardware, models, sites and policies, and check that they fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import inferencesim.batching.formers
import inferencesim.batching.orders
import inferencesim.routing.policies  # noqa: F401 - files the built-in policies
from inferencesim.batching.policy import find_former, find_order
from inferencesim.deployment.calibration import NO_CALIBRATION
from inferencesim.deployment.deployment import Deployment, deploy
from inferencesim.deployment.engine import load_engine
from inferencesim.economics.round_trips import check_origin, round_trip_s
from inferencesim.economics.sites import Site, load_site, site_names
from inferencesim.economics.tariffs import Tariff, tariff_of
from inferencesim.errors import InputError, did_you_mean
from inferencesim.hardware.catalog import load_profile
from inferencesim.kernel.tables import (
    ELIGIBLE,
    MODEL_NOT_SERVED,
    NOT_CAPABLE,
    OUTSIDE_RESIDENCY,
    PRECISION_TOO_LOW,
    PREFILLS_ONLY,
)
from inferencesim.models.catalog import load_model
from inferencesim.routing.policy import find
from inferencesim.scenario.arrivals import RecordedTasks, TraceArrivals
from inferencesim.scenario.workload import CAPABILITY, PRECISION_ORDER
from inferencesim.simulation.deferral import deferral_windows
from inferencesim.simulation.power import require_power
from inferencesim.simulation.providers import ProviderPlan, plan_provider, provider_verdict
from inferencesim.simulation.tasks import plan_tools

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from inferencesim.deployment.engine import Engine
    from inferencesim.hardware.profile import HardwareProfile
    from inferencesim.scenario.economics import Economics
    from inferencesim.scenario.fleet import Pool
    from inferencesim.scenario.scenario import Scenario
    from inferencesim.scenario.workload import WorkloadClass
    from inferencesim.simulation.tasks import ToolsPlan


@dataclass(frozen=True)
class PoolPlan:
    """A pool with everything its names stand for.

    Attributes
    ----------
    spec : Pool
    variants : tuple of Deployment
        Of one replica: with the model it starts with, then with those it may load instead.
    site : Site
    tariff : Tariff
        Of electricity: the site's, or the scenario's override.
    pue, carbon_g_per_j : float
        Likewise.
    """

    spec: Pool
    variants: tuple[Deployment, ...]
    site: Site
    tariff: Tariff
    pue: float
    carbon_g_per_j: float

    @property
    def name(self) -> str:
        """The pool's name."""
        return self.spec.name

    @property
    def deployment(self) -> Deployment:
        """Of one replica, with the model it starts with."""
        return self.variants[0]

    @property
    def replicas(self) -> int:
        """Engine instances in the pool."""
        return self.spec.replicas

    @property
    def chip_tariff(self) -> Tariff:
        """Price of a joule at the chip: 0 where the hourly price includes power."""
        return self.tariff.times(0.0 if self.deployment.price_includes_power else self.pue)

    def usd_per_s(self, usd_per_j: float) -> float:
        """Return the price of one replica at its usual power and at a price of its joules: what a router knows."""
        return self.deployment.usd_per_s + usd_per_j * self.usual_w

    @property
    def usual_w(self) -> float:
        """Power of one replica at half of its dynamic power."""
        return self.deployment.idle_w + 0.5 * (self.deployment.peak_w - self.deployment.idle_w)

    def redeployed(self, hardware: HardwareProfile, engine: Engine, where: str) -> PoolPlan:
        """Return the pool on another profile and engine, whose parameters hold: no calibration replaces them.

        Raises
        ------
        InputError
            At `where`, if the model does not fit.
        """
        spec = self.spec.model_copy(update={"calibration": NO_CALIBRATION})
        variants = tuple(deploy(hardware, each.model, engine, spec, where) for each in self.variants)
        return replace(self, spec=spec, variants=variants)


@dataclass(frozen=True)
class Plan:
    """A scenario resolved: what will be simulated, before any load is drawn.

    Attributes
    ----------
    scenario : Scenario
    pools : tuple of PoolPlan
    providers : tuple of ProviderPlan
    verdicts : ndarray of int64, shape (classes, pools + providers)
        Filters settled once: codes of :data:`inferencesim.kernel.tables.VERDICTS`.
    rows : ndarray of int64, shape (classes, pools)
        Which deployment of a pool serves a class, counted over the variants of all pools; −1: none.
    network_s : ndarray of float64, shape (classes, pools + providers)
        Round trips between the users of a class and where it may be served; 0 where it may not.
    tools : tuple of ToolsPlan
    """

    scenario: Scenario
    pools: tuple[PoolPlan, ...]
    providers: tuple[ProviderPlan, ...]
    verdicts: NDArray[np.int64]
    rows: NDArray[np.int64]
    network_s: NDArray[np.float64]
    tools: tuple[ToolsPlan, ...] = ()

    @property
    def candidates(self) -> tuple[str, ...]:
        """Names of what a request can be placed in: pools, then providers."""
        return (*(pool.name for pool in self.pools), *(provider.name for provider in self.providers))

    @property
    def replicas(self) -> int:
        """Replicas of all pools."""
        return sum(pool.replicas for pool in self.pools)

    @property
    def deployments(self) -> tuple[Deployment, ...]:
        """Of all pools' variants, in the order in which :attr:`rows` counts them."""
        return tuple(deployment for pool in self.pools for deployment in pool.variants)

    @property
    def context_limits(self) -> tuple[int, ...]:
        """Longest prompt + output that each of :attr:`deployments` takes: it has to fit where it is prefilled, too."""
        named = {pool.name: pool for pool in self.pools}
        limits = []
        for pool in self.pools:
            elsewhere = () if pool.spec.prefill_in is None else (named[pool.spec.prefill_in.pool].deployment,)
            limits += [min(each.context_limit for each in (variant, *elsewhere)) for variant in pool.variants]
        return tuple(limits)


def make_plan(scenario: Scenario) -> Plan:
    """Resolve all names of a scenario and check all fits.

    Raises
    ------
    InputError
        For the first name that does not exist or model that does not fit.
    """
    pools, providers = plan_pools(scenario), plan_providers(scenario)
    for index, each in enumerate(scenario.workload):
        _check_class(each, pools, providers, scenario.network, f"workload[{index}]")
    _check_sites(scenario.economics)
    _require_traces(scenario)
    for level, choice in (
        ("placement", scenario.routing.placement),
        ("balancing", scenario.routing.balancing),
    ):
        find(choice.policy, choice.parameters, f"routing.{level}")
    for index, pool in enumerate(pools):
        _check_batching(pool, f"pools[{index}].batching")
        _check_prefill_pool(pool, pools, f"pools[{index}].prefill_in.pool")
    require_power(scenario, pools)
    plan = settled(scenario, pools, providers)
    deferral_windows(plan)  # refuses a price that never comes
    return plan


def plan_pools(scenario: Scenario) -> tuple[PoolPlan, ...]:
    """Resolve the names of a scenario's pools.

    Raises
    ------
    InputError
        For the first name that does not exist or model that does not fit.
    """
    return tuple(_plan_pool(scenario, spec, f"pools[{i}]") for i, spec in enumerate(scenario.pools))


def plan_providers(scenario: Scenario) -> tuple[ProviderPlan, ...]:
    """Resolve the names of a scenario's providers.

    Raises
    ------
    InputError
        For the first name that does not exist, or tier that an offer does not list.
    """
    return tuple(plan_provider(spec, f"providers[{i}]") for i, spec in enumerate(scenario.providers))


def settled(scenario: Scenario, pools: tuple[PoolPlan, ...], providers: tuple[ProviderPlan, ...]) -> Plan:
    """Return the plan with the constraints settled that depend on class and pool only."""
    named = {pool.name: pool for pool in pools}
    helpers = {pool.spec.prefill_in.pool for pool in pools if pool.spec.prefill_in is not None}
    shape = (len(scenario.workload), len(pools))
    verdicts, rows = np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
    outside = np.zeros((len(scenario.workload), len(providers)), np.int64)
    for index, each in enumerate(scenario.workload):
        first = 0
        for column, pool in enumerate(pools):
            code = PREFILLS_ONLY if pool.name in helpers else verdict(each, pool)
            if code == ELIGIBLE and pool.spec.prefill_in is not None:
                # Its prompts are read there: what binds a request binds it there too.
                code = verdict(each, named[pool.spec.prefill_in.pool])
            verdicts[index, column] = code
            if code == ELIGIBLE:
                rows[index, column] = first + _chosen(each, pool)
            first += len(pool.variants)
        outside[index] = [provider_verdict(each, provider) for provider in providers]
    verdicts = np.hstack([verdicts, outside])
    sites = [*(pool.site.id for pool in pools), *(provider.site.id for provider in providers)]
    network_s = _round_trips(scenario, sites, verdicts)
    return Plan(scenario, pools, providers, verdicts, rows, network_s, plan_tools(scenario))


def _round_trips(scenario: Scenario, sites: Sequence[str], verdicts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the round trips between users and candidates."""
    found = np.zeros(verdicts.shape)
    for index, candidate in zip(*np.nonzero(verdicts == ELIGIBLE), strict=True):
        origin = scenario.workload[index].origin
        if origin is not None:
            found[index, candidate] = round_trip_s(
                origin, sites[candidate], scenario.network, f"workload[{index}].origin"
            )
    return found


def _check_batching(pool: PoolPlan, where: str) -> None:
    policy, order = pool.deployment.batching_policy, pool.spec.batching.order
    find_former(policy.policy, policy.parameters, f"{where}.policy")
    find_order(order.policy, order.parameters, f"{where}.order")


def _check_prefill_pool(pool: PoolPlan, pools: Sequence[PoolPlan], where: str) -> None:
    """Check that the pool which prefills for another can do so."""
    if pool.spec.prefill_in is None:
        return
    others = {other.name: other for other in pools if other.name != pool.name}
    name = pool.spec.prefill_in.pool
    if name not in others:
        raise InputError(where, f"there is no pool {name!r}", did_you_mean(name, others))
    other = others[name]
    if other.spec.prefill_in is not None:
        raise InputError(where, f"{name} has its own prompts prefilled elsewhere", "Name a pool that prefills itself.")
    if [each.model.id for each in (*other.variants, *pool.variants)] != [pool.deployment.model.id] * 2:
        raise InputError(
            where,
            f"{name} serves {other.deployment.model.id}, {pool.name} {pool.deployment.model.id}",
            "KV is of use to the very same model only; give both pools one `model` and no `also_serves`.",
        )
    if other.deployment.precision.kv != pool.deployment.precision.kv:
        raise InputError(
            where,
            f"{name} keeps its KV in {other.deployment.precision.kv}, {pool.name} in {pool.deployment.precision.kv}",
            "Give both the same precision.kv.",
        )
    if other.spec.batching.block_size != pool.spec.batching.block_size:
        raise InputError(
            where,
            f"{name} has KV blocks of {other.spec.batching.block_size} tokens, "
            f"{pool.name} of {pool.spec.batching.block_size}",
            "Give both the same batching.block_size.",
        )


def _plan_pool(scenario: Scenario, spec: Pool, where: str) -> PoolPlan:
    hardware = load_profile(spec.hardware, f"{where}.hardware")
    model = load_model(spec.model, f"{where}.model")
    engine = load_engine(spec.engine, f"{where}.engine")
    site = load_site(spec.site, f"{where}.site")
    economics = scenario.economics
    others = [load_model(name, f"{where}.also_serves[{index}]") for index, name in enumerate(spec.also_serves)]
    variants = tuple(deploy(hardware, each, engine, spec, where) for each in (model, *others))
    return PoolPlan(
        spec=spec,
        variants=variants,
        site=site,
        tariff=tariff_of(economics, site),
        pue=site.pue.si if economics.pue is None else economics.pue,
        carbon_g_per_j=site.carbon_g_per_kwh.si if economics.carbon is None else economics.carbon,
    )


def _check_class(
    each: WorkloadClass,
    pools: tuple[PoolPlan, ...],
    providers: tuple[ProviderPlan, ...],
    network: Mapping[str, Mapping[str, float]],
    where: str,
) -> None:
    served = {deployment.model.id for pool in pools for deployment in pool.variants}
    served |= {provider.model.id for provider in providers}
    for index, name in enumerate(each.models):
        if name not in served:
            load_model(name, f"{where}.models[{index}]")
    if not served.intersection(each.accepted_models):
        raise InputError(
            f"{where}.models",
            f"{'nobody' if providers else 'no pool'} serves {' or '.join(each.accepted_models)}",
            f"{'Pools and providers' if providers else 'Pools'} serve: {', '.join(sorted(served))}.",
        )
    zones = {load_site(name, where).zone for name in site_names()}
    for index, zone in enumerate(each.residency or ()):
        if zone not in zones:
            raise InputError(f"{where}.residency[{index}]", f"unknown zone {zone!r}", did_you_mean(zone, zones))
    if each.origin is not None:
        check_origin(each.origin, network, f"{where}.origin")


def _check_sites(economics: Economics) -> None:
    """Check that a tariff is of sites that there are, be it that nothing of this fleet stands at some."""
    for index, hours in enumerate(economics.tariff):
        for place, name in enumerate(hours.sites or ()):
            load_site(name, f"economics.tariff[{index}].sites[{place}]")


def _require_traces(scenario: Scenario) -> None:
    """Refuse traces that are not there, the first by its place, and say how to name others in place of all."""
    arrivals = [(f"workload[{i}]", f"workload.{each.name}", each.arrivals) for i, each in enumerate(scenario.workload)]
    of_tasks = [(f"tasks[{i}]", f"tasks.{each.name}", each.arrivals) for i, each in enumerate(scenario.tasks)]
    missing = [
        (where, each.file, f"--set {name}.arrivals.file=FILE")
        for where, name, each in (*arrivals, *of_tasks)
        if isinstance(each, (TraceArrivals, RecordedTasks)) and not Path(each.file).exists()
    ]
    if missing:
        where, file, _ = missing[0]
        settings = " ".join(setting for _, _, setting in missing)
        raise InputError(f"{where}.arrivals.file", f"no such file: {file}", f"Put it there, or name yours: {settings}.")


def verdict(each: WorkloadClass, pool: PoolPlan) -> int:
    """Return the verdict code of the constraints that depend on class and pool only."""
    if not any(deployment.model.id in each.accepted_models for deployment in pool.variants):
        return MODEL_NOT_SERVED
    if CAPABILITY[each.kind] not in pool.variants[_chosen(each, pool)].model.capabilities:
        return NOT_CAPABLE
    order = PRECISION_ORDER
    if each.precision is not None:
        precision = pool.deployment.precision
        formats = (precision.weights, precision.activations, precision.kv, *precision.of_experts)
        coarsest = min(order.index(name) for name in formats)
        if coarsest < order.index(each.precision):
            return PRECISION_TOO_LOW
    if each.residency is not None and pool.site.zone not in each.residency:
        return OUTSIDE_RESIDENCY
    return ELIGIBLE


def _chosen(each: WorkloadClass, pool: PoolPlan) -> int:
    """Return which of a pool's variants serves a class: the first of the class's models that is there."""
    served = [deployment.model.id for deployment in pool.variants]
    return served.index(next(model for model in each.accepted_models if model in served))
