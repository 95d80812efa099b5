"""The same sweep on a cluster: a real scheduler and real workers, which are killed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest
from oracle.pieces import kill_oneself
from oracle.small import pool, scenario, work
from oracle.sweeping import environment, wait_for

from inferencesim.errors import InputError
from inferencesim.experiments import cluster
from inferencesim.experiments.execution import Died, Done
from inferencesim.experiments.sweep import sweep

pytest.importorskip("distributed")

SLOW = scenario([pool()], [work("c", rate=200)], horizon=20.0)
VARY = {"workload.c.arrivals.rate": "150/s..260/s:12"}
TRIALS = 12


class Dask:
    """A scheduler and workers, as processes over loopback TCP."""

    def __init__(self, stack, folder):
        self._stack = stack
        self._folder = folder
        told = folder / "scheduler.json"
        self.scheduler = self._start("dask_scheduler", "--port", "0", "--host", "127.0.0.1", "--scheduler-file", told)
        wait_for(lambda: told.exists() and told.read_text())
        self.address = json.loads(told.read_text())["address"]

    def add_worker(self, *options, threads=1, **variables):
        options = ("--nthreads", str(threads), "--no-nanny", *options)
        return self._start("dask_worker", self.address, *options, **variables)

    def _start(self, program, *options, **variables):
        command = [sys.executable, "-m", f"distributed.cli.{program}", "--no-dashboard", *map(str, options)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, env=environment() | variables, cwd=self._folder, **quiet)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process


@pytest.fixture
def dask(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Dask(stack, tmp_path_factory.mktemp("dask"))


def kept(folder):
    return {path: path.stat().st_mtime_ns for path in (folder / "trials").glob("*.json")}


def at(moment, act):
    """Return a progress that acts once, when so many trials are finished."""
    acted = []

    def progress(done, total):
        if done >= moment and not acted:
            acted.append(done)
            act()

    return progress


def test_a_worker_killed_midway_costs_nothing(dask):
    first = dask.add_worker()
    dask.add_worker()
    found = sweep(SLOW, VARY, scheduler=dask.address, progress=at(3, first.kill))
    assert found == sweep(SLOW, VARY)


def test_a_scheduler_killed_midway_is_told_and_the_sweep_goes_on_with_another(dask, tmp_path):
    dask.add_worker()
    with pytest.raises(InputError, match=r"the scheduler is gone.*Finished trials are kept"):
        sweep(SLOW, VARY, scheduler=dask.address, out=tmp_path, progress=at(4, dask.scheduler.kill))
    before = kept(tmp_path)
    assert 4 <= len(before) < TRIALS
    found = sweep(SLOW, VARY, out=tmp_path)
    assert before.items() <= kept(tmp_path).items()
    assert not found.failures


@pytest.mark.long
def test_a_trial_that_kills_its_workers_is_given_up(dask):
    for _ in range(3):
        dask.add_worker()
    pieces = enumerate([kill_oneself, os.getpid, os.getpid, os.getpid])
    found = dict(cluster.on_cluster(pieces, dask.address))
    assert isinstance(found[0], Died)
    assert all(isinstance(found[place], Done) for place in (1, 2, 3))


def test_a_worker_of_another_version_is_refused(dask, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "from importlib import metadata\n"
        "known = metadata.version\n"
        "metadata.version = lambda name: '0.0.1' if name == 'inferencesim' else known(name)\n"
    )
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    dask.add_worker(PYTHONPATH=path)
    with pytest.raises(InputError, match=r"has inferencesim 0\.0\.1, here it is .*Install the same versions"):
        sweep(SLOW, VARY, scheduler=dask.address)


def test_a_worker_without_this_version_is_refused(dask, tmp_path):
    hidden = tmp_path / "inferencesim"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("")
    dask.add_worker(PYTHONPATH=os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]]))
    with pytest.raises(InputError, match="cannot load this version of inferencesim"):
        sweep(SLOW, VARY, scheduler=dask.address)


def test_a_worker_of_several_threads_is_refused(dask):
    dask.add_worker(threads=2)
    with pytest.raises(InputError, match=r"has 2 threads.*--nthreads 1"):
        sweep(SLOW, VARY, scheduler=dask.address)


def test_a_cluster_without_workers(dask, monkeypatch):
    monkeypatch.setattr(cluster, "_WITHOUT_WORKERS_S", 0.5)
    with pytest.raises(InputError, match="has had no worker"):
        sweep(SLOW, VARY, scheduler=dask.address)


def test_no_scheduler(monkeypatch):
    monkeypatch.setattr(cluster, "_ANSWER_S", 0.5)
    with pytest.raises(InputError, match="no Dask scheduler answers there"):
        sweep(SLOW, VARY, scheduler="tcp://127.0.0.1:9")


@pytest.mark.parametrize("address", ["foo", "tcp://somewhere", "tcp://somewhere:99999", "tcp://:8786", "udp://a:8786"])
def test_what_is_no_address_is_refused_without_a_client_that_would_go_on_trying(monkeypatch, address):
    monkeypatch.setattr("distributed.Client", lambda *_, **__: pytest.fail("a client was begun"))
    with pytest.raises(InputError, match=r"^--scheduler: .* Write tcp://HOST:PORT"):
        sweep(SLOW, VARY, scheduler=address)


def test_without_dask_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'inferencesim\[dask\]'"):
        sweep(SLOW, VARY, scheduler="tcp://127.0.0.1:9")
