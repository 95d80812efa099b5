"""Chains: which cache blocks prompts of traces share."""

from __future__ import annotations

import json

import numpy as np
import pytest

from inferencesim.workload.load import generate_load

ROWS = [
    {"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [900, 7, 8]},
    {"timestamp": 1000, "input_length": 1536, "output_length": 5, "hash_ids": [900, 7, 31]},
    {"timestamp": 2000, "input_length": 500, "output_length": 5, "hash_ids": [900]},
    {"timestamp": 3000, "input_length": 1700, "output_length": 5, "hash_ids": [-4, 7]},
]
LONG_AGO = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"


def written(folder, name, rows):
    (folder / name).write_text("\n".join(json.dumps(row) for row in rows) + "\n")


def replay(make_class, name, file, **said):
    return make_class(name, arrivals={"process": "trace", "file": file, "spread": "0s", **said})


def chain(load, row):
    return load.block_ids[load.chain[row] : load.chain[row] + load.chain_blocks[row]].tolist()


def test_full_blocks_of_a_prompt_are_its_chain(make_class, tmp_path):
    written(tmp_path, "a.jsonl", ROWS)
    load = generate_load([replay(make_class, "a", "a.jsonl")], 100.0, 1, tmp_path)
    assert load.chain_blocks.tolist() == [2, 3, 0, 2]
    assert load.chain[2] == -1
    assert load.chain_tokens.tolist() == [512]
    first, second, _, last = (chain(load, row) for row in range(4))
    assert second[:2] == first
    assert last[1] == first[1]
    assert len({*second, *last}) == 4
    assert sorted(set(load.block_ids)) == list(range(5))
    assert load.block_ids.dtype == load.chain.dtype == load.chain_blocks.dtype == np.int64


def test_classes_of_one_file_share_its_blocks_and_those_of_two_files_none(make_class, tmp_path):
    written(tmp_path, "a.jsonl", ROWS)
    written(tmp_path, "b.jsonl", ROWS)
    classes = [
        replay(make_class, "early", "a.jsonl", window={"length": "1.5s"}),
        make_class("drawn", arrivals={"process": "burst", "requests": 2}),
        replay(make_class, "all", "a.jsonl"),
        replay(make_class, "other", "b.jsonl"),
    ]
    load = generate_load(classes, 100.0, 1, tmp_path)
    rows = [np.flatnonzero(load.class_index == index) for index in range(4)]
    early, everything, other = ([chain(load, row) for row in rows[index]] for index in (0, 2, 3))
    assert early == everything[:2]
    assert not {id for row in other for id in row} & {id for row in everything for id in row}
    assert load.chain[rows[1]].tolist() == [-1, -1]
    assert load.chain_blocks[rows[1]].tolist() == [0, 0]
    assert load.chain_tokens.tolist() == [512, 0, 512, 512]


def test_a_trace_without_hashes_has_no_chains(make_class, tmp_path):
    (tmp_path / "a.csv").write_text(LONG_AGO)
    load = generate_load([replay(make_class, "a", "a.csv")], 100.0, 1, tmp_path)
    assert load.chain.tolist() == [-1]
    assert load.chain_tokens.tolist() == [0]
    assert load.block_ids.size == 0


@pytest.mark.parametrize("file", ["conversation_trace.jsonl", "synthetic_trace.jsonl"])
def test_the_first_rows_of_mooncake_keep_what_they_share(make_class, shared_trace, file):
    path = shared_trace(f"mooncake/{file}")
    with path.open() as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(200), strict=False)]
    end_s = rows[-1]["timestamp"] / 1000.0
    rows = [row for row in rows if row["timestamp"] / 1000.0 < end_s]
    load = generate_load([replay(make_class, "a", str(path))], end_s, 1, path.parent)
    assert len(load) == len(rows)
    hashes = [row["hash_ids"][: row["input_length"] // 512] for row in rows]
    assert load.chain_blocks.tolist() == [len(row) for row in hashes]
    chains = [chain(load, row) for row in range(len(rows))]
    pairs = {pair for row, ids in zip(hashes, chains, strict=True) for pair in zip(row, ids, strict=True)}
    assert len(pairs) == len({hash for hash, _ in pairs}) == len({id for _, id in pairs})
    assert len(pairs) < sum(map(len, hashes))
