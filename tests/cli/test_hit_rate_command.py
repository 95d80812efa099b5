"""The command that says how large a prefix cache must be for a trace."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from inferencesim.cli.main import app

ROWS = [
    {"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 2]},
    {"timestamp": 1, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 3]},
]


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def invoke(*words, code=0):
    result = CliRunner().invoke(app, ["trace", "hit-rate", *(str(word) for word in words)], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def test_a_table_of_sizes_and_what_they_find(trace):
    text = invoke(trace, "--capacity", 1, "--capacity", 5000).stdout
    rows = {line.split("  ")[0].strip(): line.split() for line in text.splitlines() if "blocks" in line}
    assert list(rows) == ["1 blocks", "5,000 blocks", "unlimited: 2 blocks"]
    assert rows["1 blocks"][2:] == ["512", "23.3", "%", "46.5", "%"]
    assert rows["unlimited: 2 blocks"][3:] == ["1,024", "46.5", "%", "93.1", "%"]


def test_one_document(trace):
    found = json.loads(invoke(trace, "--format", "json", "--partial-blocks").stdout)
    assert (found["schema"], found["format"], found["requests"], found["partial_blocks"]) == (1, "mooncake", 2, True)
    assert [rate["blocks"] for rate in found["hit_rates"]] == [1, 2, 4]
    assert found["hit_rates"][-1]["unlimited"]
    assert found["hit_rates"][-1]["hit_rate"] == pytest.approx(1024 / 2200)


def test_what_cannot_be_answered_is_one_line(tmp_path, trace):
    plain = tmp_path / "azure.csv"
    plain.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n")
    for words, said in (((plain,), "has no hashes"), ((trace, "--capacity", 0), "--capacity: 0 is not above zero")):
        result = invoke(*words, code=2)
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ")
        assert said in line
