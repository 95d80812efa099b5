"""Limits on power, in watts of the machines they are on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inferencesim.errors import InputError
from inferencesim.kernel.power import ROUNDING, Power

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.scenario.scenario import Scenario
    from inferencesim.simulation.plan import Plan, PoolPlan


class PowerLimits(NamedTuple):
    """The limits of a scenario.

    Attributes
    ----------
    headroom_w : ndarray of float64, shape (limits,)
        What each leaves while all machines it is on rest.
    start_w : ndarray of float64, shape (limits, pools)
        What a replica draws at its peak more than at rest; 0 where a limit is not on the pool.
    """

    headroom_w: NDArray[np.float64]
    start_w: NDArray[np.float64]


def power_limits(scenario: Scenario, pools: Sequence[PoolPlan]) -> PowerLimits:
    """Return the limits of a scenario on its pools."""
    limit_w = np.array([limit.limit for limit in scenario.power], np.float64)
    covered = np.array([[limit.is_on(pool.spec) for pool in pools] for limit in scenario.power], np.bool_)
    covered = covered.reshape(limit_w.size, len(pools))
    rest_w = np.array([pool.deployment.idle_w * pool.replicas for pool in pools])
    start_w = np.array([pool.deployment.peak_w - pool.deployment.idle_w for pool in pools])
    return PowerLimits(limit_w - covered @ rest_w, covered * start_w)


def kernel_power(plan: Plan) -> Power:
    """Lay out the limits as the kernel reads them."""
    limits = power_limits(plan.scenario, plan.pools)
    return Power(limits.headroom_w, limits.start_w, np.zeros(limits.headroom_w.size))


def require_power(scenario: Scenario, pools: Sequence[PoolPlan]) -> None:
    """Refuse limits under which a pool could never serve: all others at rest, one of its replicas has to fit.

    Raises
    ------
    InputError
        With the sum.
    """
    limits = power_limits(scenario, pools)
    for index, limit in enumerate(scenario.power):
        headroom_w, start_w = limits.headroom_w[index], limits.start_w[index]
        if start_w.max() <= headroom_w * (1.0 + ROUNDING):
            continue
        most = pools[int(np.argmax(start_w))]
        covered = [pool for pool in pools if limit.is_on(pool.spec)]
        at_rest = " + ".join(f"{pool.name} {pool.replicas} × {pool.deployment.idle_w:,.4g} W" for pool in covered)
        rest_w = limit.limit - headroom_w
        raise InputError(
            f"power[{index}].limit",
            f"{limit.limit:,.6g} W are too little: at rest its machines draw {rest_w:,.6g} W ({at_rest}), "
            f"and a replica of {most.name} that works {start_w.max():,.4g} W more",
            f"Give it at least {np.ceil(rest_w + start_w.max()):,.0f} W, or fewer machines.",
        )
