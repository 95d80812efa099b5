"""Which parameter moves which figure: the same scenario and load, with one parameter of its pools better or worse."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from inferencesim.documents import document_digest
from inferencesim.errors import InputError, did_you_mean
from inferencesim.experiments.fitting import PARAMETERS, Point
from inferencesim.experiments.parallel import run_all
from inferencesim.experiments.trials import plan_of, play, unrecorded
from inferencesim.results.difference import difference
from inferencesim.results.figures import figures
from inferencesim.results.sensitivity import METRICS, Metric, Move, Number, Obstacle, Sensitivity, SensitivityReport
from inferencesim.units import SI_UNITS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from inferencesim.deployment.deployment import Deployment
    from inferencesim.hardware.quantity import Quantity
    from inferencesim.results.records.summary import Summary
    from inferencesim.scenario.scenario import Scenario
    from inferencesim.simulation.plan import Plan, PoolPlan

#: How far each parameter is moved unless a user says otherwise: about what careful calibrations leave open.
SHARE = 0.1

#: Simulations that pay for starting a process: each plays a whole scenario.
_PIECES_PER_PROCESS = 10


class Lever(NamedTuple):
    """A number of a profile or an engine, and which way is better: faster, larger, less power."""

    block: str
    name: str
    more_is_better: bool

    @property
    def path(self) -> str:
        """Its place in a profile; ``host`` stands for the engine's costs, as in a calibration."""
        return f"{self.block}.{self.name}"


#: Numbers of a datasheet a planner may doubt, beside the peak of each number format.
_DATASHEET = (
    Lever("memory", "bandwidth", more_is_better=True),
    Lever("memory", "capacity", more_is_better=True),
    Lever("scale_up", "bandwidth", more_is_better=True),
    Lever("scale_up", "latency", more_is_better=False),
    Lever("scale_out", "bandwidth", more_is_better=True),
    Lever("scale_out", "latency", more_is_better=False),
    Lever("power", "idle", more_is_better=False),
    Lever("power", "peak", more_is_better=False),
    Lever("power", "host", more_is_better=False),
    Lever("overhead", "step", more_is_better=False),
)


def levers(plan: Plan) -> tuple[Lever, ...]:
    """Return all parameters of a plan's pools: what a calibration fits, and what datasheets say."""
    fitted = (
        Lever(each.block, each.name, more_is_better=each.block == "efficiency" and each.name != "half_rows")
        for each in PARAMETERS
    )
    formats = dict.fromkeys(name for pool in plan.pools for name in pool.deployment.hardware.compute)
    peaks = (Lever("compute", name, more_is_better=True) for name in formats)
    return (*_DATASHEET, *peaks, *fitted)


def measure_sensitivity(
    scenario: Scenario,
    *,
    pool: str | None = None,
    share: float = SHARE,
    jobs: int = 1,
    progress: Callable[[float, float], None] | None = None,
) -> SensitivityReport:
    """Simulate a scenario with each parameter of its pools better, and worse.

    Seed and streams are equal in all simulations, so that each meets the same
    load; what differs is the parameter's doing.

    Parameters
    ----------
    scenario : Scenario
    pool : str, optional
        Only its parameters are moved; otherwise those of all pools, all at once.
    share : float
        By how much, above 0 and below 1. Better is towards faster, larger and less power; shares stop at 1, and
        idle power stops at the peak.
    jobs : int
        Processes.
    progress : callable, optional
        Called with (simulations done, simulations in all).

    Raises
    ------
    InputError
        For a wrong scenario, pool or share, or where no request arrives.
    """
    if not 0.0 < share < 1.0:
        raise InputError("--by", f"{share:.4g} is not between 0 and 1", "Write a share such as 10%.")
    tree = unrecorded(scenario)
    plan = plan_of(tree)
    chosen = _chosen(plan, pool)
    base = play(plan)
    if base.verdict.state == "empty":
        raise InputError(
            "workload", "no request arrives in the measurement window", "Give it a higher rate, or a longer horizon."
        )
    where = {lever: _where_it_matters(plan, chosen, lever, share) for lever in levers(plan)}
    moved = [lever for lever, pools in where.items() if pools]
    moves = run_all(
        [
            functools.partial(_move, tree, base, chosen, lever, change)
            for lever in moved
            for change in _both_ways(lever, share)
        ],
        jobs=jobs,
        pieces_per_process=_PIECES_PER_PROCESS,
        progress=progress,
    )
    rows = [
        Sensitivity(parameter=lever.path, numbers=_numbers(plan, where[lever], lever), better=better, worse=worse)
        for lever, better, worse in zip(moved, moves[::2], moves[1::2], strict=True)
    ]
    return SensitivityReport(
        name=scenario.name,
        question=scenario.question,
        scenario_digest=document_digest(scenario),
        seed=scenario.seed,
        share=share,
        pools=tuple(each.name for each in plan.pools if each.name in chosen),
        verdict=base.verdict,
        base=_figures(base),
        rows=tuple(sorted(rows, key=lambda row: -row.effect)),
        without_effect=tuple(lever.path for lever, pools in where.items() if not pools),
    )


class Variant(NamedTuple):
    """A plan with one parameter moved one way.

    Attributes
    ----------
    plan : Plan or None
        None where an obstacle is in the way.
    obstacle : {"at its limit", "does not fit"} or None
    least_share : float
        By how much it moved where it moved least.
    pools : tuple of str
        Those that run otherwise than before, or no more.
    """

    plan: Plan | None
    obstacle: Obstacle | None
    least_share: float
    pools: tuple[str, ...]


def _both_ways(lever: Lever, share: float) -> tuple[float, float]:
    """Return the relative changes of a parameter that make it better, and worse."""
    return (share, -share) if lever.more_is_better else (-share, share)


def _where_it_matters(plan: Plan, chosen: Collection[str], lever: Lever, share: float) -> frozenset[str]:
    """Return the pools that a parameter, moved either way, makes run otherwise."""
    variants = (_vary(plan, chosen, lever, change) for change in _both_ways(lever, share))
    return frozenset(name for variant in variants for name in variant.pools)


def _vary(plan: Plan, chosen: Collection[str], lever: Lever, change: float) -> Variant:
    """Return the plan in which a parameter of the chosen pools is larger by the share `change`, or smaller."""
    pools, differing, shares = list(plan.pools), [], []
    for index, pool in enumerate(plan.pools):
        point = Point(pool.deployment.hardware, pool.deployment.engine)
        old = _quantity(point, lever) if pool.name in chosen else None
        if old is None or old.si == 0.0:
            continue
        number = _within_limits(point, lever, old.si * (1.0 + change))
        shares.append(abs(number / old.si - 1.0))
        try:
            pools[index] = _with(pool, point, lever, number, f"pools[{index}]")
        except InputError:  # names, precision and parallelism are as before: only the memory may have become too small
            return Variant(None, "does not fit", abs(change), (pool.name,))
        if not _runs_alike(pools[index].deployment, pool.deployment):
            differing.append(pool.name)
    least = min(shares, default=0.0)
    if not any(shares):
        return Variant(None, "at its limit", least, ())
    return Variant(dataclasses.replace(plan, pools=tuple(pools)), None, least, tuple(differing))


def _quantity(point: Point, lever: Lever) -> Quantity | None:
    """Return a parameter; None for the peak of a number format the chip lacks."""
    if lever.block == "compute":
        return next((rate for name, rate in point.hardware.compute.items() if name == lever.name), None)
    return point.quantity(lever.block, lever.name)


def _within_limits(point: Point, lever: Lever, number: float) -> float:
    """Return the nearest number that makes sense: a share is at most 1, and a chip at rest draws no more than busy."""
    power = point.hardware.power
    if lever.path == "power.idle":
        return min(number, power.peak.si)
    if lever.path == "power.peak":
        return max(number, power.idle.si)
    quantity = _quantity(point, lever)
    return number if quantity is None else min(number, type(quantity).highest)


def _with(pool: PoolPlan, point: Point, lever: Lever, number: float, where: str) -> PoolPlan:
    """Return the pool with another number for a parameter, in place of a calibration's too."""
    old = _quantity(point, lever)
    if old is None:
        return pool
    new = type(old)(
        value=number, unit=SI_UNITS[type(old).dimension], source=f"moved from {old.value:g} {old.unit}",
        provenance="assumption",
    )  # fmt: skip
    hardware, engine = point.hardware, point.engine
    if lever.block == "host":
        engine = engine.model_copy(update={lever.name: new})
    elif lever.block == "compute":
        hardware = hardware.model_copy(update={"compute": hardware.compute | {lever.name: new}})
    else:
        block = getattr(hardware, lever.block).model_copy(update={lever.name: new})
        hardware = hardware.model_copy(update={lever.block: block})
    return pool.redeployed(hardware, engine, where)


def _runs_alike(a: Deployment, b: Deployment) -> bool:
    """Whether the kernel could not tell two deployments of a pool apart."""
    return a.coefficients == b.coefficients and a.memory.kv_blocks == b.memory.kv_blocks


def _move(tree: dict[str, Any], base: Summary, chosen: Collection[str], lever: Lever, change: float) -> Move:
    variant = _vary(plan_of(tree), chosen, lever, change)
    if variant.plan is None:
        return Move(obstacle=variant.obstacle, least_share=variant.least_share)
    summary = play(variant.plan)
    relative = {row.metric: row.relative for row in difference(base, summary).rows if row.scope == "fleet"}
    return Move(
        least_share=variant.least_share,
        state=summary.verdict.state,
        changes={metric: relative[metric] for metric in METRICS},
    )


def _chosen(plan: Plan, pool: str | None) -> frozenset[str]:
    names = frozenset(each.name for each in plan.pools)
    if pool is None:
        return names
    if pool not in names:
        raise InputError("--pool", f"unknown pool {pool!r}", did_you_mean(pool, names))
    return frozenset({pool})


def _figures(summary: Summary) -> dict[Metric, float | None]:
    numbers = figures(summary)
    return {metric: numbers[metric] for metric in METRICS}


def _numbers(plan: Plan, pools: Collection[str], lever: Lever) -> tuple[Number, ...]:
    """Return a parameter in each of some pools."""
    found = []
    for pool in plan.pools:
        quantity = _quantity(Point(pool.deployment.hardware, pool.deployment.engine), lever)
        if quantity is not None and pool.name in pools:
            found.append(
                Number(pool=pool.name, value=quantity.value, unit=quantity.unit, provenance=quantity.provenance)
            )
    return tuple(found)
