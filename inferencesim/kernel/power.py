"""Limits on power: which replicas may take a request.

A replica that has a request is taken to draw its peak, one that has none what it
draws at rest. So a limit holds at every instant, whatever the steps are, and
nothing that runs is slowed or stopped for its sake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inferencesim.jit import inner
from inferencesim.kernel.tables import DOWN, IDLE, Fleet, Floats
from inferencesim.references import by_reference

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Share of a limit below which its rounding is forgiven.
ROUNDING = 1e-9


@by_reference
class Power(NamedTuple):
    """The `L` limits on what machines draw, above what they draw at rest."""

    headroom_w: Floats  #: what a limit leaves while all its machines rest, (L)
    start_w: Floats  #: what a replica of a pool adds once it has a request, (L, P); 0: the limit is not on this pool
    drawn_w: Floats  #: work space, (L)


@inner
def has_work(fleet: Fleet, replica: int) -> bool:
    """Tell whether a replica has a request, or a step under way whose requests have left."""
    segment, load = fleet.replicas[replica]["segment"], fleet.live[replica]
    return bool(segment != DOWN and (segment != IDLE or load["waiting"] + load["running"] > 0))


@inner
def apply_limits(fleet: Fleet, power: Power, eligible: NDArray[np.uint8]) -> None:
    """Set which replicas of limited pools may take a request: who has one, and the others while there is power."""
    for limit in range(power.drawn_w.size):
        power.drawn_w[limit] = 0.0
    for replica in range(fleet.replicas.size):
        if has_work(fleet, replica):
            for limit in range(power.drawn_w.size):
                power.drawn_w[limit] += power.start_w[limit, fleet.replicas[replica]["pool"]]
    for pool in range(fleet.pools.size):
        limited, may_start = False, True
        for limit in range(power.drawn_w.size):
            start_w = power.start_w[limit, pool]
            if start_w > 0.0:
                limited = True
                may_start &= power.drawn_w[limit] + start_w <= power.headroom_w[limit] * (1.0 + ROUNDING)
        if limited:
            first = fleet.pools[pool]["first_replica"]
            for replica in range(first, first + fleet.pools[pool]["replicas"]):
                is_up = fleet.replicas[replica]["segment"] != DOWN
                eligible[replica] = is_up and (may_start or has_work(fleet, replica))


@inner
def has_taker(fleet: Fleet, eligible: NDArray[np.uint8], pool: int) -> bool:
    """Tell whether a replica of a pool may take a request."""
    first = fleet.pools[pool]["first_replica"]
    takers = 0
    for replica in range(first, first + fleet.pools[pool]["replicas"]):
        takers += eligible[replica]
    return takers > 0
