"""ServeGen: a description of clients becomes requests, the same ones for the same seed."""

from __future__ import annotations

import json
import tarfile

import numpy as np
import pytest

from inferencesim.errors import InputError
from inferencesim.workload.inspect import interarrival_cv
from inferencesim.workload.traces.reading import read_trace, recognise

LENGTHS = {"0": {"input_tokens": "{100: 0.5, 300: 0.5}", "output_tokens": "{10: 1.0}"}}


@pytest.fixture
def folder(tmp_path):
    """Two clients with lengths, and one without."""
    path = tmp_path / "m-tiny"
    path.mkdir()
    (path / "chunk-0-trace.csv").write_text("0,5,2.0,Gamma,0.25,0.8\n600,0,0,,0,0\n1200,1,1.0,Gamma,1.0,1.0\n")
    (path / "chunk-0-dataset.json").write_text(json.dumps(LENGTHS))
    (path / "chunk-1-trace.csv").write_text("0,3,0.5,Weibull,2.1,0.376\n600,3,0.5,,0,0\n")
    (path / "chunk-1-dataset.json").write_text(json.dumps(LENGTHS))
    (path / "chunk-2-trace.csv").write_text("0,1,1.0,Gamma,1.0,1.0\n")
    return path


def test_only_the_folder_its_files_lie_in_is_a_trace(folder):
    assert recognise(folder) == "servegen"
    with pytest.raises(InputError, match="no reader recognises"):
        recognise(folder.parent)
    with pytest.raises(InputError, match=r"Expected chunk-N-trace\.csv"):
        read_trace(folder.parent, "servegen")


def test_each_client_has_its_rate_and_variation(folder):
    trace = read_trace(folder, end_s=600)
    assert trace.format == "servegen"
    for client, rate, cv, tolerance in (("0", 5.0, 2.0, 0.15), ("1", 3.0, 0.5, 0.1)):
        own = trace.select("client", client, "here")
        assert len(own) / 600 == pytest.approx(rate, rel=3 * tolerance * cv)
        assert interarrival_cv(own.time_s) == pytest.approx(cv, rel=tolerance)


def test_the_mean_rate_is_kept_over_seeds(folder):
    counts = [len(read_trace(folder, seed=seed, end_s=60).select("client", "0", "")) for seed in range(150)]
    assert np.mean(counts) == pytest.approx(300, abs=5 * np.std(counts) / np.sqrt(150))


def test_a_window_without_pattern_has_no_requests(folder):
    trace = read_trace(folder, start_s=600)
    assert trace.time_s.min() >= 1200
    assert trace.time_s.max() < 1800
    with pytest.raises(InputError, match="no request in the window"):
        read_trace(folder, start_s=600, end_s=1200)


def test_lengths_come_from_the_tables_and_are_lent_where_missing(folder):
    trace = read_trace(folder, end_s=600)
    assert set(trace.prompt_tokens) == {100, 300}
    assert np.mean(trace.prompt_tokens == 100) == pytest.approx(0.5, abs=0.05)
    assert set(trace.output_tokens) == {10}
    assert [(note.file, "lack length data" in note.text) for note in trace.said()] == [(str(folder), True)]
    (folder / "chunk-0-dataset.json").unlink()
    (folder / "chunk-1-dataset.json").unlink()
    with pytest.raises(InputError, match="no client that is active in the window has length data"):
        read_trace(folder)


def test_a_table_that_is_empty_is_replaced_by_the_nearest(folder):
    tables = {"0": {"input_tokens": "{}", "output_tokens": "{}"}, "21600": LENGTHS["0"]}
    (folder / "chunk-0-dataset.json").write_text(json.dumps(tables))
    assert set(read_trace(folder, end_s=600).select("client", "0", "").prompt_tokens) == {100, 300}


def test_images_are_counted_each(folder):
    fields = {"text_tokens": "{10: 1.0}", "image_tokens": "{1000: 1.0}", "image_count": "{0: 0.5, 2: 0.5}"}
    (folder / "chunk-1-dataset.json").write_text(json.dumps({"0": fields | {"output_tokens": "{10: 1.0}"}}))
    assert set(read_trace(folder, end_s=600).select("client", "1", "").prompt_tokens) == {10, 2010}


def test_the_same_seed_gives_the_same_requests_and_a_window_does_not_move_them(folder):
    whole, again, other = (read_trace(folder, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(whole.time_s, again.time_s)
    assert not np.array_equal(whole.time_s[:50], other.time_s[:50])
    part = read_trace(folder, seed=1, start_s=100, end_s=200)
    assert part.time_s.tolist() == whole.time_s[(whole.time_s >= 100) & (whole.time_s < 200)].tolist()


def test_a_tar_is_read_like_its_folder(folder, tmp_path):
    packed = tmp_path / "m-tiny.tar.xz"
    with tarfile.open(packed, "w:xz") as archive:
        archive.add(folder, "language/m-tiny")
    assert np.array_equal(read_trace(packed).time_s, read_trace(folder).time_s)
    packed.write_bytes(b"no tar")
    with pytest.raises(InputError, match="no tar"):
        read_trace(packed)


@pytest.mark.parametrize(
    "row", ["600,-1,1,Gamma,1,1", "600,1,1,Pareto,1,1", "600,1", "600,1,1,Gamma,0,1", "0,1,1,Gamma,1,1"]
)
def test_malformed_windows_are_counted_with_their_line(folder, row):
    path = folder / "chunk-2-trace.csv"
    path.write_text(f"0,1,1.0,Gamma,1.0,1.0\n{row}\n")
    trace = read_trace(folder)
    assert [each.line for each in trace.malformed] == [2]
    assert trace.malformed[0].file.endswith("chunk-2-trace.csv")
    with pytest.raises(InputError, match="line 2"):
        read_trace(folder, strict=True)


def test_more_requests_than_memory_holds_are_refused(folder):
    (folder / "chunk-2-trace.csv").write_text("0,1000000,1.0,Gamma,1.0,1.0\n")
    with pytest.raises(InputError, match="Choose a shorter one"):
        read_trace(folder)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "rate", "prompt", "output"), [("deepseek-r1", 16.0, 1268, 1527), ("mm-image", 9.5, 1438, 130)]
)
def test_a_published_day_has_its_published_means(shared_trace, name, rate, prompt, output):
    trace = read_trace(shared_trace(f"servegen/{name}.tar.xz"))
    assert len(trace) / 86_400 == pytest.approx(rate, rel=0.02)
    assert trace.prompt_tokens.mean() == pytest.approx(prompt, rel=0.02)
    assert trace.output_tokens.mean() == pytest.approx(output, rel=0.02)
