"""KV blocks of the twin: who holds them, what is kept of those nobody holds, and the tiers below."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(eq=False)
class Block:
    """One KV block; `key` says what stands in it, once it may be shared."""

    key: tuple | None = None
    holders: int = 0


@dataclass(eq=False)
class Tier:
    """A store below the device: keys of blocks, oldest first, and the blocks of requests that were swapped out."""

    capacity: int
    block_s: float
    latency_s: float
    keys: list[tuple] = field(default_factory=list)
    swapped: int = 0
    free_s: float = 0.0

    def send(self, blocks, now):
        """Occupy the link; return when the last block is there."""
        self.free_s = max(now, self.free_s) + blocks * self.block_s
        return self.free_s + self.latency_s

    def has_room(self):
        return len(self.keys) + self.swapped < self.capacity


@dataclass(eq=False)
class Memory:
    """The KV memory of one replica."""

    capacity: int
    shares: bool
    tiers: list[Tier]
    held: dict = field(default_factory=dict)
    cached: dict = field(default_factory=dict)
    ordinary: list[Block] = field(default_factory=list)
    kept: list[Block] = field(default_factory=list)

    def used(self):
        """Count the blocks somebody holds, each once."""
        return len({block for blocks in self.held.values() for block in blocks})

    def idle(self):
        return len(self.ordinary) + len(self.kept)

    def match(self, keys):
        """Return the cached blocks with which a prompt begins."""
        found = []
        for key in keys if self.shares else []:
            if key not in self.cached:
                break
            found.append(self.cached[key])
        return found

    def _hold(self, block):
        if block.holders == 0:
            for idle in (self.ordinary, self.kept):
                if block in idle:
                    idle.remove(block)
        block.holders += 1

    def take(self, call, matched, own, now):
        """Hold the blocks that are there, and some more of one's own."""
        for block in matched:
            self._hold(block)
        self.held[call] = list(matched)
        self.grow(call, own, now)

    def grow(self, call, blocks, now):
        self.held[call] += [Block(holders=1) for _ in range(blocks)]
        self.make_room(now)

    def make_room(self, now):
        while self.used() + self.idle() > self.capacity and self.idle() > 0:
            block = (self.ordinary or self.kept).pop(0)
            del self.cached[block.key]
            self.offload(block.key, 0, now)

    def offload(self, key, first, now):
        """Write what was evicted to the next tier, and what that evicts to the one after it."""
        for tier in self.tiers[first:]:
            if key in tier.keys:
                tier.keys.remove(key)
                tier.keys.append(key)
                return
            if not tier.has_room() and not tier.keys:
                # Swapped requests fill it.
                continue
            evicted = None if tier.has_room() else tier.keys.pop(0)
            tier.send(1, now)
            tier.keys.append(key)
            if evicted is None:
                return
            key = evicted

    def fetch(self, keys, now):
        """Fetch blocks in order while some tier has them; return how many, and when all are there."""
        ready_s, count = now, 0
        for key in keys:
            tier = next((tier for tier in self.tiers if key in tier.keys), None)
            if tier is None:
                break
            tier.keys.remove(key)
            tier.keys.append(key)
            ready_s = max(ready_s, tier.send(1, now))
            count += 1
        return count, ready_s

    def share(self, call, full):
        """Enter the first blocks of a request in the cache; what is there already takes the place of its own."""
        if not self.shares:
            return
        blocks = self.held[call]
        for position, key in enumerate(call.keys(full, call.at.pool.block_size)):
            if blocks[position].key is not None:
                continue
            if key in self.cached:
                blocks[position] = self.cached[key]
                self._hold(blocks[position])
            else:
                blocks[position].key = key
                self.cached[key] = blocks[position]

    def release(self, call, block_size, *, left):
        """Give all blocks back, the deepest first; if the request has `left`, its class says what becomes of them."""
        after = call.kind.described.kv_after if left else "lru"
        blocks = self.held.pop(call)
        for position in reversed(range(len(blocks))):
            block = blocks[position]
            block.holders -= 1
            if block.holders or block.key is None:
                continue
            common = call.prefix >= 0 and (position + 1) * block_size <= call.kind.prefix_tokens
            if after == "drop" and not common:
                del self.cached[block.key]
            else:
                (self.kept if after == "keep" else self.ordinary).append(block)

    def swap_out(self, blocks, now):
        """Move blocks of one request to the first tier, if it has room once all else there is evicted."""
        host = self.tiers[0]
        for each in range(blocks):
            if not host.has_room():
                if not host.keys:
                    host.swapped -= each
                    return False
                self.offload(host.keys.pop(0), 1, now)
            host.swapped += 1
        host.send(blocks, now)
        return True

    def forget(self, capacity):
        """Drop all that nobody holds: another model is loaded."""
        for block in self.ordinary + self.kept:
            del self.cached[block.key]
        self.ordinary, self.kept, self.capacity = [], [], capacity
        for tier in self.tiers:
            tier.keys = []


def tiers_of(pool, deployments):
    """Return the empty tiers of one replica."""
    smallest = min(deployment.kv_block_bytes for deployment in deployments)
    first = deployments[0].kv_block_bytes
    return [Tier(math.floor(each.capacity / smallest), first / each.bandwidth, each.latency) for each in pool.kv_tiers]
