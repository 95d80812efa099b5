"""Offers: dated list prices of models behind APIs, and what each tier means."""

from __future__ import annotations

import functools
from datetime import date
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from inferencesim.documents import read_document
from inferencesim.errors import InputError, did_you_mean
from inferencesim.hardware.quantity import Ratio
from inferencesim.scenario.base import Part, Provenance
from inferencesim.scenario.lengths import RateLengths, TimeLengths
from inferencesim.scenario.providers import Price, Tier
from inferencesim.units import to_si

_FILE = Path(__file__).parent / "offers.yaml"


class TierFacts(Part):
    """What a tier costs and how fast it answers, where neither offer nor scenario says.

    Attributes
    ----------
    tier : str
    price_factor : Ratio
        Its price over that of the standard tier.
    ttft : distribution of times
        Until the first token; of ``batch`` until the whole answer.
    tokens_per_second : distribution of rates or None
        After the first token; None where the answer comes as a whole.
    latency_source, latency_provenance : str
        Where those two come from.
    """

    tier: Tier
    price_factor: Ratio
    ttft: TimeLengths
    tokens_per_second: RateLengths | None = None
    latency_source: str = Field(min_length=1)
    latency_provenance: Provenance


class Offer(Part):
    """The list price of one model behind an API.

    Attributes
    ----------
    id : str
        Vendor and the vendor's name of the model, as in ``openai/gpt-4.1-mini``.
    date : date
        When the price was read.
    source : str
    provenance : str
    note : str or None
    prices : dict of str to Price
        Per tier, US dollars per token.
    """

    id: str
    date: date
    source: str
    provenance: Provenance
    note: str | None = None
    prices: dict[Tier, Price]


class _Listed(Part):
    """A price as the file has it: US dollars per million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)
    cache_write: float | None = Field(default=None, ge=0)

    def price(self, unit_usd: float) -> Price:
        """Return the price per token, given what the unit of the file is in dollars."""
        numbers = self.model_dump(exclude_none=True)
        return Price.model_validate({name: number * unit_usd for name, number in numbers.items()})


class _Vendor(Part):
    vendor: str = Field(min_length=1)
    date: date
    source: str = Field(min_length=1)
    provenance: Provenance
    unit: str
    note: str | None = None
    models: dict[str, dict[Tier, _Listed]]


class _Document(Part):
    schema_version: int = Field(alias="schema", ge=1, le=1)
    tiers: tuple[TierFacts, ...]
    vendors: tuple[_Vendor, ...]


class _Shipped(NamedTuple):
    tiers: dict[str, TierFacts]
    offers: dict[str, Offer]


@functools.cache
def _shipped() -> _Shipped:
    """Read the shipped offers, once, when the first is asked for."""
    document = read_document(_FILE, _Document, str(_FILE))
    return _Shipped(
        {each.tier: each for each in document.tiers},
        {offer.id: offer for vendor in document.vendors for offer in _offers_of(vendor)},
    )


def _offers_of(vendor: _Vendor) -> list[Offer]:
    usd = to_si(f"1 {vendor.unit}", "price_per_token", str(_FILE))
    found = []
    for model, tiers in vendor.models.items():
        prices = {tier: listed.price(usd) for tier, listed in tiers.items()}
        found.append(
            Offer(
                id=f"{vendor.vendor}/{model}",
                date=vendor.date,
                source=vendor.source,
                provenance=vendor.provenance,
                note=vendor.note,
                prices=prices,
            )
        )
    return found


def offer_names() -> list[str]:
    """Return the ids of the shipped offers, sorted."""
    return sorted(_shipped().offers)


def load_offer(name: str, where: str) -> Offer:
    """Return the offer called `name`.

    Raises
    ------
    InputError
        At `where`, if there is none, with the nearest name that exists.
    """
    offers = _shipped().offers
    if name not in offers:
        raise InputError(where, f"unknown offer {name!r}", did_you_mean(name, offers))
    return offers[name]


def tier_facts(tier: Tier) -> TierFacts:
    """Return what is shipped of a tier."""
    return _shipped().tiers[tier]


def price_of(offer: Offer, tier: Tier, where: str) -> Price:
    """Return what an offer lists for a tier.

    Raises
    ------
    InputError
        At `where`, if it lists nothing for it.
    """
    if tier not in offer.prices:
        raise InputError(where, f"{offer.id} has no tier {tier!r}", f"It lists {', '.join(offer.prices)}.")
    return offer.prices[tier]
