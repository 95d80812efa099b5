"""Numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencesim.report import formats


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (formats.significant, 0.000739, "0.000739"),
        (formats.significant, 0.00074, "0.000740"),
        (formats.significant, 0.9996, "1.00"),
        (formats.significant, 99.96, "100"),
        (formats.significant, 12345.6, "12,346"),
        (formats.significant, None, "–"),
        (formats.seconds, 0.0, "0 s"),
        (formats.seconds, 0.0123, "12.3 ms"),
        (formats.seconds, 59.0, "59.0 s"),
        (formats.seconds, 600.0, "10.0 min"),
        (formats.seconds, 7200.0, "2.00 h"),
        (formats.usd, 1.5, "$1.50"),
        (formats.joules, 3.6e6, "1.00 kWh"),
        (formats.joules, 500.0, "500 J"),
        (formats.watts, 1500.0, "1.50 kW"),
        (formats.grams, 2500.0, "2.50 kg"),
        (formats.share, 1.0, "100.0 %"),
        (formats.share, 0.99999, "99.9 %"),
        (formats.share, None, "–"),
        (formats.count, 1234567, "1,234,567"),
    ],
)
def test_examples(function, value, text):
    assert function(value) == text


@given(st.floats(1e-8, 1e8))
def test_three_digits_are_within_half_a_per_cent(value):
    assert float(formats.significant(value).replace(",", "")) == pytest.approx(value, rel=6e-3)
