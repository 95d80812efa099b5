"""Rows of the silicon table: load, chips, twins, and what is refused."""

from __future__ import annotations

from collections import Counter

import pytest
from oracle.readings import only, refused

from inferencesim.errors import InputError
from inferencesim.measurements.silicon import read_silicon


def parallelism(readings):
    return tuple(only(readings).setup.parallelism.values())


def test_a_row_becomes_a_closed_loop_of_ten_requests_per_client(silicon_of):
    measurement = only(silicon_of({}))
    load = measurement.load
    assert (load.kind, load.concurrency, load.requests) == ("closed", 64, 640)
    assert (load.prompt_tokens.low, load.prompt_tokens.high) == (819, 1024)
    assert (load.output_tokens.low, load.output_tokens.high) == (6554, 8192)
    assert measurement.observed == {"ttft_s": pytest.approx(0.43125), "tpot_s": pytest.approx(0.0215)}
    setup = measurement.setup
    assert (setup.hardware, setup.model, setup.engine) == ("nvidia-h200-sxm", "llama-3.1-70b", "vllm")
    assert setup.precision == {"weights": "fp8", "activations": "fp8", "kv": "fp8"}
    assert setup.parallelism == {"tensor": 4, "pipeline": 1, "expert": 1, "attention_data": 1}


def test_concurrency_is_the_id_s_or_else_batch_times_attention_data_parallelism(silicon_of):
    assert only(silicon_of({"id": "x_c32_tp4_ep1", "batch_size": "64"})).load.concurrency == 32
    unnamed = {"id": "x_agg_cfg1", "batch_size": "16", "tp_size": "1", "attention_dp_size": "8", "moe_ep_size": "8"}
    assert only(silicon_of(unnamed)).load.concurrency == 128


@pytest.mark.parametrize(
    ("name", "columns", "expected"),
    [
        ("c64_tp8_ep8_1", (64, 1, 8, 8), (8, 1, 8, 1)),
        ("c64_tp8_ep8_1", (1, 64, 8, 8), (8, 1, 8, 8)),
        ("c64_tp8_0_ep1_0_1", (8, 1, 8, 1), (8, 1, 1, 1)),
        ("c64_tp4_epnone_1", (4, None, 1, 4), (4, 1, 4, 1)),
        ("c64_cfg7", (64, 1, 8, 8), (8, 1, 8, 1)),
        ("c64_cfg7", (16, 1, 4, 4), (4, 1, 4, 1)),
        ("c64_cfg7", (1, 16, 4, 4), (4, 1, 4, 4)),
        ("c64_cfg7", (4, 4, 1, 16), (4, 1, 4, 4)),
        ("c64_cfg7", (4, 1, 4, 1), (4, 1, 1, 1)),
        ("c64_cfg7", (1, 1, 1, 1), (1, 1, 1, 1)),
    ],
)
def test_chips_come_from_the_id_and_multiplied_degrees_are_undone(silicon_of, name, columns, expected):
    names = ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    row = dict(zip(names, ("" if size is None else size for size in columns), strict=True))
    batch = 64 // (columns[1] or 1)
    assert parallelism(silicon_of({"id": f"x_{name}", "batch_size": batch} | row)) == expected


def test_a_concurrency_of_several_batches_was_spread(silicon_of):
    dense = {"id": "x_c128_tp2_1", "batch_size": "32", "tp_size": "2", "moe_tp_size": "1", "attention_dp_size": "0"}
    copies = only(silicon_of(dense))
    assert (copies.setup.replicas, copies.setup.parallelism["attention_data"]) == (4, 1)
    experts = {"id": "x_c32_tp4_ep4_1", "batch_size": "8", "moe_tp_size": "1", "moe_ep_size": "4"}
    shared = only(silicon_of(experts))
    assert (shared.setup.replicas, shared.setup.parallelism["attention_data"]) == (1, 4)


def test_what_cannot_be_known_is_refused_with_its_reason(silicon_of):
    assert refused(silicon_of({"mode": "disagg"})) == "disaggregated: worker counts not stated"
    assert refused(silicon_of({"id": "x_c64_tp16_ep1"})) == "more chips than a node has"
    rack = {"id": "x_c64_tp36_ep1", "system": "gb200", "tp_size": "36", "moe_tp_size": "36"}
    assert "whole deployment" in refused(silicon_of(rack))
    assert refused(silicon_of({"model_path": "nobody/Nothing-9B"})) == "no model nobody/Nothing-9B"
    assert refused(silicon_of({"system": "z9000"})) == "no profile of z9000"
    assert refused(silicon_of({"gemm_quant_mode": "fp3"})) == "unknown number format fp3"


def test_blank_formats_are_those_of_the_checkpoint(silicon_of):
    blank = {"precision": "", "gemm_quant_mode": "", "moe_quant_mode": ""}
    assert only(silicon_of(blank)).setup.precision["weights"] == "bf16"
    named = blank | {"model_path": "Qwen/Qwen3-235B-A22B-FP8"}
    assert only(silicon_of(named)).setup.precision["weights"] == "fp8"


def test_twins_are_one_measurement_told_by_the_row_that_agrees_with_itself(silicon_of):
    contradictory = {"id": "a_c64_tp8_ep8", "tp_size": "64", "moe_tp_size": "8", "moe_ep_size": "8"}
    consistent = {"id": "b_c64_tp8_ep8", "tp_size": "8", "moe_tp_size": "1", "moe_ep_size": "8"}
    rounded = {"id": "c_c64_cfg1", "silicon_ttft_ms": "431.2512", "silicon_tpot_ms": "21.5004"}
    measurement = only(silicon_of(contradictory, consistent, rounded))
    assert measurement.id == "b_c64_tp8_ep8"
    assert set(measurement.twins) == {"a_c64_tp8_ep8", "c_c64_cfg1"}


def test_equal_figures_of_another_chip_or_length_are_no_twins(silicon_of):
    readings = silicon_of({}, {"system": "h100_sxm"}, {"isl": "8192"})
    assert len(readings.measurements) == 3


def test_a_run_that_may_have_speculated_counts_only_with_the_nightly_s_word(silicon_of):
    run = {"model_path": "deepseek-ai/DeepSeek-R1", "backend": "trtllm", "backend_version": "1.1.0rc2.post2"}
    assert "speculative" in refused(silicon_of(run))
    export = run | {"id": "x_c64_cfg9", "model_path": "deepseek-ai/DeepSeek-V3", "source": "InferenceX nightly"}
    assert only(silicon_of(run, export)).setup.model == "deepseek-r1"
    assert only(silicon_of(run | {"model_path": "openai/gpt-oss-120b"}))


def test_a_bad_cell_is_told_with_line_and_column(silicon_of):
    with pytest.raises(InputError, match=r"silicon.csv, line 3, column silicon_tpot_ms: 'fast' is not a number"):
        silicon_of({}, {"silicon_tpot_ms": "fast"})


def test_the_shared_table(shared_measurements):
    """3,197 rows, 886 of them exact copies (its README) and 52 more rounded to 0.01 ms; concurrency known for all."""
    readings = read_silicon(shared_measurements("silicon_ttft_tpot.csv"))
    every = (*readings.measurements, *readings.unsupported)
    assert readings.rows == 3197
    assert sum(len(one.twins) for one in every) == 886 + 52
    assert len(every) == 3197 - 886 - 52
    reasons = Counter(one.reason for one in readings.unsupported)
    assert reasons["chips ambiguous: tp_size may count a whole deployment"] == 37
    assert reasons["speculative decoding cannot be ruled out"] == 98
    assert reasons["concurrency not stated"] == 0
    assert sum(one.setup.prefill is None for one in readings.measurements) == 1514
    assert all(one.load.concurrency > 0 for one in readings.measurements)
    assert max(one.setup.parallelism["tensor"] for one in readings.measurements if one.setup.prefill is None) == 8


def test_disaggregated_rows_of_the_shared_table(shared_measurements):
    """Of 1,023 rows 198 state their workers (two without their experts); 412 others are left once twins are one."""
    readings = read_silicon(shared_measurements("silicon_ttft_tpot.csv"))
    own = [one for one in readings.measurements if one.source == "silicon, disaggregated"]
    reasons = Counter(one.reason for one in readings.unsupported if one.source == "silicon, disaggregated")
    assert len(own) == 196
    assert reasons == {
        "disaggregated: worker counts not stated": 412,
        "disaggregated: how experts are spread is not stated": 2,
    }
    assert all(one.setup.prefill for one in own)
    # Where both are stated, concurrency is what all decode workers hold.
    named = next(one for one in own if one.id == "dsr1_gb200_sglang_fp4_disagg_1024x1024_c512_cfg483")
    assert (named.load.concurrency, named.setup.replicas, named.setup.prefill.replicas) == (512, 1, 4)
    assert named.setup.parallelism == {"tensor": 32, "pipeline": 1, "expert": 32, "attention_data": 32}
    assert named.setup.prefill.parallelism == {"tensor": 4, "pipeline": 1, "expert": 4, "attention_data": 4}


def test_no_dense_model_of_the_shared_table_beats_its_memory(shared_measurements):
    """A decode step reads all weights once: formats and chips that break this were read wrongly (bytes/s: vendor)."""
    weights = {"llama-3.1-8b": 8.0e9, "llama-3.1-70b": 70.6e9, "qwen3-32b": 32.8e9}
    bandwidth = {"nvidia-h100-sxm": 3.35e12, "nvidia-h200-sxm": 4.8e12, "nvidia-b200-sxm": 8e12}
    size = {"bf16": 2.0, "fp8": 1.0, "fp4": 0.5}
    checked = 0
    for one in read_silicon(shared_measurements("silicon_ttft_tpot.csv")).measurements:
        setup = one.setup
        if setup.model in weights and setup.hardware in bandwidth:
            checked += 1
            read = weights[setup.model] * size[setup.precision["weights"]]
            floor_s = read / (bandwidth[setup.hardware] * setup.parallelism["tensor"])
            assert one.observed["tpot_s"] > floor_s, one.id
    assert checked > 500
