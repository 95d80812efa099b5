"""Files people have: our own table, vLLM, GuideLLM, AIPerf; and how a file is recognised."""

from __future__ import annotations

import json

import pytest

from inferencesim.errors import InputError
from inferencesim.measurements.defaults import Defaults
from inferencesim.measurements.reading import read_folder, read_measurements

DEFAULTS = Defaults(hardware="nvidia-h100-sxm", engine="vllm", weights="fp8", tensor=2)

OWN = """id,hardware,model,engine,weights,kv,tensor,load,concurrency,prompt_low,prompt_high,output_low,ttft_ms,tpot_ms
a,nvidia-h100-sxm,llama-3.1-8b,vllm,fp8,fp8,1,closed,32,800,1000,200,150.5,12
b,h100,meta-llama/Llama-3.1-8B-Instruct,sglang,int4,,2,static,8,512,,128,,9.5
"""
VLLM = {
    "date": "20250901-120000",
    "endpoint_type": "openai",
    "label": None,
    "model_id": "meta-llama/Llama-3.1-8B-Instruct",
    "tokenizer_id": "meta-llama/Llama-3.1-8B-Instruct",
    "num_prompts": 640,
    "request_rate": "inf",
    "burstiness": 1.0,
    "max_concurrency": 64,
    "duration": 71.2,
    "completed": 640,
    "total_input_tokens": 655360,
    "total_output_tokens": 163840,
    "request_throughput": 8.99,
    "output_throughput": 2301.1,
    "total_token_throughput": 11505.6,
    "mean_ttft_ms": 310.5,
    "median_ttft_ms": 205.0,
    "mean_tpot_ms": 23.1,
    "mean_itl_ms": 23.0,
    "mean_e2el_ms": 6201.0,
}
GUIDELLM = {
    "metadata": {"guidellm_version": "0.5.3"},
    "args": {"model": "Qwen/Qwen3-8B", "data": ["prompt_tokens=1000,output_tokens=200"]},
    "benchmarks": [
        {
            "config": {"strategy": strategy},
            "metrics": {
                "request_totals": {"successful": 120, "errored": 0, "incomplete": 4, "total": 124},
                "prompt_token_count": {"successful": {"mean": 1000.0, "std_dev": 100.0}},
                "output_token_count": {"successful": {"mean": 200.0, "std_dev": 0.0}},
                "time_to_first_token_ms": {"successful": {"mean": 80.0, "median": 70.0}},
                "inter_token_latency_ms": {"successful": {"mean": 11.0}},
                "time_per_output_token_ms": {"successful": {"mean": 11.4}},
                "request_latency": {"successful": {"mean": 2.3}},
                "output_tokens_per_second": {"successful": {"mean": 690.0}},
            },
        }
        for strategy in (
            {"type_": "synchronous"},
            {"type_": "concurrent", "streams": 8},
            {"type_": "throughput", "max_concurrency": None},
            {"type_": "poisson", "rate": 3.5},
            {"type_": "constant", "rate": 3.5},
        )
    ],
}
AIPERF = {
    "request_throughput": {"unit": "requests/sec", "avg": 13.16},
    "request_latency": {"unit": "ms", "avg": 6550.0, "p50": 5800.0, "std": 1171.0},
    "time_to_first_token": {"unit": "ms", "avg": 1588.8, "p50": 787.5},
    "inter_token_latency": {"unit": "ms", "avg": 51.8},
    "output_token_throughput": {"unit": "tokens/sec", "avg": 1274.6},
    "output_sequence_length": {"unit": "tokens", "avg": 96.85, "std": 0.0},
    "input_sequence_length": {"unit": "tokens", "avg": 550.0, "std": 0.0},
    "request_count": {"unit": "requests", "avg": 200.0},
    "was_cancelled": False,
    "input_config": {
        "endpoint": {"model_names": ["openai/gpt-oss-20b"], "type": "chat", "streaming": True},
        "loadgen": {"concurrency": 100, "request_rate_mode": "concurrency_burst"},
    },
}
AIPERF_CSV = """Metric,avg,min,max,p50,p99,std
Time to First Token (ms),"1,588.80",382.24,4121.09,787.54,4119.33,1189.99
Inter Token Latency (ms),51.76,46.81,56.30,51.98,55.87,1.23
Output Sequence Length (tokens),96.85,91.00,97.00,97.00,97.00,0.00
Input Sequence Length (tokens),550.00,550.00,550.00,550.00,550.00,0.00

Metric,Value
Output Token Throughput (tokens/sec),"1,274.60"
Request Count,200.00
"""


@pytest.fixture
def read(tmp_path):
    """Return a reader of text, or of what is written as JSON; the file's name says nothing."""

    def from_text(content, defaults=DEFAULTS):
        path = tmp_path / "result.dat"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return read_measurements(path, defaults)

    return from_text


def only(readings):
    (measurement,) = readings.measurements
    assert not readings.unsupported
    return measurement


def test_own_table(read):
    first, second = read(OWN, None).measurements
    assert first.observed == {"ttft_s": pytest.approx(0.1505), "tpot_s": pytest.approx(0.012)}
    assert (first.load.kind, first.load.concurrency) == ("closed", 32)
    assert (first.load.prompt_tokens.low, first.load.prompt_tokens.high) == (800, 1000)
    assert (second.setup.hardware, second.setup.model) == ("nvidia-h100-sxm", "llama-3.1-8b")
    assert second.setup.precision == {"weights": "int4", "activations": "bf16", "kv": "bf16"}
    assert second.load.prompt_tokens.high == 512
    assert second.observed == {"tpot_s": pytest.approx(0.0095)}


def test_own_table_takes_from_the_defaults_only_what_a_row_leaves_open(read):
    without = "load,rate_per_s,prompt_low,output_low,tpot_ms,model,tensor\nopen,2.5,10,5,9,llama-3.1-8b,4\n"
    measurement = only(read(without))
    assert measurement.setup.hardware == "nvidia-h100-sxm"
    assert measurement.setup.parallelism["tensor"] == 4
    assert (measurement.load.kind, measurement.load.rate_per_s) == ("open", 2.5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ttft_ms", "tftt_ms", r"line 1: unknown column 'tftt_ms'. Did you mean 'ttft_ms'\?"),
        ("150.5", "quick", r"line 2, column ttft_ms: 'quick' is not a number"),
        ("150.5", "-3", r"line 2, column ttft_ms: -3 is not above zero"),
        ("closed,32", "closed,", r"line 2, column concurrency: closed load needs it"),
        ("closed", "close", r"line 2, column load: unknown load 'close'. Did you mean 'closed'\?"),
        ("800,1000", "800,700", r"line 2, column prompt_high: 700 is below prompt_low"),
        ("fp8,fp8,1", "fp9,fp8,1", r"line 2: unknown number format 'fp9' in weights"),
        ("fp8,fp8,1", "fp8,fp8,1.5", r"line 2, column tensor: '1.5' is not a whole number"),
        ("150.5,12", ",", r"line 2: no figure was measured"),
        ("150.5,12", "150.5,12,9,9", r"line 2: 16 cells, where the header names 14"),
    ],
)
def test_own_table_tells_what_is_wrong_and_where(read, old, new, message):
    with pytest.raises(InputError, match=message):
        read(OWN.replace(old, new, 1), None)


def test_what_nobody_says_is_named_once(read):
    with pytest.raises(InputError, match="neither the file nor an option says: hardware, weights, tensor"):
        read(VLLM, Defaults(engine="vllm"))


def test_vllm_closed_loop(read):
    measurement = only(read(VLLM))
    load = measurement.load
    assert (load.kind, load.concurrency, load.requests) == ("closed", 64, 640)
    assert (load.prompt_tokens.low, load.prompt_tokens.high) == (1024, 1024)
    assert (load.output_tokens.low, load.output_tokens.high) == (256, 256)
    assert measurement.setup.model == "llama-3.1-8b"
    assert measurement.observed == {
        "ttft_s": pytest.approx(0.3105),
        "tpot_s": pytest.approx(0.0231),
        "e2e_s": pytest.approx(6.201),
        "output_tokens_per_s": pytest.approx(2301.1),
        "total_tokens_per_s": pytest.approx(11505.6),
        "requests_per_s": pytest.approx(8.99),
    }


def test_vllm_other_loads(read):
    assert only(read(VLLM | {"max_concurrency": None})).load.kind == "offline"
    rate = only(read(VLLM | {"max_concurrency": None, "request_rate": 4.0})).load
    assert (rate.kind, rate.rate_per_s, rate.concurrency) == ("open", 4.0, 0)
    for change, reason in (
        ({"request_rate": 4.0}, "open loop with a cap on concurrency"),
        ({"request_rate": 4.0, "max_concurrency": None, "burstiness": 0.5}, "arrivals are not Poisson"),
        ({"completed": 600}, "requests failed"),
    ):
        (refused,) = read(VLLM | change).unsupported
        assert refused.reason == reason


def test_vllm_saves_each_length_or_several_runs(read):
    detailed = VLLM | {"num_prompts": 3, "completed": 3, "input_lens": [800, 900, 1000], "output_lens": [50, 50, 50]}
    prompt = only(read(detailed)).load.prompt_tokens
    assert prompt.mean == pytest.approx(900, abs=1)
    assert prompt.high - prompt.low == pytest.approx(283, abs=2)  # 2 √3 × 81.6 tokens
    appended = read(json.dumps(VLLM) + "\n" + json.dumps(VLLM | {"max_concurrency": 8}))
    assert [one.load.concurrency for one in appended.measurements] == [64, 8]
    assert appended.rows == 2


def test_a_model_option_prevails_over_a_path_on_the_server(read):
    local = VLLM | {"model_id": "/mnt/models/v7"}
    assert only(read(local, DEFAULTS.overlaid(Defaults(model="qwen3-8b")))).setup.model == "qwen3-8b"


def test_guidellm(read):
    readings = read(GUIDELLM)
    loads = [(one.load.kind, one.load.concurrency, one.load.rate_per_s) for one in readings.measurements]
    assert loads == [("closed", 1, 0.0), ("closed", 8, 0.0), ("offline", 0, 0.0), ("open", 0, 3.5)]
    assert [one.reason for one in readings.unsupported] == ["load constant is not modelled"]
    first = readings.measurements[0]
    assert first.setup.model == "qwen3-8b"
    assert first.load.requests == 120
    assert (first.load.prompt_tokens.low, first.load.prompt_tokens.high) == (827, 1173)
    assert first.observed == {
        "ttft_s": pytest.approx(0.08),
        "tpot_s": pytest.approx(0.011),
        "e2e_s": pytest.approx(2.3),
        "output_tokens_per_s": pytest.approx(690.0),
    }


def test_aiperf_json(read):
    measurement = only(read(AIPERF))
    assert (measurement.load.kind, measurement.load.concurrency, measurement.load.requests) == ("closed", 100, 200)
    assert measurement.setup.model == "gpt-oss-20b"
    assert measurement.observed["ttft_s"] == pytest.approx(1.5888)
    assert measurement.observed["tpot_s"] == pytest.approx(0.0518)
    assert measurement.observed["output_tokens_per_s"] == pytest.approx(1274.6)
    (cancelled,) = read(AIPERF | {"was_cancelled": True}).unsupported
    assert cancelled.reason == "cancelled before its end"
    seconds = AIPERF | {"time_to_first_token": {"unit": "sec", "avg": 1.5}}
    assert only(read(seconds)).observed["ttft_s"] == pytest.approx(1.5)


def test_genai_perf_keeps_the_load_elsewhere(read):
    config = {"model_names": ["gpt-oss-20b"], "perf_analyzer": {"stimulus": {"concurrency": 16}}}
    assert only(read(AIPERF | {"input_config": config})).load.concurrency == 16


def test_aiperf_csv_needs_the_concurrency(read):
    facts = DEFAULTS.overlaid(Defaults(model="gpt-oss-20b"))
    with pytest.raises(InputError, match="neither the file nor an option says: concurrency"):
        read(AIPERF_CSV, facts)
    measurement = only(read(AIPERF_CSV, facts.overlaid(Defaults(concurrency=100))))
    assert (measurement.load.concurrency, measurement.load.requests) == (100, 200)
    assert measurement.observed == {
        "ttft_s": pytest.approx(1.5888),
        "tpot_s": pytest.approx(0.05176),
        "output_tokens_per_s": pytest.approx(1274.6),
    }


def test_what_no_reader_knows_is_said(read):
    with pytest.raises(InputError, match="no reader recognises these measurements"):
        read("time,place\n1,2\n")
    with pytest.raises(InputError, match="line 1: not JSON"):
        read("{'single': 1}")


def test_a_folder_is_read_whole_and_other_files_are_passed_over(tmp_path):
    with pytest.raises(InputError, match="no file in it is recognised"):
        read_folder(tmp_path)
    (tmp_path / "own.csv").write_text(OWN)
    (tmp_path / "run.json").write_text(json.dumps(VLLM))
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    (tmp_path / "README.md").write_text("# measurements")
    readings = read_folder(tmp_path, DEFAULTS)
    assert [one.source for one in readings.measurements] == ["own", "own", "vllm-bench"]
    assert readings.rows == 3


def test_the_shared_folder(shared_measurements):
    readings = read_folder(shared_measurements("README.md").parent)
    assert readings.rows == 3197 + 1141
    assert {one.source for one in readings.measurements} == {"silicon", "silicon, disaggregated", "published"}
