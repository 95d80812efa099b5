"""What electricity costs at each hour: windows over midnight, means, changes, and the hours at which it is cheap."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencesim.economics.sites import load_site
from inferencesim.economics.tariffs import Tariff, lowest_of, tariff_of
from inferencesim.scenario.daily import DAY_S
from inferencesim.scenario.economics import Economics

HOUR_S = 3600.0
NIGHT = {"from": "22h", "to": "6h", "electricity": 1.0}


def tariff(*hours, site="eu-frankfurt", **said) -> Tariff:
    economics = Economics.model_validate({"electricity": 4.0, "tariff": hours} | said)
    return tariff_of(economics, load_site(site, "here"))


def test_a_window_over_midnight_is_cheap_on_both_sides_of_it() -> None:
    night = tariff(NIGHT)
    hours = (0.0, 5.999, 6.0, 21.999, 22.0, 23.999, 24.0, 30.0, 46.0)
    assert [night.at(hour * HOUR_S) for hour in hours] == [1.0, 1.0, 4.0, 4.0, 1.0, 1.0, 1.0, 4.0, 1.0]
    assert (night.lowest, night.highest) == (1.0, 4.0)
    assert night.mean == pytest.approx((8 * 1.0 + 16 * 4.0) / 24)


def test_it_changes_at_the_ends_of_windows_and_not_at_midnight() -> None:
    assert tariff(NIGHT).changes(2 * DAY_S) == [hour * HOUR_S for hour in (6, 22, 30, 46)]
    until_midnight = tariff(NIGHT | {"to": "24h"})
    assert until_midnight.changes(2 * DAY_S) == [hour * HOUR_S for hour in (22, 24, 46, 48)]


def test_without_hours_of_its_own_a_price_is_constant_and_that_of_the_scenario_or_the_site() -> None:
    constant = tariff()
    assert constant == Tariff((0.0,), (4.0,))
    assert constant.changes(10 * DAY_S) == []
    assert constant.mean == constant.mean_between(1.0, 1e7) == 4.0
    site = load_site("eu-frankfurt", "here")
    assert tariff(electricity=None).usd_per_j == (site.electricity_usd_per_kwh.si,)


def test_hours_at_the_constant_price_are_no_change() -> None:
    assert tariff(NIGHT | {"electricity": 4.0}) == tariff()


def test_hours_of_some_sites_are_of_no_others() -> None:
    hours = NIGHT | {"sites": ["eu-frankfurt", "eu-ireland"]}
    assert tariff(hours) == tariff(NIGHT)
    assert tariff(hours, site="us-east-virginia") == tariff()


def test_the_hours_below_a_price_are_joined_over_midnight() -> None:
    morning, noon = {"from": "6h", "to": "9h", "electricity": 2.0}, {"from": "12h", "to": "13h", "electricity": 3.0}
    day = tariff(NIGHT, morning, noon)
    assert day.hours_below(1.0) == ()
    assert day.hours_below(1.5) == ((22 * HOUR_S, 6 * HOUR_S),)
    assert day.hours_below(3.5) == ((12 * HOUR_S, 13 * HOUR_S), (22 * HOUR_S, 9 * HOUR_S))
    assert tariff(NIGHT | {"from": "1h"}).hours_below(2.0) == ((1 * HOUR_S, 6 * HOUR_S),)


def test_the_lowest_of_several_is_that_of_whoever_is_cheap() -> None:
    east, west = tariff(NIGHT), tariff({"from": "5h", "to": "8h", "electricity": 0.5})
    lowest = lowest_of([east, west])
    assert lowest.hours_below(1.0) == ((5 * HOUR_S, 8 * HOUR_S),)
    assert lowest.hours_below(1.5) == ((22 * HOUR_S, 8 * HOUR_S),)


def test_multiplied_with_nothing_it_does_not_change_any_more() -> None:
    assert tariff(NIGHT).times(0.0).changes(DAY_S) == []
    assert tariff(NIGHT).times(2.0).at(0.0) == 2.0


moments = st.floats(0.0, 5 * DAY_S)


@given(st.lists(st.tuples(moments, moments), min_size=1, max_size=3), moments, moments)
def test_a_mean_is_that_of_the_prices_between_the_changes(windows, one, other) -> None:
    hours = []
    for began, ended in windows:
        each = {"from": began % DAY_S, "to": ended % DAY_S, "electricity": len(hours)}
        try:
            tariff(*hours, each)
        except ValueError:  # overlapping, or empty
            continue
        hours.append(each)
    prices = tariff(*hours)
    from_s, to_s = sorted((one, other))
    cuts = [from_s, *(at_s for at_s in prices.changes(to_s) if at_s > from_s), to_s]
    summed = sum(prices.at(a) * (b - a) for a, b in itertools.pairwise(cuts))
    assert prices.mean_between(from_s, to_s) * (to_s - from_s) == pytest.approx(summed, rel=1e-9, abs=1e-4)
