"""Who pays for what: owned hours, electricity and carbon of the window, by pool, class and task.

Each pool is owned for the whole window. Its busy time is shared over the
classes in proportion to the busy seconds attributed to their requests, its step
energy in proportion to their joules, both of what they used within the window;
idle time is a row of its own. Joules are paid for at the tariff of their time:
the window is cut where the tariff changes, and the step energy of each stretch
shared by what was used in it. What answers cost on their way out of a site is
their class's. Outside providers are paid per token, by the class whose tokens
they are.
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

    from inferencesim.economics.tariffs import Tariff
    from inferencesim.simulation.engine import Result
    from inferencesim.simulation.marks import Mark
    from inferencesim.simulation.plan import PoolPlan
    from inferencesim.simulation.tasks import ToolsPlan


#: Where the ledger has what people were paid.
PEOPLE = "people"


@dataclass(frozen=True)
class PoolAccount:
    """What one pool did and cost in the window.

    Joules are told apart by the stretches of the window between changes of tariff.

    Attributes
    ----------
    pool : PoolPlan
    busy_s, idle_s : float
        Replica-seconds.
    busy_usd, idle_usd : float
        Price of those, without electricity paid apart.
    usd_per_j : ndarray of float64, shape (stretches,)
        Price of a joule of the machines: site energy × tariff, or 0 where the hourly price includes it.
    busy_j, idle_j : ndarray of float64, shape (stretches,)
        Joules of the machines.
    class_share : ndarray of float64, shape (owners, classes)
        Of the busy time, owners as in :class:`inferencesim.ledger.charges.Charges`; all zero where no request can be
        charged.
    class_energy_share : ndarray of float64, shape (stretches, owners, classes)
        Of the step energy of each stretch; likewise.
    egress_usd : ndarray of float64, shape (owners, classes)
    """

    pool: PoolPlan
    busy_s: float
    idle_s: float
    busy_usd: float
    idle_usd: float
    usd_per_j: NDArray[np.float64]
    busy_j: NDArray[np.float64]
    idle_j: NDArray[np.float64]
    class_share: NDArray[np.float64]
    class_energy_share: NDArray[np.float64]
    egress_usd: NDArray[np.float64]

    @property
    def joules(self) -> float:
        """All joules of the machines."""
        return float((self.busy_j + self.idle_j).sum())

    def energy_usd(self, joules: NDArray[np.float64]) -> float:
        """Return the price of some joules of the machines, by stretch."""
        return float((joules * self.usd_per_j).sum())

    def carbon_g(self, joules: float) -> float:
        """Return the grams of CO2 equivalent of some joules of the machines."""
        return joules * self.pool.pue * self.pool.carbon_g_per_j

    def row(
        self,
        class_name: str | None,
        task_class: str | None,
        busy_usd: float,
        idle_usd: float,
        joules: NDArray[np.float64],
        egress_usd: float = 0.0,
    ) -> LedgerRow:
        """Return one row of the ledger."""
        energy_j = float(joules.sum())
        return LedgerRow(
            pool=self.pool.name,
            class_name=class_name,
            task_class=task_class,
            busy_usd=busy_usd,
            idle_usd=idle_usd,
            energy_usd=self.energy_usd(joules),
            egress_usd=egress_usd,
            energy_j=energy_j,
            site_energy_j=energy_j * self.pool.pue,
            carbon_g=self.carbon_g(energy_j),
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
                share, energy_share = float(self.class_share[owner, index]), self.class_energy_share[:, owner, index]
                egress_usd = float(self.egress_usd[owner, index])
                if share > 0.0 or energy_share.any() or egress_usd > 0.0:
                    busy_usd, joules = share * self.busy_usd, energy_share * self.busy_j
                    rows.append(self.row(name, task_class, busy_usd, 0.0, joules, egress_usd))
        unattributed = 0.0 if self.class_share.any() else 1.0
        unattributed_j = np.where(self.class_energy_share.any(axis=(1, 2)), 0.0, self.busy_j)
        idle_usd = self.idle_usd + unattributed * self.busy_usd
        rows.append(self.row(None, None, 0.0, idle_usd, self.idle_j + unattributed_j))
        return rows


@dataclass(frozen=True)
class ToolsAccount:
    """What one pool of tools did and cost in the window.

    Attributes
    ----------
    tools : ToolsPlan
    usd_per_j, seconds, core_s : ndarray of float64, shape (stretches,)
        Of each stretch between changes of tariff: the price of a joule at a node, its length, and busy core-seconds.
    use : ndarray of float64, shape (classes of tasks,)
        Shares of the latter in the whole window by who used them, which is known once a tool has ended; all zero
        where nobody can be charged.
    """

    tools: ToolsPlan
    usd_per_j: NDArray[np.float64]
    seconds: NDArray[np.float64]
    core_s: NDArray[np.float64]
    use: NDArray[np.float64]

    @property
    def window_s(self) -> float:
        """Length of the window."""
        return float(self.seconds.sum())

    @property
    def utilisation(self) -> float:
        """Busy share of its cores' time."""
        return float(self.core_s.sum()) / (self.tools.cores * self.window_s)

    @property
    def busy_j(self) -> NDArray[np.float64]:
        """Joules that the busy cores added, by stretch."""
        return self.tools.core_w * self.core_s

    @property
    def idle_j(self) -> NDArray[np.float64]:
        """Joules of the nodes at rest, by stretch."""
        return self.tools.idle_w * self.seconds

    def rows(self, task_classes: Sequence[str]) -> list[LedgerRow]:
        """Return the rows of all classes of tasks that used it, and that of what nobody can be charged with."""
        owned_usd = self.tools.usd_per_s * self.window_s
        rows, charged = [], 0.0
        for name, share in zip(task_classes, self.use.tolist(), strict=True):
            if share > 0.0:
                rows.append(self._row(name, share * self.utilisation * owned_usd, 0.0, share * self.busy_j))
                charged += share
        busy = self.utilisation if charged else 0.0
        idle_j = self.idle_j if charged else self.idle_j + self.busy_j
        rows.append(self._row(None, 0.0, (1.0 - busy) * owned_usd, idle_j))
        return rows

    def _row(self, task_class: str | None, busy_usd: float, idle_usd: float, joules: NDArray[np.float64]) -> LedgerRow:
        energy_j = float(joules.sum())
        return LedgerRow(
            pool=self.tools.name,
            class_name=None,
            task_class=task_class,
            busy_usd=busy_usd,
            idle_usd=idle_usd,
            energy_usd=float((joules * self.usd_per_j).sum()),
            energy_j=energy_j,
            site_energy_j=energy_j * self.tools.pue,
            carbon_g=energy_j * self.tools.pue * self.tools.carbon_g_per_j,
        )


def tool_accounts(result: Result) -> tuple[ToolsAccount, ...]:
    """Return the account of every pool of tools, from the counters at the ends of all stretches of the window."""
    start, stop = result.window
    marks = _marks(result)
    core_s, use = np.diff([mark.core_s for mark in marks], axis=0), stop.tool_use - start.tool_use
    return tuple(
        ToolsAccount(tools, _prices(tools.node_tariff, marks), _lengths(marks), core_s[:, index], _shares(use[index]))
        for index, tools in enumerate(result.plan.tools)
    )


def _marks(result: Result) -> list[Mark]:
    """Return the counters at the ends of the stretches that changes of tariff cut the window into."""
    start, stop = result.window
    return [start, *(mark for mark, _ in result.repriced), stop]


def _lengths(marks: Sequence[Mark]) -> NDArray[np.float64]:
    """Return the seconds of each stretch."""
    return np.diff([mark.at_s for mark in marks])


def _prices(tariff: Tariff, marks: Sequence[Mark]) -> NDArray[np.float64]:
    """Return the price of a joule in each stretch."""
    return np.array([tariff.at(mark.at_s) for mark in marks[:-1]])


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
    """Return the account of every pool, from counters and charges at the ends of all stretches of the window."""
    earlier, later = result.charges
    marks, charges = _marks(result), [earlier, *(each for _, each in result.repriced), later]
    charged_s = later.busy_s - earlier.busy_s
    charged_j = np.diff([each.energy_j for each in charges], axis=0)
    busy_s = np.diff([mark.busy_s for mark in marks], axis=0)
    busy_j = np.diff([mark.step_energy_j for mark in marks], axis=0)
    found = []
    for index, pool in enumerate(result.plan.pools):
        deployment = pool.deployment
        idle_s = np.maximum(0.0, pool.replicas * _lengths(marks) - busy_s[:, index])
        found.append(
            PoolAccount(
                pool=pool,
                busy_s=float(busy_s[:, index].sum()),
                idle_s=float(idle_s.sum()),
                busy_usd=float(busy_s[:, index].sum()) * deployment.usd_per_s,
                idle_usd=float(idle_s.sum()) * deployment.usd_per_s,
                usd_per_j=_prices(pool.chip_tariff, marks),
                busy_j=busy_j[:, index],
                idle_j=idle_s * deployment.idle_w,
                class_share=_shares(charged_s[index]),
                class_energy_share=np.stack([_shares(each[index]) for each in charged_j]),
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
