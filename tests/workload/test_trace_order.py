"""Rows that contradict each other in time: which of them is malformed, and how far reading goes to find out."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from inferencesim.errors import InputError
from inferencesim.workload.traces.reading import read_trace
from inferencesim.workload.traces.rows import LOOK_AHEAD

HEADERS = {
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens",
    "burstgpt": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
}
YEARS_S = 10 * 365 * 86_400.0


def row(name, second):
    if name == "azure":
        return f"{datetime(2023, 11, 16) + timedelta(seconds=second)},374,44"
    if name == "burstgpt":
        return f"{second},GPT-4,374,44,418,API log"
    return json.dumps({"timestamp": second * 1000.0, "input_length": 374, "output_length": 44})


def written(folder, name, seconds):
    path = folder / "trace"
    path.write_text("\n".join([*([HEADERS[name]] if name in HEADERS else []), *(row(name, each) for each in seconds)]))
    return path


def read(folder, name, seconds, **options):
    """Return times and malformed rows, the latter by their place among `seconds`."""
    trace = read_trace(written(folder, name, seconds), name, **options)
    first_line = 2 if name in HEADERS else 1
    return trace.time_s.tolist(), [(each.line - first_line, each.reason) for each in trace.malformed]


@pytest.mark.parametrize("name", ["azure", "burstgpt", "mooncake"])
@pytest.mark.parametrize("place", [0, 1, 9, 37])
@pytest.mark.parametrize("end_s", [3600.0, float("inf")])
def test_a_row_that_leaps_ahead_is_itself_the_malformed_one(tmp_path, name, place, end_s):
    seconds = [float(second) for second in range(40)]
    wrong = [*seconds[:place], YEARS_S, *seconds[place:]]
    times, malformed = read(tmp_path, name, wrong, end_s=end_s)
    assert times == seconds
    assert [(at, "time leaps ahead" in reason) for at, reason in malformed] == [(place, True)]
    with pytest.raises(InputError, match="time leaps ahead"):
        read(tmp_path, name, wrong, end_s=end_s, strict=True)


def test_a_leap_inside_the_window_costs_one_row_too(tmp_path):
    times, malformed = read(tmp_path, "mooncake", [0.0, 1.0, 50.0, 2.0, 3.0, 4.0], end_s=100.0)
    assert times == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert malformed == [(2, "time leaps ahead: rows that follow lie up to 48.000000 s before it")]


def test_leaps_in_a_row_and_at_one_instant_are_outvoted(tmp_path):
    times, malformed = read(tmp_path, "mooncake", [5.0, 5.0, YEARS_S, YEARS_S, YEARS_S, 5.0, 6.0, 6.0, 6.0, 7.0])
    assert times == [5.0, 5.0, 5.0, 6.0, 6.0, 6.0, 7.0]
    assert [at for at, _ in malformed] == [2, 3, 4]


def test_one_row_is_no_witness_against_another(tmp_path):
    times, malformed = read(tmp_path, "mooncake", [0.0, 9.0, 5.0])
    assert times == [0.0, 9.0]
    assert malformed == [(2, "time runs backwards, from 9.000000 s to 5.000000 s")]


def test_a_row_that_is_too_early_runs_backwards_and_the_rest_stands(tmp_path):
    times, malformed = read(tmp_path, "azure", [100.0, 101.0, 0.0, 102.0, 103.0])
    assert times == [0.0, 1.0, 2.0, 3.0]
    assert malformed == [(2, "time runs backwards, from 1.000000 s to -100.000000 s")]


def test_of_a_file_without_order_every_row_is_used_in_order_or_reported(tmp_path):
    seconds = [float(17 * each % 101) for each in range(101)]
    times, malformed = read(tmp_path, "mooncake", seconds)
    assert times == sorted(times)
    assert len(times) + len(malformed) == 101
    assert len(malformed) > 50
    with pytest.raises(InputError, match=r"time (runs backwards|leaps ahead)"):
        read(tmp_path, "mooncake", seconds, strict=True)


def test_two_files_in_one_lose_the_second(tmp_path):
    day = [float(second) for second in range(100)]
    times, malformed = read(tmp_path, "mooncake", [*day, *day[:-1]])
    assert times == day
    assert all("time runs backwards" in reason for _, reason in malformed)


def test_reading_stops_soon_after_the_window(tmp_path):
    path = written(tmp_path, "mooncake", [float(second) for second in range(100 + LOOK_AHEAD)])
    with path.open("a") as file:
        file.write("\nno row\n")
    assert len(read_trace(path, "mooncake", end_s=98.0, strict=True)) == 98
    with pytest.raises(InputError, match="not a row"):
        read_trace(path, "mooncake", end_s=101.0, strict=True)
