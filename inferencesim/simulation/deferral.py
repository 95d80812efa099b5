"""The hours of the day at which work that can wait is not held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.economics.tariffs import lowest_of
from inferencesim.errors import InputError
from inferencesim.kernel.tables import ELIGIBLE

if TYPE_CHECKING:
    from inferencesim.simulation.plan import Plan

_JOULES_PER_KWH = 3.6e6


def deferral_windows(plan: Plan) -> tuple[tuple[float, float], ...]:
    """Return the windows [from, to) of the day in which nothing is held, in seconds into the day.

    Those of the scenario, and those at which electricity is below its `price_below` at one site at least where a pool
    may serve a class that is held: which of them a request goes to, placement decides.

    Raises
    ------
    InputError
        If electricity is never so cheap, or always.
    """
    defer = plan.scenario.flow.defer
    if defer is None:
        return ()
    windows = tuple((each.from_s, each.to_s) for each in defer.windows)
    if defer.price_below is None:
        return windows
    where = "flow.defer.price_below"
    batchable = [index for index, each in enumerate(plan.scenario.workload) if each.tags.batchable]
    usable = (plan.verdicts[batchable, : len(plan.pools)] == ELIGIBLE).any(axis=0)
    tariffs = [pool.tariff for pool, may_serve in zip(plan.pools, usable, strict=True) if may_serve]
    if not tariffs:
        what = "no pool may serve a class tagged batchable, so there is no price of electricity to wait for"
        raise InputError(where, what, "Give flow.defer windows instead.")
    tariff = lowest_of(tariffs)
    lowest, highest = _per_kwh(tariff.lowest), _per_kwh(tariff.highest)
    remedy = (
        f"Name a price above {lowest}, up to {highest}."
        if tariff.lowest < tariff.highest
        else f"It costs {lowest} at all hours: give some of them a price of their own in economics.tariff."
    )
    if defer.price_below <= tariff.lowest:
        raise InputError(where, f"electricity never costs less than {lowest} where batchable work may run", remedy)
    if defer.price_below > tariff.highest:
        what = f"electricity never costs more than {highest} where batchable work may run, so nothing would be held"
        raise InputError(where, what, remedy)
    return (*windows, *tariff.hours_below(defer.price_below))


def _per_kwh(usd_per_j: float) -> str:
    return f"${usd_per_j * _JOULES_PER_KWH:g}/kWh"
