"""Prices that hold for the whole scenario, over those of sites and hardware profiles."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from inferencesim.scenario.base import CarbonIntensity, Part, PricePerEnergy, Ratio


class Economics(Part):
    """Overrides of what each pool's site says; left out, the site's own figures hold."""

    electricity: PricePerEnergy | None = None
    pue: Annotated[Ratio, Field(ge=1)] | None = None
    carbon: CarbonIntensity | None = None
