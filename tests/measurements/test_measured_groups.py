"""Splits for cross-validation: everything is held out once, and nothing leaks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferencesim.measurements.groups import group_of, split_groups, split_rows
from inferencesim.measurements.measurement import MeasuredLoad, MeasuredSetup, Measurement, TokenRange


def measurement(name, hardware="nvidia-h200-sxm", model="llama-3.1-8b", concurrency=8, version="1", tpot_s=0.01):
    setup = MeasuredSetup(hardware, model, "vllm", version, {"weights": "fp8"}, {"tensor": 1})
    load = MeasuredLoad("closed", TokenRange(100, 100), TokenRange(10, 10), concurrency=concurrency)
    return Measurement(name, "test", "", setup, load, {"tpot_s": tpot_s})


def test_models_with_the_same_layers_are_one_group():
    r1, v3 = measurement("a", model="deepseek-r1"), measurement("b", model="deepseek-v3")
    assert group_of(r1) == group_of(v3) == ("nvidia-h200-sxm", "deepseek-r1")
    assert group_of(r1, "hardware-engine") == ("nvidia-h200-sxm", "vllm")
    assert len(split_groups([r1, v3])) == 1


def test_each_group_is_held_out_once_and_whole():
    every = [measurement(f"{c}{m}", c, m) for c in ("amd-mi300x", "nvidia-h200-sxm") for m in ("qwen3-8b", "phi-4")]
    splits = split_groups(every)
    assert [split.name for split in splits] == sorted(" ".join(group_of(one)) for one in every)
    for split in splits:
        assert len(split.held_out) == 1
        assert len(split.training) == 3
    assert [len(split.held_out) for split in split_groups(every, "hardware")] == [2, 2]


def test_random_folds_hold_every_row_out_once():
    every = [measurement(str(c), concurrency=c) for c in range(1, 53)]
    splits = split_rows(every, 5, seed=1)
    held = [one.id for split in splits for one in split.held_out]
    assert sorted(held) == sorted(one.id for one in every)
    assert all(len(split.held_out) in (10, 11) for split in splits)
    assert splits == split_rows(every, 5, seed=1)
    assert splits != split_rows(every, 5, seed=2)


@pytest.mark.parametrize("seed", range(8))
def test_a_repeated_run_never_stands_on_both_sides(seed):
    every = [measurement(f"a{c}", model="deepseek-r1", concurrency=c) for c in range(1, 20)]
    again = [
        replace(one, id=f"b{one.load.concurrency}", setup=replace(one.setup, model="deepseek-v3", engine_version="2"))
        for one in every
    ]
    for split in split_rows(every + again, 4, seed=seed):
        trained = {one.load.concurrency for one in split.training}
        assert not trained & {one.load.concurrency for one in split.held_out}
