"""The kernel's tables, laid out from a plan and its load."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.deployment.latency import latency_models
from inferencesim.kernel.gateway import CLASS, Gateway
from inferencesim.kernel.tables import (
    ARRIVAL,
    CLOCK,
    DECISION,
    ELIGIBLE,
    LOAD,
    NEVER,
    POOL,
    REPLICA,
    REQUEST,
    SEAT,
    TIMER,
    Fleet,
    Records,
)
from inferencesim.kernel.views import TRAITS
from inferencesim.routing.policy import MEMORY_SIZE
from inferencesim.simulation.clients import first_asks, new_clients

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.policy import BoundPolicy
    from inferencesim.scenario.scenario import Scenario
    from inferencesim.simulation.plan import Plan
    from inferencesim.workload.load import Load as Requests

#: Rows of the tables that are flushed when full: large enough that a flush costs little per row.
CHUNK_ROWS = 65536
_FIRST_SLOTS = 4096


@dataclass(frozen=True)
class ClassMeans:
    """Mean lengths and rate of each class; what an operator knows of the load.

    Attributes
    ----------
    prompt_tokens, output_tokens, rate : ndarray of float64, shape (classes,)
    """

    prompt_tokens: NDArray[np.float64]
    output_tokens: NDArray[np.float64]
    rate: NDArray[np.float64]


def stream_of(load: Requests) -> Records:
    """Return a load's requests as the kernel's arrivals, numbered in order of time."""
    stream = np.zeros(len(load), ARRIVAL)
    stream["request_id"] = np.arange(len(load))
    stream["client"] = -1
    for name in (
        "task",
        "class_index",
        "session",
        "prompt_tokens",
        "output_tokens",
        "arrived_s",
        "patience_s",
        "cancel_after_s",
    ):
        stream[name] = getattr(load, name)
    return stream


def new_fleet(plan: Plan, *, done_rows: int = CHUNK_ROWS) -> Fleet:
    """Lay out the tables of a fleet at rest."""
    replicas, pools = plan.replicas, len(plan.pools)
    widest = max(pool.spec.batching.max_sequences for pool in plan.pools)
    largest_block = max(pool.spec.batching.block_size for pool in plan.pools)
    clock = np.zeros(1, CLOCK)
    clock["snapshot_interval_s"] = plan.scenario.routing.snapshot_age
    clock["free_slot"] = -1
    replica_table = np.zeros(replicas, REPLICA)
    for name in ("head", "tail", "heap_place", "heap_entry"):
        replica_table[name] = -1
    replica_table["next_finish"] = NEVER
    pool_table = np.zeros(pools, POOL)
    first = 0
    for index, pool in enumerate(plan.pools):
        batching, deployment = pool.spec.batching, pool.deployment
        row = pool_table[index]
        row["first_replica"] = first
        row["replicas"] = pool.replicas
        row["max_sequences"] = batching.max_sequences
        row["token_budget"] = batching.token_budget
        row["block_size"] = batching.block_size
        row["kv_blocks"] = deployment.memory.kv_blocks
        row["reserve"] = batching.kv == "reserve"
        row["admission_interval"] = batching.admission_interval
        row["prefill_first"] = deployment.prefills_first
        row["queue_limit"] = -1 if pool.spec.queue_limit is None else pool.spec.queue_limit
        row["context_limit"] = deployment.context_limit
        replica_table["pool"][first : first + pool.replicas] = index
        first += pool.replicas
    live, live_pools = np.zeros(replicas, LOAD), np.zeros(pools, LOAD)
    aged = plan.scenario.routing.snapshot_age > 0.0
    fleet = Fleet(
        clock=clock,
        slots=np.zeros(0, REQUEST),
        replicas=replica_table,
        pools=pool_table,
        seats=np.zeros((replicas, widest), SEAT),
        residues=np.zeros((replicas, largest_block), np.int64),
        latency=latency_models([pool.deployment.step_times for pool in plan.pools]),
        timers=np.zeros(0, TIMER),
        live=live,
        live_pools=live_pools,
        seen=live.copy() if aged else live,
        seen_pools=live_pools.copy() if aged else live_pools,
        # Whole records are copied into it: nothing reads what was there before.
        done=np.empty(done_rows + widest + 1, REQUEST),
    )
    return with_more_slots(fleet)


def with_more_slots(fleet: Fleet) -> Fleet:
    """Return the fleet with twice the room for requests inside; the rest is shared, not copied."""
    before = fleet.slots.size
    after = max(_FIRST_SLOTS, 2 * before)
    slots = np.zeros(after, REQUEST)
    slots[:before] = fleet.slots
    slots["request_id"][before:] = -1
    slots["following"][before : after - 1] = np.arange(before + 1, after)
    slots["following"][after - 1] = fleet.clock["free_slot"][0]
    fleet.clock["free_slot"] = before
    timers = np.zeros(4 * after, TIMER)
    timers[: fleet.timers.size] = fleet.timers
    return fleet._replace(slots=slots, timers=timers)


def with_first_asks(fleet: Fleet, gateway: Gateway, scenario: Scenario) -> Fleet:
    """Return the fleet at rest with the timers of its closed-loop clients set."""
    asks = first_asks(gateway, scenario)
    while fleet.timers.size < asks.size:
        fleet = with_more_slots(fleet)
    fleet.timers[: asks.size] = asks
    fleet.clock["timer_count"] = asks.size
    return fleet


def new_gateway(
    plan: Plan,
    stream: Records,
    means: ClassMeans,
    placement: BoundPolicy,
    balancing: BoundPolicy,
) -> Gateway:
    """Lay out the way in: load, classes, policies' memory and the record of decisions."""
    scenario = plan.scenario
    pools, replicas = len(plan.pools), plan.replicas
    pool_traits = _pool_traits(plan, means)
    reference = reference_pools(plan, pool_traits)
    classes = np.zeros(len(scenario.workload), CLASS)
    for index, each in enumerate(scenario.workload):
        promise = each.promise
        limits = [limit for limit in (promise.e2e, promise.deadline) if limit is not None]
        row = classes[index]
        row["expected_output_tokens"] = means.output_tokens[index]
        row["ttft_s"] = math.inf if promise.ttft is None else promise.ttft
        row["tpot_s"] = math.inf if promise.tpot is None else promise.tpot
        if promise.slowdown is not None and reference[index] >= 0:
            # The router promises itself the slowdown of a request of mean lengths.
            deployment = plan.pools[reference[index]].deployment
            mean_lengths = (max(1, round(means.prompt_tokens[index])), max(1, round(means.output_tokens[index])))
            limits.append(promise.slowdown * deployment.alone_s(*mean_lengths))
        row["e2e_s"] = min(limits, default=math.inf)
    replica_traits = np.repeat(pool_traits, pool_traits["replicas"])
    replica_traits["identity"] = pools + np.arange(replicas)
    replica_traits["target_rate"] /= replica_traits["replicas"]
    replica_traits["replicas"] = 1
    rows = CHUNK_ROWS if scenario.recording.decisions else 1
    clients, turns, loops = new_clients(scenario)
    return Gateway(
        stream=stream,
        clients=clients,
        turns=turns,
        loops=loops,
        asking=np.zeros(1, ARRIVAL),
        classes=classes,
        verdicts=plan.verdicts,
        pool_traits=pool_traits,
        replica_traits=replica_traits,
        pool_eligible=np.zeros(pools, np.uint8),
        replica_eligible=np.ones(replicas, np.uint8),
        placement_parameters=placement.parameters,
        balancing_parameters=balancing.parameters,
        memory=np.zeros((pools + 1, MEMORY_SIZE), np.int64),
        replica_scores=np.full(replicas, np.nan),
        decisions=np.zeros(rows, DECISION),
        decision_verdicts=np.zeros((rows, pools), np.uint8),
        decision_scores=np.full((rows, pools), np.nan),
        seed=scenario.seed & 0x7FFFFFFF,
        record=int(scenario.recording.decisions),
    )


def reference_pools(plan: Plan, traits: Records) -> NDArray[np.int64]:
    """Return each class's fastest eligible pool, where its uncontended runs are imagined; −1 without any."""
    reference = np.full(len(plan.scenario.workload), -1, dtype=np.int64)
    for index in range(reference.size):
        eligible = np.flatnonzero(plan.verdicts[index] == ELIGIBLE)
        if eligible.size:
            reference[index] = eligible[np.argmax(traits["speed"][eligible])]
    return reference


def _pool_traits(plan: Plan, means: ClassMeans) -> Records:
    traits = np.zeros(len(plan.pools), TRAITS)
    for index, pool in enumerate(plan.pools):
        weight = np.where(plan.verdicts[:, index] == ELIGIBLE, means.rate, 0.0)
        prompt, output = 1024.0, 256.0  # of a pool that serves nobody, which no router will ask for
        if weight.sum() > 0.0:
            prompt = float(np.average(means.prompt_tokens, weights=weight))
            output = max(1.0, float(np.average(means.output_tokens, weights=weight)))
        deployment = pool.deployment
        row = traits[index]
        row["identity"] = index
        row["deployment"] = index
        row["replicas"] = pool.replicas
        row["seats"] = deployment.batching.max_sequences
        row["token_budget"] = deployment.batching.token_budget
        row["kv_tokens"] = deployment.memory.kv_tokens
        row["mean_prompt_tokens"] = prompt
        row["mean_output_tokens"] = output
        row["target_rate"] = deployment.saturated_rate(prompt, output) * pool.replicas
        row["speed"] = deployment.lone_tokens_per_s(prompt)
        row["usd_per_s"] = pool.usd_per_s
    return traits
