"""Changes of tariff while a simulation runs: when they come, and what routers and the ledger are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from inferencesim.economics.tariffs import Tariff
    from inferencesim.kernel.gateway import Gateway
    from inferencesim.simulation.plan import Plan


def tariff_changes(plan: Plan) -> list[float]:
    """Return the moments, up to the end of the drain, at which electricity gets another price at some site."""
    until_s = plan.scenario.horizon + plan.scenario.drain
    tariffs = [*(pool.tariff for pool in plan.pools), *(tools.tariff for tools in plan.tools)]
    return sorted({at_s for tariff in tariffs for at_s in tariff.changes(until_s)})


def chip_prices(plan: Plan, at_s: float) -> NDArray[np.float64]:
    """Return the price of a joule at the chips of each pool at a moment."""
    return np.array([pool.chip_tariff.at(at_s) for pool in plan.pools], np.float64)


def quote(plan: Plan, gateway: Gateway, price: Callable[[Tariff], float]) -> None:
    """Tell routers what they pay: of each pool's tariff the `price` that is to hold from now on."""
    of_pools = gateway.pool_traits[: len(plan.pools)]
    of_pools["usd_per_j"] = [price(pool.tariff) for pool in plan.pools]
    of_pools["usd_per_s"] = [pool.usd_per_s(price(pool.chip_tariff)) for pool in plan.pools]
    for name in ("usd_per_j", "usd_per_s"):
        gateway.replica_traits[name] = np.repeat(of_pools[name], of_pools["replicas"])
