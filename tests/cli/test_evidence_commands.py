"""`audit` and `explain`, as a user types them."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
import yaml
from oracle.small import chip, model
from pyarrow import parquet
from typer.testing import CliRunner

from inferencesim.cli.main import app

TREE = {
    "name": "tiny",
    "horizon": "3s",
    "pools": [{"name": "p", "hardware": chip(), "model": model(), "engine": "generic"}],
    "workload": [
        {
            "name": "chat",
            "arrivals": {"process": "poisson", "rate": "600/s"},
            "prompt_tokens": 40,
            "output_tokens": 20,
            "models": ["small-model"],
            "promise": {"ttft": "5ms"},
        }
    ],
}


def invoke(*words, code=0):
    # As wide as for a file, however wide the terminal of the tests is.
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def scenario_file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TREE))
    return path


@pytest.fixture
def run(scenario_file, tmp_path):
    """A run folder, and the head that `run` printed."""
    printed = invoke("run", scenario_file, "--out", tmp_path / "run").stdout
    head = next(line for line in printed.splitlines() if line.startswith("Head of its hash chain: "))
    return tmp_path / "run", head.split()[-1]


def change_a_row(folder):
    file = folder / "requests" / "part-00000.parquet"
    rows = parquet.read_table(file)
    costs = [0.0, *rows.column("attributed_cost_usd").to_pylist()[1:]]
    place = rows.schema.get_field_index("attributed_cost_usd")
    parquet.write_table(rows.set_column(place, "attributed_cost_usd", pa.array(costs)), file)


class TestAudit:
    def test_prints_what_is_proven_and_what_broke(self, run):
        folder, head = run
        text = invoke("audit", folder, "--expect", head).stdout
        assert "rows unchanged" in text
        assert head in text
        assert "no request outside its residency zone" in text
        assert "Broken promises by cause" in text

    def test_json_is_one_document(self, run):
        folder, head = run
        found = json.loads(invoke("audit", folder, "--format", "json").stdout)
        assert found["schema"] == 1
        assert found["holds"]
        assert found["chain"]["head"] == head
        assert found["classes"][0]["causes"]

    def test_json_and_all_name_every_broken_promise(self, run):
        folder, _ = run
        cause = json.loads(invoke("audit", folder, "--format", "json").stdout)["classes"][0]["causes"][0]
        assert len(cause["worst"]) == len(set(cause["worst"])) == cause["requests"] > 3
        ids = [str(number) for number in cause["worst"]]
        first = invoke("audit", folder).stdout
        assert ", ".join(ids[:3]) in first
        assert ", ".join(ids[:4]) not in first
        every = set(invoke("audit", folder, "--all").stdout.replace(",", " ").split())
        assert set(ids) <= every

    def test_a_changed_row_is_an_exit_code(self, run):
        folder, _ = run
        change_a_row(folder)
        assert "requests/part-00000.parquet: its rows are not those" in invoke("audit", folder, code=3).stdout
        assert not json.loads(invoke("audit", folder, "--format", "json", code=3).stdout)["holds"]

    def test_another_head_is_an_exit_code(self, run):
        folder, _ = run
        assert "not the one expected" in invoke("audit", folder, "--expect", "0" * 64, code=3).stdout

    def test_what_is_not_recorded_is_said(self, scenario_file, tmp_path):
        invoke("run", scenario_file, "--set", "recording.evidence=off", "--out", tmp_path / "off")
        text = invoke("audit", tmp_path / "off").stdout
        assert "evidence off: rows of 0 of " in text
        assert text.count("Unproven: ") == 1

    def test_bad_input_is_one_line(self, run, tmp_path):
        assert "--expect: 'abc' is no head" in invoke("audit", run[0], "--expect", "abc", code=2).stderr
        assert "there is no such run folder" in invoke("audit", tmp_path / "none", code=2).stderr


class TestOnANarrowTerminal:
    def test_numbers_stay_whole(self, run):
        summary = json.loads(invoke("show", run[0], "--format", "json").stdout)
        arrived = f"{summary['classes'][0]['arrived']:,}"
        shown = CliRunner(env={"COLUMNS": "60"}).invoke(app, ["show", str(run[0])]).stdout
        assert "(continued)" in shown
        assert arrived in shown.split()
        assert max(len(line.rstrip()) for line in shown.splitlines() if "hash chain" not in line) <= 60


class TestExplain:
    def test_tells_a_story(self, run):
        text = invoke("explain", run[0], 5).stdout
        for words in ("Request 5 of class chat", "Promised: TTFT within 5.00 ms", "eligible, chosen", "small-chip"):
            assert words in text

    def test_json_is_one_document(self, run):
        found = json.loads(invoke("explain", run[0], 5, "--format", "json").stdout)
        assert found["request_id"] == 5
        assert found["asked"]["class"] == "chat"
        assert found["decided"]["pool"] == found["happened"]["pool"] == "p"

    def test_bad_input_is_one_line(self, run, tmp_path):
        assert "request 999999: the run has no such request" in invoke("explain", run[0], 999999, code=2).stderr
        assert "there is no such run folder" in invoke("explain", tmp_path / "none", 1, code=2).stderr


class TestExplainATask:
    @pytest.fixture
    def folder(self, tmp_path):
        called = TREE["workload"][0] | {"name": "step", "arrivals": {"process": "tasks"}, "promise": {}}
        tree = TREE | {
            "tasks": [
                {
                    "name": "agent",
                    "arrivals": {"process": "poisson", "rate": "5/s"},
                    "promise": {"latency": "40ms"},
                    "steps": [{"repeat": {"times": 30, "steps": [{"call": "step"}]}}],
                }
            ],
            "workload": [*TREE["workload"], called],
        }
        path = tmp_path / "tasks.yaml"
        path.write_text(yaml.safe_dump(tree))
        invoke("run", path, "--out", tmp_path / "run")
        return tmp_path / "run"

    def test_by_class_and_number(self, folder):
        text = invoke("explain", folder, "agent/0").stdout
        assert text.startswith("Task agent/0 completed")
        assert "Promise broken: too late; above all, calls were read and answered." in text
        assert "like those above (--all tells them)" in text
        assert "like those above" not in invoke("explain", folder, "agent/0", "--all").stdout

    def test_the_worst_of_a_class(self, folder):
        text = invoke("explain", folder, "agent").stdout
        assert "The worst tasks of agent (promised: done within 40.0 ms)" in text

    def test_json_is_one_document(self, folder):
        told = json.loads(invoke("explain", folder, "agent/0", "--format", "json").stdout)
        assert (told["class"], told["task"], len(told["steps"])) == ("agent", 0, 32)
        assert told["steps"][1]["tries"][0]["told"]["happened"]["pool"] == "p"
        causes = json.loads(invoke("audit", folder, "--format", "json").stdout)["tasks"][0]["causes"]
        assert all(len(set(each["worst"])) == each["tasks"] for each in causes)
        assert max(each["tasks"] for each in causes) > 3
        found = json.loads(invoke("explain", folder, "agent", "--format", "json").stdout)
        assert found["worst"][0]["name"].startswith("agent/")

    def test_a_name_that_is_none_has_a_remedy(self, folder):
        assert "Did you mean 'agent'" in invoke("explain", folder, "agnt", code=2).stderr
        assert "no such task" in invoke("explain", folder, "agent/9999", code=2).stderr
        assert "no such class of tasks" in invoke("explain", folder, "agent/x", code=2).stderr
