"""Policies that fill candidates in an order: what comes first, and when the next is used."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from facing import candidates, chosen, outstanding, request, scored

FULL = {"kv_usage": 0.95}


@pytest.mark.parametrize(
    ("policy", "order"),
    [
        ("region_nearest", {"network_s": [0.09, 0.01, 0.03]}),
        ("region_cheapest_power", {"usd_per_j": [3e-8, 1e-8, 2e-8]}),
        ("lowest_carbon", {"carbon_g_per_j": [3e-4, 1e-4, 2e-4]}),
    ],
)
def test_the_lowest_with_room_then_the_next(policy, order):
    """However busy it is, as long as it has room; with room nowhere, the lowest."""
    assert chosen(policy, request(), candidates([{}, {"running": 9, "kv_usage": 0.8}, {}], **order)) == 1
    assert chosen(policy, request(), candidates([{}, FULL, {}], **order)) == 2
    assert chosen(policy, request(), candidates([{}, FULL, FULL], **order)) == 0
    assert chosen(policy, request(), candidates([FULL, FULL, FULL], **order)) == 1
    assert chosen(policy, request(), candidates([{}, {}, {}], eligible=[1, 0, 1], **order)) == 2


def test_equals_go_to_the_first():
    assert chosen("region_nearest", request(), candidates(outstanding(5, 0))) == 0


class TestLengthSplit:
    def facing(self, *loads):
        return candidates(list(loads), kv_tokens=[100_000, 900_000, 100_000])

    def test_long_prompts_go_where_there_is_most_cache_and_short_ones_elsewhere(self):
        assert chosen("length_split", request(prompt=8192), self.facing({}, {"running": 5}, {})) == 1
        assert chosen("length_split", request(prompt=8191), self.facing({"running": 5}, {}, {"running": 4})) == 2
        assert chosen("length_split", request(prompt=500), self.facing({}, {}, {}), threshold=400.0) == 1

    def test_to_the_other_side_when_its_own_is_full(self):
        assert chosen("length_split", request(prompt=9000), self.facing({"running": 1}, FULL, {})) == 2
        assert chosen("length_split", request(prompt=100), self.facing(FULL, {}, FULL)) == 1

    def test_alike_replicas_are_one_side(self):
        facing = candidates([{"running": 2}, {"running": 1}])
        assert {chosen("length_split", request(prompt=length), facing) for length in (100, 9000)} == {1}


class TestWeightedRoundRobin:
    def turns(self, count, eligible=(1, 1, 1), rates=(1.0, 2.0, 5.0)):
        memory = np.zeros(8, np.int64)
        facing = candidates(outstanding(0, 9, 99), eligible=list(eligible), target_rate=list(rates))
        return [scored("weighted_round_robin", request(), facing, memory=memory)[0] for _ in range(count)]

    def test_each_has_its_share_of_any_number_in_a_row(self):
        turns = self.turns(400)
        for begin in range(0, 320, 13):
            counts = Counter(turns[begin : begin + 80])
            assert counts[0] == pytest.approx(10, abs=3)
            assert counts[1] == pytest.approx(20, abs=3)
            assert counts[2] == pytest.approx(50, abs=3)

    def test_the_ineligible_have_none(self):
        counts = Counter(self.turns(100, eligible=(1, 0, 1)))
        assert set(counts) == {0, 2}
        assert counts[0] == pytest.approx(100 / 6, abs=3)


def test_weights_of_energy_and_network():
    near = candidates([{}, {}], network_s=[0.2, 0.01], site_w=[100.0, 900.0])
    assert chosen("weighted_scorers", request(), near, network=1.0) == 1
    assert chosen("weighted_scorers", request(), near, network=1.0, energy=1.5) == 0
