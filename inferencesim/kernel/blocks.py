"""Who holds which KV blocks: taking and giving back, the prefix cache, and the tiers below the device.

A request holds a number of blocks. With a prefix cache the first `shared` of
them stand there under their keys, where other requests may hold them too; the
rest are its own. `blocks_used` of a replica counts each held block once. Blocks
in the cache that nobody holds fill what is left of the memory and are evicted
when somebody needs it: to the first tier, if there is one, what that evicts to
the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inferencesim.jit import inner, inner_inlined
from inferencesim.kernel.graph_tables import FIRST_HISTORY
from inferencesim.kernel.prefix import (
    ALONE,
    CONVERSATION,
    DROPPED,
    HASHED,
    KEPT,
    ORDINARY,
    SHARED,
    block_key,
    enter,
    evict,
    find,
    has_room,
    hold,
    let_go,
    put,
)
from inferencesim.kernel.tables import KV_DROP, KV_KEEP

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Fleet

#: Blocks of a swapped request are numbered from here in host memory, apart from those that were evicted there.
_SWAPPED = 1 << 20


@inner_inlined
def blocks_for(tokens: int, block_size: int) -> int:
    """Return the KV blocks that hold so many tokens."""
    return int((tokens + block_size - 1) // block_size)


@inner_inlined
def capacity_of(fleet: Fleet, replica: int) -> int:
    """Return the KV blocks of a replica, with the model it has loaded."""
    return int(fleet.variants[fleet.replicas[replica]["row"]]["kv_blocks"])


@inner_inlined
def device_cache(fleet: Fleet, replica: int) -> int:
    """Return the prefix cache of a replica's device; those of its tiers follow."""
    return int(replica * (1 + fleet.tiers.shape[1]))


@inner_inlined
def count_blocks(fleet: Fleet, replica: int, blocks: int) -> None:
    """Add to the blocks a replica's requests hold."""
    if blocks == 0:
        return
    pool = fleet.replicas[replica]["pool"]
    fleet.replicas[replica]["blocks_used"] += blocks
    fleet.live[replica]["kv_usage"] = fleet.replicas[replica]["blocks_used"] / capacity_of(fleet, replica)
    fleet.pools[pool]["blocks_used"] += blocks
    fleet.live_pools[pool]["kv_usage"] = fleet.pools[pool]["blocks_used"] / fleet.pools[pool]["capacity"]


@inner_inlined
def take_blocks(fleet: Fleet, replica: int, blocks: int, now: float) -> None:
    """Take blocks that the caller knows to be free or idle; what is idle goes oldest first."""
    count_blocks(fleet, replica, blocks)
    if fleet.pools[fleet.replicas[replica]["pool"]]["prefix_cache"]:
        _evict_idle(fleet, replica, now)


@inner
def _evict_idle(fleet: Fleet, replica: int, now: float) -> None:
    r = fleet.replicas[replica]
    cache = device_cache(fleet, replica)
    while r["blocks_used"] + fleet.caches.caches[cache]["idle"] > capacity_of(fleet, replica):
        _offload(fleet, replica, 0, evict(fleet.caches, cache), now)


@inner
def _offload(fleet: Fleet, replica: int, first: int, key: int, now: float) -> None:
    """Write an evicted block to a tier, what that evicts to the next."""
    for tier in range(first, fleet.pools[fleet.replicas[replica]["pool"]]["tiers"]):
        if key < 0:
            break
        key = _put_in_tier(fleet, replica, tier, key, now)


@inner
def _put_in_tier(fleet: Fleet, replica: int, tier: int, key: int, now: float) -> int:
    """Write a block to a tier, over its link, unless it is there; return the key it evicts, or −1."""
    cache = device_cache(fleet, replica) + 1 + tier
    is_new = find(fleet.caches, cache, key) < 0
    evicted = put(fleet.caches, cache, key)
    if is_new and evicted != key:
        occupy_tier_link(fleet, replica, tier, 1, now)
    return evicted


@inner_inlined
def occupy_tier_link(fleet: Fleet, replica: int, tier: int, blocks: int, now: float) -> float:
    """Send blocks over the link of a tier, after all that was sent before; return when they are there."""
    t = fleet.tiers[fleet.replicas[replica]["row"], tier]
    end_s = max(now, fleet.tier_links[replica, tier]) + blocks * t["block_s"]
    fleet.tier_links[replica, tier] = end_s
    return float(end_s + t["latency_s"])


@inner_inlined
def _said_in(fleet: Fleet, history: int, tokens: int) -> int:
    """Return the history in which so many tokens were said first: a branch begins with those of its parent."""
    while history >= FIRST_HISTORY and fleet.lineage[history - FIRST_HISTORY]["shared_tokens"] >= tokens:
        history = FIRST_HISTORY + fleet.lineage[history - FIRST_HISTORY]["parent"]
    return history


@inner_inlined
def key_of(fleet: Fleet, s: Any, position: int, block_size: int) -> int:
    """Return the key of block number `position` of a request, inside or on its way."""
    c = fleet.classes[s["class_index"]]
    if s["chain"] >= 0:
        size = c["chain_tokens"]
        if size <= block_size:
            # The last of the hashed blocks that this one covers stands for all before it.
            number, part = (position + 1) * block_size // size - 1, 0
        else:
            number, part = position * block_size // size, position * block_size % size // block_size
        if number < s["chain_blocks"]:
            return block_key(HASHED, fleet.block_hashes[s["chain"] + number], part)
    elif s["prefix"] >= 0 and (position + 1) * block_size <= c["prefix_tokens"]:
        return block_key(SHARED, s["prefix"], position)
    elif s["history"] >= 0:
        return block_key(CONVERSATION, _said_in(fleet, s["history"], (position + 1) * block_size), position)
    return block_key(ALONE, s["request_id"], position)


@inner
def look_up(fleet: Fleet, replica: int, request: Any, cached: Any) -> None:
    """Fill in what a replica or its tiers have of the prompt of a request on its way, and what its device keeps."""
    r = fleet.replicas[replica]
    pool = fleet.pools[r["pool"]]
    cached["found_tokens"] = 0
    cached["kept_tokens"] = 0
    if not pool["prefix_cache"]:
        return
    cache = device_cache(fleet, replica)
    block_size = pool["block_size"]
    found = 0
    while found < (request["prompt_tokens"] - 1) // block_size:
        key = key_of(fleet, request, found, block_size)
        place = 0
        while place <= pool["tiers"] and find(fleet.caches, cache + place, key) < 0:
            place += 1
        if place > pool["tiers"]:
            break
        found += 1
    cached["found_tokens"] = found * block_size
    cached["kept_tokens"] = (r["blocks_used"] + fleet.caches.caches[cache]["idle"]) * block_size


@inner
def match(fleet: Fleet, slot: int, replica: int, most: int) -> int:
    """Return how many of a request's first `most` blocks the device has; their entries are left in `found`."""
    cache = device_cache(fleet, replica)
    s = fleet.slots[slot]
    block_size = fleet.pools[fleet.replicas[replica]["pool"]]["block_size"]
    for position in range(most):
        entry = find(fleet.caches, cache, key_of(fleet, s, position, block_size))
        if entry < 0:
            return position
        fleet.found[position] = entry
    return most


@inner_inlined
def idle_among(fleet: Fleet, matched: int) -> int:
    """Return how many of the blocks just matched nobody holds."""
    idle = 0
    for position in range(matched):
        idle += fleet.caches.entries[fleet.found[position]]["references"] == 0
    return idle


@inner
def hold_matched(fleet: Fleet, slot: int, replica: int, matched: int) -> None:
    """Hold the blocks just matched."""
    cache = device_cache(fleet, replica)
    idle = idle_among(fleet, matched)
    for position in range(matched):
        hold(fleet.caches, cache, fleet.found[position])
    fleet.slots[slot]["shared"] = matched
    count_blocks(fleet, replica, idle)


@inner
def share_blocks(fleet: Fleet, slot: int, replica: int, full: int) -> None:
    """Enter a request's own blocks, up to its first `full`, in the prefix cache.

    Where a block of the same key is there already, the request gives its own
    back and holds that one.
    """
    cache = device_cache(fleet, replica)
    s = fleet.slots[slot]
    block_size = fleet.pools[fleet.replicas[replica]["pool"]]["block_size"]
    spare = 0
    for position in range(s["shared"], full):
        key = key_of(fleet, s, position, block_size)
        entry = find(fleet.caches, cache, key)
        if entry < 0:
            enter(fleet.caches, cache, key)
            continue
        spare += fleet.caches.entries[entry]["references"] > 0
        hold(fleet.caches, cache, entry)
    s["shared"] = max(full, s["shared"])
    if spare > 0:
        count_blocks(fleet, replica, -spare)


@inner
def release_blocks(fleet: Fleet, slot: int, replica: int, blocks: int, shared: int, kv_after: int) -> None:
    """Give back the blocks a request holds at a replica, the deepest first; `shared` of them stand in its cache."""
    s = fleet.slots[slot]
    freed = blocks - shared
    if shared > 0:
        cache = device_cache(fleet, replica)
        block_size = fleet.pools[fleet.replicas[replica]["pool"]]["block_size"]
        c = fleet.classes[s["class_index"]]
        for position in range(shared - 1, -1, -1):
            entry = find(fleet.caches, cache, key_of(fleet, s, position, block_size))
            freed += fleet.caches.entries[entry]["references"] == 1
            after = ORDINARY
            if kv_after == KV_KEEP:
                after = KEPT
            elif kv_after == KV_DROP and (s["prefix"] < 0 or (position + 1) * block_size > c["prefix_tokens"]):
                # A prefix that others share is not this request's to drop.
                after = DROPPED
            let_go(fleet.caches, cache, entry, after)
    count_blocks(fleet, replica, -freed)


@inner
def fetch_from_tiers(fleet: Fleet, slot: int, replica: int, matched: int, most: int, now: float) -> tuple[int, float]:
    """Fetch the blocks after the first `matched` that the tiers have; return how many, and when the last is there."""
    pool = fleet.pools[fleet.replicas[replica]["pool"]]
    first_tier = device_cache(fleet, replica) + 1
    s = fleet.slots[slot]
    ready_s = now
    for position in range(matched, most):
        key = key_of(fleet, s, position, pool["block_size"])
        tier = 0
        while tier < pool["tiers"] and find(fleet.caches, first_tier + tier, key) < 0:
            tier += 1
        if tier == pool["tiers"]:
            return position - matched, ready_s
        put(fleet.caches, first_tier + tier, key)
        ready_s = max(ready_s, occupy_tier_link(fleet, replica, tier, 1, now))
    return most - matched, ready_s


@inner
def swap_out(fleet: Fleet, slot: int, replica: int, blocks: int, now: float) -> bool:
    """Move a request's blocks to host memory, the first tier; return False if it has no room for them."""
    host = device_cache(fleet, replica) + 1
    request = fleet.slots[slot]["request_id"]
    for each in range(blocks):
        if not has_room(fleet.caches, host):
            evicted = evict(fleet.caches, host)
            if evicted < 0:
                free_swapped(fleet, slot, replica, each)
                return False
            _offload(fleet, replica, 1, evicted, now)
        enter(fleet.caches, host, block_key(ALONE, request, _SWAPPED + each))
    fleet.slots[slot]["swapped"] = blocks
    occupy_tier_link(fleet, replica, 0, blocks, now)
    return True


@inner
def free_swapped(fleet: Fleet, slot: int, replica: int, blocks: int) -> None:
    """Give back the host memory of a swapped request."""
    host = device_cache(fleet, replica) + 1
    request = fleet.slots[slot]["request_id"]
    for each in range(blocks):
        entry = find(fleet.caches, host, block_key(ALONE, request, _SWAPPED + each))
        let_go(fleet.caches, host, entry, DROPPED)
    fleet.slots[slot]["swapped"] = 0


@inner
def release_elsewhere(fleet: Fleet, slot: int) -> None:
    """Give back what a request holds at the replica that prefilled it, and in host memory."""
    s = fleet.slots[slot]
    if s["source"] >= 0:
        kv_after = fleet.classes[s["class_index"]]["kv_after"]
        release_blocks(fleet, slot, s["source"], s["source_blocks"], s["source_shared"], kv_after)
        s["source"] = -1
    if s["swapped"] > 0:
        free_swapped(fleet, slot, s["at"], s["swapped"])
