"""Chains of cache blocks: what prompts of a trace share, block by block from their beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.workload.traces.record import BlockHashes


class Hashes(NamedTuple):
    """Block hashes of the prompts of one class.

    Parameters
    ----------
    source : str
        The trace they are from: hashes of two traces have nothing to do with each other.
    blocks : BlockHashes
        As the trace has them, a partial last block included.
    prompt_tokens : numpy.ndarray
        Shape (requests,), int64.
    """

    source: str
    blocks: BlockHashes
    prompt_tokens: NDArray[np.int64]

    def full_blocks(self) -> NDArray[np.int64]:
        """Return how many blocks each prompt fills, of those that are known."""
        return np.minimum(self.prompt_tokens // self.blocks.block_size, np.diff(self.blocks.offsets))


class Chains(NamedTuple):
    """Blocks of all requests of a load; see the columns of the same names of `Load`."""

    block_ids: NDArray[np.int64]
    chain: list[NDArray[np.int64]]  #: of each part of the load
    chain_blocks: list[NDArray[np.int64]]  #: likewise


def join_chains(hashes: Sequence[Hashes | None], requests: Sequence[int]) -> Chains:
    """Join the hashes of the parts of a load.

    Parameters
    ----------
    hashes : sequence of Hashes or None
        Per part.
    requests : sequence of int
        Per part, how many requests it has.

    Returns
    -------
    Chains
        Equal ids mean equal hashes of one trace; they count from 0 without gaps.
    """
    ids = _dense([each for each in hashes if each is not None])
    chain, chain_blocks, first = [], [], 0
    for each, count in zip(hashes, requests, strict=True):
        if each is None:
            chain.append(np.full(count, -1, dtype=np.int64))
            chain_blocks.append(np.zeros(count, dtype=np.int64))
        else:
            full = each.full_blocks()
            chain.append(np.where(full > 0, first + each.blocks.offsets[:-1], -1))
            chain_blocks.append(full)
            first += each.blocks.values.size
    return Chains(ids, chain, chain_blocks)


def _dense(hashes: Sequence[Hashes]) -> NDArray[np.int64]:
    """Return the ids of all blocks, in the order of `hashes`."""
    parts: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * len(hashes)
    known = 0
    for source in dict.fromkeys(each.source for each in hashes):
        of_source = [place for place, each in enumerate(hashes) if each.source == source]
        values = [hashes[place].blocks.values for place in of_source]
        different, ids = np.unique(np.concatenate(values), return_inverse=True)
        ends = np.cumsum([each.size for each in values])
        for place, part in zip(of_source, np.split(known + ids.astype(np.int64), ends[:-1]), strict=True):
            parts[place] = part
        known += different.size
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
