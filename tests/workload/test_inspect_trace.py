"""Describing a trace, and fitting a class that resembles it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import yaml

from inferencesim.errors import InputError
from inferencesim.scenario.arrivals import Gamma, Poisson
from inferencesim.scenario.lengths import Histogram, Lognormal
from inferencesim.scenario.workload import WorkloadClass
from inferencesim.workload.fitting import MEAN_TOLERANCE, fit_class
from inferencesim.workload.inspect import inspect_trace, prefix_reuse_share
from inferencesim.workload.load import generate_load
from inferencesim.workload.traces.reading import read_trace
from inferencesim.workload.traces.record import BlockHashes, Trace


def trace_of(time_s, prompt, output, blocks=None):
    n = len(time_s)
    columns = (np.broadcast_to(np.asarray(each, dtype=np.int64), n) for each in (prompt, output, -1))
    return Trace("made", "test", np.asarray(time_s, dtype=float), *columns, blocks=blocks)


def trace_like(load):
    return trace_of(load.arrived_s, load.prompt_tokens, load.output_tokens)


def test_a_report_of_few_rows_by_hand():
    report = inspect_trace(trace_of([0, 1, 1, 4], [10, 20, 30, 40], [4, 3, 2, 1]))
    assert (report.rows, report.span_s, report.rate_per_s) == (4, 4.0, 0.75)
    assert report.zero_gap_share == pytest.approx(1 / 3)
    # Gaps 1, 0, 3: mean 4/3, population variance 14/9.
    assert report.interarrival_cv == pytest.approx(math.sqrt(14 / 9) / (4 / 3))
    # Counts 1, 2, 0, 0 (the window that would begin with the last row is not whole).
    assert report.dispersion_1s == pytest.approx(0.6875 / 0.75)
    assert math.isnan(report.dispersion_10s)
    assert (report.prompt_tokens.mean, report.prompt_tokens.p50, report.prompt_tokens.max) == (25, 25, 40)
    assert report.correlation == pytest.approx(-1)
    assert report.prefix_reuse_share is None


def test_a_trace_of_one_row_has_no_rate_but_a_report():
    report = inspect_trace(trace_of([5], 10, 1))
    assert math.isnan(report.rate_per_s)
    assert math.isnan(report.interarrival_cv)
    assert math.isnan(report.correlation)


def test_only_full_blocks_of_a_prefix_are_reused():
    offsets = np.array([0, 3, 6, 8])
    values = np.array([0, 1, 2, 0, 1, 2, 9, 1])
    prompts = np.array([25, 30, 20])
    # Row 2 finds blocks 0 and 1; row 1 did not keep its partial block 2; row 3 differs from the start.
    reused = prefix_reuse_share(BlockHashes(offsets, values, 10), prompts)
    assert reused == pytest.approx(20 / 75)


@pytest.mark.parametrize(
    ("name", "rows", "rate", "cv", "dispersions", "correlation", "reuse"),
    [
        ("azure/AzureLLMInferenceTrace_conv.csv", 19_366, 5.53, 1.09, (1.4, 3.9, 16.1), -0.11, None),
        ("azure/AzureLLMInferenceTrace_code.csv", 8_819, 2.57, 13.2, (13.2, 71.6, 164), 0.001, None),
        ("mooncake/conversation_trace.jsonl", 12_031, 3.40, 3.03, (7.9, 2.1, 2.9), None, 0.374),
        ("mooncake/synthetic_trace.jsonl", 3_993, 3.91, 1.01, (1.1, 1.2, None), None, 0.651),
        ("mooncake/mooncake_trace_1000.jsonl", 1_000, 5.64, None, (None, None, None), None, 0.391),
    ],
)
def test_published_traces_have_their_published_statistics(
    shared_trace, name, rows, rate, cv, dispersions, correlation, reuse
):
    report = inspect_trace(read_trace(shared_trace(name)))
    assert report.rows == rows
    assert report.rate_per_s == pytest.approx(rate, abs=0.006)
    if cv is not None:
        assert report.interarrival_cv == pytest.approx(cv, rel=0.005)
    found = (report.dispersion_1s, report.dispersion_10s, report.dispersion_60s)
    for each, published in zip(found, dispersions, strict=True):
        if published is not None:
            assert each == pytest.approx(published, abs=0.06)
    if correlation is not None:
        assert report.correlation == pytest.approx(correlation, abs=0.005)
    if reuse is None:
        assert report.prefix_reuse_share is None
    else:
        assert report.prefix_reuse_share == pytest.approx(reuse, abs=0.001)


def fitted(trace, base, horizon_s=4000.0):
    cls = WorkloadClass.model_validate(yaml.safe_load(fit_class(trace)))
    return cls, generate_load([cls], horizon_s, 1, base)


def test_a_fit_finds_the_class_that_made_the_load(make_class, tmp_path):
    made = make_class(arrivals={"process": "gamma", "rate": 8, "cv": 2})
    cls, load = fitted(trace_like(generate_load([made], 4000.0, 5, tmp_path)), tmp_path)
    assert isinstance(cls.arrivals, Gamma)
    assert cls.arrivals.cv == pytest.approx(2, rel=0.05)
    assert isinstance(cls.prompt_tokens, Lognormal)
    assert cls.prompt_tokens.median == pytest.approx(1000, rel=0.03)
    assert cls.prompt_tokens.log_sigma == pytest.approx(1.0, rel=0.03)
    assert len(load) / 4000 == pytest.approx(8, rel=0.05)


def test_lengths_that_are_no_lognormal_become_a_histogram(tmp_path):
    rng = np.random.default_rng(1)
    lengths = np.where(rng.random(5000) < 0.5, 5, 3000)
    cls, load = fitted(trace_of(np.arange(5000) * 0.5, lengths, 7), tmp_path)
    assert isinstance(cls.prompt_tokens, Histogram)
    assert load.prompt_tokens.mean() == pytest.approx(lengths.mean(), rel=MEAN_TOLERANCE)
    assert set(load.output_tokens) == {7}


@pytest.mark.parametrize(
    ("name", "process", "rate_error"),
    [
        ("azure/AzureLLMInferenceTrace_conv.csv", Poisson, 0.02),
        ("azure/AzureLLMInferenceTrace_code.csv", Gamma, 0.4),
        ("mooncake/conversation_trace.jsonl", Poisson, 0.03),
        ("mooncake/synthetic_trace.jsonl", Poisson, 0.03),
    ],
)
def test_a_fit_of_a_published_trace_keeps_rate_and_mean_lengths(shared_trace, tmp_path, name, process, rate_error):
    trace = read_trace(shared_trace(name))
    cls, load = fitted(trace, tmp_path)
    report = inspect_trace(trace)
    assert isinstance(cls.arrivals, process)
    assert cls.arrivals.rate == pytest.approx(report.rate_per_s, rel=1e-5)
    assert len(load) / 4000 == pytest.approx(report.rate_per_s, rel=rate_error)
    # The stated tolerance and five standard errors of the sample.
    for column in ("prompt_tokens", "output_tokens"):
        drawn, true_mean = getattr(load, column), getattr(trace, column).mean()
        noise = 5 * drawn.std() / math.sqrt(len(drawn)) / true_mean
        assert abs(drawn.mean() / true_mean - 1) <= MEAN_TOLERANCE + noise


def test_a_trace_at_one_instant_has_no_rate_to_fit():
    with pytest.raises(InputError, match="all rows share one instant"):
        fit_class(trace_of([1, 1, 1], 5, 5))
