"""The fixture that other packages' tests check their curves with."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from oracle import guarded

from inferencesim import Curve

pytest_plugins = ["pytester"]

#: Installed, it loads by itself; here it must be there whatever is installed.
PLUGIN = ("-p", "inferencesim.pytest_plugin", "-p", "no:cacheprovider")

TEST = """
def test_policy(cost_curve):
    assert cost_curve.check("curves/it.yaml").passed
"""


@pytest.fixture
def recorded(pytester):
    """The file of a curve in the folder of the tests."""
    scenario = guarded.write(pytester.path)
    Curve.record(scenario, loads=[1.0], replications=2).save(pytester.path / "curves" / "it.yaml")
    pytester.makepyfile(TEST)
    return pytester.path / "curves" / "it.yaml"


def test_it_passes_what_has_not_changed(pytester, recorded):
    pytester.runpytest(*PLUGIN).assert_outcomes(passed=1)


def test_it_tells_what_has_changed(pytester, recorded):
    guarded.claim_that_all_was_kept(recorded)
    done = pytester.runpytest(*PLUGIN)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["changed: *it.yaml: promises kept is worse at load 1."])


def test_a_wrong_file_is_one_line(pytester, recorded):
    recorded.write_text("schema: 7\n")
    done = pytester.runpytest(*PLUGIN)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*it.yaml*"])
    done.stdout.no_fnmatch_line("*Traceback*")


def test_it_is_declared_and_costs_a_test_run_nothing():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    (module,) = project["project"]["entry-points"]["pytest11"].values()
    look = f"import sys, {module}; print([m for m in ('numpy', 'numba', 'pydantic', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
