"""Sweeps that are killed, and sweeps that meet: nothing is lost, and nothing done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from oracle.small import pool, scenario, work
from oracle.sweeping import environment, start, wait_for

from inferencesim.experiments.sweep import sweep

#: Long enough for a process to be killed in the midst of them, and short enough to wait for.
SLOW = scenario([pool()], [work("c", rate=200)], horizon=20.0).model_dump(mode="json", by_alias=True)
VARY = {"workload.c.arrivals.rate": "150/s..260/s:12"}
TRIALS = 12


def kept(folder):
    return {path.stem: path.stat().st_mtime_ns for path in (folder / "trials").glob("*.json")}


def attempts(log):
    return Counter(log.read_text().split() if log.exists() else [])


def children(process):
    return [int(each) for each in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def states(process):
    told, problems = process.communicate(timeout=120)
    assert process.returncode == 0, problems
    return json.loads(told)


def check_killed_and_resumed(tmp_path, jobs, moments):
    """Kill a sweep whenever so many trials are finished; then let it come to its end."""
    log, out = tmp_path / "log", tmp_path / "out"
    arguments = {"scenario": SLOW, "vary": VARY, "jobs": jobs, "out": out, "log": log}
    before = {}
    for moment in moments:
        running = start(**arguments)
        wait_for(lambda moment=moment: len(kept(out)) >= moment)
        offspring = children(running)
        running.kill()
        running.communicate(timeout=60)
        wait_for(lambda offspring=offspring: not any(Path(f"/proc/{child}").exists() for child in offspring))
        now = kept(out)
        assert before.items() <= now.items()
        before = now
        finished = attempts(log)
        assert all(finished[key] >= 1 for key in now)
    finished_before = {key: attempts(log)[key] for key in before}
    assert len(before) < TRIALS, "the last sweep had nothing to do: kill earlier"
    assert states(start(**arguments)) == ["stable"] * TRIALS
    assert {key: attempts(log)[key] for key in before} == finished_before
    assert before.items() <= kept(out).items()
    assert len(kept(out)) == TRIALS
    assert not list((out / "trials").glob(".*"))
    return out


def test_a_killed_sweep_goes_on_where_it_was(tmp_path):
    check_killed_and_resumed(tmp_path, jobs=1, moments=[3])


@pytest.mark.long
def test_killed_again_and_again_it_says_what_it_would_have_said_at_once(tmp_path):
    out = check_killed_and_resumed(tmp_path, jobs=2, moments=[0, 1, 4, 7, 9])
    assert sweep(SLOW, VARY, out=out) == sweep(SLOW, VARY)


def test_two_sweeps_in_one_folder_share_the_work(tmp_path):
    log, out = tmp_path / "log", tmp_path / "out"
    both = [start(scenario=SLOW, vary=VARY, out=out, log=log) for _ in range(2)]
    assert [states(each) for each in both] == [["stable"] * TRIALS] * 2
    assert set(attempts(log).values()) == {1}
    assert len(attempts(log)) == TRIALS


@pytest.mark.long
def test_one_takes_over_what_another_was_at_when_it_was_killed(tmp_path):
    log, out = tmp_path / "log", tmp_path / "out"
    first = start(scenario=SLOW, vary=VARY, out=out, log=log)
    wait_for(lambda: len(attempts(log)) >= 2)
    second = start(scenario=SLOW, vary=VARY, out=out, log=log)
    wait_for(lambda: len(kept(out)) >= 4)
    first.kill()
    first.communicate(timeout=60)
    assert states(second) == ["stable"] * TRIALS
    # The trial under way when it was killed, and no other, may have been begun twice.
    assert sum(attempts(log).values()) <= TRIALS + 1


def test_a_killed_worker_costs_its_own_trial_only(tmp_path):
    log, out = tmp_path / "log", tmp_path / "out"
    running = start(scenario=SLOW, vary=VARY, out=out, log=log, jobs=2)
    wait_for(lambda: len(attempts(log)) >= 2)
    os.kill(_simulating(running), signal.SIGKILL)
    assert states(running) == ["stable"] * TRIALS
    assert sum(attempts(log).values()) <= TRIALS + 1


def test_ctrl_c_keeps_what_is_finished_and_leaves_nobody_behind(tmp_path):
    (tmp_path / "slow.yaml").write_text(json.dumps(SLOW))
    (path, text), out = next(iter(VARY.items())), tmp_path / "out"
    words = ["sweep", tmp_path / "slow.yaml", "--vary", f"{path}={text}", "--jobs", "2", "--out", out]
    command = [sys.executable, "-m", "inferencesim", *map(str, words)]
    running = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(kept(out)) >= 2)
    offspring = children(running)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert told == "interrupted\n"
    assert 2 <= len(kept(out)) < TRIALS
    assert not any(_simulates(child) for child in offspring)


def _simulating(process):
    """Return one of the processes that simulate for another one."""
    return next(child for child in children(process) if _simulates(child))


def _simulates(child):
    """Tell whether a process is one that simulates: others keep track of shared memory."""
    try:
        return b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    except FileNotFoundError:
        return False
