"""``inferencesim compare``, as a user types it."""

from __future__ import annotations

import json

import pytest
import yaml
from oracle import commands
from oracle.small import chip, model

from inferencesim import Comparison

TREE = {
    "name": "tiny",
    "horizon": "3s",
    "warm_up": "1s",
    "seed": 3,
    "pools": [
        {"name": "premium", "hardware": chip(), "model": model(), "engine": "generic"},
        {"name": "bulk", "hardware": chip("fast-chip"), "model": model(), "engine": "generic"},
    ],
    "workload": [
        {
            "name": "chat",
            "arrivals": {"process": "poisson", "rate": "30/s"},
            "prompt_tokens": 40,
            "output_tokens": 20,
            "models": ["small-model"],
            "promise": {"ttft": "3ms"},
        }
    ],
    "variants": {"larger": {"pools.bulk.replicas": 3}, "smaller": {"pools.bulk.replicas": 1}},
}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A scenario file in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TREE))
    return str(path)


def invoke(*words):
    return commands.invoke("compare", *words, "--jobs", 1)


def refused(*words):
    return commands.refused("compare", *words, "--jobs", 1)


POLICIES = ("--policy", "premium_first", "--policy", "least_kv")


def test_a_table_a_picture_and_a_file(tiny, tmp_path):
    result = invoke(tiny, *POLICIES, "--replications", 3, "--plot", "plots/a.png", "--out", "a.json")
    assert "Differences from premium_first" in result.stdout
    assert "cost per completed task" in result.stdout
    assert (tmp_path / "plots" / "a.png").stat().st_size > 1000
    found = Comparison.model_validate_json((tmp_path / "a.json").read_text())
    assert [each.name for each in found.alternatives] == ["premium_first", "least_kv"]
    assert "exists already" in refused(tiny, *POLICIES, "--out", "a.json")
    invoke(tiny, *POLICIES, "--replications", 2, "--out", "a.json", "--force")


def test_one_document(tiny):
    words = (tiny, "--variant", "larger", "--variant", "smaller", "--metric", "energy_j", "--confidence", "90%",
             "--replications", 2, "--seed", 8, "--against", "smaller", "--format", "json")  # fmt: skip
    document = json.loads(invoke(*words).stdout)
    assert document["schema"] == 1
    assert (document["seed"], document["against"], document["metrics"]) == (8, "smaller", ["energy_j"])
    (row,) = document["differences"]
    assert (row["alternative"], row["conclusion"]) == ("larger", "worse")
    assert {each["seed"] for each in document["trials"] if each["replication"] == 0} == {8}
    assert document == json.loads(invoke(*words).stdout)


def test_markdown(tiny):
    text = invoke(tiny, *POLICIES, "--replications", 2, "--format", "markdown").stdout
    assert "| cost per completed task | least\\_kv |" in text
    assert "| --- | ---: | ---: |" in text


def test_several_scenarios_and_balancing_policies(tiny, tmp_path):
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(TREE | {"name": "other"}))
    words = ("--balancing", "random", "--balancing", "power_of_two", "--replications", 2, "--format", "json")
    document = json.loads(invoke(tiny, "other.yaml", *words).stdout)
    names = [each["name"] for each in document["alternatives"]]
    assert names == ["tiny / random", "tiny / power_of_two", "other / random", "other / power_of_two"]


def test_until_the_half_width_is_reached(tiny):
    words = ("--replications", 3, "--half-width", "20%", "--at-most", 50, "--metric", "ttft_s.p99", "--format", "json")
    document = json.loads(invoke(tiny, *POLICIES, *words).stdout)
    assert document["reached"]
    assert document["half_width"] == 0.2


def test_wrong_words(tiny):
    assert "nothing to compare with" in refused(tiny)
    assert "Did you mean 'premium_first'?" in refused(tiny, "--policy", "premium_frist", "--policy", "least_kv")
    assert "--policy: 'random' is given twice" in refused(tiny, "--policy", "random", "--policy", "random")
    assert "--variant: one is given twice" in refused(tiny, "--variant", "a", "--variant", "a")
    assert "no summary has 'ttft'" in refused(tiny, *POLICIES, "--metric", "ttft")
    assert "describes no variant 'largest'" in refused(tiny, "--variant", "largest", "--variant", "smaller")
    assert "--replications: 1" in refused(tiny, *POLICIES, "--replications", 1)
    assert "--half-width: 'much' is not a fraction" in refused(tiny, *POLICIES, "--half-width", "much")
    assert "--confidence: 1 is not between" in refused(tiny, *POLICIES, "--confidence", "100%")
    assert "no alternative is called 'me'" in refused(tiny, *POLICIES, "--against", "me")
    assert "no request arrives" in refused(tiny, *POLICIES, "--set", "workload.chat.arrivals.rate=1e-9")
    assert "tyni.yaml" in refused("tyni.yaml", *POLICIES)
