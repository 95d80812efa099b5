"""What users see while they wait."""

from __future__ import annotations

import numba
import pytest

from inferencesim import jit
from inferencesim.cli.progress import RunProgress
from inferencesim.simulation.compiling import COMPILING

pytestmark = pytest.mark.skipif(not jit.JIT_ENABLED, reason="nothing is compiled without the JIT")


def compiled(number):
    """Compile so many functions, none of which is in a cache."""
    for each in range(number):
        numba.njit(lambda x, add=each: x + add)(1)


def test_where_no_terminal_is_the_compilation_is_said_once(capsys):
    with RunProgress() as progress:
        compiled(3)
        progress(0.0, 10.0)
    assert capsys.readouterr().err.splitlines() == [COMPILING]


def test_nothing_is_said_where_nothing_is_compiled(capsys):
    with RunProgress() as progress:
        progress(0.0, 10.0)
    compiled(1)
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_how_many_functions_so_far(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with RunProgress() as progress:
        compiled(3)
        assert progress._bar.tasks[0].description == f"{COMPILING} 3 functions"
        progress(0.0, 10.0)
        assert progress._bar.tasks[0].description == "simulating"
