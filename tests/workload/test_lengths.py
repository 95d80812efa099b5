"""Length distributions: what is drawn has the mean, the bounds and the order that were promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from inferencesim.errors import InputError
from inferencesim.scenario.lengths import TimeLengths, TokenLengths
from inferencesim.workload.lengths import DISTRIBUTIONS, mean, quantiles, sample, sample_seconds
from inferencesim.workload.streams import stream

TOKENS = TypeAdapter(TokenLengths)
TIMES = TypeAdapter(TimeLengths)

sizes = st.integers(1, 5000)
specs = st.one_of(
    st.builds(lambda v: {"distribution": "fixed", "value": v}, sizes),
    st.builds(lambda a, b: {"distribution": "uniform", "low": min(a, b), "high": max(a, b)}, sizes, sizes),
    st.builds(
        lambda m, s, a, b: {
            "distribution": "lognormal",
            "median": m,
            "sigma": s,
            "min": min(a, b),
            "max": max(a, b),
        },
        st.integers(20, 5000),
        st.floats(0, 1.5),
        sizes,
        sizes,
    ),
    st.builds(
        lambda v, w: {"distribution": "histogram", "values": v, "weights": w[: len(v)]},
        st.lists(sizes, min_size=1, max_size=5),
        st.lists(st.floats(0.01, 10), min_size=5, max_size=5),
    ),
    st.builds(
        lambda v, w: {"distribution": "histogram", "edges": sorted(v), "weights": w[: len(v) - 1]},
        st.lists(sizes, min_size=2, max_size=6, unique=True),
        st.lists(st.floats(0.01, 10), min_size=5, max_size=5),
    ),
)


@settings(max_examples=60, deadline=None)
@given(specs, st.integers(0, 50), st.integers(0, 50))
def test_the_nth_length_does_not_depend_on_how_many_are_drawn(raw, few, more):
    spec = TOKENS.validate_python(raw)
    short, long = (sample(spec, n, stream(1, "x")) for n in (few, few + more))
    assert short.dtype == np.int64
    assert np.array_equal(short, long[:few])
    assert (long >= 1).all()


@settings(max_examples=40, deadline=None)
@given(specs)
def test_the_mean_of_many_is_the_stated_mean(raw):
    spec = TOKENS.validate_python(raw)
    drawn = sample(spec, 20_000, stream(3, "x"))
    error = 5 * drawn.std() / np.sqrt(len(drawn)) + 0.5
    assert abs(drawn.mean() - mean(spec)) <= error


def test_quantiles_of_a_lognormal_are_those_stated():
    spec = TOKENS.validate_python({"distribution": "lognormal", "median": 1020, "p95": 4083})
    drawn = sample(spec, 200_000, stream(1, "x"))
    assert np.percentile(drawn, 50) == pytest.approx(1020, rel=0.01)
    assert np.percentile(drawn, 95) == pytest.approx(4083, rel=0.015)


def test_bounds_of_a_lognormal_pile_up_what_lies_beyond():
    raw = {"distribution": "lognormal", "median": 1000, "sigma": 1.0, "min": 500, "max": 2000}
    drawn = sample(TOKENS.validate_python(raw), 20_000, stream(1, "x"))
    assert (drawn.min(), drawn.max()) == (500, 2000)
    # P(X < median/2) at sigma 1 is Φ(−ln 2) = 0.244.
    assert np.mean(drawn == 500) == pytest.approx(0.244, abs=0.01)


def test_a_uniform_reaches_both_ends_equally():
    spec = TOKENS.validate_python({"distribution": "uniform", "low": 1, "high": 4})
    counts = np.bincount(sample(spec, 40_000, stream(1, "x")))
    assert counts[0] == 0
    assert counts[1:] == pytest.approx([10_000] * 4, rel=0.05)


def test_bins_without_weight_stay_empty():
    raw = {"distribution": "histogram", "edges": [1, 10, 20, 30], "weights": [0, 1, 0]}
    drawn = sample_seconds(TIMES.validate_python(raw), 1000, stream(1, "x"))
    assert drawn.min() >= 10
    assert drawn.max() <= 20


def test_times_are_not_rounded():
    drawn = sample_seconds(
        TIMES.validate_python({"distribution": "uniform", "low": "10ms", "high": "20ms"}), 99, stream(1)
    )
    assert (drawn >= 0.01).all()
    assert (drawn <= 0.02).all()
    assert len(set(drawn)) == 99


def test_another_package_can_add_a_distribution():
    class Doubled:
        def sample(self, parameters, n, generator):
            return np.full(n, 2.0 * parameters["value"])

        def mean(self, parameters):
            return 2.0 * parameters["value"]

    DISTRIBUTIONS.register("doubled-for-test")(Doubled())
    spec = TOKENS.validate_python({"distribution": "doubled-for-test", "parameters": {"value": 7}})
    assert sample(spec, 2, stream(1)).tolist() == [14, 14]
    assert mean(spec) == 14


def test_an_unregistered_distribution_is_an_error_at_its_place():
    spec = TOKENS.validate_python({"distribution": "zipf", "parameters": {}})
    with pytest.raises(InputError, match="workload\\[0\\]: unknown length distribution 'zipf'"):
        sample(spec, 1, stream(1), "workload[0]")


@given(specs)
def test_quantiles_ascend_and_have_the_mean(spec):
    parsed = TIMES.validate_python(spec)
    values = quantiles(parsed, (np.arange(4096) + 0.5) / 4096)
    assert (np.diff(values) >= 0).all()
    # The last quantile stands for a tail without end: up to 2 % of the mean of the widest lognormal.
    assert values.mean() == pytest.approx(mean(parsed), rel=0.03)


def test_quantiles_of_known_distributions():
    shares = np.array([0.25, 0.5, 0.95])
    lognormal = TIMES.validate_python({"distribution": "lognormal", "median": 2.0, "p95": 8.0, "max": 7.0})
    np.testing.assert_allclose(quantiles(lognormal, shares)[1:], [2.0, 7.0])
    uniform = TIMES.validate_python({"distribution": "uniform", "low": 1.0, "high": 5.0})
    np.testing.assert_allclose(quantiles(uniform, shares), [2.0, 3.0, 4.8])
    steps = TIMES.validate_python({"distribution": "histogram", "values": [1.0, 9.0], "weights": [0.5, 0.5]})
    np.testing.assert_allclose(quantiles(steps, shares), [1.0, 9.0, 9.0])


def test_another_package_s_distribution_has_quantiles_by_a_sample_of_it():
    class Exponential:
        def sample(self, parameters, n, generator):
            return generator.exponential(parameters["mean"], n)

        def mean(self, parameters):
            return parameters["mean"]

    DISTRIBUTIONS.register("exponential of a test")(Exponential())
    try:
        parsed = TIMES.validate_python({"distribution": "exponential of a test", "parameters": {"mean": 3.0}})
        found = quantiles(parsed, np.array([0.5, 0.9]))
        np.testing.assert_allclose(found, -3.0 * np.log([0.5, 0.1]), rtol=0.03)
        np.testing.assert_array_equal(found, quantiles(parsed, np.array([0.5, 0.9])))
    finally:
        del DISTRIBUTIONS._entries["exponential of a test"]
