"""Limits on what machines may draw: of a site, or of the pools on one circuit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from inferencesim.errors import did_you_mean
from inferencesim.scenario.base import Part, Watts
from inferencesim.scenario.unions import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferencesim.scenario.fleet import Pool


class PowerLimit(Part):
    """What the machines of all pools at a site, or of some pools, may draw together at any instant.

    Attributes
    ----------
    limit : float
        Watts of chips and their share of their hosts; cooling comes on top, and tools are not counted.
    site : str or None
    pools : tuple of str or None
        One of the two.
    """

    limit: Watts
    site: str | None = None
    pools: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _of_a_site_or_of_pools(self) -> PowerLimit:
        if (self.site is None) == (self.pools is None):
            refuse("a limit on power has either a site or pools")
        return self

    def is_on(self, pool: Pool) -> bool:
        """Tell whether the machines of a pool are among those limited."""
        return pool.site == self.site if self.pools is None else pool.name in self.pools


def check_power_limits(limits: Sequence[PowerLimit], pools: Sequence[Pool]) -> None:
    """Refuse limits on pools or sites that the scenario does not have, and on pools that work for each other.

    Raises
    ------
    ValueError
        That names its place and the remedy.
    """
    names, sites = {pool.name for pool in pools}, {pool.site for pool in pools}
    helped = {pool.name: pool.prefill_in.pool for pool in pools if pool.prefill_in is not None}
    for index, limit in enumerate(limits):
        if limit.site is not None and limit.site not in sites:
            refuse(f"power[{index}].site: no pool stands at {limit.site!r}", did_you_mean(limit.site, sites))
        for name in limit.pools or ():
            if name not in names:
                refuse(f"power[{index}].pools: there is no pool {name!r}", did_you_mean(name, names))
        for pool in pools:
            if limit.is_on(pool) and pool.name in {*helped, *helped.values()}:
                refuse(
                    f"power[{index}]: pool {pool.name!r} prefills for another, or is prefilled for: a request that is "
                    "placed sets two machines to work, which limits on power do not foresee; leave it out of the limit"
                )
