"""Conversations: each prompt holds what was said before, whoever else is talking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencesim.errors import InputError
from inferencesim.scenario.workload import WorkloadClass
from inferencesim.workload import closed
from inferencesim.workload.closed import draw_turns, mean_lengths
from inferencesim.workload.conversations import history_ids
from inferencesim.workload.streams import session_base

PREFIX = 300
OWN = {"distribution": "lognormal", "median": 60, "sigma": 0.8}


def talking(turns=5, max_context=None, clients=4, variants=3, **said):
    return WorkloadClass.model_validate(
        {
            "name": "talk",
            "arrivals": {"process": "closed", "clients": clients, "think_time": "5s"},
            "prompt_tokens": OWN,
            "output_tokens": {"distribution": "lognormal", "median": 90, "sigma": 0.8},
            "shared_prefix": {"tokens": PREFIX, "variants": variants},
            "conversation": {"turns": turns, "max_context": max_context},
            "models": ["m"],
        }
        | said
    )


def silent(**said):
    """The same class, each turn on its own: its prompts are those that conversations add to."""
    described = talking(**said).model_dump(by_alias=True) | {"conversation": None}
    return WorkloadClass.model_validate(described)


def blocks_of(cls, count, clients=4, seed=3):
    """Return columns of successive turns, shape (clients, turns)."""
    blocks = [vars(draw_turns(cls, seed, clients, block)) for block in range(count)]
    return {name: np.concatenate([block[name] for block in blocks], axis=1) for name in blocks[0]}


def retold(cls, own, output, client):
    """Play one client's turns again, one by one: whole prompts, and the number of the conversation."""
    turns = round(cls.conversation.turns.value)
    most = cls.conversation.max_context or np.inf
    number, left, said = -1, 0, 0
    for new, answer in zip(own[client], output[client], strict=True):
        if left == 0 or said + new + answer > most:
            number, left, said = number + 1, turns, PREFIX
        prompt = said + new
        yield prompt, number
        said, left = prompt + answer, left - 1


@given(turns=st.integers(1, 40), max_context=st.none() | st.integers(100, 20_000), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_a_prompt_holds_all_that_was_said_since_its_conversation_began(turns, max_context, seed):
    cls = talking(turns, max_context)
    drawn = blocks_of(cls, 3, seed=seed)
    own = blocks_of(silent(), 3, seed=seed)["prompt_tokens"] - PREFIX
    for client in range(4):
        told = np.array(list(retold(cls, own, drawn["output_tokens"], client)))
        assert np.array_equal(drawn["prompt_tokens"][client], told[:, 0])
        assert np.array_equal(drawn["history"][client], client * 2**16 + told[:, 1])


def test_the_next_prompt_contains_prompt_and_answer():
    drawn = blocks_of(talking(turns=1000), 4)
    prompt, answer = drawn["prompt_tokens"], drawn["output_tokens"]
    assert (prompt[:, 1:] > prompt[:, :-1] + answer[:, :-1]).all()
    assert (prompt[:, 0] > PREFIX).all()
    assert len(set(drawn["history"][0])) == 1


def test_a_conversation_ends_after_its_turns_and_keeps_its_prefix():
    drawn = blocks_of(talking(turns=7), 7)
    for client in range(4):
        _, turns = np.unique(drawn["history"][client], return_counts=True)
        assert turns.tolist() == [7] * 16
        prefixes = drawn["prefix"][client].reshape(16, 7)
        assert (prefixes == prefixes[:, :1]).all()
        assert set(prefixes.ravel()) == {0, 1, 2}


def test_lengths_of_conversations_follow_their_distribution():
    drawn = blocks_of(talking(turns={"distribution": "uniform", "low": 2, "high": 6}), 10, clients=50)
    _, turns = np.unique(drawn["history"], return_counts=True)
    whole = turns[turns > 1]
    assert set(whole) == {2, 3, 4, 5, 6}
    assert turns.mean() == pytest.approx(4, rel=0.1)


def test_no_context_outgrows_its_limit_but_in_a_first_turn():
    drawn = blocks_of(talking(turns=1000, max_context=1500), 4)
    whole = drawn["prompt_tokens"] + drawn["output_tokens"]
    first = np.diff(drawn["history"], axis=1, prepend=-1) != 0
    assert (whole[~first] <= 1500).all()
    assert first.sum() > 20


@pytest.mark.parametrize("block", [0, 1, 5])
def test_a_block_of_turns_is_the_same_in_any_order_and_among_any_clients(block):
    closed._known_standings.cache_clear()
    alone = vars(draw_turns(talking(max_context=4000), 3, 2, block))
    for other in (6, 2, 0):
        draw_turns(talking(max_context=4000), 3, 5, other)
    for clients in (2, 4, 60):
        again = vars(draw_turns(talking(max_context=4000, clients=clients), 3, clients, block))
        for name, column in alone.items():
            assert np.array_equal(column, again[name][:2], equal_nan=True), name


def test_each_block_is_played_once_however_many_are_asked_for(monkeypatch):
    closed._known_standings.cache_clear()
    played = []
    monkeypatch.setattr(closed, "talk", lambda *said, talk=closed.talk: played.append(1) or talk(*said))
    for block in range(30):
        draw_turns(talking(), 3, 4, block)
    assert len(played) <= 2 * 30


def test_conversations_of_classes_clients_and_times_never_meet():
    both = [draw_turns(talking(), 3, 4, 0, index).history for index in (0, 3)]
    assert not set(both[0].ravel()) & set(both[1].ravel())
    assert (both[1] >> 32 == 3).all()
    assert max(part.max() for part in both) < 2**40
    assert len(set(both[0][:, 0])) == 4


def test_each_conversation_is_a_session():
    drawn = blocks_of(talking(), 2)
    assert np.array_equal(drawn["session"] - session_base("talk"), drawn["history"])


def test_more_conversations_than_ids_are_an_error():
    with pytest.raises(InputError, match=r"workload\[9\].conversation: a client begins more than 65536"):
        history_ids(np.array([[2**16]]), 0, "workload[9]")
    with pytest.raises(InputError, match="the first 128 classes"):
        draw_turns(talking(), 3, 4, 0, index=256)


def test_mean_prompts_grow_with_the_length_of_conversations():
    short, long = mean_lengths(talking(turns=1)), mean_lengths(talking(turns=20))
    own = blocks_of(silent(), 20)["prompt_tokens"].mean()
    assert short[0] == pytest.approx(own, rel=0.1)
    assert long[0] > 5 * short[0]
    assert long[0] == pytest.approx(blocks_of(talking(turns=20), 20, clients=50)["prompt_tokens"].mean(), rel=0.15)
    assert short[1] == long[1]


def test_speakers_converse_too():
    said = {"kind": "speech", "audio": "4s", "reply": "6s", "tokens_per_second": 10}
    cls = talking(turns=3, prompt_tokens=None, output_tokens=None, **said)
    assert draw_turns(cls, 3, 1, 0).prompt_tokens[0, :4].tolist() == [340, 440, 540, 340]
