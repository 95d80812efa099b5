"""Who pays for what: owned hours, electricity and carbon of the window, by pool, class and task.

Each pool is owned for the whole window. Its busy time is shared over the
classes in proportion to the busy seconds attributed to their requests, its step
energy in proportion to their joules, both of what they used within the window;
idle time is a row of its own. What answers cost on their way out of a site is
their class's. Outside providers are paid per token, by the
class whose tokens they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.results.records.summary import LedgerRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from inferencesim.simulation.engine import Result
    from inferencesim.simulation.plan import PoolPlan
    from inferencesim.simulation.tasks import ToolsPlan


#: Where the ledger has what people were paid.
PEOPLE = "people"


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
    class_share : ndarray of float64, shape (owners, classes)
        Of the busy time, owners as in :class:`inferencesim.ledger.charges.Charges`; all zero where no request can be
        charged.
    class_energy_share : ndarray of float64, shape (owners, classes)
        Of the step energy; likewise.
    egress_usd : ndarray of float64, shape (owners, classes)
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
    egress_usd: NDArray[np.float64]

    def energy_usd(self, joules: float) -> float:
        """Return the price of some joules of the machines: site energy × tariff, or 0 where the price includes it."""
        return joules * self.pool.usd_per_j

    def carbon_g(self, joules: float) -> float:
        """Return the grams of CO2 equivalent of some joules of the machines."""
        return joules * self.pool.pue * self.pool.carbon_g_per_j

    def row(
        self,
        class_name: str | None,
        task_class: str | None,
        busy_usd: float,
        idle_usd: float,
        joules: float,
        egress_usd: float = 0.0,
    ) -> LedgerRow:
        """Return one row of the ledger."""
        return LedgerRow(
            pool=self.pool.name,
            class_name=class_name,
            task_class=task_class,
            busy_usd=busy_usd,
            idle_usd=idle_usd,
            energy_usd=self.energy_usd(joules),
            egress_usd=egress_usd,
            energy_j=joules,
            site_energy_j=joules * self.pool.pue,
            carbon_g=self.carbon_g(joules),
        )

    def rows(self, classes: Sequence[str], task_classes: Sequence[str]) -> list[LedgerRow]:
        """Return the rows of all classes that were served here, by who asked, and that of the idle time.

        Busy time no request can be charged with (a step under way at an end of
        the window whose requests lie outside) stands with the idle time: the
        unattributed rest.
        """
        rows = []
        for owner, task_class in enumerate((None, *task_classes)):
            for index, name in enumerate(classes):
                share, energy_share = (
                    float(self.class_share[owner, index]),
                    float(self.class_energy_share[owner, index]),
                )
                egress_usd = float(self.egress_usd[owner, index])
                if share > 0.0 or energy_share > 0.0 or egress_usd > 0.0:
                    busy_usd, joules = share * self.busy_usd, energy_share * self.busy_j
                    rows.append(self.row(name, task_class, busy_usd, 0.0, joules, egress_usd))
        unattributed = 0.0 if self.class_share.any() else 1.0
        unattributed_j = 0.0 if self.class_energy_share.any() else self.busy_j
        idle_usd = self.idle_usd + unattributed * self.busy_usd
        rows.append(self.row(None, None, 0.0, idle_usd, self.idle_j + unattributed_j))
        return rows


@dataclass(frozen=True)
class ToolsAccount:
    """What one pool of tools did and cost in the window.

    Attributes
    ----------
    tools : ToolsPlan
    seconds : float
        Of the window.
    core_s : float
        Busy core-seconds.
    use : ndarray of float64, shape (classes of tasks,)
        Shares of them by who used them; all zero where nobody can be charged.
    """

    tools: ToolsPlan
    seconds: float
    core_s: float
    use: NDArray[np.float64]

    @property
    def utilisation(self) -> float:
        """Busy share of its cores' time."""
        return self.core_s / (self.tools.cores * self.seconds)

    @property
    def busy_j(self) -> float:
        """Joules that the busy cores added."""
        return self.tools.core_w * self.core_s

    @property
    def idle_j(self) -> float:
        """Joules of the nodes at rest."""
        return self.tools.idle_w * self.seconds

    def rows(self, task_classes: Sequence[str]) -> list[LedgerRow]:
        """Return the rows of all classes of tasks that used it, and that of what nobody can be charged with."""
        owned_usd = self.tools.usd_per_s * self.seconds
        rows, charged = [], 0.0
        for name, share in zip(task_classes, self.use.tolist(), strict=True):
            if share > 0.0:
                rows.append(self._row(name, share * self.utilisation * owned_usd, 0.0, share * self.busy_j))
                charged += share
        busy = self.utilisation if charged else 0.0
        idle_j = self.idle_j if charged else self.idle_j + self.busy_j
        rows.append(self._row(None, 0.0, (1.0 - busy) * owned_usd, idle_j))
        return rows

    def _row(self, task_class: str | None, busy_usd: float, idle_usd: float, joules: float) -> LedgerRow:
        return LedgerRow(
            pool=self.tools.name,
            class_name=None,
            task_class=task_class,
            busy_usd=busy_usd,
            idle_usd=idle_usd,
            energy_usd=joules * self.tools.usd_per_j,
            energy_j=joules,
            site_energy_j=joules * self.tools.pue,
            carbon_g=joules * self.tools.pue * self.tools.carbon_g_per_j,
        )


def tool_accounts(result: Result) -> tuple[ToolsAccount, ...]:
    """Return the account of every pool of tools, from the counters at both ends of the window."""
    start, stop = result.window
    core_s, use = stop.core_s - start.core_s, stop.tool_use - start.tool_use
    return tuple(
        ToolsAccount(tools, stop.at_s - start.at_s, float(core_s[index]), _shares(use[index]))
        for index, tools in enumerate(result.plan.tools)
    )


def people_rows(result: Result) -> tuple[LedgerRow, ...]:
    """Return what people were paid for the answers they began to give in the window, by class of tasks."""
    start, stop = result.window
    paid = (stop.people_usd - start.people_usd).tolist()
    nothing = dict.fromkeys(("idle_usd", "energy_usd", "energy_j", "site_energy_j", "carbon_g"), 0.0)
    return tuple(
        LedgerRow(pool=PEOPLE, class_name=None, task_class=name, busy_usd=usd, **nothing)
        for name, usd in zip(result.tasks.names.classes, paid, strict=True)
        if usd > 0.0
    )


@dataclass(frozen=True)
class ClassCost:
    """What somebody is charged: busy rows, idle time in proportion to them, and what providers billed."""

    cost_usd: float
    provider_usd: float
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
                egress_usd=later.egress_usd[index] - earlier.egress_usd[index],
            )
        )
    return tuple(found)


def provider_rows(result: Result) -> list[LedgerRow]:
    """Return the ledger's rows of providers: what each billed for each class within the window."""
    earlier, later = result.bills
    billed = later.usd - earlier.usd
    tokens = later.prompt_tokens + later.output_tokens - earlier.prompt_tokens - earlier.output_tokens
    return [
        LedgerRow(
            pool=None,
            provider=provider.name,
            class_name=name,
            task_class=task_class,
            busy_usd=0.0,
            idle_usd=0.0,
            energy_usd=0.0,
            provider_usd=float(billed[row, owner, column]),
            energy_j=None,
            site_energy_j=None,
            carbon_g=None,
        )
        for row, provider in enumerate(result.plan.providers)
        for owner, task_class in enumerate((None, *result.tasks.names.classes))
        for column, name in enumerate(result.book.classes)
        if tokens[row, owner, column] > 0
    ]


def class_cost(name: str, *ledgers: Sequence[LedgerRow]) -> ClassCost:
    """Return what a class costs, of the ledgers of pools and of providers; see :func:`_cost`. Classes sum to these."""
    return total_cost(_cost(rows, [row for row in rows if row.class_name == name]) for rows in ledgers)


def task_cost(name: str, *ledgers: Sequence[LedgerRow]) -> ClassCost:
    """Return what a class of tasks costs, of the ledgers of pools, providers, tools and people; see :func:`_cost`."""
    return total_cost(_cost(rows, [row for row in rows if row.task_class == name]) for rows in ledgers)


def total_cost(parts: Iterable[ClassCost | LedgerRow]) -> ClassCost:
    """Return the sum of costs; the unknown energy and carbon of providers is in none."""
    listed = list(parts)
    return ClassCost(
        **{each.name: math.fsum(getattr(part, each.name) or 0.0 for part in listed) for each in fields(ClassCost)}
    )


def _cost(ledger: Sequence[LedgerRow], own: Sequence[LedgerRow]) -> ClassCost:
    """Return what some rows cost when all idle time of a ledger is shared in proportion to what was used.

    An idle replica serves nobody, so no pool's idle time is anybody's own: of
    each total they carry the share that they have in all busy rows.
    """
    totals, used = total_cost(ledger), total_cost(row for row in ledger if not row.is_idle)
    mine = total_cost(own)

    def share(name: str) -> float:
        whole = getattr(used, name)
        return float(getattr(totals, name) * (getattr(mine, name) / whole)) if whole > 0.0 else 0.0

    return ClassCost(**{each.name: share(each.name) for each in fields(ClassCost)})


def _shares(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.maximum(sums, 0.0)
    total = sums.sum()
    return sums / total if total > 0.0 else np.zeros_like(sums)
