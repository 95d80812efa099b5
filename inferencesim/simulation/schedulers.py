"""The batching policies and queue orders of a fleet, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.batching.policy import as_arguments, bind_former, bind_order
from inferencesim.kernel.forming import MOST_PARAMETERS, Schedulers

if TYPE_CHECKING:
    from inferencesim.simulation.plan import Plan


def functions_of(plan: Plan) -> tuple[list[str], list[str]]:
    """Return the different batching policies and orders of a fleet, in order of their first use."""
    formers = dict.fromkeys(pool.deployment.batching_policy.policy for pool in plan.pools)
    orders = dict.fromkeys(pool.spec.batching.order.policy for pool in plan.pools)
    return list(formers), list(orders)


def schedulers_of(plan: Plan) -> Schedulers:
    """Return the batching policies and orders of a fleet, compiled, with each pool's parameters."""
    formers, orders = functions_of(plan)
    form_parameters = np.zeros((len(plan.pools), MOST_PARAMETERS))
    rank_parameters = np.zeros((len(plan.pools), MOST_PARAMETERS))
    form: dict[str, Any] = {}
    rank: dict[str, Any] = {}
    for index, pool in enumerate(plan.pools):
        where = f"pools[{index}].batching"
        for choice, bind, functions, parameters in (
            (pool.deployment.batching_policy, bind_former, form, form_parameters),
            (pool.spec.batching.order, bind_order, rank, rank_parameters),
        ):
            bound = bind(choice.policy, choice.parameters, where)
            functions[choice.policy] = bound.argument
            parameters[index, : bound.parameters.size] = bound.parameters
    return Schedulers(
        as_arguments([form[name] for name in formers], "batching policies"),
        as_arguments([rank[name] for name in orders], "queue orders"),
        form_parameters,
        rank_parameters,
    )
