"""Jobs beside their caller: in order, a few behind, and none after one that fails."""

from __future__ import annotations

import threading

import pytest

from inferencesim.results.background import Background


def test_jobs_are_done_in_order_by_another_thread():
    done = []
    background = Background(3)
    for number in range(50):
        background.do(lambda number=number: done.append((number, threading.get_ident())))
    background.settle()
    assert [number for number, _ in done] == list(range(50))
    assert {thread for _, thread in done}.isdisjoint({threading.get_ident()})


def test_who_gives_one_too_many_waits():
    background, go, given = Background(2), threading.Event(), []

    def give():
        for number in range(3):
            background.do(lambda: go.wait(10))
            given.append(number)

    giver = threading.Thread(target=give)
    giver.start()
    giver.join(0.2)
    assert given == [0, 1]
    go.set()
    giver.join(10)
    assert given == [0, 1, 2]
    background.close()


def test_a_failure_is_raised_once_and_ends_it():
    background, go, done = Background(3), threading.Event(), []

    def fails():
        go.wait(10)
        raise OSError("disk full")

    background.do(fails)
    background.do(lambda: done.append("after it"))
    go.set()
    with pytest.raises(OSError, match="disk full"):
        background.settle()
    background.settle()
    background.do(lambda: done.append("later"))
    background.close()
    assert done == []


def test_the_next_job_meets_the_failure_of_one_before():
    background = Background(3)
    background.do(lambda: 1 // 0)
    background._thread.submit(lambda: None).result()  # until the first is over
    with pytest.raises(ZeroDivisionError):
        background.do(lambda: None)


def test_closing_waits_and_says_nothing():
    background, go, done = Background(3), threading.Event(), []

    def fails():
        done.append(go.wait(10))
        raise OSError("disk full")

    background.do(fails)
    threading.Timer(0.1, go.set).start()
    background.close()
    assert done == [True]
