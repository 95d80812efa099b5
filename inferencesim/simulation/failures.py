"""When replicas and providers are down, and replicas slow: a schedule drawn before the clock starts.

What is random has streams named after what fails (a pool and one of its
replicas, a pool, a site, a provider), and after the place among the failures of the same
kind and target. So failures are the same under every policy and for every load,
and another pool's replicas do not change them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.errors import InputError
from inferencesim.kernel.tables import CRASH, FAILURE, PACE, REPAIR
from inferencesim.scenario.failures import LostTools, PoolOutage, ProviderOutage, ReplicaCrashes, SlowNodes
from inferencesim.workload.streams import stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records
    from inferencesim.scenario.failures import SiteOutage, Spells
    from inferencesim.simulation.plan import Plan

#: Failures of one target that are still worth playing.
_MOST = 100_000


@dataclass(frozen=True)
class Outages:
    """When something is down: disjoint spans [from, to) of each, by what it is and time.

    Attributes
    ----------
    target : ndarray of int64
        Replicas numbered over all pools, then the providers.
    from_s, to_s : ndarray of float64
        From the crash until it takes requests again: repair, and loading the weights.
    """

    target: NDArray[np.int64]
    from_s: NDArray[np.float64]
    to_s: NDArray[np.float64]

    def down_s(self, targets: range, from_s: float, to_s: float) -> float:
        """Return the seconds that some targets, numbered in a row, are down between two moments, all together."""
        own = (self.target >= targets.start) & (self.target < targets.stop)
        return float(np.maximum(0.0, np.minimum(self.to_s, to_s) - np.maximum(self.from_s, from_s))[own].sum())

    def down_at(self, target: int, times_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell at which moments a target is down, events of that very moment having happened."""
        own = self.target == target
        begun = np.searchsorted(self.from_s[own], times_s, side="right")
        ended = np.searchsorted(self.to_s[own], times_s, side="right")
        down: NDArray[np.bool_] = begun > ended
        return down

    def all_down_at(self, targets: range, times_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell at which moments some targets, numbered in a row, are all down; as :meth:`down_at`."""
        down = np.ones(times_s.size, np.bool_)
        for target in targets:
            if not down.any():
                # One was up at each moment: a large fleet has many more to ask.
                break
            down &= self.down_at(target, times_s)
        return down


def outages(plan: Plan) -> Outages:
    """Return when the replicas and providers of a plan are down.

    Raises
    ------
    InputError
        If something would fail too often to be played.
    """
    spans: list[list[tuple[float, float]]] = [[] for _ in range(plan.replicas + len(plan.providers))]
    for hit, together in _drawn(plan):
        for target in hit:
            spans[target] += together
    rows = []
    for pool, replicas in zip(plan.pools, replicas_of(plan), strict=True):
        for replica in replicas:
            loaded = [(begin, end + pool.deployment.load_s) for begin, end in _united(spans[replica])]
            rows += [(replica, *span) for span in _united(loaded)]
    for provider in range(plan.replicas, len(spans)):
        rows += [(provider, *span) for span in _united(spans[provider])]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 3)
    return Outages(table[:, 0].astype(np.int64), table[:, 1], table[:, 2])


def failure_table(plan: Plan) -> Records:
    """Return the FAILURE of a plan's replicas and providers, in order of time, then of target."""
    down = outages(plan)
    parts = [_rows(down.from_s, down.target, CRASH), _rows(down.to_s, down.target, REPAIR), *_paces(plan)]
    table = np.concatenate(parts)
    return table[np.lexsort((table["kind"], table["target"], table["at_s"]))]


def _rows(at_s: NDArray[np.float64], target: NDArray[np.int64], kind: int, pace: float = 1.0) -> Records:
    rows = np.zeros(at_s.size, FAILURE)
    rows["at_s"], rows["target"], rows["kind"], rows["pace"] = at_s, target, kind, pace
    return rows


def replicas_of(plan: Plan) -> list[range]:
    """Return the numbers of each pool's replicas."""
    ends = np.cumsum([pool.replicas for pool in plan.pools]).tolist()
    return [range(end - pool.replicas, end) for pool, end in zip(plan.pools, ends, strict=True)]


def _drawn(plan: Plan) -> Iterator[tuple[list[int], list[tuple[float, float]]]]:
    """Yield targets, and spans in which they are down together."""
    scenario, of = plan.scenario, dict(zip((pool.name for pool in plan.pools), replicas_of(plan), strict=True))
    until_s = scenario.horizon + scenario.drain
    met: dict[tuple[str, str], int] = {}
    for index, failure in enumerate(scenario.failures):
        if isinstance(failure, SlowNodes | LostTools):
            continue
        where = f"failures[{index}]"
        if isinstance(failure, ReplicaCrashes):
            yield from _crashes(failure, of[failure.replica], scenario.seed, met, until_s, where)
            continue
        kind, name, hit = _hit(plan, failure)
        key = (kind, name, _number(met, kind, name))
        yield hit, _spells(failure, scenario.seed, key, until_s, where)


def _crashes(
    failure: ReplicaCrashes, own: range, seed: int, met: dict[tuple[str, str], int], until_s: float, where: str
) -> Iterator[tuple[list[int], list[tuple[float, float]]]]:
    """Yield replicas of a pool, numbered as `own`, and spans in which they are down together."""
    number = _number(met, "replica", failure.replica)
    if failure.once is not None:
        hit = _some_of(own, failure.share, stream(seed, "failures", "replica", failure.replica, number))
        yield hit, _spells(failure, seed, (), until_s, where)
        return
    for place, replica in enumerate(own):
        yield [replica], _spells(failure, seed, ("replica", failure.replica, place, number), until_s, where)


def _some_of(own: range, share: float | None, draws: np.random.Generator) -> list[int]:
    """Draw a share of some replicas, rounded, one at least; None: one."""
    many = 1 if share is None else max(1, round(share * len(own)))
    return [own[place] for place in draws.permutation(len(own))[:many].tolist()]


def _hit(plan: Plan, failure: PoolOutage | ProviderOutage | SiteOutage) -> tuple[str, str, list[int]]:
    """Return the kind and name of what an outage is of, and all targets that it takes down."""
    pools = list(zip(plan.pools, replicas_of(plan), strict=True))
    providers = list(enumerate(plan.providers, plan.replicas))
    if isinstance(failure, PoolOutage):
        return "pool", failure.pool, [each for pool, own in pools if pool.name == failure.pool for each in own]
    if isinstance(failure, ProviderOutage):
        return "provider", failure.provider, [each for each, one in providers if one.name == failure.provider]
    there = [each for pool, own in pools if pool.spec.site == failure.site for each in own]
    return "site", failure.site, there + [each for each, one in providers if one.spec.site == failure.site]


def _number(met: dict[tuple[str, str], int], kind: str, name: str) -> int:
    """Count the failures of one kind and target."""
    number = met.get((kind, name), 0)
    met[kind, name] = number + 1
    return number


def _spells(
    failure: Spells, seed: int, names: tuple[str | int, ...], until_s: float, where: str
) -> list[tuple[float, float]]:
    """Return the spans in which something is wrong and that begin before `until_s`: by schedule, or drawn.

    Only what is drawn has a stream, which `names` name.
    """
    if failure.once is not None:
        return [failure.once] if failure.once[0] < until_s else []
    mtbf_s, mttr_s = failure.means_s
    if until_s / (mtbf_s + mttr_s) > _MOST:
        raise InputError(
            where,
            f"fails about {until_s / (mtbf_s + mttr_s):,.0f} times in a run",
            f"Give a longer mtbf: at most {_MOST:,} failures of one thing are played.",
        )
    draws = stream(seed, "failures", *names)
    spans, at_s = [], draws.exponential(mtbf_s)
    while at_s < until_s:
        end_s = at_s + draws.exponential(mttr_s)
        spans.append((at_s, end_s))
        at_s = end_s + draws.exponential(mtbf_s)
    return spans


def _united(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the union of spans, those that touch joined."""
    united: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if united and begin <= united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]))
        else:
            united.append((begin, end))
    return united


def _paces(plan: Plan) -> Iterator[Records]:
    """Yield the changes of pace of every replica; where it is slow for two reasons, their factors multiply."""
    scenario, of = plan.scenario, dict(zip((pool.name for pool in plan.pools), replicas_of(plan), strict=True))
    until_s = scenario.horizon + scenario.drain
    slow: dict[int, list[tuple[float, float, float]]] = {}
    met: dict[tuple[str, str], int] = {}
    for index, failure in enumerate(scenario.failures):
        if not isinstance(failure, SlowNodes):
            continue
        own, number = of[failure.slow], _number(met, "slow", failure.slow)
        draws = stream(scenario.seed, "failures", "slow", failure.slow, number)
        for replica in _some_of(own, failure.share, draws):
            names = ("slow", failure.slow, own.index(replica), number)
            spells = _spells(failure, scenario.seed, names, until_s, f"failures[{index}]")
            slow.setdefault(replica, []).extend((*span, failure.factor) for span in spells)
    for replica, reasons in slow.items():
        for moment in sorted({at_s for begin, end, _ in reasons for at_s in (begin, end)}):
            factors = [factor for begin, end, factor in reasons if begin <= moment < end]
            yield _rows(np.array([moment]), np.array([replica]), PACE, float(np.prod(factors)))
