"""Policies that route by what prefix caches hold: their rules, and that the kernel shows them what is there."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from facing import candidates, chosen, outstanding, request, scored
from oracle.small import pool, run, scenario, work

from inferencesim.policy import Policy
from inferencesim.results.summarise import summarise
from inferencesim.routing.policy import POLICIES, bind

KEYS = np.random.default_rng(8).integers(0, 2**31, 20_000)


def found(*tokens, kept=()):
    return [{"found_tokens": tokens[i], "kept_tokens": kept[i] if kept else tokens[i]} for i in range(len(tokens))]


class TestPrefixAffinity:
    def choice(self, loads, cached, prompt=1000, **parameters):
        facing = candidates(outstanding(*loads), cached=cached)
        return chosen("prefix_affinity", request(prompt=prompt), facing, **parameters)

    def test_the_longest_prefix_wins_over_load(self):
        assert self.choice((40, 9, 0), found(800, 900, 0)) == 1
        assert self.choice((40, 9, 0), found(800, 800, 0)) == 1  # of equals the less loaded

    def test_out_of_balance_the_least_loaded_is_chosen(self):
        assert self.choice((70, 5, 6), found(900, 0, 0)) == 1
        # Both limits have to be passed: 64 requests apart, and half as many again.
        assert self.choice((64, 0, 1), found(900, 0, 0)) == 0
        assert self.choice((300, 210, 220), found(900, 0, 0)) == 0
        assert self.choice((300, 210, 220), found(900, 0, 0), most_ratio=1.2) == 1

    def test_where_little_is_found_the_emptiest_cache_is_chosen(self):
        assert self.choice((0, 0, 0), found(299, 0, 0, kept=(500, 400, 300))) == 2
        assert self.choice((0, 0, 0), found(300, 0, 0, kept=(500, 400, 300))) == 0
        assert self.choice((0, 0, 0), found(299, 0, 0, kept=(500, 400, 300)), least_share=0.1) == 0

    def test_who_is_not_eligible_neither_counts_nor_is_chosen(self):
        facing = candidates(outstanding(500, 3, 5), cached=found(900, 0, 400), eligible=[0, 1, 1])
        assert chosen("prefix_affinity", request(prompt=1000), facing) == 2


class TestKvAwareCost:
    def test_what_is_cached_need_not_be_prefilled(self):
        loads = [{"waiting_tokens": 500, "context_tokens": 1000.0}, {"context_tokens": 2000.0}]
        near, far = candidates(loads, cached=found(800, 0)), candidates(loads, cached=found(0, 0))
        ours = request(prompt=1000)
        assert chosen("kv_aware_cost", ours, near) == 0  # 700 + 1000 against 1000 + 2000
        assert chosen("kv_aware_cost", ours, far) == 0
        assert chosen("kv_aware_cost", ours, far, prefill_weight=4.0) == 1
        _, scores = scored("kv_aware_cost", ours, near)
        assert scores.tolist() == [-1700.0, -3000.0]

    def test_requests_count_if_asked_for(self):
        facing = candidates([{"running": 5}, {"context_tokens": 100.0}])
        assert chosen("kv_aware_cost", request(), facing) == 0
        assert chosen("kv_aware_cost", request(), facing, request_weight=50.0) == 1

    def test_load_is_per_replica(self):
        facing = candidates([{"context_tokens": 4000.0}, {"context_tokens": 2000.0}], replicas=[4, 1])
        assert chosen("kv_aware_cost", request(), facing) == 0

    def test_a_temperature_draws_with_the_odds_of_a_softmax(self):
        facing = candidates(
            [{"context_tokens": 0.0}, {"context_tokens": 500.0}, {"context_tokens": 1000.0}, {}],
            eligible=[1, 1, 1, 0],
        )
        counts = Counter(
            scored("kv_aware_cost", request(key=int(key)), facing, {"temperature": 0.5}, plain=False)[0] for key in KEYS
        )
        odds = np.exp([0.0, -1.0, -2.0])
        assert set(counts) == {0, 1, 2}
        for i, share in enumerate(odds / odds.sum()):
            assert counts[i] / KEYS.size == pytest.approx(share, abs=0.02)


def test_weighted_scorers_take_the_share_of_the_prompt():
    facing = candidates(outstanding(0, 0), cached=found(200, 600))
    weights = {"queue": 0.0, "kv": 0.0, "prefix": 3.0}
    winner, scores = scored("weighted_scorers", request(prompt=1000), facing, weights)
    assert winner == 1
    assert scores.tolist() == pytest.approx([0.6, 1.8])


def talkers(clients=6, turns=8):
    """Clients whose contexts grow; each asks again when it has its answer."""
    thinking = {"distribution": "uniform", "low": 0.5, "high": 1.5}
    arrivals = {"process": "closed", "clients": clients, "think_time": thinking}
    return work("talk", prompt=40, output=10, arrivals=arrivals, conversation={"turns": turns})


def fleet(balancing, replicas=3, kv_blocks=2000, **said):
    return scenario(
        [pool("p", replicas=replicas, prefix_cache=True, kv_blocks=kv_blocks, **said)],
        [talkers()],
        horizon=60.0,
        routing={"balancing": balancing},
    )


def hit_rate(balancing):
    return summarise(run(fleet(balancing)).result).classes[0].prefix_hit_rate


def test_conversations_find_their_way_back():
    whole = summarise(run(fleet("least_outstanding", replicas=1)).result).classes[0].prefix_hit_rate
    assert hit_rate("prefix_affinity") == pytest.approx(whole, abs=0.01)
    assert hit_rate({"policy": "kv_aware_cost", "parameters": {"prefill_weight": 50.0}}) > 0.9 * whole
    assert hit_rate({"policy": "weighted_scorers", "parameters": {"prefix": 100.0}}) > 0.9 * whole
    assert hit_rate("round_robin") < 0.7 * whole


@pytest.fixture
def seeing():
    """A plain-Python policy that remembers what it was shown."""
    shown = []

    def choose(request, candidates, scores, parameters, memory):
        shown.append((request.prompt_tokens, candidates.cached.copy(), candidates.load.copy()))
        return int(np.argmin(candidates.load["waiting"] + candidates.load["running"]))

    def file(reads_caches):
        POLICIES.register("seeing")(Policy(choose, "shows", compiled=False, reads_caches=reads_caches))
        return shown

    yield file
    POLICIES._entries.pop("seeing")


def test_what_policies_are_shown_is_what_the_request_then_finds(seeing):
    shown = seeing(True)
    played = run(fleet("seeing", replicas=2, batching={"block_size": 16}))
    requests = played.requests.sort_values("request_id")
    assert len(shown) == len(requests)
    # A client alone on its replica finds just what the router saw there.
    alone = [i for i, (_, _, load) in enumerate(shown) if (load["waiting"] + load["running"]).sum() == 0]
    assert len(alone) > 50
    for i in alone:
        row = requests.iloc[i]
        prompt, cached, _ = shown[i]
        assert row["cached_tokens"] == cached["found_tokens"][row["replica"]] <= prompt
        assert (cached["kept_tokens"] % 16 == 0).all()
    assert sum(requests["cached_tokens"].iloc[alone]) > 0
    assert shown[-1][1]["kept_tokens"].max() > 0


def test_weighted_scorers_ask_only_where_what_is_found_has_weight():
    assert not bind("weighted_scorers", {}, "here").reads_caches
    assert bind("weighted_scorers", {"prefix": 0.1}, "here").reads_caches


def test_what_a_tier_has_counts_as_found(seeing):
    shown = seeing(True)
    sums = []
    for tiers in ([], [{"name": "host", "capacity": "1 TB", "bandwidth": "64 GB/s"}]):
        shown.clear()
        run(fleet("seeing", replicas=2, kv_blocks=40, kv_tiers=tiers))
        sums.append(sum(int(cached["found_tokens"].max()) for _, cached, _ in shown))
        assert all((cached["kept_tokens"] <= 40 * 16).all() for _, cached, _ in shown)
    assert sums[1] > 1.2 * sums[0]


def test_who_does_not_ask_is_shown_nothing(seeing):
    shown = seeing(False)
    run(fleet("seeing", replicas=2))
    assert all((cached["found_tokens"] == 0).all() and (cached["kept_tokens"] == 0).all() for _, cached, _ in shown)
