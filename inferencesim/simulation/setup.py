"""What a simulation derives from plan and load before its clock starts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.deployment.latency import latency_models
from inferencesim.ledger.book import Book, Promises
from inferencesim.routing.policy import bind
from inferencesim.scenario.arrivals import Closed
from inferencesim.simulation.state import ClassMeans, reference_pools
from inferencesim.workload.closed import mean_lengths
from inferencesim.workload.lengths import mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferencesim.kernel.tables import Records
    from inferencesim.routing.policy import BoundPolicy
    from inferencesim.simulation.plan import Plan
    from inferencesim.workload.load import Load


def bind_policy(plan: Plan, level: str) -> BoundPolicy:
    """Return the policy of a level, ready to be called."""
    choice = getattr(plan.scenario.routing, level)
    return bind(choice.policy, choice.parameters, f"routing.{level}")


def class_means(plan: Plan, load: Load) -> ClassMeans:
    """Return mean lengths and rates per class: of the drawn load, or of the distributions of closed loops."""
    classes = plan.scenario.workload
    n = len(classes)
    counts = np.bincount(load.class_index, minlength=n).astype(np.float64)
    prompt = np.bincount(load.class_index, weights=load.prompt_tokens, minlength=n)
    output = np.bincount(load.class_index, weights=load.output_tokens, minlength=n)
    drawn = np.maximum(counts, 1.0)
    means = ClassMeans(
        np.where(counts > 0, prompt / drawn, 1.0),
        np.where(counts > 0, output / drawn, 1.0),
        counts / plan.scenario.horizon,
    )
    for index, each in enumerate(classes):
        if isinstance(each.arrivals, Closed):
            means.prompt_tokens[index], means.output_tokens[index] = mean_lengths(each)
            means.rate[index] = each.arrivals.clients / max(1.0, mean(each.arrivals.think_time))
    return means


def make_book(plan: Plan, traits: Records) -> Book:
    """Return names, promises and prices of a plan; the reference pool of a class is its fastest eligible one."""
    promises = [each.promise for each in plan.scenario.workload]

    def limits(values: Sequence[float | None]) -> np.ndarray:
        return np.array([math.inf if value is None else value for value in values], dtype=np.float64)

    deployments = [pool.deployment for pool in plan.pools]
    return Book(
        classes=tuple(each.name for each in plan.scenario.workload),
        pools=tuple(pool.name for pool in plan.pools),
        promises=Promises(
            limits([each.ttft for each in promises]),
            limits([each.tpot for each in promises]),
            np.minimum(limits([each.e2e for each in promises]), limits([each.deadline for each in promises])),
            limits([each.slowdown for each in promises]),
        ),
        reference_pool=reference_pools(plan, traits),
        latency=latency_models([(each.coefficients, each.table) for each in deployments]),
        token_budget=np.array([each.batching.token_budget for each in deployments], dtype=np.int64),
        usd_per_s=np.array([each.usd_per_s for each in deployments]),
        usd_per_j=np.array([pool.usd_per_j for pool in plan.pools]),
    )
