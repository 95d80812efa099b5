"""From names to things: resolve a scenario's hardware, models, sites and policies, and check that they fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import inferencesim.routing.policies  # noqa: F401 - files the built-in policies
from inferencesim.deployment.calibration import NO_CALIBRATION
from inferencesim.deployment.deployment import Deployment, deploy
from inferencesim.deployment.engine import load_engine
from inferencesim.economics.sites import Site, load_site, site_names
from inferencesim.errors import InputError, did_you_mean
from inferencesim.hardware.catalog import load_profile
from inferencesim.kernel.tables import (
    ELIGIBLE,
    MODEL_NOT_SERVED,
    OUTSIDE_RESIDENCY,
    PRECISION_TOO_LOW,
)
from inferencesim.models.catalog import load_model
from inferencesim.routing.policy import find
from inferencesim.scenario.workload import PRECISION_ORDER, TraceArrivals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.deployment.engine import Engine
    from inferencesim.hardware.profile import HardwareProfile
    from inferencesim.scenario.fleet import Pool
    from inferencesim.scenario.scenario import Scenario
    from inferencesim.scenario.workload import WorkloadClass


@dataclass(frozen=True)
class PoolPlan:
    """A pool with everything its names stand for.

    Attributes
    ----------
    spec : Pool
    deployment : Deployment
        Of one replica.
    site : Site
    electricity_usd_per_j, pue, carbon_g_per_j : float
        The site's, or the scenario's override.
    """

    spec: Pool
    deployment: Deployment
    site: Site
    electricity_usd_per_j: float
    pue: float
    carbon_g_per_j: float

    @property
    def name(self) -> str:
        """The pool's name."""
        return self.spec.name

    @property
    def replicas(self) -> int:
        """Engine instances in the pool."""
        return self.spec.replicas

    @property
    def usd_per_j(self) -> float:
        """Price of a joule at the chip: 0 where the hourly price includes power."""
        return 0.0 if self.deployment.price_includes_power else self.pue * self.electricity_usd_per_j

    @property
    def usd_per_s(self) -> float:
        """Price of one replica running at half of its dynamic power: what a router knows."""
        d = self.deployment
        return d.usd_per_s + self.usd_per_j * (d.idle_w + 0.5 * (d.peak_w - d.idle_w))

    def redeployed(self, hardware: HardwareProfile, engine: Engine, where: str) -> PoolPlan:
        """Return the pool on another profile and engine, whose parameters hold: no calibration replaces them.

        Raises
        ------
        InputError
            At `where`, if the model does not fit.
        """
        spec = self.spec.model_copy(update={"calibration": NO_CALIBRATION})
        return replace(self, spec=spec, deployment=deploy(hardware, self.deployment.model, engine, spec, where))


@dataclass(frozen=True)
class Plan:
    """A scenario resolved: what will be simulated, before any load is drawn.

    Attributes
    ----------
    scenario : Scenario
    pools : tuple of PoolPlan
    verdicts : ndarray of int64, shape (classes, pools)
        Filters settled once: codes of :data:`inferencesim.kernel.tables.VERDICTS`.
    """

    scenario: Scenario
    pools: tuple[PoolPlan, ...]
    verdicts: NDArray[np.int64]

    @property
    def replicas(self) -> int:
        """Replicas of all pools."""
        return sum(pool.replicas for pool in self.pools)


def make_plan(scenario: Scenario) -> Plan:
    """Resolve all names of a scenario and check all fits.

    Raises
    ------
    InputError
        For the first name that does not exist or model that does not fit.
    """
    pools = tuple(_plan_pool(scenario, spec, f"pools[{i}]") for i, spec in enumerate(scenario.pools))
    for index, each in enumerate(scenario.workload):
        _check_class(each, pools, f"workload[{index}]")
    for level, choice in (
        ("placement", scenario.routing.placement),
        ("balancing", scenario.routing.balancing),
    ):
        find(choice.policy, choice.parameters, f"routing.{level}")
    verdicts = np.array(
        [[verdict(each, pool) for pool in pools] for each in scenario.workload], dtype=np.int64
    ).reshape(len(scenario.workload), len(pools))
    return Plan(scenario, pools, verdicts)


def _plan_pool(scenario: Scenario, spec: Pool, where: str) -> PoolPlan:
    hardware = load_profile(spec.hardware, f"{where}.hardware")
    model = load_model(spec.model, f"{where}.model")
    engine = load_engine(spec.engine, f"{where}.engine")
    site = load_site(spec.site, f"{where}.site")
    economics = scenario.economics
    return PoolPlan(
        spec=spec,
        deployment=deploy(hardware, model, engine, spec, where),
        site=site,
        electricity_usd_per_j=(
            site.electricity_usd_per_kwh.si if economics.electricity is None else economics.electricity
        ),
        pue=site.pue.si if economics.pue is None else economics.pue,
        carbon_g_per_j=site.carbon_g_per_kwh.si if economics.carbon is None else economics.carbon,
    )


def _check_class(each: WorkloadClass, pools: tuple[PoolPlan, ...], where: str) -> None:
    served = {pool.deployment.model.id for pool in pools}
    for index, name in enumerate(each.models):
        if name not in served:
            load_model(name, f"{where}.models[{index}]")
    if not served.intersection(each.models):
        raise InputError(
            f"{where}.models",
            f"no pool serves {' or '.join(each.models)}",
            f"Pools serve: {', '.join(sorted(served))}.",
        )
    zones = {load_site(name, where).zone for name in site_names()}
    for index, zone in enumerate(each.residency or ()):
        if zone not in zones:
            raise InputError(f"{where}.residency[{index}]", f"unknown zone {zone!r}", did_you_mean(zone, zones))
    if isinstance(each.arrivals, TraceArrivals) and not Path(each.arrivals.file).exists():
        raise InputError(f"{where}.arrivals.file", f"no such file: {each.arrivals.file}")


def verdict(each: WorkloadClass, pool: PoolPlan) -> int:
    """Return the verdict code of the constraints that depend on class and pool only."""
    if pool.deployment.model.id not in each.models:
        return MODEL_NOT_SERVED
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
