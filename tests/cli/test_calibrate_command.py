"""``inferencesim calibrate`` as a user types it, and what runs and profiles say afterwards."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from oracle.commands import invoke, refused
from oracle.measured import FORMATS, campaign, moved, simulated, skip_without_jit
from oracle.small import chip, model

from inferencesim import Run
from inferencesim.deployment import calibration as calibrations
from inferencesim.deployment.calibration import Calibration
from inferencesim.documents import document_digest, read_document
from inferencesim.experiments import calibrate as calibrating

COLUMNS = ["id", "model", "load", "concurrency", "requests", "prompt_low", "output_low", "ttft_ms", "tpot_ms"]
FACTS = ("--hardware", chip(), "--engine", "vllm", "--weights", "bf16", "--tensor", 1)


def write(path, rows, columns=COLUMNS):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def rows():
    """Ten runs of a small chip that is slower than its priors say."""
    measured = simulated(moved(memory=0.75, step=1.5), campaign(("small-model", "windowed-model")))
    return [
        {
            "id": each.id, "model": each.setup.model, "load": "closed", "concurrency": each.load.concurrency,
            "requests": each.load.requests, "prompt_low": each.load.prompt_tokens.low,
            "output_low": each.load.output_tokens.low, "ttft_ms": 1e3 * each.observed["ttft_s"],
            "tpot_ms": 1e3 * each.observed["tpot_s"],
        }
        for each in measured
    ]  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory, rows):
    """A folder with the measurements, and the calibration fitted to them with what was printed."""
    skip_without_jit()
    folder = tmp_path_factory.mktemp("lab")
    write(folder / "own.csv", rows)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(calibrating, "EVALUATIONS", 3)
        patched.setattr(calibrating, "FOLD_EVALUATIONS", 2)
        result = invoke("calibrate", folder / "own.csv", *FACTS, "--out", folder / "fitted.yaml", "--jobs", 1)
    return folder, result


@pytest.fixture
def quick(monkeypatch):
    """Fits that change nothing: for what does not depend on how good they are."""
    monkeypatch.setattr(calibrating, "fit", lambda start, *_, **__: start)


def test_the_file_reads_back_and_the_tables_say_what_happened(lab):
    folder, result = lab
    fitted = read_document(folder / "fitted.yaml", Calibration, "--out")
    assert (fitted.hardware, fitted.engine) == ("small-chip", "vllm")
    assert fitted.fit.measurements == 10
    assert fitted.fit.source == "own.csv"
    assert fitted.efficiency.memory.provenance == "fitted"
    assert fitted.efficiency.link.provenance == "assumption"
    for word in ("efficiency.memory", "stays at its prior", "before, with the priors", "unseen models"):
        assert word in result.stdout
    assert f"wrote {folder / 'fitted.yaml'}" in result.stderr


def scenario(folder, **said):
    tree = {
        "name": "calibrated",
        "horizon": "5s",
        "pools": [
            {"name": "fitted", "hardware": chip(), "model": model(), "engine": "vllm", **said},
            {"name": "plain", "hardware": chip(), "model": model(), "engine": "vllm"},
        ],
        "workload": [
            {
                "name": "chat",
                "arrivals": {"process": "poisson", "rate": "20/s"},
                "prompt_tokens": 16,
                "output_tokens": 20,
                "models": ["small-model"],
            }
        ],
        "routing": {"placement": "round_robin"},
    }
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def test_a_pool_that_names_the_file_uses_it_and_the_run_says_so(lab):
    folder, _ = lab
    printed = invoke("run", scenario(folder, calibration="fitted.yaml"), "--out", folder / "run").stdout
    fitted = read_document(folder / "fitted.yaml", Calibration, "")
    assert fitted.expected_error in printed
    assert "unvalidated: class prior" in printed
    assert invoke("show", folder / "run").stdout == printed
    run = Run.load(folder / "run")
    assert [pool.expected_error for pool in run.summary.pools] == [fitted.expected_error, "unvalidated: class prior"]
    one, other = run.manifest.profiles
    assert (one.expected_error, one.calibration_digest) == (fitted.expected_error, document_digest(fitted))
    assert other.calibration_digest is None
    assert one.hardware_digest != other.hardware_digest
    tpot = run.requests.groupby("pool", observed=True).tpot_s.mean()
    # What the calibration was fitted to was slower.
    assert tpot["fitted"] > 1.1 * tpot["plain"]


def test_a_chip_shows_the_calibrations_it_comes_with(lab, tmp_path, monkeypatch):
    folder, _ = lab
    assert "Calibrations: none. Step times are unvalidated: class prior." in invoke("hardware", "show", chip()).stdout
    (tmp_path / "small-chip.vllm.yaml").write_text((folder / "fitted.yaml").read_text())
    monkeypatch.setattr(calibrations, "_folder", lambda: tmp_path)
    calibrations._shipped.cache_clear()
    try:
        shown = invoke("hardware", "show", chip()).stdout
        document = json.loads(invoke("hardware", "show", chip(), "--format", "json").stdout)
    finally:
        calibrations._shipped.cache_clear()
    for word in ("vllm", "random rows", "one model"):
        assert word in shown
    assert "unvalidated" not in shown
    fitted = read_document(folder / "fitted.yaml", Calibration, "")
    assert document["calibrations"] == [fitted.model_dump(mode="json", by_alias=True)]
    assert document["id"] == "small-chip"


def test_stdout_carries_the_file_and_nothing_else(lab, tmp_path, quick):
    folder, _ = lab
    result = invoke("calibrate", folder / "own.csv", *FACTS, "--source", "our lab", "--jobs", 1)
    (tmp_path / "piped.yaml").write_text(result.stdout)
    assert read_document(tmp_path / "piped.yaml", Calibration, "").fit.source == "our lab"
    assert "before, with the priors" in result.stderr


def test_json_is_one_document(lab, quick):
    folder, _ = lab
    found = json.loads(invoke("calibrate", folder, *FACTS, "--format", "json", "--jobs", 1).stdout)
    assert found["schema"] == 1
    assert found["calibration"]["fit"]["measurements"] == 10
    assert found["before"]["tpot_median"] > 0.1
    assert len(found["parameters"]) == len(calibrating.PARAMETERS)


def test_what_is_missing_is_told_at_once(tmp_path, rows):
    bare = write(tmp_path / "bare.csv", rows, [name for name in COLUMNS if name != "model"])
    line = refused("calibrate", bare, "--hardware", "nvidia-l4", "--engine", "vllm", "--kv", "fp8")
    assert "bare.csv, line 2" in line
    assert "model, weights, tensor" in line
    assert FORMATS["weights"] not in line


def test_the_documented_table_can_be_read(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "calibration.md").read_text(encoding="utf-8")
    (tmp_path / "runs.csv").write_text(text.split("```csv\n")[1].split("```")[0])
    line = refused("calibrate", tmp_path / "runs.csv", "--hardware", "nvidia-h100-sxm", "--engine", "vllm")
    assert "1 of nvidia-h100-sxm with vllm can be used" in line


def test_bad_input_leaves_no_file(tmp_path, rows):
    own, out = write(tmp_path / "own.csv", rows), tmp_path / "out.yaml"
    there = ("--out", out)
    assert "Did you mean 'nvidia-h100-sxm'" in refused(
        "calibrate", own, "--hardware", "h100", "--engine", "vllm", *there
    )
    assert "Did you mean 'vllm'" in refused("calibrate", own, "--hardware", "nvidia-l4", "--engine", "vlm", *there)
    assert "cannot be read" in refused("calibrate", tmp_path / "nothing.csv", *FACTS, *there)
    assert "--jobs" in refused("calibrate", own, *FACTS, "--jobs", 0, *there)
    assert "cannot be written" in refused("calibrate", own, *FACTS, "--out", tmp_path / "no" / "out.yaml")
    few = write(tmp_path / "few.csv", rows[:3])
    assert "3 of small-chip with vllm can be used" in refused("calibrate", few, *FACTS, *there)
    assert not out.exists()


def test_an_existing_file_is_kept_before_anything_is_fitted(lab, tmp_path, monkeypatch, quick):
    folder, _ = lab
    out = tmp_path / "out.yaml"
    out.write_text("precious")
    with monkeypatch.context() as patched:
        patched.setattr(calibrating, "run_all", lambda *_, **__: pytest.fail("it was fitted"))
        assert "exists already" in refused("calibrate", folder / "own.csv", *FACTS, "--out", out)
    assert out.read_text() == "precious"
    invoke("calibrate", folder / "own.csv", *FACTS, "--out", out, "--force", "--jobs", 1)
    assert read_document(out, Calibration, "").fit.measurements == 10
