"""Round trips between sites: plausible, the same both ways, and a user's own come first."""

from __future__ import annotations

import pytest

from inferencesim.economics.round_trips import check_origin, round_trip_s, round_trip_tables
from inferencesim.economics.sites import site_names
from inferencesim.errors import InputError


def test_every_pair_is_plausible_and_the_same_both_ways() -> None:
    for table in round_trip_tables():
        assert set(table.sites) <= set(site_names())
        for a in table.sites:
            for b in table.sites:
                there = round_trip_s(a, b, {}, "here")
                assert there == round_trip_s(b, a, {}, "here")
                assert (there <= 0.01) == (a == b) or there < 0.03
                assert 0.0005 < there < 0.4


def test_virginia_to_frankfurt_and_two_sources_agree() -> None:
    first, second = (table.seconds("us-east-virginia", "eu-frankfurt") for table in round_trip_tables())
    assert first == pytest.approx(0.0915)
    assert second == pytest.approx(first, rel=0.1)
    assert round_trip_s("us-east-virginia", "eu-frankfurt", {}, "here") == first


def test_a_pair_that_only_the_second_table_has() -> None:
    assert round_trip_s("us-south-texas", "eu-madrid", {}, "here") == pytest.approx(0.1165)


def test_ones_own_come_first_in_either_direction() -> None:
    own = {"berlin": {"eu-frankfurt": 0.012}, "eu-paris": {"eu-frankfurt": 0.02}}
    assert round_trip_s("berlin", "eu-frankfurt", own, "here") == 0.012
    assert round_trip_s("eu-frankfurt", "eu-paris", own, "here") == 0.02


def test_what_nobody_knows_is_an_error_that_says_where_to_write_it() -> None:
    with pytest.raises(InputError, match=r"here: no round trip between us-central-iowa and eu-paris.*network:"):
        round_trip_s("us-central-iowa", "eu-paris", {}, "here")
    with pytest.raises(InputError, match="Did you mean 'eu-paris'"):
        check_origin("eu-pari", {}, "here")
