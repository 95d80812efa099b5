"""What a simulation derives from plan and load before its clock starts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.deployment.latency import latency_models
from inferencesim.ledger.book import Book, Promises, TokenPrices
from inferencesim.ledger.tasks import TaskLedger, TaskNames
from inferencesim.routing.policy import bind
from inferencesim.simulation.tariff_changes import chip_prices
from inferencesim.simulation.traits import reference_pools
from inferencesim.workload.graphs import promised_latencies, task_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferencesim.kernel.graph_tables import Graphs
    from inferencesim.kernel.tables import Records
    from inferencesim.policy import BoundPolicy
    from inferencesim.simulation.plan import Plan


def bind_policy(plan: Plan, level: str) -> BoundPolicy:
    """Return the policy of a level, ready to be called."""
    choice = getattr(plan.scenario.routing, level)
    return bind(choice.policy, choice.parameters, f"routing.{level}")


def task_ledger(plan: Plan, graphs: Graphs, labels: tuple[str, ...]) -> TaskLedger:
    """Return the ledger of a plan's tasks, in which nothing is booked yet."""
    names = TaskNames(
        classes=task_classes(plan.scenario),
        tools=tuple(each.name for each in plan.tools),
        labels=labels,
        latency_s=promised_latencies(plan.scenario),
    )
    return TaskLedger(graphs, names)


def make_book(plan: Plan, traits: Records) -> Book:
    """Return names, promises and first prices of a plan; the reference pool of a class is its fastest eligible one."""
    promises = [each.promise for each in plan.scenario.workload]

    def limits(values: Sequence[float | None]) -> np.ndarray:
        return np.array([math.inf if value is None else value for value in values], dtype=np.float64)

    deployments = [pool.deployment for pool in plan.pools]
    return Book(
        classes=tuple(each.name for each in plan.scenario.workload),
        pools=tuple(pool.name for pool in plan.pools),
        providers=TokenPrices(
            names=tuple(each.name for each in plan.providers),
            prompt=np.array([each.usd_per_prompt_token for each in plan.providers]),
            cached=np.array([each.usd_per_cached_token for each in plan.providers]),
            output=np.array([each.usd_per_output_token for each in plan.providers]),
            whole=np.array([each.answers_whole for each in plan.providers], dtype=np.bool_),
        ),
        pool_of=np.repeat(np.arange(len(plan.pools)), [pool.replicas for pool in plan.pools]),
        promises=Promises(
            limits([each.ttft for each in promises]),
            limits([each.tpot for each in promises]),
            np.minimum(limits([each.e2e for each in promises]), limits([each.deadline for each in promises])),
            limits([each.slowdown for each in promises]),
        ),
        reference_pool=reference_pools(plan, traits),
        latency=latency_models([each.step_times for each in deployments]),
        token_budget=np.array([each.batching.token_budget for each in deployments], dtype=np.int64),
        usd_per_s=np.array([each.usd_per_s for each in deployments]),
        usd_per_j=chip_prices(plan, 0.0),
        egress_usd_per_token=_egress(plan),
    )


def _egress(plan: Plan) -> np.ndarray:
    """Return what a token of each class costs on its way to the user; 0 where nobody says where the users are."""
    egress = plan.scenario.economics.egress
    usd = 0.0 if egress is None else egress.price * egress.bytes_per_token
    return np.array([0.0 if each.origin is None else usd for each in plan.scenario.workload], dtype=np.float64)
