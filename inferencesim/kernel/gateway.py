"""Every request's way in: filter, place, balance, record, enqueue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from inferencesim.jit import inner, inner_inlined
from inferencesim.kernel.blocks import look_up, match
from inferencesim.kernel.decode import count_service, steps_done
from inferencesim.kernel.flow_tables import NOT_HELD
from inferencesim.kernel.graph_tables import NOT_JUDGED
from inferencesim.kernel.graphs import call_enters, node_key, owner_key
from inferencesim.kernel.heap import add_timer
from inferencesim.kernel.power import Power, apply_limits, has_taker
from inferencesim.kernel.providers import is_within_limits, reserved_tokens, send_outside
from inferencesim.kernel.queue import count_coming, enter_phase, first_waiting, leave, queue_up, take_slot
from inferencesim.kernel.sample import is_kept, task_key
from inferencesim.kernel.steps import disturb
from inferencesim.kernel.tables import (
    CANCELLED,
    CONTEXT_TOO_LONG,
    DOWN,
    ELIGIBLE,
    HOLD,
    IDLE,
    OPEN,
    OTHER_MODEL,
    POWER_LIMITED,
    QUEUE_FULL,
    RATE_LIMITED,
    REJECTED,
    TIMED_OUT,
    UNHEALTHY,
    WAITING,
    Fleet,
    Floats,
    Integers,
    Records,
)
from inferencesim.kernel.views import Candidates, Request, mix
from inferencesim.references import by_reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.kernel.forming import Schedulers
    from inferencesim.kernel.graph_tables import Graphs


#: What is left of a promise that is broken already: no prediction keeps it, and the fastest comes nearest.
_HARDLY_ANY_S = 1e-3


@by_reference
class Gateway(NamedTuple):
    """What the way in needs beside the fleet: the load, the classes, the policies' memory, the record."""

    stream: Records  #: ARRIVAL, in order of time: the open-loop load
    clients: Records  #: CLIENT of all closed loops, in order of class and number
    turns: Records  #: TURN, (clients, turns kept per client)
    loops: Records  #: LOOP[C]
    graphs: Graphs  #: tasks
    asking: Records  #: ARRIVAL[1]: the request of whoever asks now
    verdicts: Integers  #: constraints settled once per class and candidate: pools, then providers, (C, P + Q)
    rows: Integers  #: which of a pool's models serves a class, as a row of the variants, (C, P); −1: none
    network_s: Floats  #: round trips between the users of a class and each candidate, (C, P + Q)
    no_network_s: Floats  #: likewise inside a pool, R zeros
    schedulers: Schedulers  #: batching policies and orders
    pool_traits: Records  #: TRAITS[P + Q]
    replica_traits: Records  #: TRAITS[R]
    pool_cached: Records  #: CACHED[P + Q], of pools filled where placement reads caches
    replica_cached: Records  #: CACHED[R], likewise
    pool_eligible: NDArray[np.uint8]  #: work space, P + Q
    replica_eligible: NDArray[np.uint8]  #: 1 of those that are not down, nor kept at rest by a limit on power, R
    power: Power
    placement_parameters: Floats
    balancing_parameters: Floats
    memory: Integers  #: of the policies: row 0 for placement, then a row per pool for balancing
    replica_scores: Floats  #: work space, R
    decisions: Records  #: DECISION
    decision_verdicts: NDArray[np.uint8]  #: (decisions, P + Q)
    decision_scores: Floats  #: (decisions, P + Q)
    decision_predictions: Floats  #: (decisions, (P + Q) · PREDICTED)
    reads_caches: Integers  #: whether placement does, and balancing
    seed: int
    kept_below: int  #: decisions are kept of the tasks below this; see :mod:`.sample`
    predict: int  #: 1 to keep with each what is predicted of the candidates


@inner_inlined
def request_view(fleet: Fleet, gateway: Gateway, arrival: Any, now: float) -> Request:
    """Return what the router knows of a request."""
    index = arrival["class_index"]
    c = fleet.classes[index]
    return Request(
        index,
        arrival["prompt_tokens"],
        c["expected_output_tokens"],
        arrival["session"],
        now,
        c["ttft_s"],
        c["tpot_s"],
        min(c["e2e_s"], left_of_task(gateway, arrival, now)),
        c["sensitivity"],
        _key_of(gateway, arrival),
    )


@inner_inlined
def left_of_task(gateway: Gateway, arrival: Any, now: float) -> float:
    """Return the seconds a request has until its task is promised to be done: hardly any where it is late already."""
    if arrival["node"] < 0:
        return np.inf
    task = gateway.graphs.tasks[gateway.graphs.nodes[arrival["node"]]["task"]]
    return float(max(task["arrived_s"] + task["promised_s"] - now, _HARDLY_ANY_S))


@inner_inlined
def _key_of(gateway: Gateway, arrival: Any) -> int:
    """Return 31 random bits of a request's own: the same under every policy."""
    if arrival["node"] >= 0:
        return mix(node_key(gateway, arrival["node"]), arrival["attempt"] + 1)
    return task_key(gateway.seed, arrival["class_index"], arrival["task"])


@inner_inlined
def keeps(gateway: Gateway, arrival: Any) -> bool:
    """Tell whether the decision on a request is kept: with its whole task, which is itself unless it is a call."""
    key = _key_of(gateway, arrival)
    if arrival["node"] >= 0:
        key = owner_key(gateway, arrival["node"])
    return is_kept(key, gateway.kept_below)


@inner
def filter_candidates(fleet: Fleet, gateway: Gateway, arrival: Any) -> int:
    """Give each candidate its verdict for a request, in the decision under way; return how many are eligible."""
    row = fleet.clock[0]["decision_count"]
    total = arrival["prompt_tokens"] + arrival["output_tokens"]
    eligible = 0
    limited = gateway.power.headroom_w.size > 0
    if limited:
        apply_limits(fleet, gateway.power, gateway.replica_eligible)
    for pool in range(fleet.pools.size):
        verdict = gateway.verdicts[arrival["class_index"], pool]
        if verdict == ELIGIBLE:
            limit = fleet.pools[pool]["queue_limit"]
            level = gateway.graphs.curves[arrival["class_index"], pool]["level"]
            if arrival["level"] >= 0 and level != arrival["level"]:
                verdict = OTHER_MODEL
            elif total > fleet.variants[gateway.rows[arrival["class_index"], pool]]["context_limit"]:
                verdict = CONTEXT_TOO_LONG
            elif fleet.pools[pool]["up"] == 0:
                verdict = UNHEALTHY
            elif limit >= 0 and fleet.live_pools[pool]["waiting"] >= limit:
                verdict = QUEUE_FULL
            elif limited and not has_taker(fleet, gateway.replica_eligible, pool):
                verdict = POWER_LIMITED
        gateway.decision_verdicts[row, pool] = verdict
        gateway.decision_scores[row, pool] = np.nan
        gateway.pool_eligible[pool] = verdict == ELIGIBLE
        eligible += verdict == ELIGIBLE
    for provider in range(fleet.providers.size):
        candidate = fleet.pools.size + provider
        verdict = gateway.verdicts[arrival["class_index"], candidate]
        if verdict == ELIGIBLE:
            verdict = _provider_verdict(fleet, gateway, arrival, provider)
        gateway.decision_verdicts[row, candidate] = verdict
        gateway.decision_scores[row, candidate] = np.nan
        gateway.pool_eligible[candidate] = verdict == ELIGIBLE
        eligible += verdict == ELIGIBLE
    if gateway.predict:
        gateway.decision_predictions[row, :] = np.nan
    return eligible


@inner
def _provider_verdict(fleet: Fleet, gateway: Gateway, arrival: Any, provider: int) -> int:
    """Return the verdict on a provider that the class of a request may use."""
    p = fleet.providers[provider]
    level = gateway.graphs.curves[arrival["class_index"], fleet.pools.size + provider]["level"]
    if arrival["level"] >= 0 and level != arrival["level"]:
        return OTHER_MODEL
    if arrival["prompt_tokens"] + arrival["output_tokens"] > p["context_limit"]:
        return CONTEXT_TOO_LONG
    if not p["up"]:
        return UNHEALTHY
    tokens = reserved_tokens(arrival["prompt_tokens"], _predicted_tokens(fleet, arrival))
    if not is_within_limits(fleet, provider, float(tokens), fleet.clock[0]["now_s"]):
        p["rate_limited"] += 1
        return RATE_LIMITED
    return ELIGIBLE


@inner_inlined
def _predicted_tokens(fleet: Fleet, arrival: Any) -> float:
    """Return the output that is predicted of a request: its own prediction, or the mean of its class."""
    if np.isnan(arrival["predicted_tokens"]):
        return float(fleet.classes[arrival["class_index"]]["expected_output_tokens"])
    return float(arrival["predicted_tokens"])


@inner
def look_into_caches(fleet: Fleet, gateway: Gateway, arrival: Any, pool: int) -> None:
    """See what the replicas of a pool have cached for the arrival: as it is now, whatever the age of the snapshot."""
    first = fleet.pools[pool]["first_replica"]
    most = gateway.pool_cached[pool]
    most["found_tokens"] = 0
    most["kept_tokens"] = 0
    for replica in range(first, first + fleet.pools[pool]["replicas"]):
        cached = gateway.replica_cached[replica]
        look_up(fleet, replica, arrival, cached)
        most["found_tokens"] = max(most["found_tokens"], cached["found_tokens"])
        most["kept_tokens"] = max(most["kept_tokens"], cached["kept_tokens"])


@inner
def look_into_all_caches(fleet: Fleet, gateway: Gateway, arrival: Any) -> None:
    """See what all pools have cached for the arrival."""
    for pool in range(fleet.pools.size):
        look_into_caches(fleet, gateway, arrival, pool)


@inner_inlined
def pool_candidates(fleet: Fleet, gateway: Gateway, class_index: int) -> Candidates:
    """Return pools and providers as candidates; :func:`filter_candidates` has set which are eligible."""
    return Candidates(
        gateway.pool_eligible,
        fleet.seen_pools,
        gateway.pool_traits,
        gateway.pool_cached,
        gateway.network_s[class_index],
        fleet.latency,
    )


@inner_inlined
def replica_candidates(fleet: Fleet, gateway: Gateway, pool: int) -> Candidates:
    """Return the replicas of a pool as candidates."""
    first = fleet.pools[pool]["first_replica"]
    last = first + fleet.pools[pool]["replicas"]
    return Candidates(
        gateway.replica_eligible[first:last],
        fleet.seen[first:last],
        gateway.replica_traits[first:last],
        gateway.replica_cached[first:last],
        gateway.no_network_s[first:last],
        fleet.latency,
    )


@inner
def let_in(fleet: Fleet, gateway: Gateway, arrival: Any, now: float) -> int:
    """Give a request that has just come a slot; it is at the gateway."""
    clock = fleet.clock[0]
    slot = take_slot(fleet)
    s = fleet.slots[slot]
    s["request_id"] = arrival["request_id"]
    s["task"] = arrival["task"]
    s["class_index"] = arrival["class_index"]
    s["session"] = arrival["session"]
    s["prompt_tokens"] = arrival["prompt_tokens"]
    s["output_tokens"] = arrival["output_tokens"]
    s["arrived_s"] = now
    s["client"] = arrival["client"]
    s["node"] = arrival["node"]
    s["attempt"] = arrival["attempt"]
    s["answer"] = NOT_JUDGED
    s["predicted_tokens"] = _predicted_tokens(fleet, arrival)
    s["prefix"] = arrival["prefix"]
    s["history"] = arrival["history"]
    s["chain"] = arrival["chain"]
    s["chain_blocks"] = arrival["chain_blocks"]
    s["media_units"] = arrival["media_units"]
    s["media_s"] = arrival["media_s"]
    s["pool"] = -1
    s["provider"] = -1
    s["replica"] = -1
    s["prefill_replica"] = -1
    s["outcome"] = OPEN
    s["reason"] = ELIGIBLE
    s["released"] = NOT_HELD
    s["held_s"] = 0.0
    s["scheduled_s"] = np.nan
    s["first_token_s"] = np.nan
    s["finished_s"] = np.nan
    s["generated_tokens"] = 0
    s["cached_tokens"] = 0
    s["preemptions"] = 0
    s["busy_s"] = 0.0
    s["energy_j"] = 0.0
    s["prefill_busy_s"] = 0.0
    s["prefill_energy_j"] = 0.0
    s["waiting_s"] = 0.0
    s["prefill_s"] = 0.0
    s["decode_s"] = 0.0
    s["transfer_s"] = 0.0
    s["preempted_s"] = 0.0
    s["phase"] = WAITING
    s["since_s"] = now
    s["lost_s"] = np.nan
    s["key"] = _key_of(gateway, arrival)
    s["at"] = -1
    s["row"] = 0
    s["blocks"] = 0
    s["shared"] = 0
    s["source"] = -1
    s["swapped"] = 0
    s["fetched"] = 0
    s["target"] = arrival["prompt_tokens"]
    s["progress"] = 0
    s["chunk"] = 0
    s["abort"] = OPEN
    if arrival["node"] >= 0:
        call_enters(gateway, arrival["node"], slot, arrival["request_id"])
    clock["arrived"] += 1
    clock["inside"] += 1
    return slot


@inner_inlined
def start_patience(fleet: Fleet, arrival: Any, slot: int, now: float) -> None:
    """Set the timers of a request's client."""
    if arrival["patience_s"] < np.inf:
        add_timer(fleet, now + arrival["patience_s"], TIMED_OUT, arrival["request_id"], slot)
    if arrival["cancel_after_s"] < np.inf:
        add_timer(fleet, now + arrival["cancel_after_s"], CANCELLED, arrival["request_id"], slot)


@inner
def admit(fleet: Fleet, gateway: Gateway, arrival: Any, candidate: int, place: int) -> None:
    """Record the decision and hand the request to replica `place` of a pool, or to a provider (−1: reject it)."""
    clock = fleet.clock[0]
    now = clock["now_s"]
    row = clock["decision_count"]
    pool, provider, replica = candidate, -1, -1
    if candidate >= fleet.pools.size:
        pool, provider = -1, candidate - fleet.pools.size
    if pool >= 0:
        replica = fleet.pools[pool]["first_replica"] + place
    kept = keeps(gateway, arrival)
    if kept:
        decision = gateway.decisions[row]
        decision["request_id"] = arrival["request_id"]
        decision["time_s"] = now
        decision["class_index"] = arrival["class_index"]
        decision["pool"] = pool
        decision["provider"] = provider
        decision["replica"] = replica
        decision["snapshot_age_s"] = now - clock["snapshot_s"] if clock["snapshot_interval_s"] > 0.0 else 0.0
    slot = arrival["slot"]
    if slot < 0:
        slot = let_in(fleet, gateway, arrival, now)
    s = fleet.slots[slot]
    enter_phase(s, WAITING, now)
    s["pool"] = pool
    s["provider"] = provider
    s["replica"] = replica
    s["network_s"] = gateway.network_s[arrival["class_index"], candidate] if candidate >= 0 else 0.0
    s["row"] = gateway.rows[arrival["class_index"], pool] if pool >= 0 else 0
    if kept:
        clock["decision_count"] += 1
    if candidate < 0:
        for each in range(gateway.pool_eligible.size):
            # Codes are in the order of the filters: the highest is the last hurdle it met anywhere.
            s["reason"] = max(s["reason"], gateway.decision_verdicts[row, each])
        leave(fleet, slot, REJECTED, now)
        return
    start_patience(fleet, arrival, slot, now)
    if provider >= 0:
        send_outside(fleet, slot, provider, now)
        return
    fleet.pools[pool]["arrived"] += 1
    at = replica
    prefill_pool = fleet.pools[pool]["prefill_pool"]
    if prefill_pool >= 0 and fleet.pools[prefill_pool]["up"] > 0 and _is_long(fleet, slot, replica):
        at = _least_to_prefill(fleet, prefill_pool)
        s["prefill_replica"] = at
        s["row"] = fleet.replicas[at]["row"]
        fleet.pools[prefill_pool]["arrived"] += 1
        count_coming(fleet, replica, 1)
    if fleet.pools[fleet.replicas[at]["pool"]]["fair"]:
        count_service(fleet, at, steps_done(fleet, at, now))
    queue_up(fleet, gateway.schedulers, at, slot, now)
    r = fleet.replicas[at]
    rests = r["segment"] == IDLE or r["segment"] == HOLD
    if rests or fleet.pools[r["pool"]]["fair"] or first_waiting(fleet, at) == slot:
        # Behind others it waits for seats or memory, which only a completion frees.
        disturb(fleet, gateway.schedulers, at, now)


@inner
def _is_long(fleet: Fleet, slot: int, replica: int) -> bool:
    """Tell whether so much of a prompt is uncached at its replica that it is prefilled elsewhere."""
    s = fleet.slots[slot]
    pool = fleet.pools[fleet.replicas[replica]["pool"]]
    uncached = s["prompt_tokens"]
    if pool["prefix_cache"]:
        most = (s["prompt_tokens"] - 1) // pool["block_size"]
        uncached -= match(fleet, slot, replica, most) * pool["block_size"]
    return bool(uncached > pool["prefill_above"])


@inner
def _least_to_prefill(fleet: Fleet, pool: int) -> int:
    """Return the replica of a pool with the fewest tokens to prefill, the first of equals; one is up."""
    first = fleet.pools[pool]["first_replica"]
    best = -1
    for replica in range(first, first + fleet.pools[pool]["replicas"]):
        if fleet.replicas[replica]["segment"] == DOWN:
            continue
        if best < 0 or fleet.live[replica]["waiting_tokens"] < fleet.live[best]["waiting_tokens"]:
            best = replica
    return int(best)
