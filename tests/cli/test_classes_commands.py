"""The library of workload classes, as a user asks for it."""

from __future__ import annotations

import json

import pytest
import yaml
from oracle.small import chip, model
from typer.testing import CliRunner

from inferencesim.cli.main import app
from inferencesim.scenario.library import class_names, load_class


def invoke(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "400"})
    assert result.exit_code == code, result.output
    return result


def test_list_has_a_line_per_class():
    lines = invoke("classes", "list").stdout.splitlines()
    for name in class_names():
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert load_class(name, "here").description in line
    voice = next(line for line in lines if "voice_turn" in line)
    assert "interactive" in voice
    assert "ttft 400 ms, tpot 50.0 ms" in voice


def test_list_as_json_is_what_show_says_of_each():
    listed = json.loads(invoke("classes", "list", "--format", "json").stdout)
    assert [each["id"] for each in listed] == class_names()
    assert listed[0] == json.loads(invoke("classes", "show", listed[0]["id"], "--format", "json").stdout)
    by_id = {each["id"]: each for each in listed}
    assert by_id["interactive_chat"]["sources"]["prompt_tokens"]["provenance"] == "measured"


@pytest.mark.parametrize("name", class_names())
def test_show_has_every_number_with_its_source(name):
    shown = invoke("classes", "show", name).stdout
    for path, source in load_class(name, "here").sources.items():
        (line,) = [line for line in shown.splitlines() if line.split()[:1] == [path]]
        assert source.provenance in line
        assert source.source in line


def test_show_writes_values_as_one_says_them():
    shown = invoke("classes", "show", "interactive_chat").stdout
    assert "lognormal, median 1020 tokens, p95 4083 tokens, max 14050 tokens" in shown
    assert "gamma, rate 5.53/s, cv 1.09" in shown
    assert "tags.human_waiting   yes" in shown
    assert "1024 × 1024" in invoke("classes", "show", "image_generation").stdout


def test_a_misspelt_class_is_named_with_the_nearest():
    assert "Did you mean 'embeddings'?" in invoke("classes", "show", "embedings", code=2).stderr


def test_validate_says_what_a_request_of_each_class_takes(tmp_path):
    tree = {
        "name": "tiny",
        "horizon": "10s",
        "pools": [{"name": "p", "hardware": chip(), "model": model(), "engine": "generic"}],
        "workload": [{"like": "voice_turn", "prompt_tokens": 40, "output_tokens": 20, "models": ["small-model"]}],
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree))
    shown = invoke("validate", path).stdout
    (line,) = [line for line in shown.splitlines() if line.split()[:1] == ["voice_turn"]]
    assert "interactive" in line
    (found,) = json.loads(invoke("validate", path, "--format", "json").stdout)["classes"]
    assert (found["name"], found["like"], found["sensitivity"]) == ("voice_turn", "voice_turn", "interactive")
    assert (found["pool"], found["context_tokens"]) == ("p", 60.0)
    assert found["kv_bytes"] > 0.0
    assert found["alone_s"] > 0.0
