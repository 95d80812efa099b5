"""Quantities with units become SI numbers, and nothing else becomes a quantity."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencesim.errors import InputError
from inferencesim.units import SI_UNITS, to_si


@pytest.mark.parametrize(
    ("text", "dimension", "number"),
    [
        ("90s", "time", 90),
        ("5m", "time", None),
        ("5min", "time", 300),
        ("1h", "time", 3600),
        ("1.5 hours", "time", 5400),
        ("2 days", "time", 172_800),
        ("250ms", "time", 0.25),
        ("3 us", "time", 3e-6),
        ("3 µs", "time", 3e-6),
        ("0", "time", 0),
        (12, "time", 12),
        (1e3, "time", 1000),
        ("40/s", "rate", 40),
        ("2400/min", "rate", 40),
        ("2400 requests/min", "rate", 40),
        ("80 GB", "information", 80e9),
        ("80 GiB", "information", 80 * 2**30),
        ("8 Mbit", "information", 1e6),
        ("3.35 TB/s", "bandwidth", 3.35e12),
        ("400 Gb/s", "bandwidth", 50e9),
        ("700 W", "power", 700),
        ("1.2 kWh", "energy", 4.32e6),
        ("$20", "money", 20),
        ("20 USD", "money", 20),
        ("$2.5/h", "price_per_time", 2.5 / 3600),
        ("2.5 USD/h", "price_per_time", 2.5 / 3600),
        ("$80/MWh", "price_per_energy", 80 / 3.6e9),
        ("9 cent/kWh", "price_per_energy", 0.09 / 3.6e6),
        ("989 TFLOPS", "compute", 989e12),
        ("1.4 PFLOPS", "compute", 1.4e15),
        ("1979 TOPS", "compute", 1979e12),
        ("350 g/kWh", "carbon_intensity", 350 / 3.6e6),
        ("85%", "fraction", 0.85),
        ("0.85", "fraction", 0.85),
        ("8k", "count", 8000),
        ("1e3", "count", 1000),
    ],
)
def test_a_quantity_is_read_into_si(text, dimension, number):
    if number is None:
        with pytest.raises(InputError):
            to_si(text, dimension, "here")
    else:
        assert to_si(text, dimension, "here") == pytest.approx(number, rel=1e-12)


@pytest.mark.parametrize("text", ["8k tokens", "8000 tokens", "8k tok", "8 ktok", "8000"])
def test_tokens_may_be_named_where_they_are_counted(text):
    assert to_si(text, "count", "here") == 8000


@pytest.mark.parametrize("text", ["$0.6/Mtok", "0.6 USD/Mtok", "$0.6/1e6"])
def test_a_price_per_token_is_dollars(text):
    assert to_si(text, "price_per_token", "here") == pytest.approx(0.6e-6)


@pytest.mark.parametrize(
    ("value", "dimension"),
    [
        ("5 GB", "time"),
        ("5 s", "information"),
        ("80 GB/s", "information"),
        ("soon", "time"),
        ("", "time"),
        ("1h1", "time"),
        ("5 metres", "time"),
        ("$5", "time"),
        (True, "time"),
        (None, "time"),
        ([5], "time"),
        ({"a": 1}, "time"),
        ("nan", "time"),
        ("inf", "time"),
        (float("nan"), "time"),
        (float("inf"), "time"),
        ("1e999", "time"),
        ("1/0", "rate"),
        ("__import__('os')", "time"),
        ("5 s; 6 s", "time"),
        ("1,5s", "time"),
        ("50,5 ms", "time"),
        ("3,35 TB/s", "bandwidth"),
        ("2,5 USD/h", "price_per_time"),
        ("$2,5/h", "price_per_time"),
        ("0,5", "fraction"),
        ("0,5%", "fraction"),
        ("1 000/s", "rate"),
        ("1 5/s", "rate"),
        ("3 4 s", "time"),
        ("1 s 5", "time"),
        ("2*3s", "time"),
        ("1h-30min", "time"),
        ("5±1 s", "time"),
        ("40/10min", "rate"),
        ("9**9**9 s", "time"),
    ],
)
def test_what_is_no_quantity_of_that_kind_is_refused_at_its_place(value, dimension):
    with pytest.raises(InputError) as caught:
        to_si(value, dimension, "workload[0].timeout")
    assert caught.value.where == "workload[0].timeout"


@pytest.mark.parametrize("dimension", sorted(SI_UNITS))
def test_the_example_in_the_error_is_itself_right(dimension):
    with pytest.raises(InputError) as caught:
        to_si("nonsense", dimension, "here")
    examples = (caught.value.remedy or "").split("'")[1::2]
    for example in examples:
        assert math.isfinite(to_si(example, dimension, "here"))
    assert examples


@given(st.floats(0, 1e12))
def test_a_plain_number_is_si_whether_written_as_number_or_text(number):
    assert to_si(number, "time", "here") == number
    assert to_si(repr(number), "time", "here") == number


@given(st.floats(1e-6, 1e6), st.sampled_from([("ms", 1e-3), ("s", 1), ("min", 60), ("h", 3600), ("day", 86400)]))
def test_a_unit_scales(number, unit):
    name, scale = unit
    assert to_si(f"{number!r} {name}", "time", "here") == pytest.approx(number * scale)


@given(st.text(max_size=30))
def test_any_text_is_a_finite_number_or_an_error_of_ours(text):
    with contextlib.suppress(InputError):
        assert math.isfinite(to_si(text, "time", "here"))


def test_whoever_writes_a_decimal_comma_is_told_of_the_point():
    with pytest.raises(InputError) as caught:
        to_si("1,5 s", "time", "here")
    assert "after a point" in (caught.value.remedy or "")
    with pytest.raises(InputError) as caught:
        to_si("soon", "time", "here")
    assert "point" not in (caught.value.remedy or "")
