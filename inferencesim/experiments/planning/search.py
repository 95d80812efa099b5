"""The search: from the integer programme's fleet upwards to one that keeps its promises, and down again.

More replicas mostly help, but need not: a policy may send work elsewhere because of them. So what a fleet attains is
told of played fleets only, with two exceptions. While it looks for a cheaper neighbour, the search passes over
fleets smaller than one that fell short. Where it goes through all cheaper fleets, it passes over those smaller than one
that fell short by more than :data:`CLEARLY`, with the same providers.
"""

from __future__ import annotations

import itertools
import math
import time
from typing import TYPE_CHECKING, NamedTuple

from inferencesim.experiments.planning.candidates import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from inferencesim.experiments.planning.bound import Programme
    from inferencesim.experiments.planning.candidates import Space
    from inferencesim.experiments.planning.goal import Goal
    from inferencesim.experiments.planning.playing import Players, Trial

#: Shortfall from which a smaller fleet is not tried: five points of attainment.
CLEARLY = 0.05

#: Replications that a fleet is screened with: half of the fleets go on from each rung to the next.
RUNGS = (1, 2)

#: Fleets at most that are cheaper than the answer and all looked at, so that it is the cheapest beyond doubt.
MOST_LISTED = 400

#: Combinations of counts at most that are looked at to list them: many are outside the bounds.
_MOST_COUNTED = 50_000

#: Least headroom that is asked of the programme for a start, and by how much more each time.
_LEAST_HEADROOM, _MORE_HEADROOM = 0.1, 1.5

#: Fleets that are confirmed, or fail to be, before the search gives up.
_MOST_CONFIRMED = 12


class Tried(NamedTuple):
    """A fleet with the replications it was played for.

    Attributes
    ----------
    usd_per_h : float
        Mean.
    shortfall : float
        See :meth:`.goal.Goal.shortfall`.
    """

    fleet: Fleet
    trials: tuple[Trial, ...]
    usd_per_h: float
    shortfall: float

    @property
    def holds(self) -> bool:
        """Whether all promises were kept on average."""
        return self.shortfall <= 0.0


class Found(NamedTuple):
    """What a search ended with.

    Attributes
    ----------
    answer : Tried or None
        Of the confirming replications; None where nothing was confirmed.
    complete : bool
        Whether no cheaper fleet is left that might keep the promises: all were played, are too small for the
        programme, or smaller than one that clearly fell short.
    stopped : str
        Why the search ended.
    rejected : tuple of Tried
        Fleets that the confirming replications did not bear out.
    """

    answer: Tried | None
    complete: bool
    stopped: str
    rejected: tuple[Tried, ...]


class Search:
    """Looks for the cheapest fleet.

    Parameters
    ----------
    space : Space
    programme : Programme
    goal : Goal
    players : Players
    ends_at : float
        When to look for nothing cheaper any more, by :func:`time.monotonic`.
    """

    def __init__(self, space: Space, programme: Programme, goal: Goal, players: Players, ends_at: float) -> None:
        self.space, self.programme, self.goal, self.players = space, programme, goal, players
        self.ends_at = ends_at
        self.tried: dict[Fleet, Tried] = {}
        self._enough: dict[Fleet, float] = {}

    def run(self, start: Fleet, *, near: bool = False) -> Found:
        """Search.

        Parameters
        ----------
        start : Fleet
            One that may do.
        near : bool
            Whether it is nearly enough, and was the cheapest for less load: where it will do, nothing else is tried.
        """
        best = self._first(start, near)
        if best is None:
            return Found(None, complete=False, stopped="no fleet within the bounds kept the promises", rejected=())
        rejected: dict[Fleet, Tried] = {}
        complete = False
        while True:
            if not near or best.fleet != start:
                best, complete = self._improved(best, rejected)
            confirmed = self._confirm(best.fleet)
            if self.goal.is_met(confirmed.trials):
                stopped = "nothing cheaper is left" if complete else self._why()
                return Found(confirmed, complete, stopped, tuple(rejected.values()))
            rejected[best.fleet] = confirmed
            following = self._next(rejected)
            if following is None or len(rejected) >= _MOST_CONFIRMED:
                return Found(None, complete=False, stopped="no fleet was confirmed", rejected=tuple(rejected.values()))
            best = following

    def _why(self) -> str:
        return "the time was over" if self._is_over() else "no neighbour is cheaper and keeps the promises"

    def _is_over(self) -> bool:
        return time.monotonic() > self.ends_at

    # Where to begin

    def _first(self, start: Fleet, near: bool) -> Tried | None:
        """Return a fleet that holds: the given one, or the programme's with as much headroom as it takes."""
        best: Tried | None = None
        if self.space.allows(start):
            best = next((one for one in self._screened([start]) if one.holds), None)
            if near and best is not None:
                return best
            if near:
                best = self._upwards()
                return None if best is None else self._pruned(best)
        headroom = 1.0
        while headroom >= _LEAST_HEADROOM and not (best is not None and self._is_over()):
            found = self.programme.solve(headroom).fleet
            if found is None or (best is not None and self.space.usd_per_h(found) >= best.usd_per_h):
                break
            (tried,) = self._screened([found])
            if tried.holds:
                best = min([tried, *([best] if best else [])], key=_cost)
                break
            headroom /= _MORE_HEADROOM
        best = best or self._upwards()
        if best is None and self.space.allows(self.space.largest()):
            best = next((one for one in self._screened([self.space.largest()]) if one.holds), None)
        return None if best is None else self._pruned(best)

    def _pruned(self, best: Tried) -> Tried:
        """Return a fleet with as few of each kind as hold, the dearest kind first: counts are halved in between."""
        prices = [one.usd_per_s for one in self.space.candidates]
        order = sorted(range(len(prices)), key=lambda place: -prices[place] * best.fleet.counts[place])
        for place in order:
            low, high = -1, best.fleet.counts[place]
            while high - low > 1 and not self._is_over():
                number = (low + high) // 2
                fleet = _with(best.fleet, {place: number - best.fleet.counts[place]})
                if self._might_hold(fleet, best, 0.0) and self._screened([fleet])[0].holds:
                    best, high = self.tried[fleet], number
                else:
                    low = number
        return best

    def _upwards(self) -> Tried | None:
        """Return a fleet that holds, adding to the best one what helps most."""
        if not self.tried:
            return None
        best = min(self.tried.values(), key=lambda one: one.shortfall)
        while not self._is_over():
            more = [
                fleet
                for place in range(len(self.space.candidates))
                if self.space.allows(fleet := _with(best.fleet, {place: 1}))
            ]
            better = [one for one in self._screened(more) if one.shortfall < best.shortfall]
            if not better:
                return None
            best = min(better, key=lambda one: one.shortfall)
            if best.holds:
                return best
        return None

    # Downwards

    def _improved(self, best: Tried, rejected: dict[Fleet, Tried]) -> tuple[Tried, bool]:
        """Return the cheapest fleet found that holds, and whether every cheaper one was looked at."""
        while not self._is_over():
            cheaper = self._best_of(self._neighbours(best), best, rejected, 0.0)
            if cheaper is None:
                break
            best = cheaper
        listed = self._all_below(best)
        if listed is None or self._is_over():
            return best, False
        cheaper = self._best_of(listed, best, rejected, CLEARLY)
        if cheaper is not None:
            return self._improved(cheaper, rejected)
        return best, not self._is_over()

    def _best_of(
        self, fleets: Iterable[Fleet], than: Tried, rejected: dict[Fleet, Tried], margin: float
    ) -> Tried | None:
        """Return a fleet that holds and is cheaper than another one.

        With a `margin`, it is the cheapest, and the cheapest are tried first; without, the first that is found, and
        those that save least are tried first, since they are most likely to hold.
        """
        waiting = sorted(
            (fleet for fleet in fleets if fleet not in rejected), key=self.space.usd_per_h, reverse=margin == 0.0
        )
        best: Tried | None = None
        at_once = max(1, self.players.jobs)
        while waiting and not self._is_over() and (best is None or margin > 0.0):
            batch: list[Fleet] = []
            while waiting and len(batch) < at_once:
                fleet = waiting.pop(0)
                if self._might_hold(fleet, than if best is None else best, margin):
                    batch.append(fleet)
            held = [one for one in self._screened(batch) if one.holds and one.usd_per_h < than.usd_per_h]
            best = min([*held, *([best] if best else [])], key=_cost, default=None)
        return best

    def _might_hold(self, fleet: Fleet, than: Tried, margin: float) -> bool:
        """Tell whether a fleet may hold and be cheaper, by all that is known without playing it.

        With a `margin` of zero, also one smaller than any that fell short is taken to fall short.
        """
        if fleet in self.tried:
            return self.tried[fleet].holds
        if not self.space.allows(fleet) or self.space.usd_per_h(fleet) >= than.usd_per_h:
            return False
        if self._is_too_small(fleet, margin):
            return False
        if fleet not in self._enough:
            self._enough[fleet] = self.programme.solve(fixed=fleet).usd_per_h
        return self._enough[fleet] < than.usd_per_h

    def _is_too_small(self, fleet: Fleet, margin: float) -> bool:
        return any(
            one.shortfall > margin
            and one.fleet.providers == fleet.providers
            and all(few <= many for few, many in zip(fleet.counts, one.fleet.counts, strict=True))
            for one in self.tried.values()
        )

    def _neighbours(self, best: Tried) -> Iterator[Fleet]:
        """Yield cheaper fleets: some replicas fewer, some exchanged for cheaper ones, a provider more or less."""
        fleet, seen = best.fleet, {best.fleet}
        prices = [one.usd_per_s for one in self.space.candidates]
        changes: list[dict[int, int]] = []
        for place, count in enumerate(fleet.counts):
            changes += [
                {place: -number} for number in {1, -(-count // 4), -(-count // 2), count} if 0 < number <= count
            ]
            for other, price in enumerate(prices):
                if other == place or count == 0:
                    continue
                for removed in sorted({1, min(count, int(price // prices[place]) + 1 if prices[place] > 0.0 else 1)}):
                    freed = removed * prices[place]
                    added = math.ceil(freed / price) - 1 if price > 0.0 else 1
                    changes += [{place: -removed, other: number} for number in sorted({1, added}) if number > 0]
        flips = [(), *((one,) for one in range(len(fleet.providers)))]
        for flip in flips:
            providers = tuple(used ^ (one in flip) for one, used in enumerate(fleet.providers))
            for change in [{}, *changes]:
                neighbour = _with(fleet, change)._replace(providers=providers)
                if neighbour not in seen and self.space.allows(neighbour):
                    seen.add(neighbour)
                    yield neighbour

    def _all_below(self, best: Tried) -> list[Fleet] | None:
        """Return all fleets that may be cheaper; None where they are too many."""
        space = self.space
        prices = [3600.0 * one.usd_per_s for one in space.candidates]
        most = [space.bounds[one.origin][1] for one in space.candidates]
        found: list[Fleet] = []
        looked_at = itertools.count(1)
        choices = list(itertools.product(*((0, 1) if optional else (1,) for optional in space.optional)))

        def extend(counts: tuple[int, ...], spent: float) -> bool:
            place = len(counts)
            if next(looked_at) > _MOST_COUNTED:
                return False
            if place == len(prices):
                found.extend(fleet for one in choices if space.allows(fleet := Fleet(counts, one)))
                return len(found) <= MOST_LISTED
            for number in range(most[place] + 1):
                if spent + number * prices[place] >= best.usd_per_h:
                    return True
                if not extend((*counts, number), spent + number * prices[place]):
                    return False
            return True

        return found if extend((), 0.0) else None

    def _next(self, rejected: dict[Fleet, Tried]) -> Tried | None:
        """Return the cheapest fleet that held and was not rejected, else one replica more than the last rejected."""
        held = [one for one in self.tried.values() if one.holds and one.fleet not in rejected]
        if held:
            return min(held, key=_cost)
        last = next(reversed(rejected))
        more = [
            fleet
            for place in range(len(self.space.candidates))
            if self.space.allows(fleet := _with(last, {place: 1})) and fleet not in rejected
        ]
        return min((one for one in self._screened(more) if one.holds), key=_cost, default=None)

    # Playing

    def _screened(self, fleets: Sequence[Fleet]) -> list[Tried]:
        """Play fleets, one replication each first; those that hold go on to the next rung."""
        going = [fleet for fleet in dict.fromkeys(fleets) if fleet not in self.tried]
        # Where processes would be idle, the next replication is played along.
        for rung in RUNGS if len(going) >= self.players.jobs else RUNGS[-1:]:
            for one in self.played(going, range(rung)):
                self.tried[one.fleet] = one
            going = [fleet for fleet in going if self.tried[fleet].holds]
        return [self.tried[fleet] for fleet in fleets]

    def reconsidered(self, found: Found, fleet: Fleet) -> Found:
        """Return what was found, or a fleet that turned out to be cheaper after all."""
        assert found.answer is not None
        tried = self.screen(fleet)
        if not tried.holds or tried.usd_per_h >= found.answer.usd_per_h:
            return found
        confirmed = self._confirm(fleet)
        return found._replace(answer=confirmed) if self.goal.is_met(confirmed.trials) else found

    def screen(self, fleet: Fleet) -> Tried:
        """Play a fleet for a first look."""
        return self._screened([fleet])[0]

    def _confirm(self, fleet: Fleet) -> Tried:
        """Play a fleet with replications that nothing was chosen by."""
        (confirmed,) = self.played([fleet], fresh(self.goal))
        return confirmed

    def played(self, fleets: Sequence[Fleet], replications: Sequence[int]) -> list[Tried]:
        """Return fleets with some replications."""
        asked = [(self.space.scenario_of(fleet), number) for fleet in fleets for number in replications]
        trials = iter(self.players.play(asked))
        found = []
        for fleet in fleets:
            own = tuple(next(trials) for _ in replications)
            mean = math.fsum(each.usd_per_h for each in own) / len(own)
            found.append(Tried(fleet, own, mean, self.goal.shortfall(own)))
        return found


def fresh(goal: Goal) -> range:
    """Return the numbers of the replications that confirm an answer: none that it was chosen by."""
    return range(max(RUNGS), max(RUNGS) + goal.replications)


def _cost(one: Tried) -> float:
    return one.usd_per_h


def _with(fleet: Fleet, change: dict[int, int]) -> Fleet:
    return fleet._replace(counts=tuple(count + change.get(place, 0) for place, count in enumerate(fleet.counts)))
