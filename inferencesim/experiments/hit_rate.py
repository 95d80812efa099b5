"""The prefix cache alone: a trace's prompts through caches of given sizes, in order of arrival.

There is no clock and no fleet: each prompt is in the cache before the next one
comes. A simulated replica finds less, since prefixes in flight miss there and
running requests hold blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.errors import InputError
from inferencesim.jit import compiled
from inferencesim.kernel.prefix import ORDINARY, enter, evict, find, has_room, hold, let_go, new_caches

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from inferencesim.kernel.prefix import Caches
    from inferencesim.workload.traces.record import BlockHashes, Trace

#: Sizes to look at where none is named: so many steps of 1, 2, 5, 10 … below what an unlimited cache comes to hold.
_STEPS = 8


@dataclass(frozen=True)
class HitRate:
    """What a cache of one size finds of a trace.

    Parameters
    ----------
    blocks, tokens : int
        Its size; of the unlimited one, what it holds in the end.
    unlimited : bool
        Whether it is large enough never to evict.
    hit_rate : float
        Prompt tokens found / prompt tokens.
    hit_rate_last_half : float
        The same over the last half of the requests, when the cache is warm.
    """

    blocks: int
    tokens: int
    unlimited: bool
    hit_rate: float
    hit_rate_last_half: float


def hit_rates(trace: Trace, capacities: Iterable[int] = (), *, partial_blocks: bool = False) -> list[HitRate]:
    """Return what caches of these sizes find of a trace, the smallest first, and at last an unlimited one.

    The least recently used block is evicted, of one prompt the deepest first,
    and never one of the prompt that needs the room.

    Parameters
    ----------
    trace : Trace
        With hashes of its blocks.
    capacities : iterable of int
        Blocks, above zero. None: a ladder of round numbers below the unlimited cache.
    partial_blocks : bool
        False: only full blocks are cached, and a prompt's last token is always
        computed, as serving engines have it. True: a prompt's partial last
        block is cached and found like a full one, and a prompt may be found
        whole, as published hit rates of Mooncake's traces have it.

    Returns
    -------
    list of HitRate

    Raises
    ------
    InputError
        If the trace has no hashes.
    """
    if trace.blocks is None:
        what = (
            f"a trace of format {trace.format} has no hashes of its prompts' blocks, so nothing tells what they share"
        )
        raise InputError(trace.source, what, "Mooncake's JSONL has them (hash_ids), and so do Weka's sessions.")
    blocks = trace.blocks.numbered()
    counts = np.diff(blocks.offsets)
    if not partial_blocks:
        counts = np.minimum(counts, trace.prompt_tokens // blocks.block_size)
    unlimited = _through(trace, blocks, counts, None, partial_blocks)
    sizes = sorted(set(capacities) or _ladder(unlimited.blocks))
    return [*(_through(trace, blocks, counts, size, partial_blocks) for size in sizes), unlimited]


def _ladder(most: int) -> list[int]:
    """Return the last round numbers (1, 2, 5, 10 …) below `most`."""
    steps = [factor * 10**power for power in range(len(str(most))) for factor in (1, 2, 5)]
    return [step for step in steps if step < most][-_STEPS:]


def _through(
    trace: Trace, blocks: BlockHashes, counts: NDArray[np.int64], capacity: int | None, partial_blocks: bool
) -> HitRate:
    """Play the trace through one empty cache."""
    caches = new_caches([capacity or int(blocks.values.max(initial=0)) + 1])
    found = np.zeros(len(trace), dtype=np.int64)
    held = np.zeros(int(counts.max()), dtype=np.int64)
    _replay(caches, blocks.values, blocks.offsets[:-1], counts, held, found)
    prompts, size = trace.prompt_tokens, blocks.block_size
    tokens = np.minimum(found * size, prompts) if partial_blocks else np.minimum(found, (prompts - 1) // size) * size
    last = slice(len(trace) // 2, None)
    # Of an unlimited cache nothing is evicted, so what was ever in use is what it holds.
    own = capacity or int(caches.caches[0]["touched"])
    return HitRate(
        blocks=own,
        tokens=own * size,
        unlimited=capacity is None,
        hit_rate=float(tokens.sum() / prompts.sum()),
        hit_rate_last_half=float(tokens[last].sum() / prompts[last].sum()),
    )


@compiled
def _replay(
    caches: Caches,
    keys: NDArray[np.int64],
    first: NDArray[np.int64],
    counts: NDArray[np.int64],
    held: NDArray[np.int64],
    found: NDArray[np.int64],
) -> None:
    """Let row after row find its leading blocks, hold what is there, enter the rest, and let go, the deepest first."""
    for row in range(len(counts)):
        depth = 0
        misses = 0
        while depth < counts[row]:
            key = keys[first[row] + depth]
            entry = find(caches, 0, key)
            if entry >= 0:
                hold(caches, 0, entry)
            else:
                misses += 1
                if not has_room(caches, 0):
                    if caches.caches[0]["idle"] == 0:
                        break
                    evict(caches, 0)
                entry = enter(caches, 0, key)
            if misses == 0:
                found[row] += 1
            held[depth] = entry
            depth += 1
        for place in range(depth - 1, -1, -1):
            let_go(caches, 0, held[place], ORDINARY)
