"""The fleet's tables, laid out from a plan and its load."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.batching.policy import find_order
from inferencesim.deployment.latency import latency_models
from inferencesim.deployment.work import COUNTS
from inferencesim.errors import InputError
from inferencesim.kernel.gaps import BINS, MIXTURE
from inferencesim.kernel.prefix import Caches, new_caches
from inferencesim.kernel.tables import (
    ARRIVAL,
    CLASS,
    CLOCK,
    LANE,
    LOAD,
    NEVER,
    POOL,
    RECORD,
    REPLICA,
    REQUEST,
    SEAT,
    TIER,
    TIMER,
    VARIANT,
    Fleet,
    Records,
)
from inferencesim.ledger.columns import fill
from inferencesim.scenario.workload import SENSITIVITIES
from inferencesim.simulation.clients import first_asks
from inferencesim.simulation.failures import failure_table
from inferencesim.simulation.flow import kernel_flow, tenants_of
from inferencesim.simulation.providers import prompt_cache_blocks, provider_draws, provider_table
from inferencesim.simulation.schedulers import functions_of
from inferencesim.simulation.tasks import most_at_once
from inferencesim.simulation.traits import placement_traits, reference_pools

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.kernel.gateway import Gateway
    from inferencesim.scenario.scenario import Scenario
    from inferencesim.simulation.plan import Plan
    from inferencesim.simulation.traits import ClassMeans
    from inferencesim.workload.graph_parts import Graphs
    from inferencesim.workload.load import Load as Requests

#: Rows of the tables that are flushed when full: large enough that a flush costs little per row.
CHUNK_ROWS = 32768
_FIRST_SLOTS = 4096
#: Rows of the caches are told apart by 32 bits.
_MOST_CACHED_BLOCKS = 2**31 - 2**20


def stream_of(load: Requests) -> Records:
    """Return a load's requests as the kernel's arrivals, numbered in order of time."""
    nobody = np.full(len(load), -1)
    columns = {"request_id": np.arange(len(load)), "client": nobody, "node": nobody, "level": nobody, "slot": nobody}
    columns["attempt"] = np.zeros(len(load), np.int64)
    columns |= {name: getattr(load, name) for name in ARRIVAL.names or () if name not in columns}
    stream = np.empty(len(load), ARRIVAL)
    fill(stream, columns)
    return stream


def new_fleet(plan: Plan, load: Requests, graphs: Graphs, means: ClassMeans, *, done_rows: int = CHUNK_ROWS) -> Fleet:
    """Lay out the tables of a fleet at rest."""
    replicas, pools = plan.replicas, len(plan.pools)
    widest = max(pool.spec.batching.max_sequences for pool in plan.pools)
    largest_block = max(pool.spec.batching.block_size for pool in plan.pools)
    variants, tiers = _variants(plan)
    traits = placement_traits(plan, means)
    classes = _classes(plan, load, means, traits)
    tenants = int(classes["tenant"].max(initial=0)) + 1
    clock = np.zeros(1, CLOCK)
    clock["snapshot_interval_s"] = plan.scenario.routing.snapshot_age
    clock["free_slot"] = -1
    clock["most_at_once"] = most_at_once(plan, graphs)
    pool_table, replica_table = _pools(plan), np.zeros(replicas, REPLICA)
    for name in ("heap_place", "heap_entry"):
        replica_table[name] = -1
    replica_table["pace"] = 1.0
    replica_table["next_finish"] = NEVER
    replica_table["pool"] = np.repeat(np.arange(pools), pool_table["replicas"])
    pool_table["first_row"] = np.cumsum([0] + [len(pool.variants) for pool in plan.pools])[:-1]
    replica_table["row"] = pool_table["first_row"][replica_table["pool"]]
    lanes = np.zeros((replicas, tenants if pool_table["fair"].any() else 1), LANE)
    lanes["head"] = lanes["tail"] = -1
    live, live_pools = np.zeros(replicas, LOAD), np.zeros(len(plan.candidates), LOAD)
    aged = plan.scenario.routing.snapshot_age > 0.0
    # Records are written whole: nothing reads what was there before.
    done = np.empty(done_rows + widest + 1 + int(clock["most_at_once"][0]), RECORD)
    fleet = Fleet(
        clock=clock,
        slots=np.zeros(0, REQUEST),
        slot_words=np.zeros((0, 0), np.int64),
        replicas=replica_table,
        pools=pool_table,
        providers=provider_table(traits[pools:], plan.providers),
        provider_draws=provider_draws(plan.providers),
        classes=classes,
        variants=variants,
        tiers=tiers,
        tier_links=np.zeros((replicas, tiers.shape[1])),
        lanes=lanes,
        seats=np.zeros((replicas, widest), SEAT),
        residues=np.zeros((replicas, largest_block), np.int64),
        caches=_caches(plan, tiers.shape[1]),
        block_hashes=load.block_ids,
        lineage=graphs.lineage,
        found=np.zeros(_longest_prompt(plan), np.int64),
        latency=latency_models([each.step_times for each in plan.deployments]),
        timers=np.zeros(0, TIMER),
        failures=failure_table(plan),
        live=live,
        live_pools=live_pools,
        seen=live.copy() if aged else live,
        seen_pools=live_pools.copy() if aged else live_pools,
        done=done,
        done_words=_words(done),
        counts=np.zeros(replicas, COUNTS),
        mixture=np.zeros((replicas, classes.size), MIXTURE),
        flow=kernel_flow(plan, traits),
        gaps=np.zeros((classes.size, BINS)),
    )
    return with_more_slots(fleet)


def _pools(plan: Plan) -> Records:
    """Return the pools' table; policies are numbered as in :func:`.schedulers.functions_of`."""
    table = np.zeros(len(plan.pools), POOL)
    names = [pool.name for pool in plan.pools]
    formers, orders = functions_of(plan)
    first = 0
    for row, pool in zip(table, plan.pools, strict=True):
        batching, deployment = pool.spec.batching, pool.deployment
        row["first_replica"] = first
        row["replicas"] = row["up"] = pool.replicas
        row["max_sequences"] = batching.max_sequences
        row["token_budget"] = batching.token_budget
        row["block_size"] = batching.block_size
        row["capacity"] = deployment.memory.kv_blocks * pool.replicas
        row["reserve"] = batching.kv == "reserve"
        row["swap"] = batching.preemption == "swap"
        row["admission_interval"] = batching.admission_interval
        row["former"] = formers.index(deployment.batching_policy.policy)
        row["order"] = orders.index(batching.order.policy)
        row["fair"] = find_order(batching.order.policy, {}, "order").fair
        row["starvation_s"] = math.inf if batching.starvation_after is None else batching.starvation_after
        row["prefix_cache"] = pool.spec.prefix_cache
        row["tiers"] = len(pool.spec.kv_tiers)
        row["drafts"] = deployment.drafts
        row["acceptance"] = deployment.acceptance
        row["prefill_pool"] = -1
        if pool.spec.prefill_in is not None:
            row["prefill_pool"] = names.index(pool.spec.prefill_in.pool)
            row["prefill_above"] = pool.spec.prefill_in.above
        row["queue_limit"] = -1 if pool.spec.queue_limit is None else pool.spec.queue_limit
        first += pool.replicas
    return table


def _variants(plan: Plan) -> tuple[Records, Records]:
    """Return the tables of variants and of their tiers."""
    variants = np.zeros(len(plan.deployments), VARIANT)
    tiers = np.zeros((variants.size, max(len(pool.spec.kv_tiers) for pool in plan.pools)), TIER)
    rows, limits = iter(range(variants.size)), plan.context_limits
    for pool in plan.pools:
        for deployment in pool.variants:
            index = next(rows)
            row = variants[index]
            row["kv_blocks"] = deployment.memory.kv_blocks
            row["context_limit"] = limits[index]
            block_bytes = deployment.kv_block_bytes
            row["load_s"] = deployment.load_s
            link = pool.spec.kv_link or deployment.kv_link
            row["link_block_s"] = block_bytes / link.bandwidth
            row["link_latency_s"] = link.latency
            for tier, described in zip(tiers[index], pool.spec.kv_tiers, strict=False):
                tier["block_s"] = block_bytes / described.bandwidth
                tier["latency_s"] = described.latency
                tier["survives"] = described.survives
    return variants, tiers


def _caches(plan: Plan, most_tiers: int) -> Caches:
    """Return the prefix caches: a replica's device, then its tiers; then providers'; those not used hold nothing."""
    capacities = []
    for index, pool in enumerate(plan.pools):
        blocks = [0] * (1 + most_tiers)
        if pool.spec.prefix_cache:
            blocks[0] = max(deployment.memory.kv_blocks for deployment in pool.variants)
        smallest = min(deployment.kv_block_bytes for deployment in pool.variants)
        for tier, described in enumerate(pool.spec.kv_tiers):
            blocks[1 + tier] = int(described.capacity // smallest)
            if blocks[1 + tier] < 1:
                raise InputError(
                    f"pools[{index}].kv_tiers[{tier}].capacity",
                    f"{described.name} holds no KV block of {smallest:,.0f} bytes",
                    "Give it more capacity, or leave it out.",
                )
        capacities += blocks * pool.replicas
    capacities += [prompt_cache_blocks(provider) for provider in plan.providers]
    if sum(capacities) > _MOST_CACHED_BLOCKS:
        raise InputError(
            "pools",
            f"prefix caches and tiers of {sum(capacities):,} blocks together",
            f"At most {_MOST_CACHED_BLOCKS:,}: use fewer replicas, larger blocks (batching.block_size), smaller tiers.",
        )
    return new_caches(capacities)


def _longest_prompt(plan: Plan) -> int:
    """Return the blocks of the longest prompt that any pool with a prefix cache takes."""
    return max(
        (each.context_limit // pool.spec.batching.block_size + 1 for pool in plan.pools for each in pool.variants),
    )


def _classes(plan: Plan, load: Requests, means: ClassMeans, traits: Records) -> Records:
    """Return what the kernel knows of the classes."""
    classes = np.zeros(len(plan.scenario.workload), CLASS)
    reference = reference_pools(plan, traits)
    tenants = tenants_of(plan)
    for index, each in enumerate(plan.scenario.workload):
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
        row["sensitivity"] = SENSITIVITIES.index(each.tags.sensitivity)
        row["tenant"] = tenants.index(each.tags.tenant or each.name)
        row["priority"] = each.priority
        row["acceptance"] = math.nan if each.acceptance is None else each.acceptance
        row["prefix_tokens"] = 0 if each.shared_prefix is None else each.shared_prefix.tokens
        row["chain_tokens"] = load.chain_tokens[index]
        row["kv_after"] = ("lru", "keep", "drop").index(each.kv_after)
    return classes


def with_more_slots(fleet: Fleet) -> Fleet:
    """Return the fleet with twice the room for requests inside; the rest is shared, not copied."""
    before = fleet.slots.size
    after = max(_FIRST_SLOTS, 2 * before, int(fleet.clock["most_at_once"][0]))
    slots = np.zeros(after, REQUEST)
    slots[:before] = fleet.slots
    slots["request_id"][before:] = -1
    slots["following"][before : after - 1] = np.arange(before + 1, after)
    slots["following"][after - 1] = fleet.clock["free_slot"][0]
    fleet.clock["free_slot"] = before
    timers = np.zeros(4 * after, TIMER)
    timers[: fleet.timers.size] = fleet.timers
    return fleet._replace(slots=slots, slot_words=_words(slots), timers=timers)


def as_records(slots: Records) -> Records:
    """Return the records of some slots: what is kept of requests once they have left."""
    words: Records = _words(slots)[:, : RECORD.itemsize // 8].copy().view(RECORD)
    return words[:, 0]


def _words(table: Records) -> NDArray[np.int64]:
    """Return the memory of a table of eight-byte fields as words, a row per record."""
    return table.view(np.int64).reshape(table.size, table.itemsize // 8)


def with_first_asks(fleet: Fleet, gateway: Gateway, scenario: Scenario) -> Fleet:
    """Return the fleet at rest with the timers of its closed-loop clients set."""
    asks = first_asks(gateway, scenario)
    while fleet.timers.size < asks.size:
        fleet = with_more_slots(fleet)
    fleet.timers[: asks.size] = asks
    fleet.clock["timer_count"] = asks.size
    return fleet
