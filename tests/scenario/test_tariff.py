"""What a scenario may say about the price of electricity, and what it is told where it may not."""

from __future__ import annotations

import pytest
from oracle.small import pool, scenario, work
from pydantic import ValidationError

from inferencesim.errors import InputError
from inferencesim.scenario.stationarity import why_not_stationary
from inferencesim.simulation.deferral import deferral_windows
from inferencesim.simulation.plan import make_plan

NIGHT = {"from": "22h", "to": "6h", "electricity": "$0.03/kWh"}
LATER = {"tags": {"batchable": True}}


def described(*hours, price_below=None, pools=None, classes=None, windows=()):
    defer = {"windows": list(windows), "price_below": price_below}
    return scenario(
        pools or [pool(site="eu-frankfurt")],
        classes or [work(**LATER)],
        economics={"electricity": "$0.08/kWh", "tariff": list(hours)},
        flow={"defer": defer} if price_below is not None else {},
    )


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ({"from": "5h", "to": "7h"}, r"tariff\[1\] overlaps tariff\[0\]"),
        ({"from": "23h", "to": "24h", "sites": ["eu-frankfurt"]}, r"tariff\[1\] overlaps tariff\[0\]"),
        ({"from": "7h", "to": "7h"}, "from and to are the same"),
        ({"from": "7h", "to": "8h", "sites": []}, "at least 1 item"),
        ({"from": "7h", "to": "8h", "electricity": "$3/h"}, "price per energy"),
    ],
)
def test_what_makes_no_sense_is_refused(second, why):
    with pytest.raises(ValidationError, match=why):
        described(NIGHT, {"electricity": "$0.05/kWh"} | second)


def test_hours_may_touch_and_may_overlap_at_different_sites():
    touching = {"from": "6h", "to": "7h", "electricity": "$0.05/kWh"}
    assert len(described(NIGHT, touching).economics.tariff) == 2
    here, there = ({**NIGHT, "sites": [site]} for site in ("eu-frankfurt", "us-east-virginia"))
    assert len(described(here, there).economics.tariff) == 2


def test_a_site_that_does_not_exist_is_refused_and_one_of_no_pool_is_not():
    with pytest.raises(InputError, match=r"economics\.tariff\[0\]\.sites\[1\]: unknown .*Did you mean 'eu-frankfurt'"):
        make_plan(described({**NIGHT, "sites": ["eu-ireland", "eu-frankfort"]}))
    make_plan(described({**NIGHT, "sites": ["eu-ireland"]}))


def test_work_held_for_a_price_is_held_for_the_hours_at_which_it_is_lower():
    plan = make_plan(described(NIGHT, price_below="$0.05/kWh", windows=[{"from": "12h", "to": "13h"}]))
    assert deferral_windows(plan) == ((12 * 3600.0, 13 * 3600.0), (22 * 3600.0, 6 * 3600.0))
    assert deferral_windows(make_plan(described(NIGHT))) == ()


def test_the_price_is_that_of_sites_where_work_that_is_held_may_run():
    pools = [pool("here", site="eu-frankfurt"), pool("there", site="us-east-virginia")]
    there = {**NIGHT, "sites": ["us-east-virginia"]}
    plan = make_plan(described(there, price_below="$0.05/kWh", pools=pools))
    assert deferral_windows(plan) == ((22 * 3600.0, 6 * 3600.0),)
    european = [work(residency=["eu"], **LATER), work("now")]
    with pytest.raises(InputError, match="never costs less"):
        make_plan(described(there, price_below="$0.05/kWh", pools=pools, classes=european))


@pytest.mark.parametrize(
    ("hours", "price", "why"),
    [
        ([NIGHT], "$0.03/kWh", r"never costs less than \$0\.03/kWh .* above \$0\.03/kWh, up to \$0\.08/kWh"),
        ([NIGHT], "$0.081/kWh", r"never costs more than \$0\.08/kWh .* nothing would be held"),
        ([], "$0.05/kWh", r"\$0\.08/kWh at all hours: .* economics\.tariff"),
    ],
)
def test_a_price_that_never_comes_or_always_holds_is_refused(hours, price, why):
    with pytest.raises(InputError, match=r"flow\.defer\.price_below: .*" + why):
        make_plan(described(*hours, price_below=price))


def test_without_a_pool_there_is_no_price_to_wait_for():
    nobody = [work(residency=["us"], **LATER), work("now")]
    with pytest.raises(InputError, match="no pool may serve a class tagged batchable"):
        make_plan(described(NIGHT, price_below="$0.05/kWh", classes=nobody))


def test_who_waits_for_a_price_needs_no_deadline_and_is_served_by_the_hours_of_the_day():
    described_ = described(NIGHT, price_below="$0.05/kWh")
    assert described_.workload[0].promise.deadline is None
    assert why_not_stationary(described_) == "work is held until windows of the day"
    assert why_not_stationary(described(NIGHT)) == "the price of electricity follows the hours of the day"
    assert why_not_stationary(described()) is None
