"""A quantity reads its unit, refuses another dimension, and keeps where it came from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from inferencesim.hardware.quantity import (
    Bandwidth,
    CarbonIntensity,
    ComputeRate,
    Count,
    Duration,
    Information,
    Power,
    PricePerEnergy,
    PricePerTime,
    Quantity,
    Ratio,
    Share,
)


def make(kind: type[Quantity], value: object, unit: str, **other: object) -> Quantity:
    return kind.model_validate({"value": value, "unit": unit, "source": "a datasheet", "provenance": "vendor", **other})


@pytest.mark.parametrize(
    ("kind", "value", "unit", "si"),
    [
        (Bandwidth, 3350, "GB/s", 3.35e12),
        (Bandwidth, 400, "Gb/s", 5e10),
        (Information, 80, "GiB", 80 * 2**30),
        (ComputeRate, 989, "TFLOPS", 9.89e14),
        (ComputeRate, 1979, "TOPS", 1.979e15),
        (Power, 0.7, "kW", 700.0),
        (Duration, 5, "us", 5e-6),
        (Count, 8, "chips", 8.0),
        (Share, 85, "%", 0.85),
        (Share, 0.85, "fraction", 0.85),
        (Ratio, 1.2, "ratio", 1.2),
        (PricePerTime, 3.6, "USD/h", 1e-3),
        (PricePerTime, 3.6, "$/h", 1e-3),
        (PricePerEnergy, 0.36, "USD/kWh", 1e-7),
        (CarbonIntensity, 360, "g/kWh", 1e-4),
    ],
)
def test_si_is_the_number_in_the_units_of_the_simulator(
    kind: type[Quantity], value: float, unit: str, si: float
) -> None:
    assert make(kind, value, unit).si == pytest.approx(si, rel=1e-12)


@given(st.floats(1e-3, 1e9), st.floats(1e-3, 1e3))
def test_si_is_linear_in_the_value(value: float, factor: float) -> None:
    once = make(Bandwidth, value, "GB/s").si
    assert make(Bandwidth, value * factor, "GB/s").si == pytest.approx(once * factor, rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "unit", "si"), [(Duration, "ms", 1e-3), (Power, "kW", 1e3), (Count, "chips", 1.0), (Ratio, "ratio", 1.0)]
)
def test_a_unit_is_worth_the_same_whatever_the_value(kind: type[Quantity], unit: str, si: float) -> None:
    for value in (0, 7) if not kind.positive else (7,):
        assert make(kind, value, unit).si_per_unit == pytest.approx(si, rel=1e-12)


def test_a_unit_of_another_dimension_is_refused_with_an_example() -> None:
    with pytest.raises(ValidationError, match=r"'GB' is not a unit of bandwidth.*3\.35 TB/s"):
        make(Bandwidth, 3350, "GB")


def test_a_word_is_a_unit_only_where_it_makes_sense() -> None:
    with pytest.raises(ValidationError, match="'chips' is not a unit of fraction"):
        make(Share, 0.5, "chips")


@pytest.mark.parametrize(
    ("kind", "value", "unit"),
    [
        (Bandwidth, 0, "GB/s"),
        (Power, -1, "W"),
        (Share, 1.01, "fraction"),
        (Share, 0, "fraction"),
        (Count, -8, "chips"),
    ],
)
def test_a_number_out_of_range_is_refused(kind: type[Quantity], value: float, unit: str) -> None:
    with pytest.raises(ValidationError, match="out of range: it must be"):
        make(kind, value, unit)


@pytest.mark.parametrize("value", ["3350", True, None, float("nan"), float("inf")])
def test_only_a_finite_number_is_a_value(value: object) -> None:
    with pytest.raises(ValidationError):
        make(Bandwidth, value, "GB/s")


@pytest.mark.parametrize("missing", ["source", "provenance", "unit", "value"])
def test_no_number_without_unit_source_and_provenance(missing: str) -> None:
    data = {"value": 1, "unit": "W", "source": "a datasheet", "provenance": "vendor"}
    del data[missing]
    with pytest.raises(ValidationError, match=missing):
        Power.model_validate(data)


def test_zero_watts_and_zero_seconds_are_possible() -> None:
    assert make(Power, 0, "W").si == 0.0
    assert make(Duration, 0, "s").si == 0.0


def test_a_quantity_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(make(Power, 1, "W"), "value", 2.0)  # noqa: B010 - a type checker refuses the assignment already
