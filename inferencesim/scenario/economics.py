"""Prices that hold for the whole scenario, over those of sites and hardware profiles."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from inferencesim.scenario.base import Bytes, CarbonIntensity, Part, PricePerByte, PricePerEnergy, Ratio


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


class Economics(Part):
    """Overrides of what each pool's site says; left out, the site's own figures hold, and answers leave for nothing."""

    electricity: PricePerEnergy | None = None
    pue: Annotated[Ratio, Field(ge=1)] | None = None
    carbon: CarbonIntensity | None = None
    egress: Egress | None = None
