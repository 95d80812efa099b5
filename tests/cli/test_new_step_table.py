"""``inferencesim new step-table``, as a user types it."""

from __future__ import annotations

import pytest
from oracle.small import chip, model
from typer.testing import CliRunner

from inferencesim.cli import console
from inferencesim.cli.main import app
from inferencesim.deployment.step_table import load_step_table

DENSE = "layer,tokens,time_us\nqkv_proj,1,1000\nqkv_proj,8,3000\n"
SEQUENCES = "layer,sequences,time_us\nlm_head,1,500\nlm_head,4,600\n"
ATTENTION = """prefill_chunk,kv_prefill,n_decode,kv_decode,time_us
0,0,1,16,10
0,0,1,64,20
0,0,4,16,30
0,0,4,64,60
4,0,0,0,5
4,32,0,0,6
8,0,0,0,9
8,32,0,0,12
"""
PAYLOAD_BYTES = 64 * 2  # of one token of the small model, whose two layers make five all-reduces


@pytest.fixture
def profile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "profile"
    for degree in (1, 2):
        (folder / f"tp{degree}").mkdir(parents=True)
        (folder / f"tp{degree}" / "dense.csv").write_text(DENSE)
        (folder / f"tp{degree}" / "per_sequence.csv").write_text(SEQUENCES)
        (folder / f"tp{degree}" / "attention.csv").write_text(ATTENTION)
    (folder / "meta.yaml").write_text("model: small\ngpu: chip\nvllm_version: 0.19.0\nprofiled_at: '2026-08-17'\n")
    return folder


def invoke(*words, code=0):
    result = CliRunner().invoke(app, ["new", "step-table", *(str(word) for word in words)])
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    return result.stderr


def of_small(*words, hardware=None, serves=None, **said):
    return invoke("--hardware", hardware or chip(), "--model", serves or model(), *words, **said)


def refused(*words, **said):
    (line,) = of_small(*words, code=console.EXIT_INPUT, **said).splitlines()
    return line


def test_the_table_is_that_of_the_profile(profile, tmp_path):
    told = of_small(profile, "table.yaml", "--tensor", 1)
    table = load_step_table(str(tmp_path / "table.yaml"), "table")
    assert (table.hardware, table.model, table.tensor) == ("small-chip", "small-model", 1)
    assert table.tokens.ms == pytest.approx((2 * 1.0, 2 * 3.0))
    assert told.splitlines()[:2] == [
        "wrote table.yaml",
        "measured up to: max_sequences 4, token_budget 8, 32 tokens of context",
    ]
    assert "all-reduce" not in told


def test_the_link_is_the_profiles_unless_it_is_given(profile, tmp_path):
    def all_reduce_s(*words):
        of_small(profile, "pair.yaml", "--tensor", 2, "--force", *words)
        pair = load_step_table(str(tmp_path / "pair.yaml"), "pair")
        return (pair.tokens.ms[0] - 2 * 1.0) * 1e-3 / 5

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
