"""Who pays for what: owned hours, electricity and carbon of the window, by pool and class.

Each pool is owned for the whole window. Its busy time is shared over the
classes in proportion to the busy seconds attributed to their requests, its step
energy in proportion to their joules, both of what they used within the window;
idle time is a row of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.results.records import LedgerRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.simulation.engine import Result
    from inferencesim.simulation.plan import PoolPlan


@dataclass(frozen=True)
class PoolAccount:
    """What one pool did and cost in the window.

    Attributes
    ----------
    busy_s, idle_s : float
        Replica-seconds.
    busy_usd, idle_usd : float
        Price of those, without electricity paid apart.
    busy_j, idle_j : float
        Joules of the machines.
    class_share : ndarray of float64, shape (classes,)
        Of the busy time; all zero where no request can be charged.
    class_energy_share : ndarray of float64, shape (classes,)
        Of the step energy; likewise.
    """

    pool: PoolPlan
    busy_s: float
    idle_s: float
    busy_usd: float
    idle_usd: float
    busy_j: float
    idle_j: float
    class_share: NDArray[np.float64]
    class_energy_share: NDArray[np.float64]

    def energy_usd(self, joules: float) -> float:
        """Return the price of some joules of the machines: site energy × tariff, or 0 where the price includes it."""
        return joules * self.pool.usd_per_j

    def carbon_g(self, joules: float) -> float:
        """Return the grams of CO2 equivalent of some joules of the machines."""
        return joules * self.pool.pue * self.pool.carbon_g_per_j

    def row(self, class_name: str | None, busy_usd: float, idle_usd: float, joules: float) -> LedgerRow:
        """Return one row of the ledger."""
        return LedgerRow(
            pool=self.pool.name,
            class_name=class_name,
            busy_usd=busy_usd,
            idle_usd=idle_usd,
            energy_usd=self.energy_usd(joules),
            energy_j=joules,
            site_energy_j=joules * self.pool.pue,
            carbon_g=self.carbon_g(joules),
        )

    def rows(self, classes: Sequence[str]) -> list[LedgerRow]:
        """Return the rows of all classes that were served here, and that of the idle time.

        Busy time no request can be charged with (a step under way at an end of
        the window whose requests lie outside) stands with the idle time: the
        unattributed rest.
        """
        rows = []
        for index, name in enumerate(classes):
            share, energy_share = float(self.class_share[index]), float(self.class_energy_share[index])
            if share > 0.0 or energy_share > 0.0:
                rows.append(self.row(name, share * self.busy_usd, 0.0, energy_share * self.busy_j))
        unattributed = 0.0 if self.class_share.any() else 1.0
        unattributed_j = 0.0 if self.class_energy_share.any() else self.busy_j
        idle_usd = self.idle_usd + unattributed * self.busy_usd
        rows.append(self.row(None, 0.0, idle_usd, self.idle_j + unattributed_j))
        return rows


@dataclass(frozen=True)
class ClassCost:
    """What a class is charged: its busy rows, and idle time in proportion to them."""

    cost_usd: float
    energy_j: float
    site_energy_j: float
    carbon_g: float


def accounts(result: Result) -> tuple[PoolAccount, ...]:
    """Return the account of every pool, from the counters and charges at both ends of the window."""
    start, stop = result.window
    earlier, later = result.charges
    busy = later.busy_s - earlier.busy_s
    energy = later.energy_j - earlier.energy_j
    seconds = stop.at_s - start.at_s
    found = []
    for index, pool in enumerate(result.plan.pools):
        deployment = pool.deployment
        busy_s = float(stop.busy_s[index] - start.busy_s[index])
        idle_s = max(0.0, pool.replicas * seconds - busy_s)
        found.append(
            PoolAccount(
                pool=pool,
                busy_s=busy_s,
                idle_s=idle_s,
                busy_usd=busy_s * deployment.usd_per_s,
                idle_usd=idle_s * deployment.usd_per_s,
                busy_j=float(stop.step_energy_j[index] - start.step_energy_j[index]),
                idle_j=idle_s * deployment.idle_w,
                class_share=_shares(busy[index]),
                class_energy_share=_shares(energy[index]),
            )
        )
    return tuple(found)


def class_cost(name: str, ledger: Sequence[LedgerRow]) -> ClassCost:
    """Return what a class costs when all of the fleet's idle time is shared in proportion to what classes used.

    An idle replica serves nobody, so no pool's idle time is any class's own: of
    each total a class carries the share that its busy rows have in all busy
    rows. Classes sum to the fleet.
    """

    def share_of(column: str) -> float:
        total = math.fsum(getattr(row, column) for row in ledger)
        used = math.fsum(getattr(row, column) for row in ledger if row.class_name is not None)
        own = math.fsum(getattr(row, column) for row in ledger if row.class_name == name)
        return total * (own / used) if used > 0.0 else 0.0

    return ClassCost(
        cost_usd=share_of("cost_usd"),
        energy_j=share_of("energy_j"),
        site_energy_j=share_of("site_energy_j"),
        carbon_g=share_of("carbon_g"),
    )


def _shares(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.maximum(sums, 0.0)
    total = sums.sum()
    return sums / total if total > 0.0 else np.zeros_like(sums)
