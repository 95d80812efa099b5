"""Every task of the library is played to its end by a small fleet that serves all it calls."""

from __future__ import annotations

import pytest
import yaml
from oracle.small import run

from inferencesim.scenario.loading import load_scenario
from inferencesim.scenario.task_library import load_task, task_names

MODELS = {
    "query_embedding": "bge-large-en-v1.5",
    "search_rerank": "bge-reranker-v2-m3",
    "safety_classification": "llama-guard-3-8b",
}
CHAT = "llama-3.1-8b"


@pytest.fixture
def played(tmp_path):
    """Return a function from a task of the library to three of it, played until all have ended."""

    def play(name):
        library = load_task(name, "here")
        models = {each: MODELS.get(each, CHAT) for each in library.calls}
        tree = {
            "name": "small",
            "horizon": "1min",
            "drain": "24h",
            "recording": {"series_interval": "1min"},
            "pools": [
                {"name": f"of-{at}", "hardware": "nvidia-h100-sxm", "model": model, "prefix_cache": model == CHAT}
                for at, model in enumerate(sorted(set(models.values())))
            ],
            "tools": [{"name": "sandboxes", "hardware": "amd-epyc-9965", "cores": 8}],
            "tasks": [{"like": name, "arrivals": {"process": "burst", "requests": 3}, "models": models}],
        }
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump(tree))
        return run(load_scenario(path))

    return play


@pytest.mark.parametrize("name", task_names())
def test_every_task_is_played_to_its_end(played, name):
    done = played(name)
    tasks, steps = done.frame("tasks"), done.frame("steps")
    assert tasks["outcome"].tolist() == ["completed"] * 3
    # Every branch has ended, once; only those that nobody needs any more were cancelled.
    assert set(steps["state"]) <= {"done", "cancelled"}
    assert ("cancelled" in set(steps["state"])) == (name == "reasoning_branches")
    assert set(done.requests["class"]) == set(load_task(name, "here").calls)
    assert (tasks["tool_s"] > 0.0).all() == bool(load_task(name, "here").tools)
    assert done.fleet.live["running"].sum() + done.fleet.live["waiting"].sum() == 0


def test_the_first_three_of_eight_lines_of_thought_are_compared(played):
    done = played("reasoning_branches")
    for _, steps in done.frame("steps").groupby("task"):
        ends = steps.loc[steps["step"] == "steps[1].fan_out.steps[0]", "state"].tolist()
        assert (ends.count("done"), ends.count("cancelled")) == (3, 5)
    # All lines of thought are about one question: their prompts are alike, and the branches' own token is one.
    thoughts = done.requests[done.requests["class"] == "reasoning_branch"]
    assert (thoughts.groupby("task")["prompt_tokens"].nunique() == 1).all()
    assert thoughts["prompt_tokens"].nunique() == 3
