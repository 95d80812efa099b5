"""Each batching policy does what its name says: step by step, counted by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepping import by_class, group, opens, played

from inferencesim.batching.formers import dynamic
from inferencesim.kernel.forming import sample_batch


def drained(policy, **batching):
    """Play a batch of three, of 2, 4 and 6 tokens, and one that comes at step 3 while it decodes."""
    batch = [group(f"of_{output}", at=0.5, output=output) for output in (2, 4, 6)]
    return played([opens(), *batch, group("late", at=2.5)], policy, **batching)


def test_static_lets_nobody_join_until_the_longest_has_ended():
    requests = drained("static")
    assert by_class(requests, "scheduled") == {"opens": 0, "of_2": 1, "of_4": 1, "of_6": 1, "late": 7}
    # Each leaves with its own last token: the batch is not padded to its longest.
    assert by_class(requests, "finished") == {"opens": 1, "of_2": 3, "of_4": 5, "of_6": 7, "late": 8}


@pytest.mark.parametrize("policy", ["continuous", "chunked_prefill"])
def test_who_comes_late_joins_the_next_step_where_batches_are_formed_anew(policy):
    requests = drained(policy)
    assert by_class(requests, "scheduled") == {"opens": 0, "of_2": 1, "of_4": 1, "of_6": 1, "late": 3}
    assert by_class(requests, "finished") == {"opens": 1, "of_2": 3, "of_4": 5, "of_6": 7, "late": 4}


def test_static_takes_no_more_than_its_seats():
    requests = played([opens(), group("batch", at=0.5, count=5, output=3)], "static", max_sequences=2)
    assert requests["scheduled"].tolist() == [0, 1, 1, 4, 4, 7]


@pytest.mark.parametrize("policy", ["static", {"policy": "dynamic", "parameters": {"size": 2, "timeout": 9.0}}])
def test_a_batch_that_nobody_joins_is_prefilled_in_one_step_whatever_the_token_budget(policy):
    batch = [group("long", at=0.5, prompt=30), group("longer", at=0.5, prompt=50)]
    requests = played([group("opens", count=2), *batch], policy, token_budget=8)
    assert by_class(requests.tail(2), "first_token") == {"long": 2, "longer": 2}


def test_dynamic_starts_when_its_size_is_reached():
    waits = [group(name, at=at, output=3) for name, at in (("a", 0.5), ("b", 1.5), ("c", 2.5))]
    late = group("late", at=3.5, output=1)
    choice = {"policy": "dynamic", "parameters": {"size": 3, "timeout": 0.045}}
    requests = played([*waits, late], choice)
    # Nobody joins a batch under way; who came meanwhile waits for a batch of his own until his time is up.
    assert by_class(requests, "scheduled") == {"a": 2.5, "b": 2.5, "c": 2.5, "late": 8}


def test_dynamic_starts_when_the_first_has_waited_its_timeout():
    waits = [group(name, at=at) for name, at in (("a", 0.5), ("b", 1.5))]
    choice = {"policy": "dynamic", "parameters": {"size": 3, "timeout": 0.045}}
    assert played(waits, choice)["scheduled"].tolist() == [5, 5]
    choice["parameters"]["timeout"] = 0.0
    assert played(waits, choice)["scheduled"].tolist() == [0.5, 1.5]


def test_dynamic_waits_for_no_more_than_there_are_seats():
    choice = {"policy": "dynamic", "parameters": {"size": 100, "timeout": 10.0}}
    requests = played([group("a", at=0.5), group("b", at=1.5)], choice, max_sequences=2)
    assert requests["scheduled"].tolist() == [1.5, 1.5]


@given(since_s=st.floats(0.0, 1e6), waited_s=st.floats(0.0, 0.05))
def test_dynamic_waits_once_however_the_clock_rounds(since_s, waited_s):
    """Woken at the moment it asked for it starts, or asks for a later one: never for the same again."""
    now_s = since_s + waited_s
    for _ in range(3):
        batch = sample_batch()._replace(now_s=now_s, seats=8, waiting=1, next_waits_s=now_s - since_s)
        formation = dynamic(batch, [8.0, 0.05])
        if formation.admit > 0:
            return
        assert now_s < formation.wake_s < math.inf
        now_s = formation.wake_s
    pytest.fail("it never starts")


def long_prompts(policy):
    """Play two prompts of 6 tokens and one of 20 beside a decoding sequence, on a budget of 8 tokens per step."""
    prompts = [group("a", at=0.5, prompt=6), group("b", at=0.5, prompt=6), group("c", at=0.5, prompt=20)]
    return played([opens(output=12), *prompts], policy)


def test_continuous_never_cuts_a_prompt():
    requests = long_prompts("continuous")
    # Seven tokens are left beside the decode: one short prompt, the other, then the long one, alone and whole.
    assert by_class(requests, "scheduled") == {"opens": 0, "a": 1, "b": 2, "c": 3}
    assert by_class(requests, "first_token") == {"opens": 1, "a": 2, "b": 3, "c": 4}
    assert by_class(requests, "finished")["opens"] == 12


def test_chunked_prefill_cuts_prompts_to_what_the_budget_leaves():
    requests = long_prompts("chunked_prefill")
    # Steps of 6 + 1, 5 + 2, 7, 7 and 4 tokens beside the decode.
    assert by_class(requests, "scheduled") == {"opens": 0, "a": 1, "b": 1, "c": 2}
    assert by_class(requests, "first_token") == {"opens": 1, "a": 2, "b": 3, "c": 6}
    assert by_class(requests, "finished")["opens"] == 12


def test_prefill_first_has_decodes_wait():
    requests = long_prompts("prefill_first")
    # Steps of 6 + 2, 4 + 4, 8 and 8 tokens, while the sequence that decodes stands still.
    assert by_class(requests, "first_token") == {"opens": 1, "a": 2, "b": 3, "c": 5}
    assert by_class(requests, "finished")["opens"] == 12 + 4


def refilled(refill):
    """Play four sequences on four seats, of 3, 6, 9 and 12 tokens, and one more that waits for a seat."""
    batch = [group(f"of_{output}", at=0.5, output=output) for output in (6, 9, 12)]
    choice = {"policy": "decode_first", "parameters": {"refill": refill}}
    return played([opens(output=3), *batch, group("next", at=2.5)], choice, max_sequences=4)


def test_decode_first_prefills_only_once_the_batch_has_drained_to_its_refill():
    requests = refilled(0.5)
    # The opening one waits for the prefill of the others (step 2), then leaves at 4; two are left at 7.
    assert by_class(requests, "finished") == {"opens": 4, "of_6": 7, "next": 8, "of_9": 11, "of_12": 14}
    assert by_class(requests, "scheduled")["next"] == 7


def test_decode_first_without_refill_lets_the_batch_run_empty():
    requests = refilled(0.0)
    # Alone from the start, the opening one decodes to its end; then the three others do.
    assert by_class(requests, "scheduled") == {"opens": 0, "of_6": 3, "of_9": 3, "of_12": 3, "next": 3}
    assert by_class(refilled(0.25), "scheduled")["next"] == 10
