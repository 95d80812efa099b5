"""What a prefix cache of a given size finds of a trace: by hand, against a naive one, and as published."""

from __future__ import annotations

import csv
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencesim.errors import InputError
from inferencesim.experiments.hit_rate import hit_rates
from inferencesim.workload.traces.reading import read_trace
from inferencesim.workload.traces.record import BlockHashes, Trace

SHARED = Path(__file__).parents[3] / "shared" / "traces"


def trace_of(prompts, tokens, block_size=10):
    """Return a trace of prompts given as the ids of their blocks, and their lengths."""
    n = len(prompts)
    offsets = np.concatenate(([0], np.cumsum([len(each) for each in prompts]))).astype(np.int64)
    values = np.array([block for each in prompts for block in each], dtype=np.int64)
    columns = np.array(tokens, dtype=np.int64), np.ones(n, dtype=np.int64), np.full(n, -1)
    return Trace("made", "test", np.arange(n) * 1.0, *columns, blocks=BlockHashes(offsets, values, block_size))


def rates(trace, *capacities, **options):
    return [rate.hit_rate for rate in hit_rates(trace, capacities, **options)]


def test_only_full_blocks_count_and_the_last_token_is_computed():
    # The second prompt finds its two full blocks. The third and the fourth have all of theirs in the cache, and
    # compute the last one again for the sake of its last token.
    trace = trace_of([[0, 1, 2], [0, 1, 2], [0, 1], [0, 1]], [25, 25, 20, 20])
    assert rates(trace)[-1] == (20 + 10 + 10) / 90
    assert rates(trace, partial_blocks=True)[-1] == (25 + 20 + 20) / 90


def test_the_deepest_block_of_the_prompt_longest_unused_goes_first():
    # With room for four: [8, 9] evicts block 2, [0, 1] makes its blocks new again, [5] then evicts block 9.
    trace = trace_of([[0, 1, 2], [8, 9], [0, 1], [5], [8, 9]], [31, 21, 21, 11, 21])
    assert rates(trace, 4)[0] == pytest.approx((20 + 10) / 105)


def test_a_prompt_larger_than_the_cache_leaves_its_beginning_there():
    trace = trace_of([[0, 1, 2, 3], [0, 1, 2, 3]], [41, 41])
    assert rates(trace, 2) == [20 / 82, 40 / 82]


def test_the_second_half_of_the_requests_is_counted_apart():
    cold, unlimited = hit_rates(trace_of([[0], [1], [0]], [11, 11, 11]), [1])
    assert (cold.hit_rate, unlimited.hit_rate, unlimited.hit_rate_last_half) == (0, 10 / 33, 10 / 22)
    assert (cold.blocks, cold.tokens, cold.unlimited) == (1, 10, False)
    assert (unlimited.blocks, unlimited.tokens, unlimited.unlimited) == (2, 20, True)


def test_round_sizes_are_looked_at_where_none_is_named():
    trace = trace_of([range(700), range(700, 1100)], [7001, 4001])
    assert [rate.blocks for rate in hit_rates(trace)] == [5, 10, 20, 50, 100, 200, 500, 1000, 1100]
    assert [rate.blocks for rate in hit_rates(trace, [30, 7, 30])] == [7, 30, 1100]


def test_a_trace_without_hashes_is_refused():
    trace = Trace("a.csv", "azure", *(np.ones(1, dtype=np.int64) for _ in range(4)))
    with pytest.raises(InputError, match=r"a\.csv: a trace of format azure has no hashes"):
        hit_rates(trace)


def naive(prompts, tokens, capacity, block_size=10):
    """Return the tokens found by a cache that forgets, after each prompt, what is too much for it."""
    cached, found = OrderedDict(), 0
    for ids, length in zip(prompts, tokens, strict=True):
        full = ids[: length // block_size]
        leading = next((depth for depth, block in enumerate(full) if block not in cached), len(full))
        found += min(leading, (length - 1) // block_size) * block_size
        for block in reversed(full):
            cached[block] = None
            cached.move_to_end(block)
        while len(cached) > capacity:
            cached.popitem(last=False)
    return found / sum(tokens)


@given(st.data())
def test_any_trace_gives_what_a_naive_cache_finds_and_never_more_with_less_capacity(data):
    # Prompts grow as paths of a tree: an id stands for the whole path to it, as a prefix hash does.
    paths = data.draw(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=6), min_size=1, max_size=25))
    prompts = [[int("1" + "".join(map(str, path[:depth])), 2) for depth in range(1, len(path) + 1)] for path in paths]
    tokens = [10 * len(path) - data.draw(st.integers(0, 9)) for path in paths]
    capacities = range(1, 12)
    found = rates(trace_of(prompts, tokens), *capacities)
    assert found == [naive(prompts, tokens, capacity) for capacity in (*capacities, 10**9)]
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("name", "share", "furthest"),
    [("conversation_trace", 0.373, 0.0085), ("synthetic_trace", 0.650, 0.0130), ("mooncake_trace_1000", 0.390, 0.0025)],
)
def test_published_traces_have_the_published_curves(name, share, furthest):
    path = SHARED / "mooncake" / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"the shared trace {path.name} is not here")
    trace = read_trace(path)
    with (SHARED / "hit_rate_curves" / "own_lru_curves.csv").open() as file:
        points = [row for row in csv.DictReader(file) if row["trace"] == name]
    capacities = [int(row["capacity_blocks"]) for row in points if row["capacity_blocks"] != "inf"]
    published = [(float(row["token_hit_rate_all"]), float(row["token_hit_rate_last50pct"])) for row in points]

    # The curves count a partial last block as a block and let a prompt be found whole: then every point is theirs.
    counted_alike = hit_rates(trace, capacities, partial_blocks=True)
    for rate, point in zip(counted_alike, published, strict=True):
        assert (rate.hit_rate, rate.hit_rate_last_half) == pytest.approx(point, abs=5.1e-6)

    # Full blocks only: more of them fit, since partial ones take no room, and an unlimited cache finds a little less.
    full = hit_rates(trace, capacities)
    assert full[-1].hit_rate == pytest.approx(share, abs=0.0006)
    assert full[-1].hit_rate < counted_alike[-1].hit_rate
    for rate, point in zip(full, published, strict=True):
        if rate.blocks >= 10_000:
            assert (rate.hit_rate, rate.hit_rate_last_half) == pytest.approx(point, abs=furthest)
    assert [rate.hit_rate for rate in full] == sorted(rate.hit_rate for rate in full)
