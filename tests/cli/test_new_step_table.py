"""``inferencesim new step-table``, as a user types it."""

from __future__ import annotations

import pytest
from oracle import commands
from oracle.operator_profile import write_operator_profile
from oracle.small import chip, model

from inferencesim.deployment.step_table import load_step_table

#: Steps of one token and of eight: embedding and last norm once, two norms and the projection in both layers.
ALONE_MS = (0.13 + 2 * (0.02 + 1.0), 0.24 + 2 * (0.04 + 3.0))
PAYLOAD_BYTES = 64 * 2  # of one token of the small model, whose two layers make five all-reduces


@pytest.fixture
def profile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_operator_profile(tmp_path / "profile")


def words_of(*words, hardware=None, serves=None):
    return "new", "step-table", "--hardware", hardware or chip(), "--model", serves or model(), *words


def of_small(*words):
    result = commands.invoke(*words_of(*words))
    assert result.stdout == ""
    return result.stderr


def refused(*words, **said):
    return commands.refused(*words_of(*words, **said))


def test_the_table_is_that_of_the_profile(profile, tmp_path):
    told = of_small(profile, "table.yaml", "--tensor", 1)
    table = load_step_table(str(tmp_path / "table.yaml"), "table")
    assert (table.hardware, table.model, table.tensor) == ("small-chip", "small-model", 1)
    assert table.tokens.ms == pytest.approx(ALONE_MS)
    assert told.splitlines()[:2] == [
        "wrote table.yaml",
        "measured up to: max_sequences 4, token_budget 8, 32 tokens of context",
    ]
    assert "all-reduce" not in told


def test_the_link_is_the_profiles_unless_it_is_given(profile, tmp_path):
    def all_reduce_s(*words):
        of_small(profile, "pair.yaml", "--tensor", 2, "--force", *words)
        pair = load_step_table(str(tmp_path / "pair.yaml"), "pair")
        return (pair.tokens.ms[0] - ALONE_MS[0]) * 1e-3 / 5

    assert all_reduce_s("--link-bandwidth", "1 MB/s", "--link-latency", "0s") == pytest.approx(PAYLOAD_BYTES / 1e6)
    given = all_reduce_s("--link-bandwidth", "1 MB/s", "--link-latency", "100us")
    assert given == pytest.approx(PAYLOAD_BYTES / 1e6 + 2 * 100e-6)
    assert all_reduce_s() < 0.1 * given
    assert "all-reduce among 2 chips: 0.001 GB/s, 100 us a message" in of_small(
        profile, "said.yaml", "--tensor", 2, "--link-bandwidth", "1 MB/s", "--link-latency", "100us"
    )


def test_a_folder_that_is_no_profile(profile, tmp_path):
    assert "nowhere: there is no such folder" in refused(tmp_path / "nowhere", "t.yaml")
    assert "is no operator profile" in refused(tmp_path, "t.yaml")
    assert "tensor degree 4 was not profiled. Profiled: 1, 2" in refused(profile, "t.yaml", "--tensor", 4)


def test_a_file_or_column_that_is_missing(profile):
    (profile / "tp1" / "dense.csv").write_text("layer,tokens\nqkv_proj,1\n")
    assert "dense.csv: has no column 'time_us'" in refused(profile, "t.yaml")
    (profile / "tp1" / "dense.csv").unlink()
    assert "dense.csv: there is no such file" in refused(profile, "t.yaml")


def test_names_files_and_links_that_cannot_be(profile, tmp_path):
    assert "--model: unknown model 'llama-3.1-8'" in refused(profile, "t.yaml", serves="llama-3.1-8")
    assert "--hardware: unknown" in refused(profile, "t.yaml", hardware="nvidia-rtx-409")
    assert "--link-bandwidth: 0 is not above zero" in refused(profile, "t.yaml", "--link-bandwidth", 0)
    assert "--link-latency: 'soon' is not a time" in refused(profile, "t.yaml", "--link-latency", "soon")
    assert not (tmp_path / "t.yaml").exists()
    (tmp_path / "t.yaml").write_text("mine")
    assert "t.yaml: exists already" in refused(profile, "t.yaml")
    assert (tmp_path / "t.yaml").read_text() == "mine"
