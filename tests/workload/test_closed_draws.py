"""Closed-loop clients: what a client does in a turn depends on nothing but its number and the turn's."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inferencesim.errors import InputError
from inferencesim.workload.closed import TURNS_PER_BLOCK, draw_turns
from inferencesim.workload.streams import session_base

CLOSED = {
    "process": "closed",
    "clients": 5,
    "think_time": {"distribution": "lognormal", "median": "10s", "sigma": 1},
}
CANCELLED = {"share": 0.5, "after": {"distribution": "uniform", "low": "1s", "high": "9s"}}


def columns(drawn, clients=None):
    return {name: column[:clients] for name, column in vars(drawn).items()}


def same(first, second):
    return all(np.array_equal(first[name], second[name], equal_nan=True) for name in first)


def test_a_client_draws_the_same_among_few_and_among_many(make_class):
    cls = make_class(arrivals=CLOSED, sessions={"active": 9}, cancellation=CANCELLED)
    for block in (0, 3):
        few, many = draw_turns(cls, 3, 4, block), draw_turns(cls, 3, 40, block)
        assert same(columns(few), columns(many, 4))
    assert not same(columns(draw_turns(cls, 3, 4, 0)), columns(draw_turns(cls, 4, 4, 0)))


def test_clients_turns_and_blocks_differ(make_class):
    cls = make_class(arrivals=CLOSED)
    thinks = np.concatenate([draw_turns(cls, 3, 6, block).think_s for block in range(4)])
    assert thinks.shape == (24, TURNS_PER_BLOCK)
    assert np.unique(thinks).size == thinks.size


def test_changing_one_quantity_leaves_the_others(make_class):
    before, after = (
        columns(draw_turns(make_class(arrivals=CLOSED, cancellation=CANCELLED, output_tokens=n), 3, 8, 1))
        for n in (5, 6)
    )
    assert (before.pop("output_tokens") == 5).all()
    assert (after.pop("output_tokens") == 6).all()
    assert same(before, after)


def test_draws_follow_their_distributions(make_class):
    cls = make_class(arrivals=CLOSED, sessions={"active": 5}, cancellation={"share": 0.3, "after": "2s"})
    drawn = draw_turns(cls, 3, 120, 0)
    assert np.median(drawn.think_s) == pytest.approx(10, rel=0.1)
    assert np.median(drawn.prompt_tokens) == pytest.approx(1000, rel=0.1)
    assert set((drawn.session - session_base("chat")).ravel()) == set(range(5))
    assert set(drawn.cancel_after_s.ravel()) == {2.0, math.inf}
    assert np.mean(drawn.cancel_after_s == 2.0) == pytest.approx(0.3, abs=0.05)


def test_without_sessions_or_cancellation_there_are_none(make_class):
    drawn = draw_turns(make_class(arrivals=CLOSED), 1, 1, 0)
    assert (drawn.session == -1).all()
    assert np.isinf(drawn.cancel_after_s).all()


def test_an_open_class_is_refused(make_class):
    with pytest.raises(ValueError, match="no closed loop"):
        draw_turns(make_class(), 1, 1, 0)


def test_an_unknown_distribution_is_named_with_its_place(make_class):
    cls = make_class(arrivals=CLOSED, output_tokens={"distribution": "zpf", "parameters": {}})
    with pytest.raises(InputError, match=r"workload\[2\]\.output_tokens\.distribution"):
        draw_turns(cls, 1, 1, 0, index=2)
