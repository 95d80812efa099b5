"""The public names, and the one call from a scenario to a run."""

from __future__ import annotations

import copy
import subprocess
import sys

import pandas as pd
import pytest
from oracle.small import pool, scenario, work

import inferencesim
from inferencesim import InputError, Run, Scenario, simulate
from inferencesim.documents import read_yaml
from inferencesim.scenario.loading import find_scenario, load_scenario, scenario_names


def small():
    return scenario([pool("a")], [work("chat")], horizon=5.0)


def test_every_public_name_can_be_imported():
    for name in inferencesim.__all__:
        assert getattr(inferencesim, name) is not None
    assert set(inferencesim.__all__) <= set(dir(inferencesim))
    with pytest.raises(AttributeError, match="simulte"):
        _ = inferencesim.simulte


def test_importing_the_package_imports_nothing_else():
    code = "import sys, inferencesim; sys.exit('numpy' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_scenario_becomes_a_run():
    run = simulate(small())
    assert isinstance(run, Run)
    assert run.complete
    assert run.path is None
    assert len(run.requests) == run.summary.conservation.arrived > 100
    assert len(run.decisions) == len(run.requests)
    assert set(run.series["pool"]) == {"a"}
    assert "complete" in repr(run)


def test_tables_in_memory_say_what_those_of_a_folder_say(tmp_path, monkeypatch):
    # Several chunks: what the kernel writes over must not show in those before.
    monkeypatch.setattr("inferencesim.simulation.entrance.CHUNK_ROWS", 64)
    one_pool = scenario([pool("a")], [work("chat")], horizon=5.0, recording={"predictions": True})
    here, there = simulate(one_pool), simulate(one_pool, out=tmp_path / "run")
    assert len(here.decisions) > 128
    for table in ("requests", "decisions", "series"):
        pd.testing.assert_frame_equal(getattr(here, table), getattr(there, table), check_exact=True)


def test_a_scenario_may_be_a_file(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(small().model_dump_json(by_alias=True, exclude_none=True))
    assert simulate(path).summary.fleet == simulate(small()).summary.fleet
    assert simulate(str(path), 3).manifest.seed == 3


@pytest.mark.parametrize("name", scenario_names())
def test_a_scenario_may_be_what_a_file_holds(name, monkeypatch):
    monkeypatch.chdir(find_scenario(name).parent)  # where relative names of other files start
    held = read_yaml(find_scenario(name), name)
    before = copy.deepcopy(held)
    assert load_scenario(held, seed=3) == load_scenario(name, seed=3)
    assert held == before


def test_what_a_file_holds_is_completed_and_simulated():
    held = small().model_dump(mode="json", by_alias=True, exclude_unset=True)
    held["workload"].append({"like": "search_rerank", "models": ["small-model"], "arrivals": {"rate": "2/s"}})
    assert simulate(held).summary.classes[1].name == "search_rerank"
    with pytest.raises(InputError, match=r"scenario: workload\[1\]"):
        simulate(held | {"workload": [*held["workload"][:1], {"like": "rerenk"}]})


def test_the_seed_changes_the_load_and_nothing_else():
    one, same, other = simulate(small(), 1), simulate(small(), 1), simulate(small(), 2)
    assert one.summary == same.summary
    assert other.summary.fleet.arrived != one.summary.fleet.arrived or other.summary != one.summary
    assert isinstance(small(), Scenario)
    with pytest.raises(InputError, match="out of range"):
        simulate(small(), -1)


def test_progress_starts_at_zero_and_ends_at_the_horizon():
    told = []
    simulate(small(), progress=lambda now, horizon: told.append((now, horizon)))
    assert told[0] == (0.0, 5.0)
    assert told == sorted(told)
    assert told[-1] == (5.0, 5.0)
