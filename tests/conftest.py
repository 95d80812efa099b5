"""Settings and data all tests share; its place puts ``tests/`` on the path, where the oracle lives."""

from __future__ import annotations

import functools
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

SHARED = Path(__file__).parents[2] / "shared"

# A shell that starts the tests in the background has them, and whatever they start, ignore interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tables are as wide as the terminal that a shell says it has; tests read them whole.
os.environ.pop("COLUMNS", None)

settings.register_profile("default", deadline=None)
settings.load_profile("default")


def shared_file(kind, name):
    """Return the path of a shared file, or skip the test."""
    found = SHARED / kind / name
    if not found.exists():
        pytest.skip(f"the shared {kind}/{name} is not here")
    return found


@pytest.fixture(scope="session")
def shared_measurements():
    """Return the path of a shared file of measurements, or skip the test."""
    return functools.partial(shared_file, "measurements")


@pytest.fixture(scope="session")
def shared_trace():
    """Return the path of a shared trace, or skip the test."""
    return functools.partial(shared_file, "traces")
