"""Several processes do what one would, and nothing is heard of them."""

from __future__ import annotations

import functools
import math
import os
import signal

import pytest

from inferencesim.experiments import parallel
from inferencesim.experiments.parallel import run_all


def test_results_come_in_the_order_of_the_work(monkeypatch):
    monkeypatch.setattr(parallel, "PIECES_PER_PROCESS", 10)
    seen = []
    work = [functools.partial(math.sqrt, each) for each in range(40)]
    found = run_all(work, jobs=2, progress=lambda now, end: seen.append((now, end)))
    assert found == [math.sqrt(each) for each in range(40)]
    assert seen == [(each + 1, 40) for each in range(40)]


def test_other_processes_are_used_where_they_pay(monkeypatch):
    work = [os.getpid] * 40
    assert set(run_all(work, jobs=2)) == {os.getpid()}
    monkeypatch.setattr(parallel, "PIECES_PER_PROCESS", 10)
    assert set(run_all(work, jobs=1)) == {os.getpid()}
    assert os.getpid() not in run_all(work, jobs=2)[1:]


def test_a_piece_that_takes_long_pays_for_a_process_of_its_own():
    assert os.getpid() not in run_all([os.getpid] * 3, jobs=2, pieces_per_process=1)[1:]


def test_work_that_no_other_process_can_be_sent_is_an_error():
    called = []
    work = [os.getpid, lambda: called.append(1), os.getpid]
    with pytest.raises(TypeError, match=r"piece 2 of the work cannot be pickled for another process: .*lambda"):
        run_all(work, jobs=2, pieces_per_process=1)
    assert called == []
    run_all(work, jobs=1)
    assert called == [1]


def test_ctrl_c_is_for_this_process_alone(monkeypatch):
    monkeypatch.setattr(parallel, "PIECES_PER_PROCESS", 10)
    asked = functools.partial(signal.getsignal, signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    assert set(run_all([asked] * 20, jobs=2)[1:]) == {signal.SIG_IGN}
    assert signal.getsignal(signal.SIGINT) is before

    def interrupted(now, end):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all([asked] * 20, jobs=2, progress=interrupted)
