"""Tariffs: what electricity costs at each hour of the day, at a site."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferencesim.scenario.daily import DAY_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from inferencesim.economics.sites import Site
    from inferencesim.scenario.economics import Economics


@dataclass(frozen=True)
class Tariff:
    """A price of energy by the hour, the same every day; the first day begins at time 0.

    Attributes
    ----------
    starts_s : tuple of float
        Seconds into the day from which on a price holds, ascending from 0.
    usd_per_j : tuple of float
        The prices, each until the next start; neighbours differ.
    """

    starts_s: tuple[float, ...]
    usd_per_j: tuple[float, ...]

    def at(self, time_s: float) -> float:
        """Return the price at a moment; at that of a change, the new one."""
        midnight_s = math.floor(time_s / DAY_S) * DAY_S
        # Summed as in `changes`, and compared: a remainder might round to the other side of a start.
        begun = sum(midnight_s + start_s <= time_s for start_s in self.starts_s)
        return self.usd_per_j[begun - 1]

    def mean_between(self, from_s: float, to_s: float) -> float:
        """Return the mean price of the time between two moments."""
        first, *others = self.usd_per_j
        ends_s = (*self.starts_s[1:], DAY_S)
        dearer_usd_s = 0.0
        for price, began_s, ended_s in zip(others, self.starts_s[1:], ends_s[1:], strict=True):
            seconds = _seconds_within(began_s, ended_s, to_s) - _seconds_within(began_s, ended_s, from_s)
            dearer_usd_s += (price - first) * seconds
        return first + dearer_usd_s / (to_s - from_s) if dearer_usd_s else first

    @property
    def mean(self) -> float:
        """The mean price of the day."""
        return self.mean_between(0.0, DAY_S)

    @property
    def lowest(self) -> float:
        """The lowest price of the day."""
        return min(self.usd_per_j)

    @property
    def highest(self) -> float:
        """The highest price of the day."""
        return max(self.usd_per_j)

    def times(self, factor: float) -> Tariff:
        """Return the tariff with its prices multiplied."""
        return _tariff(self.starts_s, [factor * price for price in self.usd_per_j])

    def changes(self, until_s: float) -> list[float]:
        """Return the moments after 0 and up to one at which the price changes."""
        starts_s = self.starts_s if self.usd_per_j[0] != self.usd_per_j[-1] else self.starts_s[1:]
        days = range(math.floor(until_s / DAY_S) + 1)
        return [at_s for day in days for start_s in starts_s if 0.0 < (at_s := day * DAY_S + start_s) <= until_s]

    def hours_below(self, usd_per_j: float) -> tuple[tuple[float, float], ...]:
        """Return the windows [from, to) of the day with a lower price, on over midnight where `to` is the earlier."""
        ends_s = (*self.starts_s[1:], DAY_S)
        spans: list[tuple[float, float]] = []
        for began_s, ended_s, price in zip(self.starts_s, ends_s, self.usd_per_j, strict=True):
            if price >= usd_per_j:
                continue
            if spans and spans[-1][1] == began_s:
                began_s, _ = spans.pop()
            spans.append((began_s, ended_s))
        if len(spans) > 1 and spans[0][0] == 0.0 and spans[-1][1] == DAY_S:
            (_, ended_s), (began_s, _) = spans[0], spans[-1]
            spans = [*spans[1:-1], (began_s, ended_s)]
        return tuple(spans)


def tariff_of(economics: Economics, site: Site) -> Tariff:
    """Return what electricity costs at a site: the site's own price, the scenario's, or that of its hours."""
    constant = site.electricity_usd_per_kwh.si if economics.electricity is None else economics.electricity
    priced = [
        (span, hours.electricity) for hours in economics.tariff if hours.holds_at(site.id) for span in hours.spans
    ]

    def price(at_s: float) -> float:
        return next((usd_per_j for (began_s, ended_s), usd_per_j in priced if began_s <= at_s < ended_s), constant)

    return _by_the_hour((edge for span, _ in priced for edge in span), price)


def lowest_of(tariffs: Sequence[Tariff]) -> Tariff:
    """Return the lowest price that any of some tariffs has at each hour."""
    edges = (start_s for each in tariffs for start_s in each.starts_s)
    return _by_the_hour(edges, lambda at_s: min(each.at(at_s) for each in tariffs))


def _by_the_hour(edges: Iterable[float], price: Callable[[float], float]) -> Tariff:
    """Return the tariff of a price that changes at no other times of the day than some `edges`."""
    starts_s = sorted({0.0, *(edge for edge in edges if edge < DAY_S)})
    return _tariff(starts_s, [price(start_s) for start_s in starts_s])


def _tariff(starts_s: Sequence[float], usd_per_j: Sequence[float]) -> Tariff:
    """Return a tariff without starts at which nothing changes."""
    kept = [index for index, price in enumerate(usd_per_j) if index == 0 or price != usd_per_j[index - 1]]
    return Tariff(tuple(starts_s[index] for index in kept), tuple(usd_per_j[index] for index in kept))


def _seconds_within(began_s: float, ended_s: float, until_s: float) -> float:
    """Return how long a part of the day has been going on, on all days up to a moment."""
    days, into_s = divmod(until_s, DAY_S)
    return days * (ended_s - began_s) + min(max(into_s - began_s, 0.0), ended_s - began_s)
