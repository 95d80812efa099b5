"""Published traces, replayed: every row becomes a request, and every request is accounted for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracle.small import pool, run, scenario

import inferencesim
from inferencesim.scenario.loading import load_scenario

AZURE = Path(inferencesim.__file__).parents[2] / "shared" / "traces" / "azure"
ROWS = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:51.2224670,87,1
"""


def replay(path, **arrivals):
    """Return a scenario that plays one Azure trace on the small chip."""
    return scenario(
        [pool(serves="small-model")],
        [{"name": "c", "arrivals": {"process": "trace", "file": str(path), **arrivals}, "models": ["small-model"]}],
        horizon=10.0,
        drain=60.0,
    )


def test_a_trace_in_its_publishers_format_is_played_row_by_row(tmp_path):
    path = tmp_path / "azure.csv"
    path.write_text(ROWS)
    requests = run(replay(path)).requests.sort_values("request_id")
    assert requests["prompt_tokens"].tolist() == [374, 396, 87]
    assert requests["generated_tokens"].tolist() == [44, 109, 1]
    assert np.allclose(requests["arrived_s"], [0.0, 4.314579, 4.541877])
    assert set(requests["outcome"]) == {"completed"}


def test_a_rate_scale_of_two_plays_it_in_half_the_time(tmp_path):
    path = tmp_path / "azure.csv"
    path.write_text(ROWS)
    requests = run(replay(path, rate_scale=2.0)).requests.sort_values("request_id")
    assert np.allclose(requests["arrived_s"], [0.0, 2.1572895, 2.2709385])


@pytest.mark.skipif(not AZURE.is_dir(), reason="the Azure traces are not beside the project (../shared/traces/azure)")
def test_the_azure_hours_are_conserved_to_the_request():
    played = run(load_scenario("azure_replay"))
    requests = played.requests
    counts = requests["class"].value_counts()
    assert counts["conversation"] == 19366
    assert counts["code"] == 8819
    assert requests["request_id"].is_unique
    assert played.result.arrived == len(requests) == len(played.decisions)
    assert set(requests["outcome"]) <= {"completed", "open"}
    done = requests[requests["outcome"] == "completed"]
    assert (done["generated_tokens"] == done["output_tokens"]).all()
    assert int(done["prompt_tokens"].sum()) == int(requests["prompt_tokens"].sum())
