"""Who decided in a run: placement, balancing, and the batching of each pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.batching.policy import FORMERS, ORDERS
from inferencesim.results.records.summary import BatchingUsed, Policies, PolicyUsed
from inferencesim.routing.policy import POLICIES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from inferencesim.registry import Registry
    from inferencesim.scenario.policies import PolicyChoice
    from inferencesim.simulation.plan import Plan

#: The order that ranks by predicted length: it knows what nobody can where a class predicts without error.
_BY_LENGTH = "sjf"


def policies_of(plan: Plan) -> Policies:
    """Return the policies of a plan, with what makes an oracle of one."""
    routing = plan.scenario.routing
    predicted = [each.length_prediction for each in plan.scenario.workload if each.length_prediction is not None]
    foreseen = any(each.sigma == 0.0 and each.bias == 1.0 for each in predicted)
    batching = []
    for pool in plan.pools:
        order = _used(ORDERS, pool.spec.batching.order)
        if order.policy == _BY_LENGTH and foreseen:
            order = order.model_copy(update={"oracle": True})
        policy = _used(FORMERS, pool.deployment.batching_policy)
        batching.append(BatchingUsed(pool=pool.name, policy=policy, order=order))
    return Policies(
        placement=_used(POLICIES, routing.placement),
        balancing=_used(POLICIES, routing.balancing),
        snapshot_age_s=routing.snapshot_age,
        batching=tuple(batching),
    )


def foreign_packages(plan: Plan) -> dict[str, str]:
    """Return the versions of the other packages whose policies take part, by name."""
    found = (registry.package_of(choice.policy) for registry, choice in _choices(plan))
    return dict(sorted({package for package in found if package is not None}))


def _choices(plan: Plan) -> Iterator[tuple[Registry[Any], PolicyChoice]]:
    yield POLICIES, plan.scenario.routing.placement
    yield POLICIES, plan.scenario.routing.balancing
    for pool in plan.pools:
        yield FORMERS, pool.deployment.batching_policy
        yield ORDERS, pool.spec.batching.order


def _used(registry: Registry[Any], choice: PolicyChoice) -> PolicyUsed:
    found = registry.get(choice.policy, registry.kind)
    return PolicyUsed(policy=choice.policy, parameters=dict(choice.parameters), oracle=found.oracle)
