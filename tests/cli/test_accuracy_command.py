"""``inferencesim accuracy``, as a user types it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from oracle import commands

import inferencesim
from inferencesim.cli import console

SHARED = Path(inferencesim.__file__).parents[2] / "shared" / "measurements"
ROW = {
    "hardware": "nvidia-h100-sxm", "model": "llama-3.1-8b", "engine": "vllm", "weights": "fp8", "tensor": 1,
    "load": "closed", "concurrency": 4, "requests": 20, "prompt_low": 200, "prompt_high": 240, "output_low": 20,
    "output_high": 24, "ttft_ms": 30, "tpot_ms": 8,
}  # fmt: skip


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A folder with three measurements, one of which no chip can hold, as the working directory."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "lab.csv", [{}, {"concurrency": 8}, {"model": "llama-3.1-405b"}])
    return tmp_path


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", *ROW])
        writer.writeheader()
        writer.writerows(ROW | {"id": f"run {number}"} | row for number, row in enumerate(rows, 1))


def invoke(*words):
    return commands.invoke("accuracy", *words)


def refused(*words):
    return commands.refused("accuracy", *words)


def test_groups_reasons_totals(lab):
    shown = invoke("--data", lab).stdout
    assert "nvidia-h100-sxm" in shown
    assert "TTFT unsaturated" in shown
    assert "does not fit nvidia-h100-sxm" in shown
    assert "3 rows read; 2 measurements compared, 1 not supported" in shown


def test_a_file_does_as_well_as_a_folder(lab):
    document = json.loads(invoke("--data", lab / "lab.csv", "--group", "load,model", "--format", "json").stdout)
    assert document["schema"] == 1
    assert [each["group"] for each in document["groups"]] == [
        {"load": "closed", "model": "llama-3.1-405b"},
        {"load": "closed", "model": "llama-3.1-8b"},
    ]
    assert [row["id"] for row in document["rows"]] == ["run 1", "run 2"]
    assert document["rows"][0]["figures"]["tpot"]["measured"] == pytest.approx(0.008)
    assert document["unsupported"][0]["id"] == "run 3"
    assert "numba" in document["versions"]


def test_the_picture_and_the_document_are_files(lab):
    result = invoke("--data", lab, "--plot", lab / "new" / "p.png", "--json", lab / "a.json", "--no-calibration")
    assert (lab / "new" / "p.png").read_bytes().startswith(b"\x89PNG")
    document = json.loads((lab / "a.json").read_text())
    assert document["calibration"] == "none"
    assert document["class_priors"]["rows"] == 2
    assert "class prior" in result.stdout
    assert "in-sample" not in result.stdout


def test_a_sample_and_a_filter(lab):
    document = json.loads(
        invoke("--data", lab, "--only", "model=llama-3.1-8b", "--sample", 1, "--format", "json").stdout
    )
    assert document["total"]["rows"] == 1
    assert document["total"]["unsupported"] == 0


def test_nothing_to_read(lab, monkeypatch):
    assert "there is no such folder" in refused("--data", lab / "nowhere")
    (lab / "empty").mkdir()
    assert "no file in it is recognised" in refused("--data", lab / "empty")
    (lab / "other.csv").write_text("a,b\n1,2\n")
    assert "no reader recognises" in refused("--data", lab / "other.csv")
    monkeypatch.setattr(inferencesim, "__file__", str(lab / "site" / "inferencesim" / "__init__.py"))
    line = refused()
    assert "--data" in line
    assert "GuideLLM" in line


def test_wrong_words(lab):
    assert "Did you mean 'hardware'?" in refused("--data", lab, "--group", "source,hardwar")
    assert "Did you mean 'engine'?" in refused("--data", lab, "--only", "engin=vllm")
    assert "COLUMN=VALUE" in refused("--data", lab, "--only", "vllm")
    assert "Did you mean 'vllm'?" in refused("--data", lab, "--only", "engine=vlm")
    assert "--sample: 0 is not above zero" in refused("--data", lab, "--sample", 0)
    assert "--jobs: -1" in refused("--data", lab, "--jobs", -1)
    (lab / "file").write_text("")
    assert "cannot be written" in refused("--data", lab, "--plot", lab / "file" / "p.png")


def test_series_over_time_are_plotted_where_there_are_any(lab):
    assert "--plot-series: none of these measurements has a series" in refused("--data", lab, "--plot-series", "s.png")
    if not SHARED.is_dir():
        pytest.skip("the shared measurements are not here")
    result = invoke("--data", SHARED / "vllm_request_traces", "--plot-series", lab / "s.png")
    assert (lab / "s.png").read_bytes().startswith(b"\x89PNG")
    assert "… of them preempted" in result.stdout


def test_twins_count_once(tmp_path):
    if not SHARED.is_dir():
        pytest.skip("the shared measurements are not here")
    table = SHARED / "silicon_ttft_tpot.csv"
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    header = lines[0].strip().split(",")
    one = next(row for row in csv.DictReader(lines) if row["backend"] == "vllm" and "llama" in row["model_path"].lower()
               and row["mode"] == "agg" and row["tp_size"] == "1.0")  # fmt: skip
    path = tmp_path / "twins.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows([one, one | {"id": "again"}])
    document = json.loads(invoke("--data", path, "--format", "json").stdout)
    assert document["rows_read"] == 2
    assert document["total"]["rows"] == 1


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_from_outside(tmp_path):
    write(tmp_path / "many.csv", [{"concurrency": 1 + n % 200, "requests": 4000} for n in range(2000)])
    process = subprocess.Popen(
        [sys.executable, "-m", "inferencesim", "accuracy", "--data", str(tmp_path / "many.csv"), "--jobs", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    time.sleep(8.0)
    # As a terminal does: to the whole group, workers included.
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == console.EXIT_INTERRUPTED
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors
