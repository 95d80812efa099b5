"""Sessions of coding agents: who asked when, on one clock, with hash ids of their own."""

from __future__ import annotations

import json

import numpy as np
import pytest

from inferencesim.errors import InputError
from inferencesim.workload.inspect import inspect_trace
from inferencesim.workload.traces.reading import READERS, read_trace
from inferencesim.workload.traces.record import BlockHashes
from inferencesim.workload.traces.weka import SESSION_GAP_S


def request(t, prompt, output=5, ids=(), model="opus", **more):
    return {"t": t, "type": "n", "model": model, "in": prompt, "out": output, "hash_ids": list(ids), **more}


def subagent(t, duration_ms, *requests):
    return {"t": t, "type": "subagent", "subagent_type": "Explore", "duration_ms": duration_ms, "requests": requests}


def session(name, *requests, **more):
    return {"id": name, "block_size": 64, "hash_id_scope": "local", "requests": requests, **more}


def written(folder, *sessions):
    path = folder / "sessions.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in sessions))
    return path


def test_sessions_begin_one_after_the_other(tmp_path):
    path = written(tmp_path, session("a", request(0, 70), request(100, 80)), session("b", request(0, 90)))
    trace = read_trace(path)
    assert trace.format == "weka"
    assert trace.time_s.tolist() == [0.0, SESSION_GAP_S, 100.0]
    assert trace.prompt_tokens.tolist() == [70, 90, 80]
    assert trace.session.tolist() == [0, 1, 0]
    assert trace.select("session", "b", "here").prompt_tokens.tolist() == [90]
    assert any(f"one begins every {SESSION_GAP_S:g} s" in note for note in trace.notes)


def test_a_subagent_stands_where_it_ended_and_asked_before(tmp_path):
    explored = subagent(30.0, 20_000, request(0, 64, model="haiku"), request(15, 65, model="haiku"))
    trace = read_trace(written(tmp_path, session("a", request(0, 70), request(12, 71), explored, request(31, 72))))
    assert trace.time_s.tolist() == [0.0, 10.0, 12.0, 25.0, 31.0]
    assert trace.select("agent", "Explore", "here").prompt_tokens.tolist() == [64, 65]
    assert trace.select("agent", "main", "here").prompt_tokens.tolist() == [70, 71, 72]
    assert trace.select("model", "haiku", "here").time_s.tolist() == [10.0, 25.0]
    assert set(trace.session) == {0}


def test_a_subagent_nobody_waited_for_begins_where_it_stands(tmp_path):
    trace = read_trace(written(tmp_path, session("a", request(0, 70), subagent(30.0, None, request(2, 64)))))
    assert trace.time_s.tolist() == [0.0, 32.0]
    assert any("1 subagents without a duration" in note for note in trace.notes)


def test_local_hash_ids_of_two_sessions_are_different_blocks(tmp_path):
    first = session("a", request(0, 130, ids=[1, 2]), request(1, 200, ids=[1, 2, 3]))
    trace = read_trace(written(tmp_path, first, session("b", request(0, 130, ids=[1, 2]))))
    own, others = set(trace.blocks.values[:5].tolist()), set(trace.blocks.values[5:].tolist())
    assert trace.blocks.block_size == 64
    assert (len(own), len(others)) == (3, 2)
    assert not own & others
    assert inspect_trace(trace).prefix_reuse_share == pytest.approx(128 / 460)


def test_hash_ids_of_a_wider_scope_are_left_as_they_are(tmp_path):
    common = [session(name, request(0, 130, ids=[1, 2]), hash_id_scope="global") for name in "ab"]
    assert read_trace(written(tmp_path, *common)).blocks.values.tolist() == [1, 2, 1, 2]


def test_an_answer_without_tokens_is_a_failed_request(tmp_path):
    trace = read_trace(written(tmp_path, session("a", request(0, 70), request(1, 70, 0))))
    assert (len(trace), trace.failed, trace.malformed) == (1, 1, ())


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (request("soon", 70), "request 2 of session a lacks t"),
        (request(float("nan"), 70), "request 2 of session a lacks t"),
        (request(-1, 70), "request 2 of session a lacks t"),
        ({"t": 1, "type": "n", "model": "opus", "out": 5, "hash_ids": []}, "request 2 of session a lacks t"),
        (request(1, 70, ids=[1.5]), "request 2 of session a lacks t"),
        (request(1, 70, ids=[2**31]), "request 2 of session a lacks t"),
        (request(1, 70, ids=[1, 2, 3]), "3 blocks of 64 tokens for a prompt of 70"),
        (request(1, 0), "must be above zero"),
        (7, "not a session"),
    ],
)
def test_a_malformed_request_is_counted_with_the_line_of_its_session(tmp_path, bad, reason):
    path = written(tmp_path, session("z", request(0, 66)), session("a", request(0, 70), bad))
    trace = read_trace(path)
    (row,) = trace.malformed
    assert row.line == 2
    assert reason in row.reason
    assert trace.prompt_tokens.tolist() == ([66] if reason == "not a session" else [66, 70])
    with pytest.raises(InputError, match="line 2"):
        read_trace(path, strict=True)


def test_a_damaged_session_or_one_of_other_blocks_is_left_out(tmp_path):
    path = written(tmp_path, session("a", request(0, 70)), {"id": "b"}, session("c", request(0, 70), block_size=16))
    with path.open("a") as file:
        file.write('{"id": "d", "requests": [\n\n')
    trace = read_trace(path)
    assert len(trace) == 1
    assert [row.line for row in trace.malformed] == [2, 3, 4]
    assert "blocks of 16 tokens" in trace.malformed[1].reason


def test_a_window_cuts_through_sessions(tmp_path):
    path = written(tmp_path, session("a", request(0, 70), request(100, 80)), session("b", request(0, 90)))
    assert read_trace(path, start_s=1.0, end_s=100.0).prompt_tokens.tolist() == [90]


def test_it_is_recognised_as_itself_alone(tmp_path):
    path = written(tmp_path, session("a", request(0, 64 * 40_000, ids=range(40_000))))
    assert [name for name in READERS.names() if READERS.get(name, "").sniff(path)] == ["weka"]
    for text in ("", "{}", '["hash_id_scope", "block_size", "requests"]'):
        path.write_text(text)
        assert not READERS.get("weka", "").sniff(path)
    assert not READERS.get("weka", "").sniff(tmp_path)


def test_any_ids_can_be_numbered_from_zero():
    for values in ([], [5, 7, 5], [-(2**62), 2**62, 0, 2**62]):
        ids = np.array(values, dtype=np.int64)
        numbered = BlockHashes(np.array([0, len(ids)]), ids, 16).numbered().values
        assert numbered.dtype == np.int64
        assert not len(ids) or (numbered.min() == 0 and numbered.max() < 2 * len(ids))
        assert len({*zip(values, numbered.tolist(), strict=True)}) == len({*values}) == len({*numbered.tolist()})


@pytest.mark.long
def test_the_published_sessions_have_their_published_statistics(shared_trace):
    trace = read_trace(shared_trace("coding_agents/kv_cache_tester_claude_code.jsonl.xz"), strict=True)
    assert len(trace) + trace.failed == 48_658 + 676
    assert (trace.failed, len(np.unique(trace.session))) == (27, 710)
    report = inspect_trace(trace)
    assert report.prompt_tokens.mean == pytest.approx(122_379, rel=1e-3)
    assert report.output_tokens.p50 == pytest.approx(216, abs=1)
    assert report.prefix_reuse_share == pytest.approx(0.963, abs=0.0005)
    assert np.mean(trace.time_s < 12 * 3600.0) == pytest.approx(0.82, abs=0.01)
