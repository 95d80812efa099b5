"""The prefix cache against a naive one of ordered dictionaries, compiled and as plain Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from inferencesim import jit
from inferencesim.kernel import prefix
from inferencesim.kernel.prefix import ALONE, CONVERSATION, DROPPED, HASHED, KEPT, ORDINARY, SHARED, block_key

KINDS = st.sampled_from([HASHED, SHARED, CONVERSATION, ALONE])
#: Few keys, so that they meet again; some of them large, as those of late requests are.
KEYS = st.builds(block_key, KINDS, st.sampled_from([0, 1, 2**40 - 1]), st.sampled_from([0, 1, 2**21 - 1]))


class Naive:
    """What :mod:`inferencesim.kernel.prefix` promises, in dictionaries."""

    def __init__(self, capacity):
        self.capacity = capacity
        self.held = {}
        self.lists = OrderedDict(), OrderedDict()

    def idle(self):
        return [*self.lists[ORDINARY], *self.lists[KEPT]]

    def size(self):
        return len(self.held) + len(self.idle())

    def hold(self, key):
        for each in self.lists:
            each.pop(key, None)
        self.held[key] = self.held.get(key, 0) + 1

    def let_go(self, key, after):
        self.held[key] -= 1
        if self.held[key] == 0:
            del self.held[key]
            if after != DROPPED:
                self.lists[after][key] = None

    def evict(self):
        for each in self.lists:
            if each:
                return each.popitem(last=False)[0]
        return -1

    def put(self, key):
        if key in self.held:
            return -1
        evicted = -1
        if key not in self.idle() and self.size() == self.capacity:
            evicted = self.evict()
            if evicted < 0:
                return key
        self.hold(key)
        self.let_go(key, ORDINARY)
        return evicted

    def forget(self, key):
        for each in self.lists:
            each.pop(key, None)


class Same(RuleBasedStateMachine):
    """Two caches side by side in the tables, each with its naive twin: what happens to one is nothing to the other."""

    def __init__(self):
        super().__init__()
        self.twins = [Naive(3), Naive(5)]
        self.caches = prefix.new_caches([twin.capacity for twin in self.twins])

    def entry_of(self, which, key):
        return prefix.find(self.caches, which, key)

    @rule(which=st.integers(0, 1), key=KEYS)
    def ask_for(self, which, key):
        twin, entry = self.twins[which], self.entry_of(which, key)
        assert (entry >= 0) == (key in twin.held or key in twin.idle())
        if entry >= 0:
            prefix.hold(self.caches, which, entry)
            twin.hold(key)
        elif prefix.has_room(self.caches, which):
            assert prefix.enter(self.caches, which, key) >= 0
            twin.hold(key)

    @precondition(lambda self: any(twin.held for twin in self.twins))
    @rule(data=st.data(), after=st.sampled_from([ORDINARY, KEPT, DROPPED]))
    def let_one_go(self, data, after):
        held = [(which, key) for which, twin in enumerate(self.twins) for key in twin.held]
        which, key = data.draw(st.sampled_from(held))
        prefix.let_go(self.caches, which, self.entry_of(which, key), after)
        self.twins[which].let_go(key, after)

    @rule(which=st.integers(0, 1))
    def evict(self, which):
        assert prefix.evict(self.caches, which) == self.twins[which].evict()

    @rule(which=st.integers(0, 1), key=KEYS)
    def put(self, which, key):
        assert prefix.put(self.caches, which, key) == self.twins[which].put(key)

    @rule(which=st.integers(0, 1))
    def clear(self, which):
        prefix.clear(self.caches, which)
        for key in self.twins[which].idle():
            self.twins[which].forget(key)

    @invariant()
    def the_same_blocks_are_cached(self):
        for which, twin in enumerate(self.twins):
            assert self.caches.caches[which]["idle"] == len(twin.idle())
            assert prefix.has_room(self.caches, which) == (twin.size() < twin.capacity)
            for key in twin.idle():
                assert self.caches.entries[self.entry_of(which, key)]["references"] == 0
            for key, references in twin.held.items():
                assert self.caches.entries[self.entry_of(which, key)]["references"] == references


def test_any_use_leaves_what_the_naive_cache_has():
    run_state_machine_as_test(Same, settings=settings(max_examples=100, stateful_step_count=40, deadline=None))


@pytest.mark.skipif(not jit.JIT_ENABLED, reason="this session is the one without the JIT")
def test_the_same_holds_as_plain_python():
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    script = (
        "import test_prefix_cache as t; assert not t.jit.JIT_ENABLED; t.test_any_use_leaves_what_the_naive_cache_has()"
    )
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr


def test_keys_are_distinct_and_positive():
    most = 2**40 - 1, 2**21 - 1
    keys = [
        block_key(kind, i, n)
        for kind in (HASHED, SHARED, CONVERSATION, ALONE)
        for i in (0, 1, most[0])
        for n in (0, most[1])
    ]
    assert len(set(keys)) == len(keys)
    assert min(keys) == 0
    assert max(keys) == 2**63 - 1


def test_a_cache_of_no_blocks_hands_on_what_is_put_into_it():
    caches = prefix.new_caches([0, 1])
    assert prefix.put(caches, 0, 7) == 7
    assert prefix.put(caches, 1, 7) == -1
    assert prefix.put(caches, 1, 8) == 7
    assert prefix.find(caches, 0, 7) == -1


def test_chains_stay_short_whatever_the_keys():
    capacity = 4096
    caches = prefix.new_caches([capacity])
    for number in range(capacity):
        prefix.put(caches, 0, block_key(ALONE, number // 16 * 1000, number % 16))
    used = caches.buckets > 0
    # A random spread over as many buckets as keys leaves 1/e of them empty.
    assert used.mean() == pytest.approx(1 - 1 / 2.718, abs=0.03)


def test_large_caches_cost_no_memory_before_they_are_used():
    resource = pytest.importorskip("resource")
    # Compiling takes memory, too.
    prefix.put(prefix.new_caches([1]), 0, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    caches = prefix.new_caches([60_000] * 1000)
    prefix.put(caches, 999, 1)
    assert sum(table.nbytes for table in caches) > 10**9
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB, on Linux


def test_more_blocks_than_rows_can_number_are_refused():
    with pytest.raises(ValueError, match="32-bit"):
        prefix.new_caches([2**30, 2**30])
