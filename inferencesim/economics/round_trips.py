"""Round trips over the network: from where users are to where machines stand."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from inferencesim.documents import read_document
from inferencesim.economics.sites import site_names
from inferencesim.errors import InputError, did_you_mean
from inferencesim.scenario.base import Part, Provenance
from inferencesim.scenario.unions import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE = Path(__file__).parent / "round_trips.yaml"


class RoundTripTable(Part):
    """Measured round trips between some sites.

    Attributes
    ----------
    source, provenance, note : str
    unit : {"ms"}
    sites : tuple of str
    rows : tuple of tuples of float
        From the row's site to the column's.
    """

    source: str = Field(min_length=1)
    provenance: Provenance
    note: str
    unit: Literal["ms"]
    sites: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _is_square(self) -> RoundTripTable:
        n = len(self.sites)
        if len(self.rows) != n or any(len(row) != n for row in self.rows):
            refuse("a table of round trips has a row and a column for each of its sites")
        return self

    def seconds(self, a: str, b: str) -> float | None:
        """Return the mean of both directions; None if it does not have both sites."""
        if a not in self.sites or b not in self.sites:
            return None
        i, j = self.sites.index(a), self.sites.index(b)
        return (self.rows[i][j] + self.rows[j][i]) / 2000.0


class _RoundTrips(Part):
    schema_version: Literal[1] = Field(alias="schema")
    tables: tuple[RoundTripTable, ...]


@functools.cache
def round_trip_tables() -> tuple[RoundTripTable, ...]:
    """Return the shipped tables, read when first asked for."""
    return read_document(_FILE, _RoundTrips, str(_FILE)).tables


def check_origin(origin: str, network: Mapping[str, Mapping[str, float]], where: str) -> None:
    """Refuse a place that is neither a site nor described in the scenario's network.

    Raises
    ------
    InputError
        At `where`, with the nearest name.
    """
    known = [*site_names(), *network]
    if origin not in known:
        raise InputError(
            where, f"unknown place {origin!r}", f"{did_you_mean(origin, known)} Or describe it in network."
        )


def round_trip_s(origin: str, site: str, network: Mapping[str, Mapping[str, float]], where: str) -> float:
    """Return the seconds of a round trip between a user's place and a site.

    Parameters
    ----------
    origin, site : str
    network : mapping
        The scenario's own round trips, by place and site, which come before the shipped ones.
    where : str
        What an error names.

    Raises
    ------
    InputError
        If nobody says how long it takes.
    """
    for a, b in ((origin, site), (site, origin)):
        if b in network.get(a, {}):
            return network[a][b]
    for table in round_trip_tables():
        found = table.seconds(origin, site)
        if found is not None:
            return found
    raise InputError(
        where,
        f"no round trip between {origin} and {site} is known",
        f"Give it in the scenario, as in network: {{{origin}: {{{site}: 20ms}}}}.",
    )
