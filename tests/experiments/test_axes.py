"""What ``--vary`` says."""

from __future__ import annotations

import re

import pytest

from inferencesim.errors import InputError
from inferencesim.experiments.axes import axes_of, grid, latin_hypercube, parse_vary


def values(text):
    return [value for (value,) in grid(axes_of({"x": text}))]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2,4,8", [2, 4, 8]),
        ("round_robin, least_outstanding", ["round_robin", "least_outstanding"]),
        ("{weights: fp8, kv: bf16}, bf16", [{"weights": "fp8", "kv": "bf16"}, "bf16"]),
        ("null,true", [None, True]),
        ("10/s..50/s:5", ["10/s", "20/s", "30/s", "40/s", "50/s"]),
        ("10..50/s:3", ["10/s", "30/s", "50/s"]),
        ("$2/h..$3/h:3", ["$2/h", "$2.5/h", "$3/h"]),
        ("1..1000:4:log", [1, 10, 100, 1000]),
        ("0.1..0.3:3:linear", [0.1, 0.2, 0.3]),
        ("1..3:9", [1, 2, 3]),
        ("1.0..2.0:3", [1, 1.5, 2]),
        ("-5 s..5 s:3", ["-5s", "0s", "5s"]),
        ("10 %..30 %:3", ["10%", "20%", "30%"]),
        ("../a.csv,../b.csv", ["../a.csv", "../b.csv"]),
    ],
)
def test_values_and_ranges(text, found):
    assert values(text) == found


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1..5", "does not say how many values a grid takes"),
        ("1/s..5/min:3", "goes from '/s' to '/min'"),
        ("5..1:3", "does not go upwards"),
        ("1..5:1", "1 values make no range"),
        ("1..5:3:cubic", "unknown spread 'cubic'"),
        ("0..5:3:log", "begins above zero"),
        ("a: [", "--vary x"),
    ],
)
def test_wrong_values(text, complaint):
    with pytest.raises(InputError, match=re.escape(complaint)):
        values(text)


def test_a_grid_has_all_combinations():
    assert grid(axes_of({"a": [1, 2], "b": "x,y"})) == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


def test_a_latin_hypercube_meets_every_part_of_every_axis_once():
    axes = axes_of({"a": "0.0/s..10.0/s", "b": "1.0..1000.0:log", "c": "x,y"})
    drawn = latin_hypercube(axes, 10, seed=1)
    assert sorted(int(float(a.removesuffix("/s"))) for a, _, _ in drawn) == list(range(10))
    assert sum(b < 1000.0**0.5 for _, b, _ in drawn) == 5
    assert sorted(c for _, _, c in drawn) == ["x"] * 5 + ["y"] * 5
    assert latin_hypercube(axes, 10, seed=1) == drawn
    assert latin_hypercube(axes, 10, seed=2) != drawn


def test_whole_numbers_are_drawn_evenly_and_no_combination_twice():
    drawn = latin_hypercube(axes_of({"a": "1..5"}), 10, seed=1)
    assert sorted(drawn) == [(1,), (2,), (3,), (4,), (5,)]


@pytest.mark.parametrize(
    ("given", "unit", "shown"),
    [
        ("10/s..50/s:2", "/s", [10.0, 50.0]),
        ("10/s,50/s", "/s", [10.0, 50.0]),
        ([1, 2], "", [1, 2]),
        ("10/s,5/min", None, ["10/s", "5/min"]),
        ("a,b", None, ["a", "b"]),
        ([True, False], None, [True, False]),
    ],
)
def test_results_hold_numbers_where_there_is_one_unit(given, unit, shown):
    (axis,) = axes_of({"x": given})
    assert axis.described.unit == unit
    assert [axis.shown(value) for (value,) in grid([axis])] == shown


def test_options():
    assert parse_vary(["a.b=1,2", "c=x=y"]) == {"a.b": "1,2", "c": "x=y"}
    for options, complaint in (
        (["a"], "is not of the form path=values"),
        (["a="], "is not of the form path=values"),
        (["a=1", "a=2"], "is given twice"),
    ):
        with pytest.raises(InputError, match=complaint):
            parse_vary(options)
    with pytest.raises(InputError, match="--vary: is missing"):
        axes_of({})
    with pytest.raises(InputError, match="names no value"):
        axes_of({"a": []})
