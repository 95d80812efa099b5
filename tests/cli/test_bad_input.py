"""Whatever is wrong: one clear line on stderr, the exit code, no traceback, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from oracle.small import chip, model
from typer.testing import CliRunner

from inferencesim import Run
from inferencesim.cli import console
from inferencesim.cli.main import app
from inferencesim.results import run_folder
from inferencesim.simulation.engine import Simulation
from inferencesim.simulation.state import CHUNK_ROWS


def tree():
    return {
        "name": "tiny",
        "horizon": "10s",
        "pools": [{"name": "p", "hardware": chip(), "model": model(), "engine": "generic"}],
        "workload": [
            {
                "name": "chat",
                "arrivals": {"process": "poisson", "rate": "30/s"},
                "prompt_tokens": 40,
                "output_tokens": 20,
                "models": ["small-model"],
            }
        ],
    }


def replaying(path):
    changed = tree()
    entry = changed["workload"][0]
    del entry["prompt_tokens"], entry["output_tokens"]
    entry["arrivals"] = {"process": "trace", "file": str(path), "format": "azure"}
    return changed


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a scenario into the working directory."""
    monkeypatch.chdir(tmp_path)

    def file(content):
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(content))
        return str(path)

    return file


def refused(*words, code=2):
    """Return the one line of an error."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    (line,) = (each for each in result.stderr.splitlines() if not each.startswith("compiling"))
    return line


def test_an_unknown_key(write):
    content = tree()
    content["pools"][0]["replcas"] = 2
    line = refused("run", write(content))
    assert line.startswith("error: ")
    assert "pools[0].replcas" in line
    assert "'replicas'" in line


def test_unknown_hardware(write):
    content = tree()
    content["pools"][0]["hardware"] = "nvidia-h100-smx"
    line = refused("run", write(content))
    assert "pools[0].hardware" in line
    assert "Did you mean 'nvidia-h100-sxm'?" in line


def test_a_model_too_big(write):
    content = tree()
    content["pools"][0] |= {"hardware": "nvidia-l4", "model": "llama-3.1-405b"}
    content["workload"][0]["models"] = ["llama-3.1-405b"]
    line = refused("run", write(content))
    assert "pools[0]" in line
    assert "parallelism" in line or "tensor" in line


def test_a_negative_rate(write):
    content = tree()
    content["workload"][0]["arrivals"]["rate"] = "-3/s"
    line = refused("run", write(content))
    assert "workload[0].arrivals.rate" in line


def test_a_scenario_that_does_not_exist():
    assert "mixed_fleet" in refused("run", "mixed_flet")


def test_a_binary_file_as_yaml(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_bytes(bytes(range(256)) * 4)
    assert "tiny.yaml" in refused("run", path)


def test_traces_that_are_not_there(write):
    changed = replaying("absent.csv")
    changed["workload"].append(replaying("absent.csv")["workload"][0] | {"name": "other"})
    changed["tasks"] = [{"name": "agent", "arrivals": {"process": "trace", "file": "gone.jsonl"}, "calls": "called"}]
    changed["workload"].append({"name": "called", "arrivals": {"process": "tasks"}, "models": ["small-model"]})
    line = refused("validate", write(changed))
    assert "workload[0].arrivals.file: no such file: " in line
    settings = [word.rstrip(".") for word in line.split() if word.startswith(("workload.", "tasks."))]
    assert settings == [f"{each}.arrivals.file=FILE" for each in ("workload.chat", "workload.other", "tasks.agent")]
    (first, *_) = settings
    line = refused("validate", "tiny.yaml", "--set", first.replace("FILE", "tiny.yaml"))
    assert "workload[1].arrivals.file: no such file: " in line


def test_an_empty_trace(tmp_path, write):
    trace = tmp_path / "trace.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n")
    line = refused("run", write(replaying(trace)))
    assert "trace.csv" in line
    trace.write_text("")
    assert "the trace is empty" in refused("run", write(replaying(trace)))
    assert "the trace is empty" in refused("trace", "inspect", str(trace))
    assert "the trace is empty" in refused("trace", "tasks", str(trace))


BACKWARDS = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2023-11-16 18:00:01.0000000,100,10\n"
    "2023-11-16 18:00:03.0000000,100,10\n"
    "2023-11-16 18:00:02.0000000,100,10\n"
)


def test_a_trace_that_goes_back_in_time(tmp_path, write):
    trace = tmp_path / "trace.csv"
    trace.write_text(BACKWARDS)
    line = refused("run", write(replaying(trace)), "--strict")
    assert "trace.csv" in line
    assert "4" in line
    refused("validate", write(replaying(trace)), "--strict")
    lenient = CliRunner().invoke(app, ["run", write(replaying(trace)), "--format", "json"])
    assert lenient.exit_code == 0
    assert "trace.csv:4: " in lenient.stderr


def test_an_output_folder_that_cannot_be_written(tmp_path, write):
    (tmp_path / "file").write_text("")
    line = refused("run", write(tree()), "--out", tmp_path / "file" / "run")
    assert "cannot be written" in line
    assert "--out" in line


def test_a_folder_that_holds_something_else(tmp_path, write):
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    assert "holds no run" in refused("run", write(tree()), "--out", other, "--force")
    assert (other / "thesis.tex").read_text() == "years of work"


def test_a_disk_that_is_full(tmp_path, write, monkeypatch):
    def full(part, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_folder, "_write_parquet", full)
    line = refused("run", write(tree()), "--out", tmp_path / "run")
    assert "No space left on device" in line
    assert not Run.load(tmp_path / "run").complete
    assert "incomplete" in refused("show", tmp_path / "run")


def test_ctrl_c_before_anything_was_simulated(tmp_path, write, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Simulation, "__init__", interrupted)
    line = refused("run", write(tree()), "--out", tmp_path / "run", code=console.EXIT_INTERRUPTED)
    assert "nothing was recorded" in line
    assert not (tmp_path / "run").exists()


def test_ctrl_c(tmp_path, write, monkeypatch):
    decide = Simulation._sample

    def interrupted(self, horizon):
        for number, event in enumerate(decide(self, horizon)):
            if number == 100:
                raise KeyboardInterrupt
            yield event

    monkeypatch.setattr(Simulation, "_sample", interrupted)
    line = refused("run", write(tree()), "--out", tmp_path / "run", code=console.EXIT_INTERRUPTED)
    assert "interrupted" in line
    assert str(tmp_path / "run") in line
    loaded = Run.load(tmp_path / "run")
    assert not loaded.complete
    assert len(loaded.requests) > 50


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_from_outside(tmp_path, write):
    content = tree() | {"horizon": "100h", "recording": {"series_interval": "10s"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "inferencesim", "run", write(content), "--out", str(tmp_path / "run")],
        stderr=subprocess.PIPE,
        text=True,
    )
    # The first part of a table says that the simulation is under way.
    deadline = time.monotonic() + 120.0
    while not list(tmp_path.glob("run/requests/part-*.parquet")) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == console.EXIT_INTERRUPTED
    assert "Traceback" not in errors
    loaded = Run.load(tmp_path / "run")
    assert not loaded.complete
    requests = loaded.requests
    assert len(requests) >= CHUNK_ROWS
    assert requests["request_id"].is_unique
    # Every request that left has its decision on disk as well.
    assert set(requests["request_id"]) <= set(loaded.decisions["request_id"])


def test_a_folder_that_is_no_run(tmp_path):
    assert "is not a run folder" in refused("show", tmp_path)
    assert "no such run folder" in refused("show", tmp_path / "nothing")
    assert "no such run folder" in refused("diff", tmp_path / "nothing", tmp_path)


@pytest.mark.parametrize("name", ["manifest.json", "requests/part-00000.parquet"])
def test_a_file_of_a_run_names_its_folder(tmp_path, name):
    for file in ("manifest.json", "requests/part-00000.parquet"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("{}")
    said = refused("show", tmp_path / name)
    assert f"is a file, and a run is a folder. Give that folder, '{tmp_path}'." in said


def test_a_file_of_no_run_is_no_folder(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    said = refused("explain", tmp_path / "notes.txt", 1)
    assert "is a file, and a run is a folder. `inferencesim run` prints the folder it writes." in said


def test_a_bug_of_ours_is_one_line_unless_debugging(write, monkeypatch):
    def broken(*args, **kwargs):
        msg = "nobody thought of this"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr("inferencesim.api.simulate", broken)
    line = refused("run", write(tree()), code=1)
    assert "ZeroDivisionError: nobody thought of this" in line
    assert "report" in line
    monkeypatch.setenv(console.DEBUG_VARIABLE, "1")
    shown = CliRunner().invoke(app, ["run", write(tree())])
    assert isinstance(shown.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"residency": ["eu"]}, "nobody may serve chat, so all of it is rejected (p: outside_residency)"),
        ({"prompt_tokens": 1_000_000}, "100% of the requests of chat are rejected: prompt and output, up to 1,000,020"),
    ],
)
def test_work_that_nobody_takes_is_told_before_and_beside_its_rejections(write, changes, said):
    content = tree()
    content["workload"][0] |= changes
    path = write(content)
    checked = CliRunner().invoke(app, ["validate", path, "--format", "json"])
    assert checked.exit_code == 0
    assert said in json.loads(checked.stdout)["warnings"][0]
    assert f"warning: workload[0]: {said}" in checked.stderr
    assert said in CliRunner().invoke(app, ["run", path, "--format", "json"]).stderr


def test_an_unknown_name_of_anything(tmp_path):
    assert "Did you mean" in refused("hardware", "show", "nvidia-h100-sx")
    assert "Did you mean" in refused("models", "show", "llama-3.1-8")
    assert "there is no such trace" in refused("trace", "inspect", tmp_path / "nothing.csv")


def test_an_unknown_option_is_a_usage_error():
    result = CliRunner().invoke(app, ["run", "--sed", "3", "x"])
    assert result.exit_code == 2
    assert "--seed" in result.stderr


@pytest.mark.parametrize("words", [["demo", "--out"], ["run", "mixed_fleet", "--plot"]])
def test_a_picture_needs_a_place_before_anything_runs(tmp_path, monkeypatch, words):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("inferencesim.api.simulate", lambda *_, **__: pytest.fail("it ran"))
    assert "cannot be written" in refused(*words, tmp_path / "file" / "one.png")
