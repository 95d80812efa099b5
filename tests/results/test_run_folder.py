"""The run folder: same bytes for the same seed, readable whatever happened."""

from __future__ import annotations

import errno
import json

import numpy as np
import pandas as pd
import pytest
from oracle.small import pool, scenario, work
from pyarrow import parquet

from inferencesim import Run, simulate
from inferencesim.errors import InputError
from inferencesim.results import run_folder
from inferencesim.simulation import state


def small(**said):
    said.setdefault("horizon", 20.0)
    return scenario(
        [pool("a", replicas=2), pool("b", precision="bf16")],
        [work("chat", rate=30.0, promise={"ttft": 0.5}), work("batch", rate=5.0)],
        **said,
    )


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path):
    for name, seed in (("first", 3), ("second", 3), ("other", 4)):
        simulate(small(), seed, out=tmp_path / name)
    first = contents(tmp_path / "first")
    assert {"manifest.json", "summary.json", "requests/part-00000.parquet"} <= set(first)
    assert contents(tmp_path / "second") == first
    other = contents(tmp_path / "other")
    assert other["requests/part-00000.parquet"] != first["requests/part-00000.parquet"]


def test_every_file_carries_its_schema_version(tmp_path):
    simulate(small(), out=tmp_path / "run")
    for name in ("manifest.json", "summary.json"):
        assert json.loads((tmp_path / "run" / name).read_text())["schema"] == 1
    for table in ("requests", "decisions", "series"):
        schema = parquet.read_schema(tmp_path / "run" / table / "part-00000.parquet")
        assert schema.metadata[b"inferencesim_schema"] == b"1"


def test_the_manifest_says_what_was_simulated(tmp_path):
    manifest = simulate(small(), 7, out=tmp_path / "run").manifest
    assert manifest.status == "complete"
    assert manifest.seed == 7
    assert manifest.scenario["seed"] == 7
    assert manifest.versions["numpy"] == np.__version__
    assert [profile.pool for profile in manifest.profiles] == ["a", "b"]
    assert len(manifest.profiles[0].hardware_digest) == 64
    written = {each.table: each.parts for each in manifest.tables if each.parts}
    assert written == {"requests": 1, "decisions": 1, "series": 1}
    assert Run.load(tmp_path / "run").manifest == manifest


def test_a_loaded_run_is_the_one_in_memory(tmp_path):
    memory, folder = simulate(small()), simulate(small(), out=tmp_path / "run")
    loaded = Run.load(tmp_path / "run")
    assert loaded.complete
    assert loaded.summary == memory.summary == folder.summary
    for table in ("requests", "decisions", "series"):
        pd.testing.assert_frame_equal(getattr(loaded, table), getattr(memory, table))


def test_requests_know_their_hardware_model_and_precision():
    requests = simulate(small()).requests
    served = requests[requests["pool"] == "a"]
    assert set(served["hardware"]) == {"small-chip"}
    assert set(served["model"]) == {"small-model"}
    assert set(served["precision"]) == {"bf16"}


def test_requests_add_up_to_the_summary():
    run = simulate(small(warm_up=5.0))
    requests = run.requests
    inside = requests[(requests["arrived_s"] >= 5.0) & (requests["arrived_s"] < 20.0)]
    chat = inside[inside["class"] == "chat"]
    summary = run.summary.classes[0]
    assert summary.arrived == len(chat)
    assert summary.promises_kept == chat["promise_kept"].fillna(False).sum()
    assert summary.ttft_s.p99 == pytest.approx(chat["ttft_s"].quantile(0.99), rel=1e-6)
    assert summary.e2e_s.mean == pytest.approx(chat["e2e_s"].mean(), rel=1e-6)
    assert summary.queue_time_s.p50 == pytest.approx(chat["queue_time_s"].median(), rel=1e-6, abs=1e-9)


def test_large_runs_are_written_in_parts_that_read_as_one(tmp_path, monkeypatch):
    whole = simulate(small())
    monkeypatch.setattr(state, "CHUNK_ROWS", 100)
    monkeypatch.setattr(state.new_fleet, "__kwdefaults__", {"done_rows": 100})
    simulate(small(), out=tmp_path / "run")
    assert len(list((tmp_path / "run" / "requests").iterdir())) > 3
    read = Run.load(tmp_path / "run")
    order = lambda frame: frame.sort_values("request_id").reset_index(drop=True)  # noqa: E731
    pd.testing.assert_frame_equal(order(read.requests), order(whole.requests))
    assert read.summary.model_dump() == whole.summary.model_dump()


def test_a_run_without_load_has_empty_tables_with_all_columns(tmp_path):
    empty = scenario([pool("a")], [])
    simulate(empty, out=tmp_path / "run")
    loaded = Run.load(tmp_path / "run")
    assert loaded.requests.empty
    assert "ttft_s" in loaded.requests
    assert "verdict_a" in loaded.decisions
    assert loaded.summary.verdict.state == "empty"


def test_a_table_that_was_not_recorded_says_so(tmp_path):
    run = simulate(small(recording={"evidence": "off"}), out=tmp_path / "run")
    assert run.summary.fleet.arrived > 100
    with pytest.raises(InputError, match=r"recording\.evidence"):
        _ = run.requests
    assert not run.series.empty


class TestWhatMayBeReplaced:
    def test_a_run_is_not_overwritten_unasked(self, tmp_path):
        simulate(small(), out=tmp_path)
        before = contents(tmp_path)
        with pytest.raises(InputError, match="holds a run already"):
            simulate(small(), 9, out=tmp_path)
        assert contents(tmp_path) == before

    def test_a_run_is_replaced_with_force_and_notes_beside_it_stay(self, tmp_path):
        simulate(small(), out=tmp_path)
        (tmp_path / "notes.txt").write_text("mine")
        simulate(small(), 9, out=tmp_path, force=True)
        assert Run.load(tmp_path).manifest.seed == 9
        assert (tmp_path / "notes.txt").read_text() == "mine"

    def test_anything_else_is_never_touched(self, tmp_path):
        (tmp_path / "thesis.tex").write_text("years of work")
        with pytest.raises(InputError, match="holds no run"):
            simulate(small(), out=tmp_path, force=True)
        assert contents(tmp_path) == {"thesis.tex": b"years of work"}

    def test_a_folder_that_cannot_be_made_is_an_input_error(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="cannot be written"):
            simulate(small(), out=tmp_path / "file" / "run")


class TestWhenItEndsEarly:
    def test_a_full_disk_leaves_the_parts_before_it(self, tmp_path, monkeypatch):
        monkeypatch.setattr(state, "CHUNK_ROWS", 100)
        monkeypatch.setattr(state.new_fleet, "__kwdefaults__", {"done_rows": 100})
        write = run_folder._write_parquet

        def until_full(part, target):
            if target.parent.name == "requests" and "00002" in target.name:
                target.write_bytes(b"half a fi")
                raise OSError(errno.ENOSPC, "No space left on device")
            write(part, target)

        monkeypatch.setattr(run_folder, "_write_parquet", until_full)
        with pytest.raises(InputError, match="No space left on device"):
            simulate(small(), out=tmp_path / "run")
        loaded = Run.load(tmp_path / "run")
        assert not loaded.complete
        assert len(loaded.requests) == sum(
            parquet.read_metadata(path).num_rows for path in (tmp_path / "run" / "requests").iterdir()
        )
        assert len(loaded.requests) > 100
        assert sorted(path.name for path in (tmp_path / "run" / "requests").iterdir()) == [
            "part-00000.parquet",
            "part-00001.parquet",
        ]
        with pytest.raises(InputError, match="incomplete"):
            _ = loaded.summary

    def test_an_interrupt_loses_nothing_that_happened(self, tmp_path):
        def interrupt(now_s, horizon_s):
            if now_s > 10.0:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            simulate(small(), out=tmp_path / "run", progress=interrupt)
        loaded = Run.load(tmp_path / "run")
        assert not loaded.complete
        whole = simulate(small()).requests
        done = whole[whole["finished_s"] < 10.0]
        assert set(done["request_id"]) <= set(loaded.requests["request_id"])
        assert loaded.series["time_s"].max() >= 9.9

    def test_a_damaged_part_is_named(self, tmp_path):
        simulate(small(), out=tmp_path)
        (tmp_path / "requests" / "part-00000.parquet").write_bytes(b"PAR1 no")
        with pytest.raises(InputError, match=r"part-00000\.parquet"):
            _ = Run.load(tmp_path).requests

    def test_a_summary_of_another_version_is_refused(self, tmp_path):
        simulate(small(), out=tmp_path)
        tree = json.loads((tmp_path / "summary.json").read_text())
        (tmp_path / "summary.json").write_text(json.dumps(tree | {"schema": 2}))
        with pytest.raises(InputError, match="summary of this version"):
            _ = Run.load(tmp_path).summary
