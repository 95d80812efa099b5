"""Every trial of a sweep is simulated once, and kept."""

from __future__ import annotations

import errno
import functools
import json
import os

import pandas as pd
import pytest
from oracle.pieces import die_of_seed
from oracle.small import pool, scenario, work

from inferencesim import simulate
from inferencesim.errors import InputError
from inferencesim.experiments import sweep as experiment
from inferencesim.experiments.sweep import sweep
from inferencesim.experiments.trials import seed_of
from inferencesim.results import trial_folder
from inferencesim.results.fingerprint import fingerprint

TINY = scenario([pool()], [work("c", rate=50, promise={"ttft": 1.0})], horizon=2.0, seed=5)
VARY = {"pools.p.replicas": [1, 2], "workload.c.arrivals.rate": "10/s..30/s:2"}


@pytest.fixture
def played(monkeypatch):
    """The seeds of trials that were simulated in this process, one by one."""
    seeds = []
    play_trial = experiment.play_trial

    def noted(tree, key):
        seeds.append(tree["seed"])
        return play_trial(tree, key)

    monkeypatch.setattr(experiment, "play_trial", noted)
    return seeds


def keys(folder):
    return sorted(path.stem for path in (folder / "trials").glob("*.json"))


def test_a_trial_shows_what_a_run_shows():
    found = sweep(TINY, VARY, replications=2)
    frame = found.frame
    assert list(frame.columns[:2]) == list(VARY)
    assert list(frame["pools.p.replicas"]) == [1, 1, 1, 1, 2, 2, 2, 2]
    assert list(frame["workload.c.arrivals.rate"]) == [10.0, 10.0, 30.0, 30.0] * 2
    assert list(frame["replication"]) == [0, 1] * 4
    assert list(frame["seed"]) == [5, seed_of(5, 1)] * 4
    tree = TINY.model_dump(mode="json", by_alias=True)
    tree["pools"][0]["replicas"], tree["workload"][0]["arrivals"]["rate"] = 2, 30.0
    summary = simulate(tree, seed=seed_of(5, 1)).summary
    row = frame.iloc[7]
    assert row["state"] == summary.verdict.state
    assert row["ttft_s.p99"] == summary.fleet.ttft_s.p99
    assert row["classes.c.slo_attainment"] == summary.classes[0].slo_attainment
    for figure in ("utilisation", "batch", "kv_usage"):
        assert row[f"pools.p.{figure}"] == getattr(summary.pools[0], figure)


def test_finished_trials_are_not_played_again(tmp_path, played):
    first = sweep(TINY, VARY, out=tmp_path)
    assert len(played) == 4
    when = {path: path.stat().st_mtime_ns for path in (tmp_path / "trials").iterdir()}
    seen = []
    again = sweep(TINY, VARY, out=tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert len(played) == 4
    assert seen == [(4, 4)]
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "trials").iterdir()} == when
    sweep(TINY, VARY | {"pools.p.replicas": [1, 2, 3]}, out=tmp_path)
    assert len(played) == 6


def test_another_scenario_in_the_folder_is_not_mixed_in(tmp_path, played):
    first = sweep(TINY, VARY, out=tmp_path)
    other = sweep(TINY, VARY, overrides=["workload.c.output_tokens=25"], out=tmp_path)
    assert len(played) == 8
    assert len(keys(tmp_path)) == 8
    assert set(pd.read_parquet(tmp_path / "results.parquet")["key"]) == set(other.frame["key"])
    assert sweep(TINY, VARY, out=tmp_path) == first
    assert len(played) == 8


def test_the_results_are_one_table(tmp_path):
    vary = {"pools.p.batching": [{"max_sequences": 2}, {"max_sequences": 8}], "pools.p.replicas": [1]}
    found = sweep(TINY, vary, out=tmp_path)
    table = pd.read_parquet(tmp_path / "results.parquet")
    pd.testing.assert_frame_equal(table, found.frame, check_dtype=False)
    assert json.loads(table["pools.p.batching"][1]) == {"max_sequences": 8}


def test_what_cannot_be_simulated_fails_alone_and_is_kept(tmp_path, played):
    vary = {"pools.p.parallelism.tensor": [1, 3]}
    found = sweep(TINY, vary, out=tmp_path)
    assert [trial.result.state for trial in found.trials] == ["stable", "failed"]
    assert "3 does not divide" in found.failures[0].result.why
    assert pd.isna(found.frame["ttft_s.p99"][1])
    assert sweep(TINY, vary, out=tmp_path) == found
    assert len(played) == 2


@pytest.mark.parametrize(
    ("vary", "complaint"),
    [
        ({"pools.q.replicas": [1]}, "no entry is named 'q'"),
        ({"pools.p.replicaz": [1]}, "unknown key 'replicaz'"),
        ({"pools.p.replicas": [1, -1]}, "replicas"),
        ({"pools.p.replicas": [1, "many"]}, "replicas"),
    ],
)
def test_a_wrong_path_or_value_is_told_before_the_first_trial(vary, complaint, played, tmp_path):
    with pytest.raises(InputError, match=complaint):
        sweep(TINY, vary, out=tmp_path / "new")
    assert played == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"design": "lhs"}, "--samples"),
        ({"samples": 5}, "--samples"),
        ({"design": "lsh", "samples": 5}, "Did you mean 'lhs'"),
        ({"replications": 0}, "--replications: 0"),
        ({"shard": "3/2"}, "--shard: '3/2'"),
        ({"shard": "0/2"}, "--shard"),
        ({"shard": "half"}, "--shard"),
    ],
)
def test_wrong_options(options, complaint):
    with pytest.raises(InputError, match=complaint):
        sweep(TINY, VARY, **options)


def test_a_latin_hypercube(played):
    found = sweep(TINY, {"pools.p.replicas": "1..4", "workload.c.arrivals.rate": "5/s..50/s"}, design="lhs", samples=8)
    lows = [5 + each * 45 / 8 for each in range(8)]
    rates = sorted(found.frame["workload.c.arrivals.rate"])
    assert all(low <= rate <= low + 45 / 8 for low, rate in zip(lows, rates, strict=True))
    assert sorted(found.frame["pools.p.replicas"]) == [1, 1, 2, 2, 3, 3, 4, 4]


def test_equal_trials_are_played_once(played):
    found = sweep(TINY, {"workload.c.arrivals.rate": ["10/s", "600/min"]})
    assert len(played) == 1
    assert len(found.frame) == 2


def test_shards_are_parts_of_a_whole_and_merge_in_one_folder(tmp_path, played):
    whole = sweep(TINY, VARY, replications=2)
    parts = [sweep(TINY, VARY, replications=2, shard=f"{number}/3", out=tmp_path) for number in (1, 2, 3)]
    assert not (tmp_path / "results.parquet").exists()
    assert [part.shard for part in parts] == ["1/3", "2/3", "3/3"]
    of_parts = [trial.result.key for part in parts for trial in part.trials]
    assert sorted(of_parts) == sorted(trial.result.key for trial in whole.trials)
    assert len(played) == 16
    assert sweep(TINY, VARY, replications=2, out=tmp_path) == whole
    assert len(played) == 16


def test_several_processes_say_the_same(tmp_path):
    assert sweep(TINY, VARY, jobs=2) == sweep(TINY, VARY)


def test_a_trial_that_kills_is_skipped_and_tried_again_another_time(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(experiment, "in_truth", experiment.play_trial, raising=False)
        patched.setattr(experiment, "play_trial", functools.partial(die_of_seed, seed_of(5, 1)))
        found = sweep(TINY, {"pools.p.replicas": [1]}, replications=3, jobs=2, out=tmp_path)
    assert [trial.result.state for trial in found.trials] == ["stable", "killed", "stable"]
    assert "given up after 2 attempts: its process was ended by SIGKILL" in found.failures[0].result.why
    assert len(keys(tmp_path)) == 2
    again = sweep(TINY, {"pools.p.replicas": [1]}, replications=3, out=tmp_path)
    assert not again.failures
    assert again.trials[0] == found.trials[0]


def test_an_unexpected_error_costs_one_trial_and_is_not_kept(tmp_path, monkeypatch):
    play = experiment.play

    def broken(plan):
        if plan.scenario.pools[0].replicas == 2:
            msg = "a bug"
            raise ZeroDivisionError(msg)
        return play(plan)

    with monkeypatch.context() as patched:
        patched.setattr(experiment, "play", broken)
        found = sweep(TINY, VARY, out=tmp_path)
    assert [trial.result.state for trial in found.trials] == ["stable", "stable", "crashed", "crashed"]
    assert found.failures[0].result.why == "ZeroDivisionError: a bug"
    assert not sweep(TINY, VARY, out=tmp_path).failures


def test_a_full_disk_is_told_and_finished_trials_are_kept(tmp_path, monkeypatch, played):
    fsync = os.fsync

    def full(number):
        if len(keys(tmp_path)) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(number)

    with monkeypatch.context() as patched:
        patched.setattr(trial_folder.os, "fsync", full)
        with pytest.raises(InputError, match=r"No space left on device.*Finished trials are kept"):
            sweep(TINY, VARY, out=tmp_path)
    assert len(list((tmp_path / "trials").iterdir())) == 2
    assert not sweep(TINY, VARY, out=tmp_path).failures
    assert len(played) == 5


def test_ctrl_c_keeps_what_is_finished(tmp_path, played):
    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(TINY, VARY, out=tmp_path, progress=interrupt)
    assert len(keys(tmp_path)) == 2
    sweep(TINY, VARY, out=tmp_path)
    assert len(played) == 4


def test_a_damaged_file_is_no_result(tmp_path, played):
    first = sweep(TINY, VARY, out=tmp_path)
    damaged, swapped = (tmp_path / "trials" / f"{key}.json" for key in keys(tmp_path)[:2])
    swapped.write_text(damaged.read_text())
    damaged.write_text(damaged.read_text()[:100])
    assert sweep(TINY, VARY, out=tmp_path) == first
    assert len(played) == 6


def test_whoever_would_simulate_something_else_is_refused(tmp_path, monkeypatch):
    # What a worker with other sources finds, in the middle of a sweep.
    play_trial = experiment.play_trial

    def elsewhere(tree, key):
        fingerprint.cache_clear()
        with monkeypatch.context() as patched:
            patched.setattr("inferencesim.results.fingerprint.package_versions", lambda: {"inferencesim": "0.0.1"})
            try:
                return play_trial(tree, key)
            finally:
                fingerprint.cache_clear()

    with monkeypatch.context() as patched:
        patched.setattr(experiment, "play_trial", elsewhere)
        with pytest.raises(InputError, match="other sources, packages or files"):
            sweep(TINY, VARY, out=tmp_path)
    assert keys(tmp_path) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        sweep(TINY, VARY, out=tmp_path / "file")
