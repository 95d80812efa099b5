"""Ctrl-C waits for a safe moment, and is never forgotten."""

from __future__ import annotations

import signal
import threading

import pytest

from inferencesim.results.interrupt import DeferredInterrupt


def press():
    signal.raise_signal(signal.SIGINT)


def test_it_waits_for_a_safe_moment():
    told, reached = [], []
    ctrl_c = DeferredInterrupt(lambda *moment: told.append(moment))

    def work():
        with ctrl_c:
            ctrl_c.at_a_safe_moment(1.0, 2.0)
            press()
            reached.append("the work under way was finished")
            ctrl_c.at_a_safe_moment(2.0, 2.0)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached
    assert told == [(1.0, 2.0)]


def test_it_is_raised_at_the_end_if_no_safe_moment_came():
    with pytest.raises(KeyboardInterrupt), DeferredInterrupt(None):
        press()


def test_the_second_is_not_held_back():
    reached = []

    def work():
        with DeferredInterrupt(None):
            press()
            press()
            reached.append("too far")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert not reached


def test_the_handler_is_put_back():
    before = signal.getsignal(signal.SIGINT)
    with DeferredInterrupt(None):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_leaves_the_handler_alone():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with DeferredInterrupt(None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
