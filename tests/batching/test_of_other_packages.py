"""The worked example of docs/batching.md: a batching policy and an order of another package, installed and played."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from oracle.commands import invoke, refused
from oracle.small import chip, model

from inferencesim import jit
from inferencesim.batching.policy import FORMERS, ORDERS
from inferencesim.cli.console import EXIT_INPUT

PAGE = Path(__file__).parents[2] / "docs" / "batching.md"

#: Plays the scenario of the page; says what came out, what was compiled for it, and what the kernel was given.
PLAY = """
import json
from inferencesim.batching.policy import bind_former, bind_order
from inferencesim.jit import FunctionAddress
from inferencesim.ledger.sink import MemorySink
from inferencesim.scenario.loading import load_scenario
from inferencesim.simulation.engine import Simulation
from inferencesim.simulation.plan import make_plan

scenario = load_scenario("scenario.yaml")
sink = MemorySink()
simulation = Simulation(make_plan(scenario), sink)
simulation.run()
ttft_s = sink.tables()["requests"].to_pandas().groupby("class")["ttft_s"].mean()
batching = scenario.pools[0].batching
former = bind_former(batching.policy.policy, batching.policy.parameters, "here")
order = bind_order(batching.order.policy, batching.order.parameters, "here")
schedulers = simulation.gateway.schedulers
given = [(schedulers.form[0], former), (schedulers.rank[0], order)]
print(json.dumps({
    "ttft_s": ttft_s.to_dict(),
    "compiled": [len(bound.choose.stats.cache_misses) for _, bound in given],
    "loaded": [len(bound.choose.stats.cache_hits) for _, bound in given],
    "called as addresses": all(isinstance(function, FunctionAddress) for function, _ in given),
    "of these": all(used.address == own.argument.address for used, own in given),
    "interpreted": any(bound.interpreted for _, bound in given),
}))
"""

#: Asks both of the page's functions one question each.
ASK = """
import json
from inferencesim.batching.policy import bind_former, bind_order
from inferencesim.kernel.forming import sample_batch, sample_queued

former, order = bind_former("gentle_chunks", {}, "here"), bind_order("short_prompts_first", {}, "here")
batch = sample_batch()._replace(seats=8, token_budget=1000, running=4, decoding=4)
print(json.dumps({
    "tokens": former.choose(batch, former.parameters).prefill_tokens,
    "rank": order.choose(sample_queued()._replace(prompt_tokens=1000), order.parameters),
    "compiled": [len(each.choose.stats.cache_misses) for each in (former, order)],
}))
"""

FAULTY = '''
from inferencesim.batching.policy import Order
from inferencesim.policy import Policy


def reads_a_file(seen, parameters):
    """Do what Numba does not compile."""
    return float(open("batching.txt").read())


def returns_a_number(seen, parameters):
    """Return what is no formation."""
    return 3.0


UNCOMPILABLE = Policy(reads_a_file, "reads a file")
UNCOMPILABLE_ORDER = Order(reads_a_file, "reads a file")
NO_FORMATION = Policy(returns_a_number, "returns a number")
PYTHON = Policy(reads_a_file, "reads a file", compiled=False)
PYTHON_ORDER = Order(reads_a_file, "reads a file", compiled=False)
GREEDY = Policy(returns_a_number, "takes nine parameters", {f"p{i}": 0.0 for i in range(9)})
NO_ORDER = Policy(returns_a_number, "is no order")
'''


def files_of_the_page():
    """Return the files the page shows, by name."""
    shown = re.findall(r"`([\w./]+)`[^\n`]*:\n\n```\w+\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return dict(shown)


def install(folder, name, entry_points):
    """Let Python find the entry points of a package in a folder that is on its path."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, points in entry_points.items():
        lines += [f"[{group}]", *(f"{point} = {target}" for point, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def gentle(tmp_path):
    """Write and install the package of the page; beside it stands its scenario."""
    for name, content in files_of_the_page().items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    install(tmp_path, project["name"].replace("-", "_"), project["entry-points"])
    return tmp_path


def answers(code, folder):
    """Run code in a process of its own, with the package on its path, and return what it prints."""
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_page_shows_every_file():
    assert list(files_of_the_page()) == [
        "pyproject.toml",
        "gentle_batching/__init__.py",
        "gentle_batching/policies.py",
        "gentle_batching/budgets.py",
        "gentle_batching/limits.py",
        "scenario.yaml",
    ]


needs_jit = pytest.mark.skipif(not jit.JIT_ENABLED, reason="is about compiled code")


@needs_jit
def test_it_is_played_compiled_loaded_again_and_changes_the_result(gentle):
    first = answers(PLAY, gentle)
    assert first["compiled"] == [1, 1]
    assert first["called as addresses"]
    assert first["of these"]
    assert not first["interpreted"]
    again = answers(PLAY, gentle)
    assert again["compiled"] == [0, 0]
    assert again["loaded"] == [1, 1]
    assert again["ttft_s"] == first["ttft_s"]
    edit(gentle / "scenario.yaml", "{policy: gentle_chunks, parameters: {share: 0.25}}", "chunked_prefill")
    edit(gentle / "scenario.yaml", "order: short_prompts_first", "order: fcfs")
    usual = answers(PLAY, gentle)["ttft_s"]
    # What the page says: an eighth sooner, a twentieth later.
    assert first["ttft_s"]["chat"] / usual["chat"] == pytest.approx(1 - 1 / 8, abs=0.02)
    assert first["ttft_s"]["documents"] / usual["documents"] == pytest.approx(1 + 1 / 20, abs=0.02)


@needs_jit
@pytest.mark.long
def test_after_an_edit_anywhere_in_it_the_new_behaviour_is_served(gentle):
    package = gentle / "gentle_batching"
    assert answers(ASK, gentle) == {"tokens": 250, "rank": 9.0, "compiled": [1, 1]}
    edit(package / "policies.py", "int(parameters[0] *", "int(0.5 * parameters[0] *")
    assert answers(ASK, gentle)["tokens"] == 125
    edit(package / "policies.py", "math.floor(math.log2(request.prompt_tokens))", "-1.0")
    assert answers(ASK, gentle)["rank"] == -1.0
    # A constant that another module has; the policy alone is compiled anew, the order does not use it.
    edit(package / "limits.py", "SMALLEST_CHUNK = 64", "SMALLEST_CHUNK = 300")
    assert answers(ASK, gentle) == {"tokens": 300, "rank": -1.0, "compiled": [1, 0]}
    # One that comes from further away, through the module that is imported from.
    (package / "further.py").write_text("FURTHER = 400\n")
    edit(package / "limits.py", "SMALLEST_CHUNK = 300", "from gentle_batching.further import FURTHER as SMALLEST_CHUNK")
    assert answers(ASK, gentle)["tokens"] == 400
    edit(package / "further.py", "400", "500")
    assert answers(ASK, gentle)["tokens"] == 500
    # A function of another module, also one with a cache of its own, and a constant that it takes from a third.
    edit(package / "budgets.py", "max(0, budget - decodes)", "7")
    assert answers(ASK, gentle)["tokens"] == 7
    edit(package / "budgets.py", "return 7", "return FURTHER // 5")
    edit(package / "budgets.py", "import numba", "import numba\n\nfrom gentle_batching.further import FURTHER")
    edit(package / "budgets.py", "@numba.njit", "@numba.njit(cache=True)")
    assert answers(ASK, gentle)["tokens"] == 100
    edit(package / "further.py", "500", "1000")
    assert answers(ASK, gentle)["tokens"] == 200
    assert answers(ASK, gentle)["compiled"] == [0, 0]


@pytest.fixture
def choosing(tmp_path, monkeypatch):
    """Install faulty policies for this process, and write a scenario that chooses one."""
    (tmp_path / "faulty_batching.py").write_text(FAULTY)
    points = {
        "inferencesim.batching": {
            "uncompilable": "faulty_batching:UNCOMPILABLE",
            "no_formation": "faulty_batching:NO_FORMATION",
            "python": "faulty_batching:PYTHON",
            "greedy": "faulty_batching:GREEDY",
        },
        "inferencesim.orders": {
            "uncompilable": "faulty_batching:UNCOMPILABLE_ORDER",
            "python": "faulty_batching:PYTHON_ORDER",
            "no_order": "faulty_batching:NO_ORDER",
        },
    }
    install(tmp_path, "faulty_batching", points)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "faulty_batching", raising=False)
    for registry in (FORMERS, ORDERS):
        monkeypatch.setattr(registry, "_found", None)
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))

    def write(**batching):
        work = {"name": "c", "arrivals": {"process": "poisson", "rate": 5}, "prompt_tokens": 9, "output_tokens": 9}
        fleet = {"name": "p", "hardware": chip(), "model": model(), "engine": "generic", "batching": batching}
        tree = {"name": "tiny", "horizon": 5, "pools": [fleet], "workload": [work | {"models": ["small-model"]}]}
        Path("tiny.yaml").write_text(yaml.safe_dump(tree))
        return "tiny.yaml"

    return write


@needs_jit
@pytest.mark.parametrize(
    ("batching", "line"),
    [
        (
            {"policy": "uncompilable"},
            "batching: uncompilable: the policy fails (TypingError: Untyped global name 'open'",
        ),
        ({"order": "uncompilable"}, "order: uncompilable: the policy fails (TypingError: Untyped global name 'open'"),
        (
            {"policy": "no_formation"},
            "batching: no_formation: the policy fails (TypingError: No conversion from float64",
        ),
    ],
)
def test_what_cannot_be_compiled_is_one_line_that_says_why(choosing, batching, line):
    result = invoke("run", choosing(**batching), "--out", "out", code=EXIT_INPUT)
    (said,) = [each for each in result.stderr.splitlines() if each.startswith("error: ")]
    assert said.startswith(f"error: {line}")
    assert said.endswith("Mend the policy.")


@pytest.mark.parametrize(
    ("batching", "line"),
    [
        (
            {"policy": "python"},
            "pools[0].batching.policy.policy: python is plain Python. Inside a replica every policy is compiled.",
        ),
        (
            {"order": "python"},
            "pools[0].batching.order.policy: python is plain Python. Inside a replica every policy is compiled.",
        ),
        (
            {"policy": "greedy"},
            "pools[0].batching.policy.policy: greedy has 9 parameters. The kernel passes at most 8.",
        ),
        ({"order": "no_order"}, "entry point no_order of faulty_batching: is no queue order. "),
        (
            {"policy": {"policy": "dynamic", "parameters": {"sise": 4}}},
            "pools[0].batching.policy.parameters.sise: dynamic has no such parameter. Did you mean 'size'?",
        ),
        (
            {"order": {"policy": "fcfs", "parameters": {"size": 4}}},
            "pools[0].batching.order.parameters.size: fcfs has no such parameter. It takes none.",
        ),
        (
            {"policy": "chunked_prefil"},
            "pools[0].batching.policy.policy: unknown batching policy 'chunked_prefil'. "
            "Did you mean 'chunked_prefill'?",
        ),
        (
            {"order": "fcsf"},
            "pools[0].batching.order.policy: unknown queue order 'fcsf'. Did you mean 'fcfs'?",
        ),
    ],
)
def test_what_cannot_be_chosen_is_one_line_when_the_scenario_is_checked(choosing, batching, line):
    assert line in refused("validate", choosing(**batching))


def test_what_can_be_chosen_is_valid(choosing):
    """Names are checked, not compiled: that takes its time, and is for the run."""
    assert "tiny" in invoke("validate", choosing(policy="uncompilable", order="uncompilable")).stdout
