"""Published points: several figures of one run, what each counts, and what is refused."""

from __future__ import annotations

from collections import Counter

import pytest
from oracle.readings import only, refused

from inferencesim.measurements.published import COLUMNS, published_power, read_published


def test_figures_of_one_run_are_one_measurement(published_of):
    load = {"load": "concurrency 64", "notes": "mean over 3000 requests"}
    readings = published_of(
        load,
        load | {"id": "b", "metric": "ttft_ms", "value": "250"},
        load | {"id": "c", "metric": "tpot_ms", "value": "20"},
        load | {"id": "d", "metric": "ttft_ms", "value": "900", "load": "concurrency 128"},
    )
    first, second = readings.measurements
    assert first.observed == {"output_tokens_per_s": 5000.0, "ttft_s": 0.25, "tpot_s": 0.02}
    assert (first.load.kind, first.load.concurrency, first.load.requests) == ("closed", 64, 3000)
    assert (second.id, second.load.concurrency, second.observed) == ("d", 128, {"ttft_s": 0.9})
    assert first.setup.model == "llama-3.1-70b"
    assert (first.setup.engine, first.setup.engine_version) == ("tensorrt-llm", "1.0")


def test_a_figure_named_twice_is_another_run(published_of):
    assert len(published_of({}, {"id": "b", "value": "5100"}).measurements) == 2


@pytest.mark.parametrize(
    ("load", "kind", "concurrency", "requests"),
    [
        ("offline max: 30000 requests queued at t=0", "offline", 0, 30000),
        ("offline max (1500 prompts, max_num_seqs 1500)", "offline", 0, 1500),
        ("offline max (trtllm-bench throughput, infinite rate)", "offline", 0, 0),
        ("16 requests submitted at once", "offline", 0, 16),
        ("static batch 1536", "static", 1536, 1536),
        ("batch=8", "static", 8, 8),
        ("concurrency 320 (320 prompts, max-num-seqs 135)", "closed", 320, 320),
    ],
)
def test_loads(published_of, load, kind, concurrency, requests):
    read = only(published_of({"load": load})).load
    assert (read.kind, read.concurrency, read.requests) == (kind, concurrency, requests)


@pytest.mark.parametrize(
    ("words", "chips", "degrees", "replicas"),
    [
        ("tp8", 8, (8, 1, 1, 1), 1),
        ("tp1 pp4", 4, (1, 4, 1, 1), 1),
        ("tp2 x4 replicas (config default tp2)", 8, (2, 1, 1, 1), 4),
        ("DEP4 (attention-DP 4, ep4)", 4, (4, 1, 4, 4), 1),
        ("tp8 ep8 attention-DP", 8, (8, 1, 8, 8), 1),
        ("tp32 NeuronCores", 16, (16, 1, 1, 1), 1),
        ("tp2 (two TensorCores of one chip)", 1, (1, 1, 1, 1), 1),
        ("single chip", 1, (1, 1, 1, 1), 1),
    ],
)
def test_parallelism(published_of, words, chips, degrees, replicas):
    setup = only(published_of({"parallelism": words, "chips": chips})).setup
    assert tuple(setup.parallelism.values()) == degrees
    assert setup.replicas == replicas


def test_a_figure_per_chip_is_multiplied(published_of):
    per_chip = {"metric": "output_tok_s_per_gpu", "value": "1000", "parallelism": "tp2 x2 replicas"}
    assert only(published_of(per_chip)).observed == {"output_tokens_per_s": 4000.0}


def test_a_decode_rate_is_a_tpot(published_of):
    batched = {"notes": "S_TG is total over the B sequences; decode phase only", "load": "batch=32", "value": "640"}
    assert only(published_of(batched)).observed == {"tpot_s": pytest.approx(0.05)}
    bare = only(published_of({"workload": "tg128", "load": "batch=1", "value": "50"}))
    assert bare.observed == {"tpot_s": pytest.approx(0.02)}
    assert (bare.load.prompt_tokens.high, bare.load.output_tokens.high) == (1, 128)


def test_totals_in_the_notes_outweigh_nominal_lengths(published_of):
    notes = "mean; 500 requests closed loop; totals in 1637687 out 400000"
    load = only(published_of({"load": "concurrency 64", "notes": notes})).load
    assert (load.prompt_tokens.mean, load.output_tokens.mean) == (3275, 800)


def test_a_range_ratio_spreads_the_lengths(published_of):
    load = only(published_of({"workload": "isl 1000, osl 8000 (random-range-ratio 0.8)"})).load
    assert (load.prompt_tokens.low, load.prompt_tokens.high) == (800, 1000)
    assert (load.output_tokens.low, load.output_tokens.high) == (6400, 8000)


def test_number_formats(published_of):
    def precision(words, **row):
        return only(published_of({"precision": words} | row)).setup.precision

    assert precision("NVFP4, fp16 KV") == {"weights": "fp4", "activations": "fp4", "kv": "bf16"}
    assert precision("W:int8 A:bf16") == {"weights": "int8", "activations": "bf16", "kv": "bf16"}
    assert precision("Q4_K_M")["weights"] == "int4"
    oss = precision("MXFP4 (F16 gguf)", model="gpt-oss-120b", framework="llama.cpp CUDA")
    assert (oss["weights"], oss["expert_weights"], oss["expert_activations"]) == ("bf16", "fp4", "bf16")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"workload": "OpenOrca MLPerf set; isl not in logs"}, "MLPerf: input lengths are not in the logs"),
        ({"load": "per-user (hosted API)"}, "hosted API: chips, batch and speculation hidden"),
        ({"notes": "MTP speculative decoding, 3 next-n layers"}, "speculative decoding: acceptance unknown"),
        ({"workload": "not stated"}, "lengths not stated"),
        ({"parallelism": "not recorded"}, "parallelism not stated"),
        ({"parallelism": "tp2"}, "parallelism not stated"),
        ({"chips": "per-GPU"}, "number of chips not stated"),
        ({"precision": ""}, "precision not stated"),
        ({"load": "prefill only"}, "batch and lengths not stated"),
        ({"hardware": "Abacus"}, "no profile of Abacus"),
    ],
)
def test_what_cannot_be_reproduced_is_refused_with_its_reason(published_of, row, reason):
    assert refused(published_of(row)) == reason


def test_no_speculation_is_said_in_many_ways(published_of):
    assert only(published_of({"notes": "max_batch 896/rank; no MTP"}))
    assert only(published_of({"notes": "no speculation"}))


def test_power_is_kept_apart(table):
    row = dict.fromkeys(COLUMNS, "") | {
        "id": "w",
        "hardware": "NVIDIA B200 SXM 180GB",
        "chips": "8",
        "model": "llama3.1-8b",
        "metric": "power_w",
        "value": "9436",
        "notes": "full-system wall power while producing 146960 tok/s",
    }
    path = table("points.csv", COLUMNS, [row])
    (power,) = published_power(path)
    assert (power.hardware, power.chips, power.watts, power.scope) == ("nvidia-b200-sxm", 8, 9436.0, "system")
    assert power.output_tokens_per_s == 146960.0
    assert not read_published(path).measurements


def test_the_shared_table(shared_measurements):
    path = shared_measurements("published_points.csv")
    readings = read_published(path)
    assert readings.rows == 1141
    assert len(published_power(path)) == 3
    assert len(readings.measurements) >= 500
    assert sum(len(one.observed) for one in readings.measurements) >= 800
    reasons = Counter(one.reason for one in readings.unsupported)
    assert reasons["MLPerf: input lengths are not in the logs"] == 125
    assert reasons["load not stated"] == 0
    assert reasons["precision not stated"] == 0


def test_static_batches_of_the_shared_table_agree_with_themselves(shared_measurements):
    """Makespan and throughput of one burst are the same measurement: requests × output ÷ makespan, to 1 %."""
    checked = 0
    for one in read_published(shared_measurements("published_points.csv")).measurements:
        makespan, rate = one.observed.get("makespan_s"), one.observed.get("output_tokens_per_s")
        if makespan and rate and one.load.kind == "offline":
            checked += 1
            assert rate == pytest.approx(one.load.requests * one.load.output_tokens.mean / makespan, rel=0.01)
    assert checked > 50
