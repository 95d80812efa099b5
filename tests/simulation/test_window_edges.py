"""What happens at the edges of the measurement window, and between two changes of a batch, is in the figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracle.small import model, pool, scenario, work

from inferencesim import simulate

API = {
    "name": "api", "model": model("windowed-model"), "price": {"input": "$1/Mtok", "output": "$2/Mtok"},
    "ttft": "300ms", "tokens_per_second": "100/s",
}  # fmt: skip
AT_ONCE = {"process": "burst", "requests": 20}


def bought(**said):
    """Return a scenario whose requests a provider answers, beside a pool that nobody uses."""
    outside = {"placement": {"policy": "cheapest_feasible", "parameters": {"providers": 1}}}
    asked = work("c", prompt=1000, output=11, models=("windowed-model",), **said.pop("asked", {})) | {
        "arrivals": AT_ONCE
    }
    return scenario([pool()], [asked], providers=[API], routing=outside, drain=100.0, **said)


def test_what_a_provider_had_at_the_very_start_of_the_window_is_in_all_its_figures():
    run = simulate(bought(asked={"active": {"from": 10.0}}, horizon=20.0, warm_up=10.0))
    (of,) = run.summary.providers
    assert (of.arrived, of.completed, of.prompt_tokens) == (20, 20, 20_000)
    assert of.cost_usd == pytest.approx(run.requests["provider_cost_usd"].sum()) == pytest.approx(20 * (1e-3 + 22e-6))


def test_what_came_to_an_end_at_the_very_end_of_the_window_is_in_none():
    one_pool = scenario([pool()], [work(output=1) | {"arrivals": AT_ONCE}], horizon=20.0, drain=100.0)
    (ended_s, *_) = simulate(one_pool).requests["finished_s"].sort_values()
    found = []
    for horizon in (ended_s, math.nextafter(ended_s, math.inf)):
        summary = simulate(one_pool.model_copy(update={"horizon": horizon})).summary
        by_counter = summary.pools[0].output_tokens_per_s * horizon
        found.append((summary.pools[0].completed, summary.fleet.completed_in_window, round(by_counter)))
    assert found == [(0, 0, 0), (1, 1, 1)]


def test_who_was_held_until_the_window_begins_comes_in_it():
    held = {"defer": {"windows": [{"from": 7200.0, "to": 10_000.0}]}}
    edges = {"horizon": 10_800.0, "warm_up": 7200.0, "drain": 3600.0, "flow": held}
    late = work(rate=0.1, active={"from": 3600.0, "to": 7200.0}, tags={"batchable": True})
    summary = simulate(scenario([pool()], [late], **edges)).summary
    assert summary.pools[0].arrived == summary.pools[0].completed > 300
    asked = {"active": {"from": 3600.0}, "tags": {"batchable": True}}
    (of,) = simulate(bought(asked=asked, horizon=10_800.0, warm_up=7200.0, flow=held)).summary.providers
    assert of.arrived == of.completed == 20


def test_kv_is_counted_while_a_batch_decodes_undisturbed():
    long = work(prompt=16, output=600) | {"arrivals": {"process": "burst", "requests": 4}}
    described = scenario([pool(kv_blocks=1000)], [long], horizon=2.0, drain=600.0)
    run = simulate(described)
    series = run.series
    running = series[series["running"] == 4]
    assert (np.diff(running["kv_usage"]) > 0.0).mean() > 0.9
    block = described.pools[0].batching.block_size
    for row in running.itertuples():
        tokens = row.kv_usage * 1000 * block
        # Each of the four has a block begun at most, beyond what it holds.
        assert tokens - 4 * block <= 4 * 15 + row.output_tokens <= tokens
    window = series[series["time_s"] <= 2.0]
    assert run.summary.pools[0].kv_usage == pytest.approx(window["kv_usage"].mean())
