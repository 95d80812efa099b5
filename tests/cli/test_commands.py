"""Every command, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
import yaml
from oracle.small import chip, model
from typer.testing import CliRunner

from inferencesim import Run
from inferencesim.cli.main import app
from inferencesim.hardware.catalog import load_profile, profile_names
from inferencesim.scenario.loading import load_scenario, scenario_names

TREE = {
    "name": "tiny",
    "question": "Does it run?",
    "horizon": "10s",
    "pools": [{"name": "p", "hardware": chip(), "model": model(), "engine": "generic", "replicas": 2}],
    "workload": [
        {
            "name": "chat",
            "arrivals": {"process": "poisson", "rate": "30/s"},
            "prompt_tokens": 40,
            "output_tokens": 20,
            "models": ["small-model"],
            "promise": {"ttft": "500ms"},
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


def invoke(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


def document(result):
    """Return the one JSON document on stdout; anything beside it fails."""
    return json.loads(result.stdout)


OUTSIDE = {
    "name": "api",
    "offer": "openai/gpt-4.1-mini",
    "model": model(),
    "limits": {"requests_per_minute": 60},
}


class TestProviders:
    def test_are_listed_with_date_and_price(self):
        printed = invoke("providers", "list").stdout
        assert "openai/gpt-4.1-mini" in printed
        found = {each["id"]: each for each in document(invoke("providers", "list", "--format", "json"))}
        assert found["openai/gpt-4.1-mini"]["date"] == "2026-08-21"
        assert found["openai/gpt-4.1-mini"]["prices"]["standard"]["output"] == pytest.approx(1.6e-6)

    def test_are_shown_with_their_sources(self):
        printed = invoke("providers", "show", "anthropic/claude-sonnet-5").stdout
        for word in ("Portkey", "secondary", "assumption", "batch", "introductory"):
            assert word in printed
        found = document(invoke("providers", "show", "openai/o3", "--format", "json"))
        assert [each["tier"] for each in found["tiers"]] == ["standard", "batch", "flex", "priority"]

    def test_a_misspelt_offer_is_named_with_the_nearest(self):
        assert "Did you mean 'openai/o4-mini'" in invoke("providers", "show", "openai/o4-min", code=2).output

    def test_a_scenario_with_one_is_checked_played_and_shown(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "outside.yaml").write_text(yaml.safe_dump(TREE | {"providers": [OUTSIDE]}))
        checked = document(invoke("validate", "outside.yaml", "--format", "json"))
        assert checked["providers"][0]["output"] == pytest.approx(1.6e-6)
        assert "openai/gpt-4.1-mini" in invoke("validate", "outside.yaml").stdout
        random = ("--set", "routing.placement=random")
        dearer = ("--set", "providers.api.tier=priority")
        shown = invoke("run", "outside.yaml", *random, *dearer, "--out", "run").stdout
        for word in ("Outside providers", "unknown", "Break-even", "of it to providers"):
            assert word in shown
        (api,) = Run.load(tmp_path / "run").summary.providers
        assert api.tier == "priority"
        assert api.rate_limited > 0
        assert invoke("audit", "run").exit_code == 0


class TestRun:
    def test_prints_tables_and_says_where_the_run_is(self, tiny, tmp_path):
        result = invoke("run", tiny)
        assert "stable" in result.stdout
        assert "Does it run?" in result.stdout
        assert "run folder: runs/tiny-0-1" in result.stderr
        assert Run.load(tmp_path / "runs" / "tiny-0-1").complete

    def test_each_run_has_a_folder_of_its_own(self, tiny, tmp_path):
        invoke("run", tiny)
        invoke("run", tiny)
        invoke("run", tiny, "--seed", 4)
        assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["tiny-0-1", "tiny-0-2", "tiny-4-1"]

    def test_json_is_one_document_the_summary_with_the_head_of_its_chain(self, tiny, tmp_path):
        found = document(invoke("run", tiny, "--format", "json", "--out", tmp_path / "here"))
        summary = json.loads((tmp_path / "here" / "summary.json").read_text())
        assert found == summary | {"head": Run.load(tmp_path / "here").manifest.chain.head}
        assert found["schema"] == 1

    def test_set_changes_the_scenario(self, tiny):
        found = document(invoke("run", tiny, "--set", "pools.p.replicas=3", "--set", "horizon=5s", "--format", "json"))
        assert found["fleet"]["replicas"] == 3
        assert found["window"]["to_s"] == 5.0

    def test_force_replaces_a_run(self, tiny, tmp_path):
        invoke("run", tiny, "--out", tmp_path / "here")
        assert "holds a run already" in invoke("run", tiny, "--out", tmp_path / "here", code=2).stderr
        invoke("run", tiny, "--out", tmp_path / "here", "--force", "--seed", 5)
        assert Run.load(tmp_path / "here").manifest.seed == 5

    def test_plots_on_demand(self, tiny, tmp_path):
        invoke("run", tiny, "--plot", tmp_path / "one.png", "--out", tmp_path / "here")
        invoke("show", tmp_path / "here", "--plot", tmp_path / "two.png")
        assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


class TestLookingAtRuns:
    def test_show_prints_what_run_printed(self, tiny, tmp_path):
        printed = invoke("run", tiny, "--out", tmp_path / "here").stdout
        assert invoke("show", tmp_path / "here").stdout == printed

    def test_diff_of_two_seeds(self, tiny, tmp_path):
        for seed in (1, 2):
            invoke("run", tiny, "--seed", seed, "--out", tmp_path / str(seed))
        assert "ttft_s.p99" in invoke("diff", tmp_path / "1", tmp_path / "2").stdout
        found = document(invoke("diff", tmp_path / "1", tmp_path / "2", "--format", "json"))
        assert not found["same_scenario"]
        assert any(row["change"] for row in found["rows"])
        assert "No number differs" in invoke("diff", tmp_path / "1", tmp_path / "1").stdout


class TestValidate:
    def test_says_what_may_run_where(self, tiny):
        result = invoke("validate", tiny)
        assert "tiny is valid" in result.stdout
        assert document(invoke("validate", tiny, "--format", "json"))["requests"]["chat"] > 200

    @pytest.mark.parametrize("name", scenario_names())
    def test_shipped_scenarios_are_named_and_listed(self, name):
        listed = document(invoke("scenarios", "list", "--format", "json"))
        assert name in [each["name"] for each in listed]
        assert load_scenario(name).question


class TestCatalogues:
    def test_hardware(self):
        listed = invoke("hardware", "list").stdout
        for name in profile_names():
            assert name in listed
        shown = invoke("hardware", "show", "nvidia-h100-sxm").stdout
        assert "3,350" in shown
        assert "GB/s" in shown
        assert "secondary" in shown
        tree = document(invoke("hardware", "show", "nvidia-h100-sxm", "--format", "json"))
        assert tree["memory"]["bandwidth"]["source"]
        assert len(document(invoke("hardware", "list", "--format", "json"))) == len(profile_names())

    def test_models(self):
        assert "deepseek-v3" in invoke("models", "list").stdout
        assert "kv_heads" in invoke("models", "show", "llama-3.1-8b").stdout
        assert document(invoke("models", "show", "llama-3.1-8b", "--format", "json"))["layers"] == 32

    def test_policies(self):
        listed = invoke("policies", "list").stdout
        for name in ("random", "power_of_two", "cheapest_feasible", "weighted_scorers", "chunked_prefill", "vtc"):
            assert name in listed
        found = document(invoke("policies", "list", "--format", "json"))
        assert {each["id"]: each["parameters"] for each in found}["cheapest_feasible"]
        kinds = {each["id"]: each["kind"] for each in found}
        assert (kinds["random"], kinds["dynamic"], kinds["sjf"]) == ("routing", "batching", "order")

    def test_the_schema_is_that_of_scenarios(self):
        schema = document(invoke("schema"))
        assert {"pools", "workload", "horizon"} <= set(schema["properties"])


class TestScaffolds:
    def test_the_scenario_runs_as_it_is(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        invoke("new", "scenario", "mine.yaml")
        invoke("validate", "mine.yaml")
        found = document(invoke("run", "mine.yaml", "--set", "horizon=90s", "--format", "json"))
        assert found["verdict"]["state"] == "stable"
        assert found["fleet"]["completed"] > 100

    def test_every_commented_line_of_the_scenario_works_too(self, tmp_path):
        lines = invoke("new", "scenario").stdout.splitlines()
        for number, line in enumerate(lines):
            bare = line.lstrip()
            if line.startswith("  ") and bare.startswith("# ") and "trace" not in bare and ":" in bare:
                key = bare[2:].split(":")[0]
                # The alternative takes the place of the line that has this key in the same block, if there is one.
                changed = [
                    each
                    for place, each in enumerate(lines)
                    if not (abs(place - number) < 4 and each.lstrip().removeprefix("- ").startswith(f"{key}:"))
                ]
                changed[changed.index(line)] = line.replace("# ", "", 1)
                path = tmp_path / f"{number}.yaml"
                path.write_text("\n".join(changed))
                load_scenario(path)

    def test_the_hardware_profile_can_be_read(self, tmp_path):
        path = tmp_path / "chip.yaml"
        invoke("new", "hardware", "My Chip 2", path)
        assert load_profile(path, "hardware").id == "my-chip-2"
        assert "exists already" in invoke("new", "hardware", "My Chip 2", path, code=2).stderr
        invoke("new", "hardware", "Other", path, "--force")
        assert load_profile(path, "hardware").id == "other"

    def test_a_new_chip_is_told_which_numbers_to_fill_in_and_which_are_class_priors(self, tmp_path):
        path = tmp_path / "chip.yaml"
        told = dict(line.split(": ", 1) for line in invoke("hardware", "new", "x1", path).stderr.splitlines()[1:])
        to_fill_in = told["fill in from a datasheet"].split(", ")
        priors = told["class priors, until measured"].split(", ")
        assert {"memory.capacity", "memory.bandwidth", "compute.bf16", "power.peak"} <= set(to_fill_in)
        assert {"efficiency.compute", "overhead.layer", "usable_memory"} <= set(priors)
        shown = invoke("hardware", "show", path).stdout
        assert shown.count("assumption") == len(to_fill_in) + len(priors)


AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:{minute:02d}:{second:02d}.{second:02d}00000,{100 + second},{5 + minute}\n"
    for minute in range(3)
    for second in range(0, 60, 3)
)


class TestTraces:
    def test_a_trace_is_described_and_fitted(self, tmp_path):
        path = tmp_path / "trace.csv"
        path.write_text(AZURE)
        result = invoke("trace", "inspect", path)
        assert "azure" in result.stdout
        assert "interarrival CV" in result.stdout
        assert "prompt_tokens:" in result.stdout
        found = document(invoke("trace", "inspect", path, "--format", "json"))
        assert found["rows"] == 60
        assert yaml.safe_load(found["fitted_class"])["arrivals"]["rate"] == pytest.approx(found["rate_per_s"], rel=1e-5)

    def test_the_graphs_of_a_trace_of_tasks_are_described(self, tmp_path):
        path = tmp_path / "rounds.csv"
        path.write_text(
            "session_id,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms\n"
            "0,0,0,100,10,50\n0,1,100,100,10,0\n1,0,0,70,10,0\n1,1,many,70,10,0\n"
        )
        result = invoke("trace", "tasks", path)
        assert "tracelab" in result.stdout
        assert "one begins every 60 s" in result.stdout
        assert "rounds.csv:5: " in result.stderr
        found = document(invoke("trace", "tasks", path, "--format", "json"))
        assert (found["tasks"], found["calls"], found["tools"], found["malformed"]) == (2, 3, 0, 1)
        assert (found["prompt_tokens"], found["output_tokens"]) == (370, 30)
        assert found["depth"]["max"] == 2.0
        assert found["duration_s"] is None

    def test_malformed_rows_are_named_and_counted(self, tmp_path, tiny):
        path = tmp_path / "trace.csv"
        path.write_text(AZURE + "2023-11-16 18:04:00.0000000,many,3\n")
        result = invoke("trace", "inspect", path)
        assert "trace.csv:62: " in result.stderr
        assert "1 malformed" in result.stderr
        tree = json.loads(json.dumps(TREE)) | {"horizon": "300s"}
        replay = tree["workload"][0]
        del replay["prompt_tokens"], replay["output_tokens"]
        replay["arrivals"] = {"process": "trace", "file": "trace.csv"}
        (tmp_path / "replay.yaml").write_text(yaml.safe_dump(tree))
        result = invoke("run", tmp_path / "replay.yaml", "--format", "json")
        assert "trace.csv:62: " in result.stderr
        found = document(result)
        assert found["malformed_trace_rows"] == 1
        assert found["conservation"]["arrived"] == 60

    def test_what_was_left_out_or_assumed_of_traces_is_said_and_kept(self, tmp_path, tiny):
        (tmp_path / "burst.csv").write_text(
            "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
            "0,GPT-4,9,9,18,API log\n1,GPT-4,9,0,9,API log\n2,GPT-4,many,9,9,API log\n3,GPT-4,9,9,18,API log\n"
        )
        (tmp_path / "rounds.csv").write_text(
            "session_id,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms\n0,0,0,100,10,50\n0,1,0,9,9,-1\n"
        )
        tree = json.loads(json.dumps(TREE)) | {"horizon": "300s"}
        replay = tree["workload"][0]
        del replay["prompt_tokens"], replay["output_tokens"]
        replay["arrivals"] = {"process": "trace", "file": "burst.csv"}
        tree["workload"].append({"name": "called", "arrivals": {"process": "tasks"}, "models": replay["models"]})
        tree["tasks"] = [{"name": "t", "arrivals": {"process": "trace", "file": "rounds.csv"}, "calls": "called"}]
        path = tmp_path / "replay.yaml"
        path.write_text(yaml.safe_dump(tree))
        said = ["burst.csv: failed requests left out: 1.", "rounds.csv: sessions have no arrival_time: one begins"]
        for command in (("validate", path), ("run", path, "--out", tmp_path / "out"), ("show", tmp_path / "out")):
            table = " ".join(invoke(*command).stdout.split())
            assert [each in table for each in said] == [True, True], command
        assert "2 malformed trace rows were left out, the first" in table
        documents = [document(invoke(*command, "--format", "json")) for command in (("validate", path), ("run", path))]
        for found in (*documents, Run.load(tmp_path / "out").summary.model_dump()):
            assert found["malformed_trace_rows"] == 2
            first, second = found["first_malformed_rows"]
            assert (first["file"], first["line"]) == (str(tmp_path / "burst.csv"), 4)
            assert (second["file"], second["line"]) == (str(tmp_path / "rounds.csv"), 3)
            assert "not a time, two counts of tokens" in first["reason"]
            assert [note["file"] for note in found["trace_notes"]] == [first["file"], second["file"]]


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys, inferencesim.cli.main as m\n"
        "try: m.app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'numba', 'pandas', 'pyarrow', 'matplotlib', 'scipy', 'simpy', 'pydantic', 'yaml'}\n"
        "sys.exit(repr(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)\n"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
    # Half a second on an idle machine; test machines are not idle.
    assert time.perf_counter() - started < 2.0


def test_the_version_is_that_of_the_package():
    from importlib import metadata

    assert invoke("--version").stdout.split() == ["inferencesim", metadata.version("inferencesim")]


def test_python_dash_m_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "inferencesim", "--help"], capture_output=True, text=True, check=True)
    assert "validate" in done.stdout
