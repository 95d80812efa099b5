"""``inferencesim plan`` and ``inferencesim max-rate``, as a user types them."""

from __future__ import annotations

import json

import pytest
import yaml
from oracle import commands
from oracle.small import chip, model

from inferencesim.cli import console

TREE = {
    "name": "tiny",
    "horizon": "2s",
    "seed": 3,
    "pools": [
        {"name": "premium", "hardware": chip("fast-chip"), "model": model(), "engine": "generic", "price": "$5/h"},
        {"name": "bulk", "hardware": chip(), "model": model(), "engine": "generic", "replicas": 2},
    ],
    "workload": [
        {
            "name": "chat",
            "arrivals": {"process": "poisson", "rate": "300/s"},
            "prompt_tokens": 40,
            "output_tokens": 20,
            "models": ["small-model"],
            "promise": {"ttft": "200ms"},
        }
    ],
    "planning": {"pools": {"premium": {"replicas": "0..2"}, "bulk": {"replicas": "0..4"}}},
}
QUICK = ("--replications", 2, "--jobs", 1)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A scenario file in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TREE))
    return "tiny.yaml"


def invoke(command, *words, code=0):
    return commands.invoke(command, *words, *QUICK, code=code)


def test_a_plan_as_tables_and_as_a_file_that_runs(tiny, tmp_path):
    shown = invoke("plan", tiny, "--slo", "attainment=95%", "--out", "answer.yaml", "--front", "--plot", "front.png")
    for words in ("Lower bound $", "× bulk", "What binds", "without queues", "Front", "more load", "simulations in"):
        assert words in shown.stdout
    assert (tmp_path / "front.png").stat().st_size > 1000
    assert commands.invoke("validate", "answer.yaml").exit_code == 0
    assert commands.invoke("run", "answer.yaml").exit_code == 0


def test_a_plan_as_one_document(tiny):
    result = invoke("plan", tiny, "--slo", "95%", "--class", "chat", "--no-marginal", "--format", "json")
    document = json.loads(result.stdout)
    assert document["schema"] == 1
    assert (document["slo"], document["confidence"], document["classes"]) == (0.95, 0.95, ["chat"])
    assert document["marginal"] is None
    assert document["answer"]["usd_per_h"] >= document["bound_usd_per_h"]
    assert document["scenario"]["name"] == "tiny"


def test_the_answer_on_stdout_is_all_there_is(tiny):
    text = invoke("plan", tiny, "--slo", "95%", "--no-marginal", "--out", "-").stdout
    assert text.startswith("# The cheapest fleet found for tiny")
    assert yaml.safe_load(text)["name"] == "tiny"


def test_options_in_a_file_of_their_own(tiny, tmp_path):
    (tmp_path / "options.yaml").write_text(yaml.safe_dump({"planning": {"pools": {"bulk": {"replicas": 3}}}}))
    found = json.loads(
        invoke("plan", tiny, "--slo", "90%", "--no-marginal", "--options", "options.yaml", "--format", "json").stdout
    )
    assert found["answer"]["pools"]["bulk"] == 3


def test_no_fleet_is_an_exit_code_of_its_own(tiny, tmp_path):
    result = invoke("plan", tiny, "--slo", "99%", "--set", "workload.chat.promise.ttft=1us", "--out", "answer.yaml",
                    code=console.EXIT_FOUND)  # fmt: skip
    assert "no fleet found" in result.stdout
    assert not (tmp_path / "answer.yaml").exists()


def test_the_scenario_runs_with_its_block(tiny):
    assert commands.invoke("validate", tiny).exit_code == 0


def test_max_rate_as_a_table_and_a_document(tiny):
    shown = invoke("max-rate", tiny, "--slo", "attainment=95%").stdout
    assert "times the load" in shown
    assert "what gives way" in shown
    document = json.loads(invoke("max-rate", tiny, "--slo", "95%", "--format", "json").stdout)
    assert document["lower"] <= document["factor"] <= document["upper"]
    assert len(document["factors"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("plan", "--slo", "latency=3"), "--slo: 'latency' cannot be asked for"),
        (("plan", "--slo", "often"), "--slo"),
        (("plan", "--slo", "9", "--jobs", "1"), "--slo: attainment 9"),
        (("plan", "--slo", "90%", "--budget-time", "soon"), "--budget-time"),
        (("plan", "--slo", "90%", "--class", "chatt"), "Did you mean 'chat'?"),
        (("plan", "--slo", "90%", "--set", "planning.pools.bulk.replicas=x"), "planning: pools.bulk.replicas"),
        (("plan", "--slo", "90%", "--set", "planning.pool.bulk.replicas=1"), "unknown key 'pool'"),
        (("plan", "--slo", "90%", "--options", "none.yaml"), "there is no file 'none.yaml'"),
        (("max-rate", "--slo", "90%", "--class", "x"), "--class"),
        (("max-rate", "--slo", "90%", "--replications", "1"), "--replications"),
    ],
)
def test_wrong_options_are_one_line(tiny, words, message):
    command, *rest = words
    assert message in commands.refused(command, tiny, *rest)
