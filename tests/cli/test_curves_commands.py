"""``inferencesim curves``, as a user types it."""

from __future__ import annotations

import json

import pytest
from oracle import commands, guarded

from inferencesim.cli.console import EXIT_FOUND


@pytest.fixture
def scenario(tmp_path, monkeypatch):
    """A scenario file in the working directory."""
    monkeypatch.chdir(tmp_path)
    return guarded.write(tmp_path).name


@pytest.fixture
def recorded(scenario):
    """The file of a curve."""
    invoke("record", scenario, "--out", "curves/it.yaml", "--load", "0.5,1", "--replications", 2, "--jobs", 1)
    return "curves/it.yaml"


def invoke(*words, code=0):
    return commands.invoke("curves", *words, code=code)


def refused(*words):
    return commands.refused("curves", *words)


def test_record_shows_the_curve(scenario):
    shown = invoke(
        "record", scenario, "--policy", "round_robin", "--balancing", "random", "--out", "c.yaml", "--load", "1",
        "--replications", 2, "--metric", "ttft_s.p99", "--seed", 5, "--false-alarm-rate", "0.5%", "--set", "drain=9s",
        "--jobs", 1,
    )  # fmt: skip
    assert "round_robin / random" in shown.stdout
    assert "TTFT p99" in shown.stdout
    assert "wrote c.yaml" in shown.stderr


def test_a_file_is_not_replaced_unasked(recorded, scenario):
    again = ("record", scenario, "--out", recorded, "--load", "1", "--replications", 2, "--jobs", 1)
    assert "exists already" in refused(*again)
    document = json.loads(invoke(*again, "--force", "--format", "json").stdout)
    assert [point["load"] for point in document["points"]] == [1.0]


def test_what_is_equal_passes(recorded):
    shown = invoke("check", recorded, "--jobs", 1).stdout
    assert "passed: curves/it.yaml: all replications are equal." in shown
    assert "(6 comparisons, Bonferroni)" in shown


def test_what_has_changed_fails_with_a_code_of_its_own(recorded, tmp_path):
    guarded.claim_that_all_was_kept(tmp_path / recorded)
    words = ("check", recorded, "--markdown", "out/changed.md", "--plot", "out/changed.png", "--jobs", 1)
    shown = invoke(*words, code=EXIT_FOUND).stdout
    assert "changed: curves/it.yaml: promises kept is worse at load" in shown
    text = (tmp_path / "out" / "changed.md").read_text()
    assert "| 0.5 | cost per completed task |" in text
    assert "worse" in text
    assert (tmp_path / "out" / "changed.png").read_bytes().startswith(b"\x89PNG")


def test_one_document_for_all_files(recorded, tmp_path):
    guarded.claim_that_all_was_kept(tmp_path / recorded)
    document = json.loads(invoke("check", recorded, recorded, "--format", "json", "--jobs", 1, code=EXIT_FOUND).stdout)
    assert document["schema"] == 1
    assert [each["passed"] for each in document["checks"]] == [False, False]


def test_fresh_seeds(recorded):
    assert "on other random numbers" in invoke("check", recorded, "--fresh-seeds", "--jobs", 1).stdout


def test_update_records_again_what_a_file_says(recorded, tmp_path):
    before = (tmp_path / recorded).read_text()
    guarded.claim_that_all_was_kept(tmp_path / recorded)
    assert "wrote curves/it.yaml" in invoke("update", recorded, "--jobs", 1).stderr
    assert (tmp_path / recorded).read_text() == before.replace("false_alarm_rate: 0.01", "false_alarm_rate: 0.99")


def test_wrong_words(recorded, scenario):
    assert "'0.5;1' is no list of numbers" in refused("record", scenario, "--out", "c.yaml", "--load", "0.5;1")
    assert "--false-alarm-rate: 2 is not between 0 and 1" in refused(
        "record", scenario, "--out", "c.yaml", "--false-alarm-rate", "200%"
    )
    assert "unknown routing policy 'tag_awar'" in refused("record", scenario, "--out", "c.yaml", "--policy", "tag_awar")
    assert "there is no file 'nowhere.yaml'" in refused("check", "nowhere.yaml")
    assert "--jobs: 0" in refused("check", recorded, "--jobs", 0)
