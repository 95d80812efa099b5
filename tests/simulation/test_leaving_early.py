"""Timeouts, cancellations and bounded queues: each counted as what it is, at the right moment."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.small import pool, run, scenario, work

#: One seat, and one token of prompt per step.
ONE = {"max_sequences": 1, "token_budget": 1, "block_size": 4}


def test_who_waits_longer_than_its_patience_times_out_exactly_then():
    done = run(scenario([pool(batching=ONE)], [work(rate=60.0, timeout=0.0931)])).requests
    gone = done[done["outcome"] == "timed_out"]
    assert len(gone) > 10
    np.testing.assert_allclose(gone["finished_s"], gone["arrived_s"] + 0.0931, rtol=1e-12)
    assert (gone["generated_tokens"] == 0).all()
    served = done[done["outcome"] == "completed"]
    assert (served["ttft_s"] <= 0.0931).all()
    assert len(gone) + len(served) == len(done)


def test_patience_ends_with_the_first_token():
    """A promise of TTFT was kept: a long answer is not cut off."""
    done = run(scenario([pool()], [work(rate=2.0, prompt=1, output=400, timeout=0.05)])).requests
    assert (done["outcome"] == "completed").all()
    assert (done["e2e_s"] > 0.05).all()


def test_a_cancelled_request_leaves_when_its_client_does_and_frees_its_kv_at_the_end_of_the_step():
    """One seat: the next request is scheduled at the end of the step in which the client left."""
    after = 0.0507
    long = work("long", rate=40.0, prompt=1, output=10_000, cancellation={"share": 1.0, "after": after})
    done = run(scenario([pool(batching=ONE)], [long], horizon=0.5)).requests
    assert (done["outcome"] == "cancelled").all()
    np.testing.assert_allclose(done["finished_s"], done["arrived_s"] + after, rtol=1e-12)
    scheduled = done[done["scheduled_s"].notna()].sort_values("scheduled_s")
    assert len(scheduled) > 5
    step_s = 0.02
    checked = 0
    for before, after_it in zip(scheduled.itertuples(), scheduled.iloc[1:].itertuples(), strict=False):
        if after_it.arrived_s < before.finished_s:
            checked += 1
            assert before.finished_s <= after_it.scheduled_s < before.finished_s + step_s
    assert checked > 3


def test_a_cancelled_request_is_charged_for_the_steps_it_was_in():
    done = run(
        scenario([pool()], [work(rate=3.0, output=10_000, cancellation={"share": 1.0, "after": 0.2})], horizon=3.0)
    )
    requests = done.requests
    assert (requests["outcome"] == "cancelled").all()
    assert (requests["generated_tokens"] > 0).all()
    # Tokens and charge go to the end of the step in which it left.
    assert requests["busy_s"].sum() == pytest.approx(done.fleet.replicas["busy_s"].sum(), rel=1e-9)
    assert done.fleet.pools["output_tokens"].sum() == requests["generated_tokens"].sum()


def test_a_full_queue_rejects_at_once_and_says_why():
    done = run(scenario([pool(batching=ONE, queue_limit=3)], [work(rate=60.0)]))
    requests = done.requests
    gone = requests[requests["outcome"] == "rejected"]
    assert len(gone) > 10
    assert set(gone["reason"]) == {"queue_full"}
    assert gone["pool"].isna().all()
    assert (gone["finished_s"] == gone["arrived_s"]).all()
    assert (gone["promise_kept"] == False).all()  # noqa: E712 - a nullable column
    # Three wait and one runs: no more are ever inside.
    assert done.inside.max() <= 4


def test_a_request_longer_than_the_kv_cache_is_rejected_for_its_length():
    batching = {"max_sequences": 4, "token_budget": 64, "block_size": 8}
    done = run(
        scenario([pool(kv_blocks=10, batching=batching)], [
            work("fits", rate=20.0, prompt=61, output=20),
            work("exceeds", rate=20.0, prompt=61, output=21),
        ])
    ).requests  # fmt: skip
    # 80 tokens of KV hold a prompt and all of its output but the last token, which is never read.
    assert set(done[done["class"] == "fits"]["outcome"]) == {"completed"}
    assert set(done[done["class"] == "exceeds"]["outcome"]) == {"rejected"}
    assert set(done[done["class"] == "exceeds"]["reason"]) == {"context_too_long"}


def test_a_class_no_pool_may_serve_is_rejected_with_the_last_hurdle():
    done = run(
        scenario([pool(site="us-east-virginia")], [work(residency=["sa-brazil"], rate=20.0), work("other", rate=20.0)])
    ).requests
    assert set(done[done["class"] == "c"]["reason"]) == {"outside_residency"}
    assert set(done[done["class"] == "other"]["outcome"]) == {"completed"}
