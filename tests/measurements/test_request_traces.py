"""Request traces: what is read of them, and two runs of vLLM against the same requests on step tables of their chips.

The figures reached are asserted with a margin of about one point; the targets
of the project are TPOT, E2E and TTFT within 3, 4 and 10 % on one card, and
within 8, 8 and 20 % on two. Errors are of the mean over all requests.
"""

from __future__ import annotations

import json
import shutil

import pytest

from inferencesim.errors import InputError
from inferencesim.experiments.accuracy import compare
from inferencesim.measurements.measurement import Unsupported
from inferencesim.measurements.operators import Link
from inferencesim.measurements.reading import read_folder
from inferencesim.measurements.request_traces import read_request_traces
from inferencesim.results.accuracy import NotReproduced

META = {
    "model": "Qwen/Qwen3-32B",
    "vllm_version": "0.19.0",
    "engine_kwargs": {
        "tensor_parallel_size": 2,
        "data_parallel_size": 1,
        "max_num_seqs": 128,
        "max_num_batched_tokens": 2048,
        "dtype": "bfloat16",
        "kv_cache_dtype": "auto",
    },
    "kv_cache": {"num_gpu_blocks": 101, "block_size": 32, "gpu_memory_utilization": 0.85},
}
#: Microseconds of one layer, whatever is in a step: 100 for matrices, 10 for decode and 20 for prefill attention.
OPERATORS = {
    "dense": "layer,tokens,time_us\nqkv_proj,1,100\nqkv_proj,2048,100\n",
    "per_sequence": "layer,sequences,time_us\nlm_head,1,500\nlm_head,128,500\n",
    "attention": "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n"
    + "".join(f"0,0,{batch},{context},10\n" for batch in (1, 128) for context in (16, 4096))
    + "".join(f"{chunk},{before},0,0,20\n" for chunk in (16, 2048) for before in (0, 4096)),
}
LAYERS, HIDDEN = 64, 5120

#: The second came first; the third gave one token.
REQUESTS = (
    {"input_toks": 30, "output_toks": 5, "queued_ts": 10.0, "first_token_ts": 10.5, "last_token_ts": 12.5},
    {"input_toks": 50, "output_toks": 11, "queued_ts": 9.0, "first_token_ts": 9.25, "last_token_ts": 10.25},
    {"input_toks": 70, "output_toks": 1, "queued_ts": 11.0, "first_token_ts": 11.75, "last_token_ts": 11.75},
)


@pytest.fixture
def measured(tmp_path):
    """Return a writer of a trace with an operator profile beside it, given what differs; it returns their folder."""

    def write(requests=REQUESTS, meta=META, degrees=(2,)):
        trace = tmp_path / "traces" / "RTXPRO6000" / "Qwen3-32B"
        profile = tmp_path / "operator_profiles" / "rtx" / "RTXPRO6000" / "Qwen" / "Qwen3-32B"
        for degree in degrees:
            place = profile / f"tp{degree}"
            place.mkdir(parents=True)
            for name, text in OPERATORS.items():
                (place / f"{name}.csv").write_text(text)
        if degrees:
            (profile / "meta.yaml").write_text("gpu: NVIDIA RTX PRO 6000 Blackwell Server Edition\n")
        trace.mkdir(parents=True)
        (trace / "requests.jsonl").write_text("".join(json.dumps(each) + "\n" for each in requests))
        (trace / "meta.json").write_text(json.dumps(meta))
        return tmp_path

    return write


def only(readings):
    ((one,),) = (part.measurements + part.unsupported for part in readings)
    return one


def refused(folder):
    one = only(read_request_traces(folder))
    assert isinstance(one, Unsupported)
    return one.reason


def test_requests_are_taken_as_the_engine_queued_them(measured):
    trace = only(read_request_traces(measured()))
    assert list(trace.queued_s) == [0.0, 1.0, 2.0]
    assert list(trace.prompt_tokens) == [50, 30, 70]
    assert list(trace.output_tokens) == [11, 5, 1]
    # From the queue on; a request of one token has no TPOT.
    assert trace.observed == pytest.approx({"ttft_s": 0.5, "e2e_s": (2.5 + 1.25 + 0.75) / 3, "tpot_s": (0.5 + 0.1) / 2})


def test_the_setup_is_that_of_the_engine_and_of_the_profile_beside_it(measured):
    folder = measured()
    trace = only(read_request_traces(folder))
    assert (trace.setup.hardware, trace.setup.model) == ("nvidia-rtx-pro-6000-se", "qwen3-32b")
    assert trace.setup.batching == {"max_sequences": 128, "token_budget": 2048, "block_size": 32}
    assert trace.setup.memory_share == 0.85
    assert trace.kv_blocks == 100
    assert trace.profile == folder / "operator_profiles/rtx/RTXPRO6000/Qwen/Qwen3-32B"
    assert trace.link == Link(12.5e9, 5e-6)


def test_a_capacity_that_was_not_recorded_is_left_to_the_chips_memory(measured):
    trace = only(read_request_traces(measured(meta={key: META[key] for key in ("model", "engine_kwargs")})))
    assert trace.kv_blocks is None
    assert trace.setup.memory_share is None


def test_without_an_operator_profile_of_its_tensor_degree_a_trace_says_so(measured):
    folder = measured(degrees=(1,))
    assert "no operator profile of this deployment" in refused(folder)
    shutil.rmtree(folder / "operator_profiles")
    assert "operator_profiles/*/RTXPRO6000/Qwen/Qwen3-32B" in refused(folder)


@pytest.mark.parametrize(
    ("argument", "value", "reason"), [("dtype", "float16", "number formats"), ("data_parallel_size", 2, "replicas")]
)
def test_what_profiles_do_not_cover_is_refused(measured, argument, value, reason):
    assert reason in refused(measured(meta=META | {"engine_kwargs": META["engine_kwargs"] | {argument: value}}))


def test_a_request_without_its_times_is_named(measured):
    folder = measured(requests=[REQUESTS[0], {"input_toks": 3, "output_toks": 4, "queued_ts": 1.0}])
    with pytest.raises(InputError, match=r"requests.jsonl, request 2: has no 'first_token_ts'"):
        read_request_traces(folder)


def test_traces_are_read_with_a_folder_where_they_are_asked_for(measured):
    folder = measured()
    assert read_folder(folder, traces=True).rows == 1
    assert read_folder(folder / "traces" / "RTXPRO6000" / "Qwen3-32B", traces=True).rows == 1
    with pytest.raises(InputError, match="no file in it is recognised"):
        read_folder(folder)


def test_a_request_alone_takes_the_times_of_its_operators_and_no_way_to_the_engine(measured):
    alone = {"input_toks": 40, "output_toks": 5, "queued_ts": 1.0, "first_token_ts": 1.01, "last_token_ts": 1.05}
    row = compare(only(read_request_traces(measured(requests=[alone]))))

    def step_s(tokens, attention_us):
        all_reduces_s = (2 * LAYERS + 1) * (tokens * HIDDEN * 2 / 12.5e9 + 2 * 5e-6)
        return LAYERS * (100e-6 + attention_us * 1e-6) + 500e-6 + all_reduces_s

    prefill_s, decode_s = step_s(40, 20), step_s(1, 10)
    predicted = {figure: pair.predicted for figure, pair in row.figures.items()}
    assert predicted == pytest.approx({"ttft": prefill_s, "tpot": decode_s, "e2e": prefill_s + 4 * decode_s})
    assert (row.source, row.engine, row.load) == ("request trace", "vllm", "replayed")
    assert errors(row) == {figure: pair.predicted / pair.measured - 1.0 for figure, pair in row.figures.items()}


def test_a_run_beyond_its_profile_is_not_reproduced(measured):
    meta = META | {"engine_kwargs": META["engine_kwargs"] | {"max_num_seqs": 256}}
    row = compare(only(read_request_traces(measured(meta=meta))))
    assert isinstance(row, NotReproduced)
    assert "outside the pool's step table" in row.reason


@pytest.fixture(scope="module")
def replayed(shared_measurements):
    """Return the comparison of each shared trace, by its name."""
    parts = read_request_traces(shared_measurements("vllm_request_traces"))
    return {trace.id: compare(trace) for part in parts for trace in part.measurements}


def errors(row):
    assert row.expected_error == "measured step table"
    assert row.step_table
    assert not row.priors_only
    return {figure: pair.error for figure, pair in row.figures.items()}


def test_llama_on_an_rtx_4090_with_the_kv_capacity_it_had(replayed):
    # Without its prefix cache, where a preempted request finds its own blocks again: 0.036, 0.018, 0.032.
    assert errors(replayed["RTX4090/Llama-3.1-8B"]) == pytest.approx(
        {"ttft": -0.002, "tpot": -0.015, "e2e": -0.005}, abs=0.01
    )


def test_qwen_on_two_rtx_pro_6000(replayed):
    assert errors(replayed["RTXPRO6000/Qwen3-32B"]) == pytest.approx(
        {"ttft": 0.032, "tpot": -0.016, "e2e": 0.004}, abs=0.01
    )
