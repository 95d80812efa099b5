"""Every broken promise has one cause: its outcome, or the promise that broke and where the time went."""

from __future__ import annotations

import pandas as pd
import pytest
from oracle.small import pool, scenario, work

from inferencesim import simulate
from inferencesim.results.audit import broken_promises
from inferencesim.results.causes import causes
from inferencesim.simulation.plan import make_plan

#: A request that is alone on the small chip takes 2.2 ms for its prefill and 28 ms for 19 further tokens.
ALONE = {"prefill_s": 0.002244, "decode_s": 0.028186}


@pytest.fixture(scope="module")
def plan():
    promise = {"ttft": 0.5, "tpot": 0.1, "e2e": 3.0, "deadline": 5.0}
    return make_plan(
        scenario(
            [pool("a"), pool("helped", prefill_in={"pool": "helper"}), pool("helper")],
            [
                work("c", promise=promise),
                work("hurried", promise={"ttft": 0.001}),
                work("relative", promise={"slowdown": 2.0}),
                work("late", promise={"e2e": 9.0, "deadline": 3.0}),
            ],
        )
    )


def crafted(**said):
    """Return the row of a completed request that was alone; what is said is otherwise."""
    row = {
        "request_id": 1,
        "class": "c",
        "prompt_tokens": 40,
        "output_tokens": 20,
        "arrived_s": 10.0,
        "finished_s": 10.03043,
        "queue_time_s": 0.0,
        "ttft_s": 0.002244,
        "tpot_s": 0.001483,
        "e2e_s": 0.03043,
        "waiting_s": 0.0,
        **ALONE,
        "transfer_s": 0.0,
        "preempted_s": 0.0,
        "network_s": 0.0,
        "pool": "a",
        "provider": None,
        "prefill_pool": None,
        "outcome": "completed",
        "reason": None,
        "promise_kept": False,
    }
    row |= said
    return pd.DataFrame([row])


def cause(plan, end_s=100.0, **said):
    found = causes(crafted(**said), plan, end_s).iloc[0]
    return found["what"], found["by"]


class TestOutcomes:
    def test_a_rejection_has_its_reason(self, plan):
        assert cause(plan, outcome="rejected", reason="queue_full", pool=None) == ("rejected", "queue_full")

    def test_who_gave_up_has_what_it_waited_for(self, plan):
        said = {"outcome": "timed_out", "e2e_s": None, "tpot_s": None, "network_s": None}
        waited = said | {"ttft_s": None, "queue_time_s": None, "waiting_s": 4.0, "prefill_s": 0.0, "decode_s": 0.0}
        assert cause(plan, **waited) == ("timed_out", "queue")
        assert cause(plan, **said, waiting_s=0.1, queue_time_s=0.1, decode_s=3.0) == ("timed_out", "decode")

    def test_who_cancelled_had_its_own_reasons(self, plan):
        assert cause(plan, outcome="cancelled", e2e_s=None, waiting_s=9.0) == ("cancelled", None)

    def test_who_is_still_inside_is_late_by_now(self, plan):
        inside = {"outcome": "open", "finished_s": None, "e2e_s": None, "tpot_s": None, "network_s": None}
        assert cause(plan, 20.0, **inside, decode_s=9.9) == ("e2e", "decode")
        unscheduled = inside | {"ttft_s": None, "queue_time_s": None, "prefill_s": 0.0, "decode_s": 0.0}
        assert cause(plan, 11.0, **unscheduled, waiting_s=1.0) == ("ttft", "queue")


class TestWhichPromise:
    def test_the_first_that_fell_due(self, plan):
        assert cause(plan, ttft_s=0.6, queue_time_s=0.6, waiting_s=0.6, e2e_s=9.0)[0] == "ttft"
        assert cause(plan, tpot_s=0.2, decode_s=3.8, e2e_s=3.9)[0] == "tpot"
        assert cause(plan, e2e_s=3.1, waiting_s=3.0)[0] == "e2e"

    def test_a_deadline_before_e2e_goes_by_its_name(self, plan):
        assert cause(plan, **{"class": "late"}, e2e_s=4.0, waiting_s=4.0) == ("deadline", "queue")

    def test_what_else_was_promised_is_a_slowdown(self, plan):
        assert cause(plan, **{"class": "relative"}, e2e_s=4.0, waiting_s=4.0) == ("slowdown", "queue")

    def test_rounding_breaks_nothing(self, plan):
        assert cause(plan, ttft_s=0.5 + 1e-10, e2e_s=4.0, waiting_s=0.4, decode_s=3.5) == ("e2e", "decode")


class TestWhereTheTimeWent:
    @pytest.mark.parametrize(
        ("said", "by"),
        [
            ({"queue_time_s": 0.7, "waiting_s": 0.7, "prefill_s": 0.3}, "queue"),
            ({"queue_time_s": 0.2, "waiting_s": 0.2, "prefill_s": 0.8}, "prefill"),
            ({"transfer_s": 0.9}, "transfer"),
            ({"preempted_s": 0.9}, "preemption"),
            ({"queue_time_s": 0.1, "waiting_s": 0.1, "decode_s": 50.0}, "queue"),
        ],
    )
    def test_of_a_first_token(self, plan, said, by):
        assert cause(plan, ttft_s=1.0, **said) == ("ttft", by)

    @pytest.mark.parametrize(
        ("said", "by"),
        [
            ({"decode_s": 5.0, "queue_time_s": 9.0, "waiting_s": 9.0}, "decode"),
            ({"preempted_s": 5.0, "prefill_s": 9.0}, "preemption"),
        ],
    )
    def test_of_the_tokens_after_it(self, plan, said, by):
        assert cause(plan, tpot_s=0.3, **said) == ("tpot", by)

    def test_kv_from_another_pool_delays_what_follows_the_first_token(self, plan):
        handed = {"pool": "helped", "prefill_pool": "helper", "transfer_s": 5.0}
        assert cause(plan, tpot_s=0.3, **handed) == ("tpot", "transfer")
        assert cause(plan, tpot_s=0.3, **handed, waiting_s=6.0, queue_time_s=0.0) == ("tpot", "queue")
        assert cause(plan, ttft_s=1.0, **handed, queue_time_s=0.5, waiting_s=0.5) == ("ttft", "queue")

    def test_it_is_the_excess_that_counts_not_the_part(self, plan):
        # Alone, 799 further tokens take 1.2 s or more of these 1.9: that is the request's own doing.
        spent = {"decode_s": 1.9, "waiting_s": 1.0, "queue_time_s": 1.0}
        assert cause(plan, output_tokens=800, e2e_s=3.5, **spent) == ("e2e", "queue")

    def test_what_a_provider_did_with_the_time_nobody_can_tell(self, plan):
        outside = {"pool": None, "provider": "api"}
        assert cause(plan, ttft_s=3.0, prefill_s=3.0, **outside) == ("ttft", "provider")
        assert cause(plan, ttft_s=3.0, waiting_s=1.0, prefill_s=2.0, **outside) == ("ttft", "provider")
        assert cause(plan, tpot_s=0.9, waiting_s=9.0, **outside) == ("tpot", "provider")

    def test_what_was_held_for_longer_than_a_provider_had_it_is_no_fault_of_the_provider(self, plan):
        outside = {"pool": None, "provider": "api"}
        assert cause(plan, ttft_s=3.0, waiting_s=2.0, prefill_s=1.0, **outside) == ("ttft", "queue")
        assert cause(plan, e2e_s=4.0, waiting_s=1.0, prefill_s=0.4, decode_s=2.6, **outside) == ("e2e", "provider")
        assert cause(plan, e2e_s=4.0, waiting_s=3.0, prefill_s=0.4, decode_s=0.6, **outside) == ("e2e", "queue")

    def test_what_is_too_slow_alone_is_the_hardware(self, plan):
        assert cause(plan, **{"class": "hurried"}, queue_time_s=0.9, waiting_s=0.9) == ("ttft", "hardware")


def test_causes_of_a_crowded_replica_are_its_queue():
    described = scenario(
        [pool("a", batching={"max_sequences": 2})], [work(rate=200.0, promise={"ttft": 0.05})], horizon=3.0
    )
    run = simulate(described)
    (found,) = broken_promises(run.requests, make_plan(described), run.summary.window.end_s)
    assert found.broken > 100
    assert [(each.what, each.by) for each in found.causes] == [("ttft", "queue")]
    worst = run.requests.set_index("request_id")["ttft_s"]
    named = found.causes[0].worst
    assert named[:3] == tuple(worst.nlargest(3).index)
    assert set(named) == set(run.requests["request_id"][run.requests["promise_kept"].astype(object) == False])  # noqa: E712
