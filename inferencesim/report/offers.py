"""Tables of outside providers' list prices, with where they are from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.report.formats import seconds, significant, usd
from inferencesim.report.tables import new_table
from inferencesim.workload.lengths import mean, quantiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from inferencesim.economics.offers import Offer, TierFacts

#: Quantiles that a distribution is shown by.
_SHARES = (0.5, 0.95)


def _per_million(price: float | None) -> str:
    return usd(None if price is None else price * 1e6)


def offer_list_table(offers: Sequence[Offer]) -> Table:
    """Return a line per offer: its standard price, and its tiers."""
    table = new_table(
        "List prices, USD per million tokens", "offer", "tiers", "read", "prompt", "cached", "output", left=3
    )
    for offer in offers:
        price = offer.prices.get("standard")
        prices = (None, None, None) if price is None else (price.input, price.cached_input, price.output)
        table.add_row(offer.id, ", ".join(offer.prices), str(offer.date), *(_per_million(each) for each in prices))
    return table


def offer_table(offer: Offer) -> Table:
    """Return an offer's prices per tier, with source and date."""
    table = new_table(
        f"{offer.id}: USD per million tokens", "tier", "prompt", "cached prompt", "written to cache", "output",
        "provenance", "source",
    )  # fmt: skip
    for column in table.columns[5:]:
        column.justify = "left"
    for tier, price in offer.prices.items():
        listed = (price.input, price.cached_input, price.cache_write, price.output)
        source = f"{offer.source}, read {offer.date}"
        table.add_row(tier, *(_per_million(each) for each in listed), offer.provenance, source)
    if offer.note:
        table.caption, table.caption_justify = offer.note, "left"
    return table


def tier_table(tiers: Sequence[TierFacts]) -> Table:
    """Return what holds of tiers where neither offer nor scenario says otherwise."""
    table = new_table(
        "Where a scenario does not say", "tier", "price over standard", "TTFT p50", "p95", "tokens/s mean",
        "provenance", "source",
    )  # fmt: skip
    for column in table.columns[5:]:
        column.justify = "left"
    for each in tiers:
        median, late = quantiles(each.ttft, np.array(_SHARES))
        rate = None if each.tokens_per_second is None else mean(each.tokens_per_second)
        table.add_row(
            each.tier, significant(each.price_factor.si), seconds(float(median)), seconds(float(late)),
            "as a whole" if rate is None else significant(rate), each.latency_provenance, each.latency_source,
        )  # fmt: skip
    return table
