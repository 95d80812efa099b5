"""List prices say when and where they were read; tiers say what they cost and how fast they answer."""

from __future__ import annotations

import numpy as np
import pytest

from inferencesim.economics.offers import Offer, load_offer, offer_names, price_of, tier_facts
from inferencesim.errors import InputError
from inferencesim.workload.lengths import quantiles

PER_MILLION = 1e6


@pytest.fixture(params=offer_names())
def offer(request: pytest.FixtureRequest) -> Offer:
    return load_offer(request.param, "here")


def test_a_known_price_in_the_units_of_the_simulator() -> None:
    price = price_of(load_offer("openai/gpt-4.1-mini", "here"), "standard", "here")
    assert price.input * PER_MILLION == pytest.approx(0.4)
    assert price.cached_input is not None
    assert price.cached_input * PER_MILLION == pytest.approx(0.1)
    assert price.output * PER_MILLION == pytest.approx(1.6)
    assert price.cache_write is None


def test_an_offer_is_plausible_dated_and_sourced(offer: Offer) -> None:
    assert offer.source
    assert str(offer.date) in offer.source
    assert offer.provenance == "secondary"
    for price in offer.prices.values():
        assert 0.005 < price.input * PER_MILLION < 50
        assert price.input <= price.output < 20 * price.input
        if price.cached_input is not None:
            assert price.cached_input < price.input
        if price.cache_write is not None:
            assert price.cache_write > price.input


def test_slow_tiers_are_cheaper_and_priority_is_dearer(offer: Offer) -> None:
    standard = offer.prices["standard"]
    for tier, price in offer.prices.items():
        if tier in ("flex", "batch"):
            assert price.output == pytest.approx(standard.output / 2)
        if tier == "priority":
            assert price.output > standard.output


def test_an_unknown_offer_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"^providers\[0\]\.offer: unknown offer .* Did you mean 'openai/gpt-4.1-mini'"
    ):
        load_offer("openai/gpt-4.1-mni", "providers[0].offer")


def test_a_tier_that_is_not_listed_is_refused_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r"has no tier 'flex'\. It lists standard, batch, priority"):
        price_of(load_offer("openai/gpt-4o", "here"), "flex", "here")


def test_tiers_differ_in_price_and_latency() -> None:
    facts = {tier: tier_facts(tier) for tier in ("standard", "priority", "flex", "batch")}
    medians = {tier: quantiles(each.ttft, np.array([0.5]))[0] for tier, each in facts.items()}
    assert medians["priority"] < medians["standard"] < medians["flex"] < medians["batch"]
    assert facts["priority"].price_factor.si > 1.0
    assert facts["batch"].price_factor.si == facts["flex"].price_factor.si == 0.5
    assert facts["batch"].tokens_per_second is None
    for each in facts.values():
        assert each.latency_source


def test_batches_are_as_slow_as_their_source_says() -> None:
    """Of 230,000 batches the median took 7 minutes, and nine in ten less than an hour; nothing takes a day."""
    median, nine_tenths, all_but_nothing = quantiles(tier_facts("batch").ttft, np.array([0.5, 0.9, 1.0 - 1e-9]))
    assert median == pytest.approx(7 * 60)
    assert nine_tenths == pytest.approx(3600, rel=0.01)
    assert all_but_nothing == 24 * 3600
