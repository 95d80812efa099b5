"""Prices that hold for the whole scenario, over those of sites and hardware profiles."""

from __future__ import annotations

import itertools
from typing import Annotated

from pydantic import Field, model_validator

from inferencesim.scenario.base import Bytes, CarbonIntensity, Part, PricePerByte, PricePerEnergy, Ratio
from inferencesim.scenario.daily import DailyWindow
from inferencesim.scenario.unions import refuse


class Egress(Part):
    """What answers cost on their way out of a site, to users whose class has an origin.

    Attributes
    ----------
    price : float
        US dollars per byte.
    bytes_per_token : float
        Of an answer, with what wraps it: 200 where each token is streamed as an event of its own (an assumption),
        about 5 of plain text.
    """

    price: PricePerByte
    bytes_per_token: Bytes = 200.0


class TariffHours(DailyWindow):
    """Hours of each day at which electricity has a price of its own.

    Attributes
    ----------
    electricity : float
        US dollars per joule.
    sites : tuple of str or None
        Where; None is everywhere.
    """

    electricity: PricePerEnergy
    sites: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    def holds_at(self, site: str) -> bool:
        """Tell whether it is a price of this site."""
        return self.sites is None or site in self.sites

    def contradicts(self, other: TariffHours) -> bool:
        """Tell whether both give the price of some moment at some site."""
        shared = self.sites is None or other.sites is None or not set(self.sites).isdisjoint(other.sites)
        return shared and self.overlaps(other)


class Economics(Part):
    """Overrides of what each pool's site says; left out, the site's own figures hold, and answers leave for nothing.

    At hours that no entry of `tariff` covers, electricity costs what it costs without a tariff.
    """

    electricity: PricePerEnergy | None = None
    tariff: tuple[TariffHours, ...] = ()
    pue: Annotated[Ratio, Field(ge=1)] | None = None
    carbon: CarbonIntensity | None = None
    egress: Egress | None = None

    @model_validator(mode="after")
    def _one_price_at_a_time(self) -> Economics:
        for (first, one), (second, other) in itertools.combinations(enumerate(self.tariff), 2):
            if one.contradicts(other):
                refuse(f"tariff[{second}] overlaps tariff[{first}]: at one moment, electricity has one price at a site")
        return self
