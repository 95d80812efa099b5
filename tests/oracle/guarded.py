"""A scenario file for cost curves, small enough to be played hundreds of times, and policies to put in its way."""

from __future__ import annotations

import yaml

from inferencesim.kernel.views import uniform
from inferencesim.policy import Policy
from inferencesim.routing.policy import POLICIES
from oracle.small import chip, model

#: The policy whose curve is recorded.
NAME = "least_tokens"

TREE = {
    "name": "guarded",
    "horizon": "2s",
    "warm_up": "500ms",
    "drain": "10s",
    "seed": 3,
    "pools": [
        {"name": "quick", "hardware": chip("fast-chip"), "model": model(), "engine": "generic"},
        {"name": "slow", "hardware": chip(), "model": model(), "engine": "generic"},
    ],
    "workload": [
        {
            "name": "chat",
            "arrivals": {"process": "poisson", "rate": "180/s"},
            "prompt_tokens": {"distribution": "uniform", "low": 10, "high": 70},
            "output_tokens": {"distribution": "uniform", "low": 5, "high": 35},
            "models": ["small-model"],
            "promise": {"ttft": "5ms", "e2e": "45ms"},
        }
    ],
    "routing": {"placement": NAME},
}


def write(folder, **changes):
    """Write the scenario into a folder and return its file."""
    path = folder / "guarded.yaml"
    path.write_text(yaml.safe_dump(TREE | changes))
    return path


def claim_that_all_was_kept(file):
    """Say in the file of a curve of two replications that all promises were kept; any loss is to be an alarm."""
    lines = file.read_text().splitlines()
    for number, line in enumerate(lines):
        if line.strip() == "slo_attainment:":
            claim = ["mean: 1.0", "interval: [1.0, 1.0]", "values: [1.0, 1.0]"]
            lines[number + 1 : number + 4] = [f"      {each}" for each in claim]
    file.write_text("\n".join(lines).replace("false_alarm_rate: 0.01", "false_alarm_rate: 0.99"))


def put_in_place(monkeypatch, choose, name=NAME):
    """File a policy in plain Python under the name of one that is built in."""
    monkeypatch.setitem(POLICIES._entries, name, Policy(choose, "of a test", compiled=False))


def rewritten(request, candidates, scores, parameters, memory):
    """Do what least_tokens does, in other words."""
    load, replicas = candidates.load, candidates.traits["replicas"]
    inside = load["waiting"] + load["running"]
    left = (load["waiting_tokens"] + inside * request.expected_output_tokens) / replicas
    scores[:] = -left
    return min((i for i in range(scores.size) if candidates.eligible[i]), key=lambda i: left[i])


def worsened(request, candidates, scores, parameters, memory):
    """Send three of ten requests where most are already."""
    best = rewritten(request, candidates, scores, parameters, memory)
    return 1 - best if uniform(request, 7) < 0.3 else best
