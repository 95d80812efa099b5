"""The prefix cache: blocks of KV that outlive their request, found again by key, evicted oldest first.

There is a cache per replica, and one per replica and KV tier below. Each is a
hash table with chains over its own range of two shared tables; an entry is one
block. An entry with references belongs to running requests and cannot be
evicted. One without is idle and stands in one of two lists, ordered from the
oldest to the newest: the ordinary one, or that of blocks to be kept, whose
entries go only when the ordinary list is empty.

The first rows of the table of entries are no blocks: they are the ends of the
lists, two per cache. A list is closed to a ring over its end, so that an entry
can leave it without knowing which it is. As row 0 is such an end, 0 means none
in a chain or a bucket, and memory that no block has used stays untouched zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inferencesim.jit import compiled, inlined
from inferencesim.kernel.views import mix
from inferencesim.references import by_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records

#: One cache: of a replica, or of a tier below it.
CACHE = np.dtype(
    [
        ("capacity", np.int64),  # blocks
        ("first_entry", np.int64),
        ("first_bucket", np.int64),
        ("bucket_mask", np.int64),  # buckets − 1, a power of two
        ("touched", np.int64),  # entries ever in use, handed out in order of their rows
        ("free", np.int64),  # of those, the first that is free again; chained like a bucket
        ("idle", np.int64),  # entries without references
    ]
)

#: One cached block.
ENTRY = np.dtype(
    [
        ("key", np.int64),
        ("references", np.int32),
        ("chained", np.int32),  # next entry of the same bucket, or next free one
        ("older", np.int32),  # neighbours in the list of idle blocks; of a list's end: the newest
        ("newer", np.int32),  # of a list's end: the oldest
    ]
)

#: What becomes of a block without references: the list it joins, or nothing is left of it.
ORDINARY, KEPT, DROPPED = range(3)
_LISTS = 2

#: What the blocks of a key belong to.
HASHED, SHARED, CONVERSATION, ALONE = range(4)


@by_reference
class Caches(NamedTuple):
    """All prefix caches of a fleet."""

    caches: Records  #: CACHE
    entries: Records  #: ENTRY of all caches, a range of rows each
    buckets: NDArray[np.int32]  #: first entry of each bucket, likewise


def new_caches(capacities: Sequence[int]) -> Caches:
    """Return empty caches of so many blocks each.

    The tables are zeros from the operating system: what no block ever uses
    costs address space, not memory.

    Raises
    ------
    ValueError
        If they hold more blocks together than a 32-bit row number can tell apart.
    """
    caches = np.zeros(len(capacities), dtype=CACHE)
    caches["capacity"] = capacities
    buckets = np.array([1 << max(capacity - 1, 0).bit_length() for capacity in capacities], dtype=np.int64)
    caches["bucket_mask"] = buckets - 1
    caches["first_bucket"] = np.cumsum(buckets) - buckets
    ends = _LISTS * len(caches)
    if ends + sum(capacities) > np.iinfo(np.int32).max:
        msg = f"{sum(capacities):,} cached blocks are more than 32-bit row numbers tell apart"
        raise ValueError(msg)
    caches["first_entry"] = ends + np.cumsum(caches["capacity"]) - caches["capacity"]
    entries = np.zeros(ends + int(caches["capacity"].sum()), dtype=ENTRY)
    entries["older"][:ends] = entries["newer"][:ends] = np.arange(ends)
    return Caches(caches, entries, np.zeros(int(buckets.sum()), dtype=np.int32))


@inlined
def block_key(kind: int, identity: int, number: int) -> int:
    """Return the key of block `number` (below 2²¹) of `identity` (below 2⁴⁰): equal only for an equal prefix."""
    return (kind << 61) | (identity << 21) | number


@inlined
def _bucket(caches: Caches, cache: int, key: int) -> int:
    c = caches.caches[cache]
    return int(c["first_bucket"] + (mix(key & 0x7FFFFFFF, key >> 31) & c["bucket_mask"]))


@inlined
def _unlist(caches: Caches, entry: int) -> None:
    """Take an idle entry out of its list."""
    older, newer = caches.entries[entry]["older"], caches.entries[entry]["newer"]
    caches.entries[older]["newer"] = newer
    caches.entries[newer]["older"] = older


@inlined
def _append(caches: Caches, cache: int, entry: int, kind: int) -> None:
    """Make an entry the newest of a list."""
    end = _LISTS * cache + kind
    newest = caches.entries[end]["older"]
    caches.entries[entry]["older"] = newest
    caches.entries[entry]["newer"] = end
    caches.entries[newest]["newer"] = entry
    caches.entries[end]["older"] = entry


@inlined
def _remove(caches: Caches, cache: int, entry: int) -> None:
    """Free an entry that is in no list."""
    bucket = _bucket(caches, cache, caches.entries[entry]["key"])
    following = caches.entries[entry]["chained"]
    if caches.buckets[bucket] == entry:
        caches.buckets[bucket] = following
    else:
        before = caches.buckets[bucket]
        while caches.entries[before]["chained"] != entry:
            before = caches.entries[before]["chained"]
        caches.entries[before]["chained"] = following
    caches.entries[entry]["chained"] = caches.caches[cache]["free"]
    caches.caches[cache]["free"] = entry


@inlined
def has_room(caches: Caches, cache: int) -> bool:
    """Say whether a block can be entered without evicting another."""
    c = caches.caches[cache]
    return bool(c["free"] != 0 or c["touched"] < c["capacity"])


@inlined
def find(caches: Caches, cache: int, key: int) -> int:
    """Return the entry of a key, or −1."""
    entry = int(caches.buckets[_bucket(caches, cache, key)])
    while entry != 0:
        if caches.entries[entry]["key"] == key:
            return entry
        entry = int(caches.entries[entry]["chained"])
    return -1


@inlined
def hold(caches: Caches, cache: int, entry: int) -> None:
    """Add a reference; what was idle leaves its list."""
    if caches.entries[entry]["references"] == 0:
        _unlist(caches, entry)
        caches.caches[cache]["idle"] -= 1
    caches.entries[entry]["references"] += 1


@inlined
def enter(caches: Caches, cache: int, key: int) -> int:
    """Return a new entry with one reference; the key is new, and the caller has made sure that there is room."""
    c = caches.caches[cache]
    entry = int(c["free"])
    if entry != 0:
        c["free"] = caches.entries[entry]["chained"]
    else:
        entry = int(c["first_entry"] + c["touched"])
        c["touched"] += 1
    bucket = _bucket(caches, cache, key)
    e = caches.entries[entry]
    e["key"] = key
    e["references"] = 1
    e["chained"] = caches.buckets[bucket]
    caches.buckets[bucket] = entry
    return entry


@inlined
def let_go(caches: Caches, cache: int, entry: int, after: int) -> None:
    """Give a reference back; without any, the block becomes the newest of list `after`, or is DROPPED."""
    caches.entries[entry]["references"] -= 1
    if caches.entries[entry]["references"] > 0:
        return
    if after == DROPPED:
        _remove(caches, cache, entry)
    else:
        _append(caches, cache, entry, after)
        caches.caches[cache]["idle"] += 1


@compiled
def evict(caches: Caches, cache: int) -> int:
    """Remove the oldest idle block, an ordinary one before any to be kept, and return its key; −1 if none is idle."""
    if caches.caches[cache]["idle"] == 0:
        return -1
    end = _LISTS * cache + ORDINARY
    entry = caches.entries[end]["newer"]
    if entry == end:
        entry = caches.entries[_LISTS * cache + KEPT]["newer"]
    key = int(caches.entries[entry]["key"])
    _unlist(caches, entry)
    _remove(caches, cache, entry)
    caches.caches[cache]["idle"] -= 1
    return key


@compiled
def put(caches: Caches, cache: int, key: int) -> int:
    """Enter a block that nobody holds as the newest, for tiers, or make it the newest if it is there.

    Returns the key that is out of the cache in exchange, −1 if none: the
    oldest where the cache was full, `key` itself where nothing could be evicted.
    """
    entry = find(caches, cache, key)
    evicted = -1
    if entry < 0:
        if not has_room(caches, cache):
            evicted = evict(caches, cache)
            if evicted < 0:
                return key
        entry = enter(caches, cache, key)
    else:
        hold(caches, cache, entry)
    let_go(caches, cache, entry, ORDINARY)
    return evicted


@compiled
def clear(caches: Caches, cache: int) -> None:
    """Evict all idle blocks, as when another model is loaded."""
    while evict(caches, cache) >= 0:
        pass
