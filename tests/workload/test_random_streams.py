"""Named random streams: the same name gives the same numbers, another name others."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inferencesim.workload.streams import session_base, stream

names = st.lists(st.one_of(st.text(max_size=5), st.integers(-5, 5)), max_size=4)


@given(st.integers(0, 2**63 - 1), names)
def test_a_stream_is_its_seed_and_name(seed, name):
    assert stream(seed, *name).random() == stream(seed, *name).random()


@given(names, names)
def test_streams_of_other_names_differ(first, second):
    typed_first, typed_second = ([(type(each), each) for each in name] for name in (first, second))
    same = typed_first == typed_second
    assert (stream(1, *first).random() == stream(1, *second).random()) == same


def test_streams_of_other_seeds_and_joined_names_differ():
    draws = {stream(seed, *name).random() for seed in (1, 2) for name in (("ab", "c"), ("a", "bc"), ("abc",))}
    assert len(draws) == 6


def test_the_first_numbers_stay_what_they_are():
    # Golden: a change here changes every result ever published with a seed.
    assert stream(42, "chat", "arrivals").random() == 0.7512434539783005


def test_streams_are_uncorrelated():
    first, second = (stream(1, name).random(20_000) for name in ("a", "b"))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


@given(st.text(max_size=8))
def test_session_ids_of_a_class_fit_in_64_bits(name):
    assert 0 <= session_base(name) + 2**31 < 2**63
