"""``inferencesim sweep``, as a user types it."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import yaml
from oracle import commands
from oracle.small import chip, model

TREE = {
    "name": "tiny",
    "horizon": "2s",
    "seed": 3,
    "pools": [{"name": "premium", "hardware": chip(), "model": model(), "engine": "generic"}],
    "workload": [
        {
            "name": "chat",
            "arrivals": {"process": "poisson", "rate": "20/s"},
            "prompt_tokens": 40,
            "output_tokens": 20,
            "models": ["small-model"],
        }
    ],
}
REPLICAS = ("--vary", "pools.premium.replicas=1,2")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A scenario file in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TREE))
    return str(path)


def invoke(*words, code=0):
    return commands.invoke("sweep", *words, "--jobs", 1, code=code)


def test_a_table_and_a_folder_that_the_same_command_finds_again(tiny, tmp_path):
    words = (tiny, *REPLICAS, "--vary", "workload.chat.arrivals.rate=10..40/s:3:log", "--replications", 2)
    first = invoke(*words)
    assert "tiny  12 trials" in first.stdout
    assert "means over replications" in first.stdout
    assert "wrote runs/sweep-tiny/results.parquet" in first.stderr
    when = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs/sweep-tiny/trials").iterdir()}
    assert len(when) == 12
    assert invoke(*words).stdout == first.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs/sweep-tiny/trials").iterdir()} == when
    table = pd.read_parquet("runs/sweep-tiny/results.parquet")
    assert sorted(set(table["workload.chat.arrivals.rate"])) == [10.0, 20.0, 40.0]


def test_one_document(tiny):
    result = invoke(tiny, *REPLICAS, "--set", "workload.chat.output_tokens=10", "--seed", 8, "--format", "json")
    document = json.loads(result.stdout)
    assert document["schema"] == 1
    assert document["axes"] == [{"path": "pools.premium.replicas", "unit": "", "logarithmic": False}]
    assert [trial["parameters"] for trial in document["trials"]] == [
        {"pools.premium.replicas": 1},
        {"pools.premium.replicas": 2},
    ]
    assert {trial["seed"] for trial in document["trials"]} == {8}
    assert document["trials"][0]["result"]["figures"]["arrived"] > 0


def test_shards(tiny, tmp_path):
    words = (tiny, "--vary", "pools.premium.replicas=1..4:4", "--out", tmp_path / "out")
    for part in ("1/2", "2/2"):
        assert "without --shard gathers all parts" in invoke(*words, "--shard", part).stderr
    assert len(list((tmp_path / "out" / "trials").iterdir())) == 4
    assert not (tmp_path / "out" / "results.parquet").exists()
    invoke(*words)
    assert len(pd.read_parquet(tmp_path / "out" / "results.parquet")) == 4


@pytest.mark.long  # some forty panels a picture
def test_plots(tiny, tmp_path):
    result = invoke(tiny, *REPLICAS, "--plot", tmp_path / "plots")
    assert "wrote 3 pictures" in result.stderr
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "pools_premium_replicas--fleet.png",
        "pools_premium_replicas--class_chat.png",
        "pools_premium_replicas--pool_premium.png",
    }


def test_failures_are_told_and_only_nothing_but_failures_is_an_error(tiny):
    some = invoke(tiny, "--vary", "pools.premium.parallelism.tensor=1,3,3")
    assert "failed" in some.stdout
    assert "2 failed: pools[0].parallelism.tensor: 3 does not divide the 4 attention heads" in some.stdout
    every = invoke(tiny, "--vary", "pools.premium.parallelism.tensor=3,5", code=2)
    assert every.stderr.splitlines()[-1] == "error: no trial could be simulated"


def test_wrong_words(tiny):
    def refused(*words):
        return commands.refused("sweep", tiny, *words)

    assert "--vary: is missing" in refused()
    assert "--vary replicas: is not of the form" in refused("--vary", "replicas")
    assert "no entry is named 'premum'. Did you mean 'premium'?" in refused("--vary", "pools.premum.replicas=1")
    assert "--shard" in refused(*REPLICAS, "--shard", "3/2")
    assert "--jobs: 0" in refused(*REPLICAS, "--jobs", 0)
    assert "Give one of them" in refused(*REPLICAS, "--jobs", 2, "--scheduler", "tcp://127.0.0.1:9")
    assert "--samples" in refused(*REPLICAS, "--design", "lhs")
