"""A site knows its electricity, its overhead, its carbon, and the one zone it is in."""

from __future__ import annotations

import pytest

from inferencesim.economics.sites import Site, load_site, site_names
from inferencesim.errors import InputError
from inferencesim.hardware.quantity import Quantity

JOULES_PER_KWH = 3.6e6


@pytest.fixture(params=site_names())
def site(request: pytest.FixtureRequest) -> Site:
    return load_site(request.param, "here")


def test_virginia_in_the_units_of_the_simulator() -> None:
    site = load_site("us-east-virginia", "here")
    assert site.zone == "us"
    assert site.pue.si == 1.15
    assert site.electricity_usd_per_kwh.si * JOULES_PER_KWH == pytest.approx(0.0892)
    assert site.carbon_g_per_kwh.si * JOULES_PER_KWH == pytest.approx(396.25)


def test_a_site_is_plausible_and_says_where_its_numbers_come_from(site: Site) -> None:
    assert 1.0 <= site.pue.si < 2.0
    assert 0.02 < site.electricity_usd_per_kwh.si * JOULES_PER_KWH < 0.5
    assert 1 < site.carbon_g_per_kwh.si * JOULES_PER_KWH < 1000
    for quantity in (site.pue, site.electricity_usd_per_kwh, site.carbon_g_per_kwh):
        assert isinstance(quantity, Quantity)
        assert quantity.source
        if "recalled" in quantity.source:
            assert quantity.provenance == "assumption"


def test_the_field_names_agree_with_the_units_in_the_file(site: Site) -> None:
    assert site.electricity_usd_per_kwh.unit == "USD/kWh"
    assert site.carbon_g_per_kwh.unit == "g/kWh"


def test_zones_follow_the_law_of_the_land_not_the_name_of_the_continent() -> None:
    zones = {name: load_site(name, "here").zone for name in site_names()}
    assert zones["eu-frankfurt"] == zones["eu-ireland"] == "eu"
    assert zones["uk-london"] == "uk"
    assert zones["ca-montreal"] == "ca"
    assert zones["ap-tokyo"] != zones["ap-singapore"]
    assert len(zones) >= 20


def test_an_unknown_site_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"^pools\[0\]\.site: unknown site 'frankfurt'\. Did you mean 'eu-frankfurt'"):
        load_site("frankfurt", "pools[0].site")


def test_a_site_cannot_draw_less_than_its_machines(site: Site) -> None:
    data = site.model_dump()
    data["pue"]["value"] = 0.9
    with pytest.raises(ValueError, match="pue must be at least 1"):
        Site.model_validate(data)
