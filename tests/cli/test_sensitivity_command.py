"""``inferencesim sensitivity``, as a user types it."""

from __future__ import annotations

import json

import pytest
import yaml
from oracle import commands
from oracle.small import chip, model

TREE = {
    "name": "tiny",
    "horizon": "5s",
    "seed": 3,
    "pools": [
        {"name": "premium", "hardware": chip(), "model": model(), "engine": "generic"},
        {"name": "bulk", "hardware": chip("fast-chip"), "model": model(), "engine": "generic"},
    ],
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


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A scenario file in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TREE))
    return str(path)


def invoke(*words):
    return commands.invoke("sensitivity", *words)


def refused(*words):
    return commands.refused("sensitivity", *words)


def test_a_table(tiny):
    shown = invoke(tiny, "--jobs", 1).stdout
    assert "memory.bandwidth" in shown
    assert "10 % better / worse" in shown
    assert "Without effect on these pools: scale_up.bandwidth" in shown


def test_one_document(tiny):
    result = invoke(tiny, "--pool", "bulk", "--by", "20%", "--seed", 5, "--jobs", 1, "--format", "json")
    document = json.loads(result.stdout)
    assert document["schema"] == 1
    assert (document["seed"], document["share"], document["pools"]) == (5, 0.2, ["bulk"])
    row = next(row for row in document["rows"] if row["parameter"] == "power.host")
    assert row["better"]["changes"]["energy_per_completed_request_j"] < 0.0
    assert row["numbers"][0]["pool"] == "bulk"


@pytest.mark.long
def test_several_processes_say_the_same(tiny):
    alone, together = (invoke(tiny, "--jobs", jobs, "--format", "json").stdout for jobs in (1, 2))
    assert json.loads(alone) == json.loads(together)


def test_wrong_words(tiny):
    assert "--pool: unknown pool 'premum'. Did you mean 'premium'?" in refused(tiny, "--pool", "premum")
    assert "--by: 0 is not between 0 and 1" in refused(tiny, "--by", "0%")
    assert "--by: 10 is not between 0 and 1" in refused(tiny, "--by", "10")
    assert "--by: 'much' is not a fraction" in refused(tiny, "--by", "much")
    assert "--jobs: 0" in refused(tiny, "--jobs", 0)
    assert "no request arrives" in refused(tiny, "--set", "workload.chat.arrivals.rate=1e-9")
    assert "tyni.yaml" in refused("tyni.yaml")
