"""Pieces of work that leave a trace, fail or die: in a module that other processes import at once."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def note(folder, name):
    """Leave a trace of every attempt at a piece."""
    with (Path(folder) / name).open("a") as file:
        file.write("x")
    return name


def die(folder, name, times):
    """Kill the process that plays this, the first few times."""
    note(folder, name)
    if len((Path(folder) / name).read_text()) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def kill_oneself():
    os.kill(os.getpid(), signal.SIGKILL)


def leave():
    raise SystemExit(7)


def fail():
    msg = "on purpose"
    raise ValueError(msg)


class StubbornError(Exception):
    """An exception that does not survive the way between processes."""

    def __init__(self, a, b):
        super().__init__(a)


def fail_stubbornly():
    raise StubbornError(1, 2)


def make_a_lambda():
    return lambda: None


def log_and_play(log, tree, key):
    """Play a trial of a sweep, and leave its key in a file."""
    with Path(log).open("a") as file:
        file.write(f"{key}\n")
    return _play_trial(tree, key)


def die_of_seed(seed, tree, key):
    """Play a trial of a sweep, but kill the process that plays this seed."""
    if tree["seed"] == seed:
        os.kill(os.getpid(), signal.SIGKILL)
    return _play_trial(tree, key)


def _play_trial(tree, key):
    """Play a trial as a sweep does, also in a process where one of these functions stands in its place."""
    from inferencesim.experiments import sweep

    return getattr(sweep, "in_truth", sweep.play_trial)(tree, key)
