"""What the launch scripts of the nightly benchmark say about a run."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest

from inferencesim.measurements.nightly import Run, settings
from inferencesim.measurements.silicon import read_silicon

DEEPSEEK = Run("deepseek-r1", "sglang", "nvidia-b200-sxm", "fp8", 1024, 1024, 8, 64)
LLAMA = Run("llama-3.1-70b", "tensorrt-llm", "nvidia-h200-sxm", "fp8", 1024, 1024, 4, 4)


def test_sglang_on_blackwell_polls_less_often_where_there_are_many_clients():
    assert settings(replace(DEEPSEEK, clients=8)).admission_steps == 5
    assert settings(replace(DEEPSEEK, clients=16)).admission_steps == 15
    assert settings(replace(DEEPSEEK, hardware="nvidia-h200-sxm")).admission_steps == 0


def test_tensorrt_llm_gathers_prompts_of_short_runs_on_part_of_a_node():
    assert settings(LLAMA).admission_steps == pytest.approx(20, rel=0.05)
    assert settings(replace(LLAMA, tensor=8)).admission_steps == 0
    assert settings(replace(LLAMA, output=8192)).admission_steps == 0


def test_prompts_that_follow_the_first_wait_half_as_long_on_average():
    alone = settings(LLAMA).admission_steps
    crowd = settings(replace(LLAMA, clients=100_000)).admission_steps
    assert alone > settings(replace(LLAMA, clients=64)).admission_steps > crowd
    assert crowd == pytest.approx(10, rel=0.01)


def test_the_row_of_a_chip_count_comes_before_that_of_any():
    assert settings(DEEPSEEK).batching == {"token_budget": 32768, "max_sequences": 128}
    four = settings(replace(DEEPSEEK, tensor=4))
    assert four.batching == {"token_budget": 8192, "max_sequences": 32}
    assert four.memory_share == 0.95


def test_a_budget_that_follows_the_prompt_is_at_least_8192():
    run = replace(DEEPSEEK, engine="tensorrt-llm")
    assert settings(run).batching == {"token_budget": 8192}
    assert settings(replace(run, prompt=8192)).batching == {"token_budget": 8320}


def test_what_a_script_leaves_out_is_not_stated():
    kimi = Run("kimi-k2.5", "vllm", "nvidia-b200-sxm", "int4", 1024, 1024, 8, 16)
    assert settings(kimi).batching == {}
    assert settings(replace(kimi, weights="fp4")).batching == {"max_sequences": 16}
    unknown = settings(replace(kimi, engine="another"))
    assert (unknown.batching, unknown.memory_share, unknown.admission_steps) == ({}, None, 0)


def test_another_model_is_served_as_most_of_its_engine_and_generation():
    assert settings(replace(DEEPSEEK, model="qwen3-235b-a22b")).admission_steps == 15
    assert settings(replace(DEEPSEEK, model="qwen3-235b-a22b", hardware="nvidia-h100-sxm")).admission_steps == 0
    assert settings(replace(LLAMA, model="qwen3-32b")).admission_steps == 0


def test_a_rack_is_not_taken_for_the_chip_its_name_contains():
    assert settings(replace(DEEPSEEK, hardware="nvidia-gb200-nvl72")).memory_share == 0.85


def test_silicon_rows_take_the_settings_of_the_nightly_and_other_benchmarks_none(silicon_of):
    (nightly,) = silicon_of({}).measurements
    assert nightly.setup.batching == {"token_budget": 8192, "max_sequences": 64}
    assert nightly.setup.memory_share == 0.9
    (other,) = silicon_of({"id": "x_c64_tp4_epnone_1"}).measurements
    assert (other.setup.batching, other.setup.memory_share, other.setup.admission_steps) == ({}, None, 0)


def test_glm_on_h200_had_five_requests_per_client(silicon_of):
    glm = {"backend": "sglang", "model_path": "zai-org/GLM-5", "system": "h200_sxm"}
    (measurement,) = silicon_of(glm).measurements
    assert measurement.load.requests == 5 * measurement.load.concurrency


def test_where_prompts_are_gathered_ttft_is_longer_by_that_many_steps(shared_measurements):
    """Llama on B200 and H200 waits on fewer than eight chips only; nothing else changes so abruptly with their number.

    Few clients and a prompt of 1024 tokens, so that prefill and queue are small against the wait.
    """
    readings = read_silicon(shared_measurements("silicon_ttft_tpot.csv"))
    steps = {True: [], False: []}
    for measurement in readings.measurements:
        setup, load = measurement.setup, measurement.load
        if (setup.model, setup.engine) != ("llama-3.1-70b", "tensorrt-llm") or load.concurrency > 8:
            continue
        if load.prompt_tokens.high == 1024 and setup.parallelism["tensor"] == 4:
            lasted = measurement.observed["ttft_s"] / measurement.observed["tpot_s"]
            steps[load.output_tokens.high == 1024].append(lasted)
    assert median(steps[True]) - median(steps[False]) == pytest.approx(settings(LLAMA).admission_steps, abs=4)
