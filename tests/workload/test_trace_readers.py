"""Readers of published formats: what is read, what is malformed, and where."""

from __future__ import annotations

import gzip
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from inferencesim.errors import InputError
from inferencesim.workload.traces.reading import READERS, read_trace, recognise
from inferencesim.workload.traces.record import TraceNote

AZURE_2023 = "\r\n".join(
    (
        "TIMESTAMP,ContextTokens,GeneratedTokens",
        "2023-11-16 18:15:46.6805900,374,44",
        "2023-11-16 18:15:50.9951690,396,109",
        "2023-11-16 18:15:51.2224670,879,55",
    )
)
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-12 00:00:00+00:00,10,1
2024-05-12 00:00:01.500000+00:00,20,2
"""
AZURE_2025 = """TIMESTAMP,NumImages,ContextTokens,GeneratedTokens
2025-01-01T00:00:00Z,2,10,1
2025-01-01T00:00:02.25Z,0,20,2
"""
BURST_1 = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,API log
118,GPT-4,417,276,693,API log
"""
BURST_3 = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5.5,a7,1.2,ChatGPT,472,18,490,Conversation log
45,,2.0,ChatGPT,10,20,30,API log
46,a7,2.0,GPT-4,10,20,30,Conversation log
"""
VTC = "req_time_s,client,prompt_len,output_len\n0.0,acme,13,199\n1.5,other,36,137\n2.0,acme,456,156\n"
MOONCAKE = [
    {"timestamp": 0, "input_length": 1100, "output_length": 500, "hash_ids": [0, 1, 2]},
    {"timestamp": 3000, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 3]},
    {"timestamp": 3000, "input_length": 512, "output_length": 7, "hash_ids": [0]},
]


def lines(rows):
    return "\n".join(json.dumps(row) for row in rows) + "\n"


def written(folder, text, name="trace"):
    path = folder / name
    path.write_text(text, newline="")
    return path


FORMATS = {
    "azure": SimpleNamespace(text=AZURE_2023, bad="2023-11-16 18:15:52,many,3", early="2023-11-16 18:15:46.7,5,5"),
    "burstgpt": SimpleNamespace(text=BURST_1, bad="soon,GPT-4,1,1,2,API log", early="50,GPT-4,1,1,2,API log"),
    "mooncake": SimpleNamespace(
        text=lines(MOONCAKE),
        bad='{"timestamp": 4000, "input_length": "x", "output_length": 1, "hash_ids": []}',
        early='{"timestamp": 100, "input_length": 5, "output_length": 1, "hash_ids": []}',
    ),
    "vtc": SimpleNamespace(text=VTC, bad="3,acme,many,1", early="0.5,acme,1,1"),
}


def test_azure_2023_counts_from_its_first_row(tmp_path):
    trace = read_trace(written(tmp_path, AZURE_2023))
    assert trace.format == "azure"
    assert trace.time_s == pytest.approx([0.0, 4.314579, 4.541877])
    assert trace.prompt_tokens.tolist() == [374, 396, 879]
    assert trace.output_tokens.tolist() == [44, 109, 55]


@pytest.mark.parametrize(("text", "last_s"), [(AZURE_2024, 1.5), (AZURE_2025, 2.25)])
def test_later_azure_files_say_their_zone_and_may_lack_a_fraction(tmp_path, text, last_s):
    trace = read_trace(written(tmp_path, text))
    assert trace.time_s.tolist() == [0.0, last_s]
    assert trace.prompt_tokens.tolist() == [10, 20]


def test_burstgpt_drops_failed_rows_and_counts_them_apart(tmp_path):
    trace = read_trace(written(tmp_path, BURST_1))
    assert trace.format == "burstgpt"
    assert trace.time_s.tolist() == [5.0, 118.0]
    assert (trace.failed, trace.malformed) == (1, ())
    assert trace.said() == (TraceNote(trace.source, "failed requests left out: 1"),)
    assert trace.session.tolist() == [-1, -1]


def test_burstgpt_3_brings_sessions_and_kinds(tmp_path):
    trace = read_trace(written(tmp_path, BURST_3))
    assert trace.session.tolist() == [0, -1, 0]
    chosen = trace.select("Model", "ChatGPT", "here").select("Log Type", "API log", "here")
    assert chosen.time_s.tolist() == [45.0]
    with pytest.raises(InputError, match="here: no row has Model 'GPT-5'"):
        trace.select("Model", "GPT-5", "here")
    with pytest.raises(InputError, match="no column 'model'"):
        trace.select("model", "ChatGPT", "here")


@pytest.mark.parametrize(("name", "text"), [("azure", AZURE_2024), ("burstgpt", BURST_3), ("vtc", VTC)])
@pytest.mark.parametrize("rows_too", [False, True], ids=["header", "all"])
def test_a_csv_may_be_quoted(tmp_path, name, text, rows_too):
    plain = read_trace(written(tmp_path, text, "plain"))
    head, *rows = text.splitlines()
    quoted = [",".join(f'"{field}"' for field in line.split(",")) for line in (head, *rows)]
    trace = read_trace(written(tmp_path, "\n".join(quoted if rows_too else [quoted[0], *rows]), "quoted"))
    assert (trace.format, trace.malformed) == (name, ())
    assert trace.time_s.tolist() == plain.time_s.tolist()
    assert trace.session.tolist() == plain.session.tolist()
    assert [label.values for label in trace.labels] == [label.values for label in plain.labels]


def test_vtc_has_clients_to_select_by(tmp_path):
    trace = read_trace(written(tmp_path, VTC))
    assert (trace.format, trace.session.tolist()) == ("vtc", [-1, -1, -1])
    own = trace.select("client", "acme", "here")
    assert (own.time_s.tolist(), own.prompt_tokens.tolist(), own.output_tokens.tolist()) == (
        [0.0, 2.0],
        [13, 456],
        [199, 156],
    )


def test_mooncake_is_in_milliseconds_and_has_blocks(tmp_path):
    trace = read_trace(written(tmp_path, lines(MOONCAKE)))
    assert trace.format == "mooncake"
    assert trace.time_s.tolist() == [0.0, 3.0, 3.0]
    assert trace.blocks.block_size == 512
    assert trace.blocks.offsets.tolist() == [0, 3, 6, 7]
    assert trace.blocks.values.tolist() == [0, 1, 2, 0, 1, 3, 0]
    turned = trace.take(np.array([2, 1]))
    assert turned.blocks.offsets.tolist() == [0, 1, 4]
    assert turned.blocks.values.tolist() == [0, 0, 1, 3]


def test_mooncake_with_other_names_and_sessions(tmp_path):
    rows = [
        {
            "created_time": 1000,
            "input_tokens": 130,
            "output_tokens": 4,
            "session_id": s,
            "block_size": 64,
            "hash_ids": [1],
        }
        for s in ("x", "y", "x")
    ]
    trace = read_trace(written(tmp_path, lines(rows)))
    assert trace.session.tolist() == [0, 1, 0]
    assert trace.blocks.block_size == 64


def test_packed_files_are_read_as_they_are(tmp_path):
    path = tmp_path / "trace.jsonl.gz"
    path.write_bytes(gzip.compress(lines(MOONCAKE).encode()))
    assert len(read_trace(path)) == 3
    path.write_bytes(gzip.compress(lines(MOONCAKE * 500).encode())[:-8])
    with pytest.raises(InputError, match="cannot be read"):
        read_trace(path, "mooncake")


@pytest.mark.parametrize("name", FORMATS)
def test_each_malformed_row_is_counted_with_its_line(tmp_path, name):
    form = FORMATS[name]
    good = form.text.rstrip().splitlines()
    path = written(tmp_path, "\n".join([*good[:2], form.bad, *good[2:], form.early, ""]))
    trace = read_trace(path)
    whole = read_trace(written(tmp_path, form.text, "good"))
    assert trace.time_s.tolist() == whole.time_s.tolist()
    assert [row.line for row in trace.malformed] == [3, len(good) + 2]
    assert trace.malformed[0].file == str(path)
    assert "time runs backwards" in trace.malformed[1].reason
    with pytest.raises(InputError, match="trace, line 3: not a"):
        read_trace(path, strict=True)


@pytest.mark.parametrize("name", FORMATS)
def test_time_that_runs_backwards_is_an_error_when_strict(tmp_path, name):
    path = written(tmp_path, FORMATS[name].text.rstrip() + "\n" + FORMATS[name].early + "\n")
    with pytest.raises(InputError, match="time runs backwards"):
        read_trace(path, strict=True)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"input_length": 0, "hash_ids": []}, "must be above zero"),
        ({"output_length": -1}, "must be above zero"),
        ({"timestamp": -5}, "zero"),
        ({"timestamp": float("nan")}, "zero"),
        ({"hash_ids": [1, 2, 3, 4]}, "4 blocks of 512 tokens for a prompt of 1100"),
        ({"hash_ids": [0.5]}, "not a row"),
        ({"block_size": 64}, "blocks of 64 tokens"),
        ({"input_length": 10**12}, "more than any request"),
        ({"input_length": 2**70}, "not a row"),
    ],
)
def test_rows_that_make_no_sense_are_malformed(tmp_path, row, reason):
    path = written(tmp_path, lines([MOONCAKE[0], MOONCAKE[1] | row]))
    trace = read_trace(path, "mooncake")
    assert len(trace) == 1
    assert [(each.line, reason in each.reason) for each in trace.malformed] == [(2, True)]


@pytest.mark.parametrize("name", FORMATS)
def test_a_trace_without_a_usable_row_is_an_error(tmp_path, name):
    header = [] if name == "mooncake" else FORMATS[name].text.splitlines()[:1]
    empty = written(tmp_path, "\n".join([*header, ""]) or "\n")
    with pytest.raises(InputError, match="no usable row"):
        read_trace(empty, name)
    malformed = written(tmp_path, "\n".join([*header, "{}"]))
    with pytest.raises(InputError, match="the first of 1 malformed rows"):
        read_trace(malformed, name)


@pytest.mark.parametrize("name", FORMATS)
def test_a_window_keeps_what_lies_in_it(tmp_path, name):
    path = written(tmp_path, FORMATS[name].text)
    whole = read_trace(path)
    last_s = float(whole.time_s[-1])
    assert read_trace(path, end_s=last_s).time_s.tolist() == whole.time_s[whole.time_s < last_s].tolist()
    assert read_trace(path, start_s=last_s).time_s.tolist() == whole.time_s[whole.time_s >= last_s].tolist()
    with pytest.raises(InputError, match="no row lies in the window"):
        read_trace(path, start_s=last_s + 1)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_recognised_as_itself_alone(tmp_path, name):
    path = written(tmp_path, FORMATS[name].text)
    assert [each for each in READERS.names() if READERS.get(each, "").sniff(path)] == [name]


@pytest.mark.parametrize("name", ["azure", "burstgpt", "mooncake", "servegen", "vtc"])
def test_sniffing_never_fails(tmp_path, name):
    sniff = READERS.get(name, "").sniff
    for content in (b"", b"\x00\xff\xfe", b"[1, 2]\n", b'{"timestamp": 1}\n'):
        path = tmp_path / "x"
        path.write_bytes(content)
        assert not sniff(path)
    packed = tmp_path / "x.gz"
    packed.write_bytes(b"not gzip")
    assert not sniff(packed)
    assert not sniff(tmp_path)


def test_an_unknown_trace_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(InputError, match="no such trace"):
        read_trace(tmp_path / "absent.csv")
    path = written(tmp_path, "a,b\n1,2\n")
    with pytest.raises(InputError, match=f"known: {', '.join(READERS.names())}.*'trace tasks'"):
        recognise(path)
    with pytest.raises(InputError, match="Did you mean 'azure'"):
        read_trace(path, "azur")
    with pytest.raises(InputError, match="the column 'TIMESTAMP' is missing"):
        read_trace(path, "azure")


@pytest.mark.parametrize(
    ("name", "rows", "prompt", "output"),
    [
        ("azure/AzureLLMInferenceTrace_conv.csv", 19_366, 1155, 211),
        ("azure/AzureLLMInferenceTrace_code.csv", 8_819, 2048, 27.9),
        ("mooncake/conversation_trace.jsonl", 12_031, 12_035, 343),
        ("mooncake/synthetic_trace.jsonl", 3_993, 15_325, 149),
        ("multi_tenant/vtc_arena_real_trace.csv", 1_500, 136.3, 256.2),
    ],
)
def test_published_files_are_read_whole_and_fast(shared_trace, name, rows, prompt, output):
    path = shared_trace(name)
    began = time.process_time()
    trace = read_trace(path, strict=True)
    assert time.process_time() - began < 3.0
    assert len(trace) == rows
    assert trace.prompt_tokens.mean() == pytest.approx(prompt, rel=1e-3)
    assert trace.output_tokens.mean() == pytest.approx(output, rel=2e-3)
