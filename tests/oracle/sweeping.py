"""A sweep in a process of its own, which may be killed: ``python -m oracle.sweeping`` with its arguments as JSON.

``log`` is a file to which every attempt at a trial adds a line; all else is for ``sweep``.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import inferencesim
from inferencesim.experiments import sweep as experiment
from oracle.pieces import log_and_play

TESTS = Path(__file__).parents[1]


def environment():
    """Return an environment in which other processes find the package and the oracle."""
    package = Path(inferencesim.__file__).parents[1]
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(package)])}


def start(**arguments):
    """Start a sweep in a process of its own."""
    command = [sys.executable, "-m", "oracle.sweeping", json.dumps(arguments, default=str)]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds=120.0):
    """Wait until a condition holds, and fail if it does not."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def main():
    """Sweep as the command line of this process says."""
    arguments = json.loads(sys.argv[1])
    experiment.in_truth = experiment.play_trial
    experiment.play_trial = functools.partial(log_and_play, arguments.pop("log"))
    found = experiment.sweep(**arguments)
    sys.stdout.write(json.dumps([trial.result.state for trial in found.trials]))


if __name__ == "__main__":
    main()
