"""Each policy's own rule."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from facing import MEAN_OUTPUT, MEAN_PROMPT, MIXED, candidates, chosen, outstanding, replica_of, request, scored

from inferencesim.routing.policies import INFEASIBLE
from inferencesim.routing.prediction import predict

KEYS = np.random.default_rng(5).integers(0, 2**31, 20_000)


def test_random_is_uniform_over_the_eligible():
    facing = candidates(outstanding(9, 0, 5, 0), eligible=[1, 0, 1, 1])
    counts = Counter(scored("random", request(key=int(key)), facing, plain=False)[0] for key in KEYS)
    assert set(counts) == {0, 2, 3}
    for count in counts.values():
        assert abs(count - 20_000 / 3) < 5 * (20_000 * 2 / 9) ** 0.5


def test_round_robin_cycles_by_identity_and_passes_over_the_ineligible():
    memory = np.zeros(8, np.int64)
    facing = candidates(outstanding(9, 0, 5, 0), eligible=[1, 0, 1, 1])
    turns = [scored("round_robin", request(), facing, memory=memory)[0] for _ in range(7)]
    assert turns == [0, 2, 3, 0, 2, 3, 0]
    # The missing one comes back and takes its turn.
    facing.eligible[1] = 1
    assert [scored("round_robin", request(), facing, memory=memory)[0] for _ in range(4)] == [1, 2, 3, 0]


@pytest.mark.parametrize(
    ("policy", "loads", "traits", "winner"),
    [
        ("least_outstanding", [{"waiting": 3}, {"waiting": 1, "running": 1}, {"running": 3}], {}, 1),
        ("least_outstanding", [{"running": 8}, {"running": 3}], {"replicas": [4, 1]}, 0),
        ("join_shortest_queue", [{"waiting": 1}, {"running": 200}, {"waiting": 2}], {}, 1),
        ("join_shortest_queue", [{"waiting": 6}, {"waiting": 2}], {"replicas": [4, 1]}, 0),
        ("least_tokens", [{"waiting": 1, "waiting_tokens": 9000}, {"running": 3}], {}, 1),
        ("least_tokens", [{"waiting": 1, "waiting_tokens": 100}, {"running": 3}], {}, 0),
        ("least_tokens", [{"waiting_tokens": 4000}, {"waiting_tokens": 2000}], {"replicas": [4, 1]}, 0),
        ("least_kv", [{"kv_usage": 0.5}, {"kv_usage": 0.4, "running": 99}], {}, 1),
        ("least_kv", [{"kv_usage": 0.4, "waiting": 3}, {"kv_usage": 0.4}], {}, 1),
        ("least_normalised_load", [{"running": 10}, {"running": 30}], {"target_rate": [1.0, 4.0]}, 1),
        ("least_normalised_load", [{}, {}], {"target_rate": [1.0, 4.0]}, 1),
        ("least_normalised_load", [{"running": 10}, {"running": 60}], {"target_rate": [1.0, 4.0]}, 0),
    ],
)
def test_the_least_loaded_in_its_own_sense(policy, loads, traits, winner):
    assert chosen(policy, request(), candidates(loads, **traits)) == winner


def test_least_tokens_takes_outputs_at_the_mean_of_the_class():
    facing = candidates([{"waiting": 2, "waiting_tokens": 100}, {"waiting": 1, "waiting_tokens": 900}])
    assert chosen("least_tokens", request(output=10), facing) == 0
    assert chosen("least_tokens", request(output=5000), facing) == 1


def test_power_of_two_takes_the_less_loaded_of_two_uniform_samples():
    loads = (7, 3, 0, 5, 1)
    facing = candidates(outstanding(*loads), eligible=[1, 1, 0, 1, 1])
    pairs: Counter[tuple[int, ...]] = Counter()
    for key in KEYS:
        choice, scores = scored("power_of_two", request(key=int(key)), facing, plain=False)
        sampled = tuple(int(i) for i in np.flatnonzero(~np.isnan(scores)))
        pairs[sampled] += 1
        assert len(sampled) == 2
        assert 2 not in sampled
        assert loads[choice] == min(loads[i] for i in sampled)
    assert len(pairs) == 6
    for count in pairs.values():
        assert abs(count - 20_000 / 6) < 5 * (20_000 * 5 / 36) ** 0.5


def test_power_of_two_counts_per_replica():
    facing = candidates([{"running": 30}, {"running": 10}], replicas=[10, 1])
    assert chosen("power_of_two", request(), facing) == 0


def test_a_session_stays_and_only_those_of_a_candidate_that_leaves_move():
    full = candidates(outstanding(0, 50, 0, 9, 2), identities=[11, 12, 13, 14, 15])
    home = {s: chosen("session_affinity", request(session=s, key=s), full) for s in range(600)}
    assert home == {s: chosen("session_affinity", request(session=s, key=s + 7), full) for s in range(600)}
    shares = Counter(home.values())
    assert set(shares) == set(range(5))
    assert min(shares.values()) > 600 / 5 - 5 * (600 * 0.16) ** 0.5
    without = full._replace(eligible=np.array([1, 1, 0, 1, 1], np.uint8))
    moved = {s: chosen("session_affinity", request(session=s), without) for s in range(600)}
    assert all(moved[s] == home[s] for s in home if home[s] != 2)
    assert len({moved[s] for s in home if home[s] == 2}) == 4
    # A place is known by its identity, not by its position.
    shifted = candidates(outstanding(0, 0, 0, 0), identities=[12, 13, 14, 15])
    for s in range(100):
        if home[s] > 0:
            assert chosen("session_affinity", request(session=s), shifted) == home[s] - 1


def test_without_a_session_affinity_is_least_outstanding():
    assert chosen("session_affinity", request(), candidates(outstanding(4, 2, 3))) == 1


def test_premium_first_fills_the_fastest_then_overflows_to_the_next():
    fast, middle, slow = (replica_of(name) for name in ("amd-mi300x", "nvidia-h100-sxm", "nvidia-l4"))
    deployments = [slow, fast, middle]
    seats = fast.batching.max_sequences

    def at(*loads, **parameters):
        return chosen("premium_first", request(), candidates(list(loads), deployments), **parameters)

    assert at({}, {"running": seats - 1}, {}) == 1
    assert at({}, {"running": seats}, {}) == 2
    # Who waits for the end of a step takes a seat, but does not yet fill the pool.
    assert at({}, {"waiting": 1}, {}) == 1
    assert at({}, {"waiting": 1, "running": seats - 1}, {}) == 2
    assert at({}, {"waiting_tokens": 10_000_000}, {}) == 2
    assert at({}, {"kv_usage": 0.95}, {}) == 2
    assert at({}, {"kv_usage": 0.95}, {}, full_at=0.99) == 1
    full = {"running": seats}
    assert at({}, full, full) == 0
    # Room nowhere: the fastest after all.
    assert at(full, full, full) == 1


def test_cheapest_first_fills_the_cheapest_per_request_then_overflows_to_the_next():
    names = ("amd-mi300x", "nvidia-h100-sxm", "nvidia-l4")
    deployments = [replica_of(name) for name in names]

    def at(*loads):
        return chosen("cheapest_first", request(), candidates(list(loads), deployments))

    usd = [each.usd_per_s / each.saturated_rate(MEAN_PROMPT, MEAN_OUTPUT) for each in deployments]
    first, second, third = np.argsort(usd)
    assert usd[first] < usd[second] < usd[third]
    assert at({}, {}, {}) == first
    loads = [{}, {}, {}]
    loads[first] = {"kv_usage": 0.95}
    assert at(*loads) == second
    loads[second] = {"running": deployments[second].batching.max_sequences}
    assert at(*loads) == third
    loads[third] = {"kv_usage": 0.95}
    # Room nowhere: the cheapest after all.
    assert at(*loads) == first


def test_premium_first_counts_the_seats_of_all_replicas():
    deployments = [replica_of("nvidia-l4"), replica_of("nvidia-h100-sxm")]
    facing = candidates([{}, {"running": 300}], deployments, replicas=[1, 2])
    assert chosen("premium_first", request(), facing) == 1


def ready(*loads):
    return candidates(list(loads) or [{}] * len(MIXED), [replica_of(name) for name in MIXED])


def tpots(facing):
    """Return what is predicted of an ordinary request at each candidate."""
    return np.array([predict(request(), facing, i).tpot_s for i in range(facing.eligible.size)])


def test_predicted_latency_spreads_to_the_most_headroom_or_packs_to_the_least():
    facing = ready()
    promised = request(ttft=5.0, tpot=0.2)
    _, scores = scored("predicted_latency", promised, facing)
    spread = chosen("predicted_latency", promised, facing, spread=1.0)
    packed = chosen("predicted_latency", promised, facing, spread=0.0)
    assert spread == np.argmin(tpots(facing))
    assert packed == np.argmax(tpots(facing))
    assert (scores > 0).all()


def test_predicted_latency_never_packs_onto_a_broken_promise():
    facing = ready()
    second, slowest = np.argsort(tpots(facing))[-2:]
    promised = request(ttft=5.0, tpot=tpots(facing)[[second, slowest]].mean())
    assert chosen("predicted_latency", promised, facing, spread=0.0) == second


def test_predicted_latency_weighs_ttft_against_tpot():
    """Behind a queue the fast one loses on TTFT and wins on TPOT."""
    deployments = [replica_of("nvidia-h100-sxm"), replica_of("intel-crescent-island")]
    facing = candidates([{"waiting": 2, "waiting_tokens": 20_000}, {}], deployments)
    promised = request(ttft=2.0, tpot=0.1)
    assert chosen("predicted_latency", promised, facing, ttft_weight=1.0, tpot_weight=0.0) == 1
    assert chosen("predicted_latency", promised, facing, ttft_weight=0.0, tpot_weight=1.0) == 0


def test_predicted_latency_without_a_promise_takes_the_earliest_end():
    order = np.argsort(tpots(ready()))
    assert chosen("predicted_latency", request(), ready()) == order[0]
    loads = [{"waiting": 100, "waiting_tokens": 300_000} if i == order[0] else {} for i in range(len(MIXED))]
    assert chosen("predicted_latency", request(), ready(*loads)) == order[1]


def test_cheapest_feasible_takes_the_cheapest_that_keeps_the_promise():
    facing = ready()
    choice, scores = scored("cheapest_feasible", request(), facing)
    assert (scores > INFEASIBLE).all()
    assert choice == int(np.argmin(-scores))
    order = [MIXED[i] for i in np.argsort(-scores)]
    tight = request(ttft=2.0, tpot=np.median(tpots(facing)))
    choice, scores = scored("cheapest_feasible", tight, facing, {"margin": 1.0})
    kept = [MIXED[i] for i in np.flatnonzero(scores > INFEASIBLE)]
    assert 0 < len(kept) < len(MIXED)
    assert MIXED[choice] == next(name for name in order if name in kept)


def test_cheapest_feasible_takes_the_least_bad_miss_where_all_miss():
    asked, facing = request(tpot=1e-4), ready()
    choice, scores = scored("cheapest_feasible", asked, facing)
    assert (scores < INFEASIBLE).all()
    assert choice == min(range(len(MIXED)), key=lambda i: predict(asked, facing, i).tpot_s)


def test_the_margin_of_cheapest_feasible_decides_what_counts_as_kept():
    facing = candidates([{}, {}], [replica_of("nvidia-l4"), replica_of("nvidia-h100-sxm")])
    promised = request(tpot=tpots(facing)[0] * 1.3)
    kept = [scored("cheapest_feasible", promised, facing, {"margin": m})[1][0] > INFEASIBLE for m in (0.3, 5.0)]
    assert kept == [False, True]


def test_an_e2e_promise_counts_too():
    facing = ready()
    slowest, fastest = np.argmax(tpots(facing)), np.argmin(tpots(facing))
    _, scores = scored("cheapest_feasible", request(output=200.0, e2e=200.0 * tpots(facing).mean()), facing)
    assert scores[slowest] < INFEASIBLE < scores[fastest]


WEIGHTS = {"queue": 0.0, "kv": 0.0, "load": 0.0, "speed": 0.0, "price": 0.0, "session": 0.0}


@pytest.mark.parametrize(
    ("weight", "winner"),
    [("queue", 0), ("kv", 1), ("load", 2), ("speed", 3), ("price", 4)],
)
def test_each_weight_of_weighted_scorers_decides_alone(weight, winner):
    facing = candidates(
        [
            {"waiting": 0, "running": 90, "kv_usage": 0.9},
            {"waiting": 5, "running": 90, "kv_usage": 0.1},
            {"waiting": 5, "running": 10, "kv_usage": 0.9},
            {"waiting": 5, "running": 90, "kv_usage": 0.9},
            {"waiting": 5, "running": 90, "kv_usage": 0.9},
        ],
        target_rate=[10.0] * 5,
        speed=[100.0, 100.0, 100.0, 200.0, 100.0],
        usd_per_s=[2.0, 2.0, 2.0, 2.0, 1.0],
    )
    choice, scores = scored("weighted_scorers", request(), facing, WEIGHTS | {weight: 1.0})
    assert choice == winner
    assert ((scores >= 0) & (scores <= 1)).all()
    assert chosen("weighted_scorers", request(), facing, **(WEIGHTS | {weight: 1.0, "session": 0.5})) == winner


def test_weighted_scorers_keeps_sessions_only_as_far_as_the_weight_goes():
    idle = candidates(outstanding(0, 0, 0, 0, 0))
    homes = [chosen("weighted_scorers", request(session=s), idle, session=1.0) for s in range(100)]
    assert homes == [chosen("session_affinity", request(session=s), idle) for s in range(100)]
    assert {chosen("weighted_scorers", request(session=s), idle) for s in range(100)} == {0}
    away = candidates(outstanding(0, 9, 9, 9, 9))
    pulled = [chosen("weighted_scorers", request(session=s), away, session=3.0, queue=2.0) for s in range(100)]
    assert pulled == homes
    assert {chosen("weighted_scorers", request(session=s), away, session=1.0, queue=2.0) for s in range(100)} == {0}


def test_weighted_scorers_scale_between_the_extremes_of_the_eligible():
    facing = candidates(outstanding(2, 4, 6, 1000), eligible=[1, 1, 1, 0])
    _, scores = scored("weighted_scorers", request(), facing, WEIGHTS | {"queue": 1.0})
    assert scores[:3].tolist() == [1.0, 0.5, 0.0]


def test_equal_candidates_go_to_the_first():
    for name in ("least_outstanding", "join_shortest_queue", "least_kv", "weighted_scorers", "cheapest_feasible"):
        assert chosen(name, request(), candidates(outstanding(1, 1, 1), eligible=[0, 1, 1])) == 1, name


def test_more_sessions_than_places_are_mixed_well():
    """Neighbouring session numbers do not land at neighbouring places."""
    facing = candidates(outstanding(0, 0, 0, 0))
    homes = [chosen("session_affinity", request(session=s), facing) for s in range(400)]
    same = sum(a == b for a, b in pairwise(homes))
    assert 60 < same < 140
