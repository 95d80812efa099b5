"""The library of whole tasks, as a user asks for it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from inferencesim.cli.main import app
from inferencesim.scenario.task_library import load_task, task_names


def invoke(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "400"})
    assert result.exit_code == code, result.output
    return result


def test_list_has_a_line_per_task():
    lines = invoke("tasks", "list").stdout.splitlines()
    for name in task_names():
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        library = load_task(name, "here")
        assert library.description in line
        assert ", ".join(library.calls) in line
    night = next(line for line in lines if "code_migration " in line)
    assert "sandboxes" in night
    assert "8.00 h" in night


def test_list_as_json_is_what_show_says_of_each():
    listed = json.loads(invoke("tasks", "list", "--format", "json").stdout)
    assert [each["id"] for each in listed] == task_names()
    assert listed[0] == json.loads(invoke("tasks", "show", listed[0]["id"], "--format", "json").stdout)
    assert listed[0]["sources"]["steps[0].repeat.times"]["provenance"] == "measured"


@pytest.mark.parametrize("name", task_names())
def test_show_has_every_number_with_its_source(name):
    shown = invoke("tasks", "show", name).stdout
    for path, source in load_task(name, "here").sources.items():
        (line,) = [line for line in shown.splitlines() if line.split()[:1] == [path]]
        assert source.provenance in line
        assert source.source in line


def test_show_says_what_a_scenario_writes():
    shown = invoke("tasks", "show", "research_agent").stdout
    assert shown.endswith(
        "In a scenario:\n\n"
        "tools:\n  - {name: sandboxes, hardware: amd-epyc-9965, cores: 64}\n"
        "tasks:\n  - like: research_agent\n    models: [MODEL]\n"
    )
    shown = invoke("tasks", "show", "guarded_chat").stdout
    assert "tools:" not in shown
    assert "    models: {safety_classification: [MODEL], interactive_chat: [MODEL]}" in shown


def test_a_misspelt_task_is_named_with_the_nearest():
    assert "Did you mean 'coding_agent'?" in invoke("tasks", "show", "codding_agent", code=2).stderr
