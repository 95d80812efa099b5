"""Sites: the electricity, cooling overhead, carbon and residency zone of a place."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from inferencesim.documents import read_document
from inferencesim.errors import InputError, did_you_mean
from inferencesim.hardware.quantity import CarbonIntensity, PricePerEnergy, Ratio
from inferencesim.scenario.base import Part

_FILE = Path(__file__).parent / "sites.yaml"


class Site(Part):
    """A place where machines stand.

    Attributes
    ----------
    id : str
        Lower-case words joined by hyphens (``eu-frankfurt``).
    metro : str
        The town or region.
    zone : str
        What a residency rule names (``us``, ``eu``, ``uk``, ``asia-japan``).
    pue : Ratio
        Power usage effectiveness: joules of the site per joule of its machines, at least 1.
    electricity_usd_per_kwh : PricePerEnergy
        Price of electricity; written in US dollars per kWh, ``.si`` in dollars per joule.
    carbon_g_per_kwh : CarbonIntensity
        Emissions of the grid; written in grams of CO2 equivalent per kWh, ``.si`` in grams per joule.
    """

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    metro: str = Field(min_length=1)
    zone: str = Field(pattern=r"^[a-z]+(-[a-z]+)*$")
    pue: Ratio
    carbon_g_per_kwh: CarbonIntensity
    electricity_usd_per_kwh: PricePerEnergy

    @model_validator(mode="after")
    def _overhead_is_not_negative(self) -> Site:
        if self.pue.si < 1.0:
            msg = "a site cannot draw less than its machines: pue must be at least 1"
            raise ValueError(msg)
        return self


class _Sites(Part):
    schema_version: Literal[1] = Field(alias="schema")
    sites: tuple[Site, ...]


@functools.cache
def _shipped() -> dict[str, Site]:
    """Read the shipped sites, once, when the first is asked for."""
    return {site.id: site for site in read_document(_FILE, _Sites, str(_FILE)).sites}


def site_names() -> list[str]:
    """Return the ids of the shipped sites, sorted."""
    return sorted(_shipped())


def load_site(name: str, where: str) -> Site:
    """Return the site called `name`.

    Raises
    ------
    InputError
        At `where`, if there is none, with the nearest name that exists.
    """
    sites = _shipped()
    if name not in sites:
        raise InputError(where, f"unknown site {name!r}", did_you_mean(name, sites))
    return sites[name]
