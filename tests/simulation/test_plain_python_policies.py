"""Policies in plain Python: the same decisions as compiled, and nothing they could break."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.small import closed, model, pool, run, scenario, work

from inferencesim.errors import InputError
from inferencesim.policy import Policy
from inferencesim.routing.policy import POLICIES

MIXED = {"distribution": "uniform", "low": 1, "high": 80}
GONE = {"share": 0.5, "after": 0.0}


@pytest.fixture
def register():
    """File policies for the length of one test."""
    names = []

    def file(name, choose, **said):
        POLICIES.register(name)(Policy(choose, "of a test", **said))
        names.append(name)

    yield file
    for name in names:
        del POLICIES._entries[name]


def described(**routing):
    return scenario(
        [
            pool("a", replicas=3, kv_blocks=40, batching={"max_sequences": 8, "token_budget": 64}, queue_limit=20),
            pool("b", "fast-chip", "windowed-model", replicas=2, queue_limit=20),
        ],
        [
            work("small", 150.0, MIXED, MIXED),
            work("either", 100.0, MIXED, MIXED, models=["small-model", "windowed-model"]),
            # Clients that are gone before they are served: their timers come due while the policies decide.
            work("agent", prompt=MIXED, output=MIXED, cancellation=GONE) | {"arrivals": closed(5, requests=40)},
        ],
        providers=[
            {
                "name": "api",
                "model": model(),
                "price": {"input": "$1/Mtok", "output": "$4/Mtok"},
                "limits": {"requests_per_minute": 60},
            }
        ],
        horizon=1.0,
        routing=routing,
        recording={"predictions": True},
    )


COMPILED = ("round_robin", "least_outstanding", "power_of_two", "least_tokens", "least_kv")


@pytest.mark.parametrize("snapshot_age", [0.0, 0.1])
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_and_interpreted_decide_alike(name, snapshot_age, register):
    original = POLICIES.get(name, "test")
    register("plainly", original.choose, parameters=original.parameters, compiled=False)
    compiled = run(described(placement=name, balancing=name, snapshot_age=snapshot_age))
    plain = run(described(placement="plainly", balancing="plainly", snapshot_age=snapshot_age))
    for table in ("requests", "decisions", "series"):
        assert compiled.tables[table].equals(plain.tables[table]), table


def test_flow_control_comes_before_either(register):
    """Plain policies are asked about who is let go on, once, whatever held it before."""
    original = POLICIES.get("least_outstanding", "test")
    register("plainly", original.choose, compiled=False)

    def controlled(placement):
        return scenario(
            [pool("a", batching={"max_sequences": 4}), pool("b", batching={"max_sequences": 4})],
            [
                work("fast", 60.0, MIXED, MIXED),
                work("low", 100.0, MIXED, MIXED, priority=1),
                work("late", 60.0, MIXED, MIXED, tags={"batchable": True}),
            ],
            horizon=1.0,
            flow={
                "quotas": {"fast": {"requests_per_minute": 1200, "burst": 0.2, "beyond": "queue"}},
                "shed": [{"above": 0.8, "bands": [1]}],
                "defer": {"batch": 7, "windows": [{"from": 0.5, "to": 0.6}], "load_below": 0.3},
            },
            routing={"placement": placement},
            recording={"series_interval": 600.0},
        )

    compiled, plain = run(controlled("least_outstanding")), run(controlled("plainly"))
    assert {"batch", "window", "quota"} <= set(plain.requests["held_until"].dropna())
    for table in ("requests", "decisions"):
        assert compiled.tables[table].equals(plain.tables[table]), table


@pytest.mark.parametrize("level", ["placement", "balancing"])
def test_one_level_may_be_plain_and_the_other_compiled(level, register):
    original = POLICIES.get("least_outstanding", "test")
    register("plainly", original.choose, compiled=False)
    both = {"placement": "least_outstanding", "balancing": "least_outstanding"}
    compiled = run(described(**both))
    mixed = run(described(**(both | {level: "plainly"})))
    assert compiled.tables["requests"].equals(mixed.tables["requests"])


@pytest.mark.parametrize("level", ["placement", "balancing"])
@pytest.mark.parametrize("chosen", [-1, 99])
def test_a_choice_that_does_not_exist_is_an_error_that_names_the_policy(level, chosen, register):
    register("astray", lambda *_: chosen, compiled=False)
    with pytest.raises(InputError, match="astray"):
        run(described(**{"placement": "least_outstanding", "balancing": "least_outstanding", level: "astray"}))


def test_a_pool_that_a_filter_rejected_cannot_be_chosen(register):
    """The class `small` may not go to pool b: a hard constraint holds against any policy."""
    register("stubborn", lambda *_: 1, compiled=False)
    with pytest.raises(InputError, match="not eligible"):
        run(described(placement="stubborn", balancing="round_robin"))


def test_a_compiled_policy_that_chooses_a_rejected_pool_is_an_error(register):
    def stubborn(request, candidates, scores, parameters, memory):
        return 1

    register("stubborn-compiled", stubborn)
    with pytest.raises(InputError, match="not eligible"):
        run(described(placement="stubborn-compiled"))


def test_what_a_policy_sees_is_read_only(register):
    seen = []

    def meddle(request, candidates, scores, parameters, memory):
        seen.append(request)
        for table in (*candidates[:-1], *candidates.latency):
            with pytest.raises(ValueError, match="read-only"):
                table[0] = table[-1]
        with pytest.raises(AttributeError):
            request.prompt_tokens = 1
        scores[:] = np.arange(scores.size)
        return int(np.flatnonzero(candidates.eligible)[0])

    register("meddle", meddle, compiled=False)
    done = run(described(placement="meddle", balancing="meddle"))
    assert len(seen) > 100
    # Its scores are in the record of decisions.
    placed = done.decisions[done.decisions["pool"].notna()]
    assert set(placed["score_b"]) == {1.0}
    assert not hasattr(seen[0], "output_tokens")
    assert seen[0].expected_output_tokens == pytest.approx(40, rel=0.3)


def test_a_policy_remembers_between_calls(register):
    def count(request, candidates, scores, parameters, memory):
        memory[3] += 1
        scores[:] = memory[3]
        return int(np.flatnonzero(candidates.eligible)[0])

    register("count", count, compiled=False)
    done = run(described(placement="count", balancing="least_outstanding"))
    made = done.frame("decisions")
    placed = made[made["pool"].notna() | made["provider"].notna()]
    assert placed["score_a"].tolist() == list(range(1, len(placed) + 1))
