"""RAGPulse: requests that lie in no order, and prompts made of parts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from inferencesim.errors import InputError
from inferencesim.workload.inspect import prefix_reuse_share
from inferencesim.workload.traces.reading import READERS, read_trace

#: Tokens of a system prompt, two passages, a summary of what was said, a search and a question.
LENGTHS = {1: 32, 2: 40, 3: 24, 4: 16, 5: 8, 6: 8}
FILES = {
    "1_sys_prompt": ("sys_prompt_id", (1,)),
    "2_passages": ("passage_id", (2, 3)),
    "3_history": ("history_id", (4,)),
    "4_user_input": ("user_input_id", (6,)),
    "5_web_search": ("web_search_id", (5,)),
}


def row(second, passages=(), prompt=160, session="a", history=(), search=()):
    kinds = {"history": list(history), "user_input": [6], "passages_ids": list(passages), "web_search": list(search)}
    sizes = {"input_length": prompt, "output_length": 7}
    return {"timestamp": str(second), **sizes, "hash_ids": {"sys_prompt": [1], **kinds}, "session_id": session}


@pytest.fixture
def written(tmp_path):
    """Write requests, with the lengths of parts beside them."""

    def write(*rows, without=()):
        for name, (key, ids) in FILES.items():
            known = [each for each in ids if each not in without]
            text = "".join(json.dumps({key: each, "token_length": LENGTHS[each]}) + "\n" for each in known)
            (tmp_path / f"{name}.jsonl").write_text(text)
        path = tmp_path / "0_trace.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in rows) + "\n")
        return path

    return write


def blocks(trace):
    return [part.tolist() for part in np.split(trace.blocks.values, trace.blocks.offsets[1:-1])]


def test_rows_are_sorted_and_belong_to_sessions(written):
    trace = read_trace(written(row(30, session="b"), row(10), row(20, session="b")), strict=True)
    assert trace.format == "ragpulse"
    assert trace.time_s.tolist() == [10.0, 20.0, 30.0]
    assert trace.session[0] != trace.session[1] == trace.session[2]
    assert (trace.prompt_tokens.tolist(), trace.output_tokens.tolist()) == ([160] * 3, [7] * 3)


def test_prompts_share_the_blocks_that_end_before_their_parts_differ(written):
    # 32 tokens are of the system prompt, 40 of a passage, 24 of another: two blocks, then up to three, or one.
    trace = read_trace(written(row(0, [2, 3]), row(1, [2]), row(2, [3, 2])))
    assert trace.blocks.block_size == 16
    both, one, turned = blocks(trace)
    assert [len(both), len(one), len(turned)] == [104 // 16, 80 // 16, 104 // 16]
    assert both[:4] == one[:4]
    assert both[4] != one[4]
    assert both[:2] == turned[:2]
    assert not set(both[2:]) & set(turned[2:])


def test_parts_stand_in_the_order_of_the_prompt(written):
    trace = read_trace(written(row(0, [2], history=[4], search=[5]), row(1, [2], history=[4])))
    first, second = blocks(trace)
    assert first[:5] == second[:5]
    assert first[5] != second[5]


def test_a_part_of_unknown_length_ends_what_is_known(written):
    trace = read_trace(written(row(0, [2, 3]), row(1, [3]), without=(2,)))
    assert [len(each) for each in blocks(trace)] == [2, 64 // 16]


def test_without_the_lengths_there_are_no_blocks_and_a_note_says_so(written, tmp_path):
    path = written(row(0))
    (tmp_path / "3_history.jsonl").unlink()
    trace = read_trace(path)
    assert trace.blocks is None
    assert "1_sys_prompt.jsonl" in trace.notes[0]


def test_what_makes_no_sense_is_counted_with_its_file_and_line(written, tmp_path):
    path = written(row(0), row("nan"), row(1, [2, 3], prompt=90), row(2) | {"hash_ids": {"sys_prompt": ["x"]}}, row(3))
    with (tmp_path / "5_web_search.jsonl").open("a") as file:
        file.write("{}\n")
    trace = read_trace(path)
    assert trace.time_s.tolist() == [0.0, 3.0]
    places = [(each.file.rpartition("/")[2], each.line) for each in trace.malformed]
    assert places == [("0_trace.jsonl", 2), ("0_trace.jsonl", 3), ("0_trace.jsonl", 4), ("5_web_search.jsonl", 2)]
    assert "parts of at least 96 tokens for a prompt of 90" in trace.malformed[1].reason
    with pytest.raises(InputError, match="web_search"):
        read_trace(path, strict=True)


def test_it_is_recognised_as_itself_alone(written):
    path = written(row(0))
    assert [each for each in READERS.names() if READERS.get(each, "").sniff(path)] == ["ragpulse"]


def test_the_published_file_shares_what_its_parts_say(shared_trace):
    trace = read_trace(shared_trace("ragpulse/0_trace.jsonl"), strict=True)
    assert (len(trace), len(np.unique(trace.session))) == (7106, 3990)
    # Counted in whole parts by other means: 6,574,248 of 20,917,099 tokens.
    assert prefix_reuse_share(trace.blocks, trace.prompt_tokens) == pytest.approx(0.3143, abs=0.002)
