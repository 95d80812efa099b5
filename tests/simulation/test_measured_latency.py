"""A pool with a step table, in whole runs: its requests take what the table says, and none leaves it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from oracle.small import DATA, closed, pool, run, scenario, work

from inferencesim.deployment.step_table import load_step_table
from inferencesim.errors import InputError
from inferencesim.scenario.loading import load_scenario
from inferencesim.simulation.plan import make_plan

TABLE = str(DATA / "small-table.yaml")
BATCHING = {"max_sequences": 20, "token_budget": 100}
PROMPT, OUTPUT = 30, 60


def measured(**said):
    return pool(**{"batching": BATCHING, "latency": {"table": TABLE}, **said})


def test_a_lone_request_takes_the_steps_of_the_table():
    table = load_step_table(TABLE, "here")
    chunk = np.array([np.interp(PROMPT, table.prefill.chunk, column) for column in zip(*table.prefill.ms, strict=True)])
    first = 0.5 + np.interp(PROMPT, table.tokens.at, table.tokens.ms) + 0.25 + chunk[0]
    contexts = PROMPT + np.arange(1, OUTPUT)
    each = 0.5 + 1.0 + 0.25 + np.interp(contexts, table.decode.context, table.decode.ms[0])
    requests = run(scenario([measured()], [work(rate=0.5, prompt=PROMPT, output=OUTPUT)], horizon=20.0)).requests
    assert len(requests) > 3
    alone = requests[requests["arrived_s"].diff().fillna(1.0) > 0.5].iloc[0]
    assert alone["first_token_s"] - alone["arrived_s"] == pytest.approx(first * 1e-3, rel=1e-9)
    assert alone["finished_s"] - alone["first_token_s"] == pytest.approx(each.sum() * 1e-3, rel=1e-9)


@pytest.mark.parametrize("arrivals", [{"process": "poisson", "rate": 20.0}, closed(2)])
def test_a_request_longer_than_the_table_stops_the_run(arrivals):
    long = work("long", prompt=200, output=58) | {"arrivals": arrivals}
    with pytest.raises(InputError) as refused:
        run(scenario([pool("other"), measured(name="m")], [work("short"), long]))
    assert refused.value.where == "pools[1].latency.table"
    for part in ("'m'", "'long'", "257 tokens", "(200 + 58)", "up to 256"):
        assert part in refused.value.what


def test_the_longest_measured_request_runs():
    requests = run(scenario([measured()], [work(prompt=200, output=57)], horizon=0.2, drain=60.0)).requests
    assert set(requests["outcome"]) == {"completed"}


def test_a_request_no_engine_would_take_is_rejected_as_ever():
    short = measured(kv_blocks=10)
    requests = run(scenario([short], [work(prompt=200, output=58)], horizon=0.2)).requests
    assert set(requests["outcome"]) == {"rejected"}


def test_a_table_is_found_beside_its_scenario(tmp_path, monkeypatch):
    tree = scenario([measured()], [work()]).model_dump(mode="json", by_alias=True, exclude_none=True)
    tree["pools"][0]["latency"] = {"table": "tables/small.yaml"}
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "small.yaml").write_text(Path(TABLE).read_text())
    (tmp_path / "scenario.yaml").write_text(yaml.safe_dump(tree))
    monkeypatch.chdir("/")
    planned = make_plan(load_scenario(tmp_path / "scenario.yaml"))
    assert planned.pools[0].deployment.table == load_step_table(TABLE, "here")
