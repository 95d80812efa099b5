"""A policy of another installed package is found through its entry point, and plays a simulation."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = '''
from inferencesim.policy import Policy


def last(request, candidates, scores, parameters, memory):
    """Choose the last eligible candidate but `skip`."""
    chosen = -1
    for i in range(scores.size):
        if candidates.eligible[i]:
            chosen = i
    return max(0, chosen - int(parameters[0]))


def ineligible(request, candidates, scores, parameters, memory):
    """Choose what is not there."""
    return candidates.eligible.size


LAST = Policy(last, "the last one", {"skip": 0.0})
LAST_IN_PYTHON = Policy(last, "the last one", {"skip": 0.0}, compiled=False)
INELIGIBLE = Policy(ineligible, "none", compiled=False)
INELIGIBLE_COMPILED = Policy(ineligible, "none")
'''

ENTRY_POINTS = """
[inferencesim.policies]
last = other_policies:LAST
last_in_python = other_policies:LAST_IN_PYTHON
ineligible = other_policies:INELIGIBLE
ineligible_compiled = other_policies:INELIGIBLE_COMPILED
"""

RUN = """
import sys
from inferencesim.errors import InputError
from inferencesim.ledger.sink import MemorySink
from inferencesim.results.manifest import make_manifest
from inferencesim.routing.policy import POLICIES
from inferencesim.scenario.scenario import Scenario
from inferencesim.simulation.engine import Simulation
from inferencesim.simulation.plan import make_plan

def play(policy, **parameters):
    sink = MemorySink()
    scenario = Scenario.model_validate({
        "name": "other", "horizon": 20,
        "pools": [{"name": "p", "hardware": "nvidia-h100-sxm", "model": "llama-3.1-8b", "replicas": 3}],
        "workload": [{"name": "c", "arrivals": {"process": "poisson", "rate": 5}, "prompt_tokens": 100,
                      "output_tokens": 10, "models": ["llama-3.1-8b"]}],
        "routing": {"balancing": {"policy": policy, "parameters": parameters}},
    })
    plan = make_plan(scenario)
    assert make_manifest(plan).versions["other-policies"] == "1.0"
    Simulation(plan, sink).run()
    table = sink.tables()["requests"]
    return table.num_rows, sorted(set(table.column("replica").to_pylist()))

compiled, python = play("last"), play("last_in_python")
assert compiled[0] > 50 and len(compiled[1]) == 1, compiled
assert compiled == python, (compiled, python)
before = play("last", skip=1)
assert before[1] == [compiled[1][0] - 1], before
assert {"last", "random"} <= set(POLICIES.names())
for name in ("ineligible", "ineligible_compiled"):
    try:
        play(name)
    except InputError as problem:
        assert "not eligible" in str(problem), problem
    else:
        raise AssertionError(name)
print("played")
"""


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=os.environ | {"PYTHONPATH": path}
    )


@pytest.fixture
def other_package(tmp_path: Path) -> Path:
    (tmp_path / "other_policies.py").write_text(PACKAGE)
    info = tmp_path / "other_policies-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-policies\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return tmp_path


def test_it_is_found_and_plays_compiled_or_not(other_package):
    done = run(RUN, other_package)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "played"
