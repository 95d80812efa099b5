"""Series of an engine over time: what is read, what follows from it, and two runs of vLLM beside their simulations."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from inferencesim.errors import InputError
from inferencesim.experiments.accuracy import compare
from inferencesim.experiments.replay import Replay
from inferencesim.measurements.engine_series import preempted_at, read_series
from inferencesim.measurements.request_traces import read_request_traces
from inferencesim.results.accuracy import compared_series

#: The wall clock and the engine's own; recording began half a second before the first request came.
META = {"started_at": "2026-08-20T23:19:39.500000Z"}
REQUESTS = [
    {"arrival_time": 1787267980.0, "queued_ts": 100.0, "scheduled_ts": 100.1, "last_token_ts": 102.6},
    {"arrival_time": 1787267980.2, "queued_ts": 100.2, "scheduled_ts": 100.3, "last_token_ts": 103.5},
]
HEADER = "t,running,waiting,kv_cache_pct\n"


@pytest.fixture
def series(tmp_path):
    """Return a reader of a series, given its lines."""

    def read(*lines, meta=META, requests=REQUESTS):
        (tmp_path / "timeseries.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))
        return read_series(tmp_path, meta, requests)

    return read


def test_a_series_is_on_the_recorders_clock(series):
    recorded = series("1,2,0,40.5", "2,1,1,100", "3,2,0,90", "4,0,0,0")
    assert list(recorded.moments_s) == [1.0, 2.0, 3.0, 4.0]
    assert recorded.first_queued_s == pytest.approx(0.5)
    assert list(recorded.values) == ["running", "waiting", "preempted", "kv_usage"]
    assert recorded.values["kv_usage"] == pytest.approx([0.405, 1.0, 0.9, 0.0])


def test_who_was_scheduled_and_does_not_run_was_preempted(series):
    # At 2 s both have been scheduled and none has left, but one runs; at 3.2 s the first has left.
    assert list(series("1,2,0,50", "2,1,1,100", "3.2,1,0,90").values["preempted"]) == [0.0, 1.0, 0.0]
    moments, scheduled, left = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.9, 2.5]), np.array([1.5, 9.0, 9.0])
    assert list(preempted_at(moments, scheduled, left, np.array([2.0, 0.0, 3.0]))) == [0.0, 1.0, 0.0]


def test_kv_that_was_not_recorded_is_no_series(series):
    assert list(series("1,2,0,0", "2,1,1,0").values) == ["running", "waiting"]
    unscheduled = [{"queued_ts": 100.0, "last_token_ts": 102.0}]
    assert list(series("1,1,0,50", requests=unscheduled, meta={}).values) == ["running", "waiting", "kv_usage"]


def test_without_a_series_or_its_clock(tmp_path, series):
    assert read_series(tmp_path, META, REQUESTS) is None
    assert series("1,1,0,50", meta={}).first_queued_s == 0.0


def test_bad_cells_are_named(series):
    with pytest.raises(InputError, match=r"timeseries.csv, line 3, column running: 'many' is not a number"):
        series("1,1,0,50", "2,many,0,50")
    with pytest.raises(InputError, match="do not rise"):
        series("2,1,0,50", "1,1,0,50")
    with pytest.raises(InputError, match="do not rise"):
        series()


def test_errors_are_shares_of_the_largest_recorded_value():
    moments = np.array([1.0, 2.0, 3.0, 4.0])
    compared = compared_series("running", moments, np.array([0.0, 8.0, 4.0, 0.0]), np.array([2.0, 8.0, 3.0, 1.0]))
    assert (compared.mean_error, compared.largest_error) == (0.125, 0.25)
    assert compared_series("waiting", moments, np.zeros(4), np.array([0.0, 1.0, 0.0, 0.0])).largest_error == 1.0


@pytest.fixture(scope="module")
def traces(shared_measurements):
    """Return the shared traces, by their names."""
    parts = read_request_traces(shared_measurements("vllm_request_traces"))
    return {trace.id: trace for part in parts for trace in part.measurements}


def mean_errors(row):
    return {each.name: each.mean_error for each in row.series}


def test_saturation_and_drain_of_llama_on_an_rtx_4090(traces):
    row = compare(traces["RTX4090/Llama-3.1-8B"])
    errors = mean_errors(row)
    # With KV reserved at admission, so that nothing grows and nobody is preempted: 0.174, 0.080, 0.144, 0.064;
    # preempted requests that compute all their KV again: 0.047, 0.017, 0.068, 0.036.
    assert errors["running"] < 0.042
    assert errors["waiting"] < 0.015
    assert errors["preempted"] < 0.09
    assert errors["kv_usage"] < 0.03
    assert 150 <= row.preemptions <= 230


def test_a_preempted_request_finds_its_blocks_again(traces):
    trace = traces["RTX4090/Llama-3.1-8B"]
    assert trace.prefix_cache
    with_cache, without = (compare(dataclasses.replace(trace, prefix_cache=kept)) for kept in (True, False))
    for name in ("running", "waiting", "kv_usage"):
        assert mean_errors(with_cache)[name] < mean_errors(without)[name]
    assert abs(with_cache.figures["ttft"].error) < abs(without.figures["ttft"].error)


def test_the_seats_of_two_rtx_pro_6000_fill_and_empty(traces):
    row = compare(traces["RTXPRO6000/Qwen3-32B"])
    assert list(mean_errors(row)) == ["running", "waiting"]
    assert mean_errors(row)["running"] < 0.02
    assert mean_errors(row)["waiting"] < 0.02
    assert row.preemptions == 0


def test_simulated_series_begin_when_the_recorder_did(traces):
    trace = traces["RTXPRO6000/Qwen3-32B"]
    later = dataclasses.replace(trace, series=dataclasses.replace(trace.series, first_queued_s=10.0))
    replay = Replay(later)
    assert replay.series() == ()
    replay.simulate()
    running = replay.series()[0]
    assert running.predicted[:9] == (0.0,) * 9
    assert running.predicted[10] > 0.0


def test_series_are_in_the_document(traces):
    document = json.loads(compare(traces["RTXPRO6000/Qwen3-32B"]).model_dump_json())
    assert [each["name"] for each in document["series"]] == ["running", "waiting"]
    assert len(document["series"][0]["measured"]) == len(document["series"][0]["moments_s"]) == 160
