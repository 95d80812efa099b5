"""Closed-loop clients: what a client does in a turn depends on nothing but its number and the turn's."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from inferencesim.workload.closed import ClosedLoopDraws
from inferencesim.workload.streams import session_base

CLOSED = {
    "process": "closed",
    "clients": 5,
    "think_time": {"distribution": "lognormal", "median": "10s", "sigma": 1},
}
KEYS = [(client, turn) for client in range(4) for turn in range(0, 200, 7)]


def draws_of(cls, keys=KEYS, seed=3):
    draws = ClosedLoopDraws(cls, seed)
    return {key: draws.draw(*key) for key in keys}


def test_draws_do_not_depend_on_the_order_of_asking(make_class):
    cls = make_class(arrivals=CLOSED, sessions={"active": 9}, cancellation={"share": 0.5, "after": "1s"})
    shuffled = KEYS.copy()
    random.Random(1).shuffle(shuffled)
    assert draws_of(cls) == draws_of(cls, shuffled)
    assert draws_of(cls) != draws_of(cls, seed=4)


def test_clients_and_turns_differ(make_class):
    thinks = [draw.think_s for draw in draws_of(make_class(arrivals=CLOSED)).values()]
    assert len(set(thinks)) == len(thinks)


def test_changing_one_quantity_leaves_the_others(make_class):
    before, after = (draws_of(make_class(arrivals=CLOSED, output_tokens=n)) for n in (5, 6))
    assert all(d.output_tokens == 5 for d in before.values())
    for key, draw in before.items():
        assert (draw.think_s, draw.prompt_tokens) == (after[key].think_s, after[key].prompt_tokens)


def test_draws_follow_their_distributions(make_class):
    cls = make_class(arrivals=CLOSED, sessions={"active": 5}, cancellation={"share": 0.3, "after": "2s"})
    drawn = list(draws_of(cls, [(client, turn) for client in range(30) for turn in range(64)]).values())
    assert np.median([d.think_s for d in drawn]) == pytest.approx(10, rel=0.1)
    assert np.median([d.prompt_tokens for d in drawn]) == pytest.approx(1000, rel=0.1)
    assert {d.session - session_base("chat") for d in drawn} == set(range(5))
    assert {d.cancel_after_s for d in drawn} == {2.0, math.inf}
    assert np.mean([d.cancel_after_s == 2.0 for d in drawn]) == pytest.approx(0.3, abs=0.05)


def test_without_sessions_or_cancellation_there_are_none(make_class):
    draw = ClosedLoopDraws(make_class(arrivals=CLOSED), 1).draw(0, 0)
    assert (draw.session, draw.cancel_after_s) == (-1, math.inf)


def test_an_open_class_is_refused(make_class):
    with pytest.raises(ValueError, match="no closed loop"):
        ClosedLoopDraws(make_class(), 1)
