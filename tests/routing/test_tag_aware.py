"""The express lane and the freight: each clause of tag_aware decides somewhere."""

from __future__ import annotations

import numpy as np
import pytest
from facing import INFINITY, MIXED, candidates, chosen, replica_of, request, scored

from inferencesim.kernel.tables import INTERACTIVE, RELAXED, STANDARD
from inferencesim.routing.prediction import predict
from inferencesim.routing.scoring import INFEASIBLE
from inferencesim.routing.tag_aware import RESERVED

FAST, SLOW = "nvidia-h100-sxm", "nvidia-l4"
NOT_INTERACTIVE = (STANDARD, RELAXED)


def facing(loads=({}, {}), ttft=1.0, tpot=INFINITY, hardware=(FAST, FAST), **traits):
    """Return candidates of which the first has interactive work to answer in time."""
    n = len(loads)
    return candidates(
        list(loads),
        [replica_of(name) for name in hardware],
        interactive_ttft_s=[ttft] + [INFINITY] * (n - 1),
        interactive_tpot_s=[tpot] + [INFINITY] * (n - 1),
        **traits,
    )


@pytest.mark.parametrize("promise", [{}, {"ttft": 2.0, "tpot": 0.03}, {"tpot": 1e-4}, {"e2e": 8.0}])
def test_interactive_work_takes_the_cheapest_that_keeps_its_promise(promise):
    fleet = candidates([{}] * len(MIXED), [replica_of(name) for name in MIXED])
    asked = request(sensitivity=INTERACTIVE, **promise)
    assert chosen("tag_aware", asked, fleet) == chosen("cheapest_feasible", asked, fleet)


def test_relaxed_work_may_use_more_of_its_promise():
    fleet = candidates([{}, {}], [replica_of(SLOW), replica_of(FAST)])
    tpot = predict(request(), fleet, 0).tpot_s / 0.7
    for sensitivity, kept in ((INTERACTIVE, False), (STANDARD, False), (RELAXED, True)):
        _, scores = scored("tag_aware", request(tpot=tpot, sensitivity=sensitivity), fleet)
        assert (scores[0] > INFEASIBLE) == kept
    relaxed, standard = request(tpot=tpot, sensitivity=RELAXED), request(tpot=tpot, sensitivity=STANDARD)
    assert scored("tag_aware", relaxed, fleet, {"slack": 0.6})[1][0] < INFEASIBLE
    assert scored("tag_aware", standard, fleet, {"margin": 0.8})[1][0] > INFEASIBLE


@pytest.mark.parametrize("sensitivity", NOT_INTERACTIVE)
@pytest.mark.parametrize("promised", ["ttft", "tpot"])
def test_what_is_not_interactive_stays_out_where_it_would_delay_those_who_wait(sensitivity, promised):
    predicted = predict(request(), facing(), 0)
    limit = {"ttft": predicted.ttft_s, "tpot": predicted.tpot_s}[promised]
    for share, place in ((0.4, 0), (0.6, 1)):
        fleet = facing(**{"ttft": INFINITY, "tpot": INFINITY, promised: limit / share})
        assert chosen("tag_aware", request(sensitivity=sensitivity), fleet) == place
        assert chosen("tag_aware", request(sensitivity=INTERACTIVE), fleet) == 0
        assert chosen("tag_aware", request(sensitivity=sensitivity), fleet, margin=0.7) == 0


@pytest.mark.parametrize("sensitivity", NOT_INTERACTIVE)
@pytest.mark.parametrize("full", ["seats", "kv", "context", "waiting", "own"])
def test_a_reserve_of_seats_and_cache_stays_free_for_those_who_wait(sensitivity, full):
    seats, kv = replica_of(FAST).batching.max_sequences, replica_of(FAST).memory.kv_tokens
    at = {
        "seats": {"running": int(0.85 * seats)},
        "kv": {"kv_usage": 0.85},
        "context": {"context_tokens": 0.85 * kv},
        "waiting": {"waiting_tokens": int(0.85 * kv)},
        "own": {"context_tokens": 0.79 * kv},
    }[full]
    prompt = int(0.03 * kv) if full == "own" else 100
    # Nothing but the reserve keeps them out: what is promised to those who wait is ample, and a seat costs the same.
    fleet = facing([at, {}], ttft=1e6, usd_per_s=[1e-9, 1.0])
    asked = request(prompt=prompt, sensitivity=sensitivity)
    assert chosen("tag_aware", asked, fleet) == 1
    assert chosen("tag_aware", asked, fleet, reserve=0.1) == 0
    assert chosen("tag_aware", asked._replace(sensitivity=INTERACTIVE), fleet) == 0
    # Where nobody waits, nothing is reserved.
    assert chosen("tag_aware", asked, facing([at, {}], ttft=INFINITY, usd_per_s=[1e-9, 1.0])) == 0


def test_the_reserve_is_of_all_replicas_behind_a_candidate():
    seats, kv = replica_of(FAST).batching.max_sequences, replica_of(FAST).memory.kv_tokens
    for full in ({"running": int(0.9 * seats)}, {"context_tokens": 0.9 * kv}):
        for replicas, place in ((1, 1), (2, 0)):
            fleet = facing([full, {}], ttft=1e6, usd_per_s=[1e-9, 1.0], replicas=[replicas, 1])
            assert chosen("tag_aware", request(sensitivity=RELAXED), fleet) == place


def test_freight_leaves_the_fast_one_alone_until_its_slack_is_gone():
    """Behind a queue at the slow one, a deadline is met there, then only at the fast one."""
    busy_fast = {"running": 240, "context_tokens": 1e5}
    queue = {"waiting": 200, "waiting_tokens": 200_000}
    fleet = facing([busy_fast, queue], hardware=(FAST, SLOW))
    predicted = predict(request(), fleet, 1)
    e2e = predicted.ttft_s + 199 * predicted.tpot_s
    patient, urgent = (request(e2e=e2e / share, sensitivity=RELAXED) for share in (0.85, 0.95))
    choice, scores = scored("tag_aware", patient, fleet)
    assert choice == 1
    assert INFEASIBLE < scores[0] < RESERVED < scores[1]
    choice, scores = scored("tag_aware", urgent, fleet)
    assert choice == 0
    assert scores[1] < INFEASIBLE < scores[0] < RESERVED


@pytest.mark.parametrize("sensitivity", NOT_INTERACTIVE)
class TestWhereAllAreReserved:
    """Nobody is open to what is not interactive, which can keep its promise everywhere."""

    def test_those_without_room_for_who_waits_take_it_first_where_least_is_left(self, sensitivity):
        seats = replica_of(FAST).batching.max_sequences
        loads = [{"running": int(share * seats)} for share in (0.85, 0.95, 0.9)]
        fleet = candidates(loads, interactive_ttft_s=[1e6] * 3, interactive_tpot_s=[INFINITY] * 3)
        choice, scores = scored("tag_aware", request(sensitivity=sensitivity), fleet)
        assert choice == 1
        assert ((scores > 2 * RESERVED) & (scores < RESERVED)).all()

    def test_of_those_with_room_the_least_disturbed(self, sensitivity):
        """A long prompt delays those who wait, the more the slower it is read."""
        hardware = [replica_of(SLOW), replica_of(FAST)]
        long, short = (request(prompt=prompt, sensitivity=sensitivity) for prompt in (20_000, 1))
        fleet = candidates([{}, {}], hardware, interactive_ttft_s=[1.0, 1.0], interactive_tpot_s=[INFINITY] * 2)
        assert (scored("tag_aware", short, fleet)[1] > RESERVED).all()
        choice, scores = scored("tag_aware", long, fleet)
        assert choice == 1
        assert ((scores > INFEASIBLE) & (scores < 2 * RESERVED)).all()

    def test_those_without_room_before_those_with(self, sensitivity):
        seats = replica_of(FAST).batching.max_sequences
        crowded = {"running": int(0.85 * seats)}
        fleet = candidates([{}, crowded], interactive_ttft_s=[1.0, 1.0], interactive_tpot_s=[INFINITY] * 2)
        long = request(prompt=20_000, sensitivity=sensitivity)
        choice, scores = scored("tag_aware", long, fleet)
        assert choice == 1
        assert scores[0] < 2 * RESERVED < scores[1] < RESERVED


def test_where_every_promise_would_break_the_least_bad_miss():
    fleet = facing([{}] * len(MIXED), hardware=MIXED)
    for sensitivity in (INTERACTIVE, STANDARD, RELAXED):
        asked = request(tpot=1e-4, sensitivity=sensitivity)
        choice, scores = scored("tag_aware", asked, fleet)
        assert (scores < INFEASIBLE).all()
        assert choice == np.argmin([predict(asked, fleet, i).tpot_s for i in range(len(MIXED))])


def test_who_is_not_eligible_is_not_looked_at():
    fleet = candidates([{}, {}, {}], eligible=[0, 1, 0])
    _, scores = scored("tag_aware", request(), fleet)
    assert np.isnan(scores).tolist() == [True, False, True]
