"""What other people's names mean here, and which formats a few words stand for."""

from __future__ import annotations

import pytest

from inferencesim.measurements.names import engine_id, hardware_id, model_id
from inferencesim.measurements.precision import served_precision


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("meta-llama/Meta-Llama-3.1-405B-Instruct-FP8", "llama-3.1-405b"),
        ("Llama-3.3-70B", "llama-3.1-70b"),
        ("llama3.1-8b", "llama-3.1-8b"),
        ("Mixtral 8x7B", "mixtral-8x7b"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b"),
        ("Qwen/Qwen3-8B", "qwen3-8b"),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", "qwen3-30b-a3b"),
        ("nvidia/DeepSeek-R1-0528-FP4-v2", "deepseek-r1"),
        ("DEEPSEEK-AI/DEEPSEEK-V3", "deepseek-v3"),
        ("openai/gpt-oss-120b", "gpt-oss-120b"),
        ("Llama-4-Scout-17B-16E", "llama-4-scout"),
        ("nobody/Nothing-9B", None),
        ("", None),
    ],
)
def test_models(name, expected):
    assert model_id(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("h100_sxm", "nvidia-h100-sxm"),
        ("NVIDIA H200 SXM 141GB", "nvidia-h200-sxm"),
        ("NVIDIA GB200 (186-192GB)", "nvidia-gb200-nvl72"),
        ("NVIDIA B200 SXM 180GB", "nvidia-b200-sxm"),
        ("AMD Instinct MI300X 192GB", "amd-mi300x"),
        ("mi355x", "amd-mi355x"),
        ("NVIDIA L40S 48GB", "nvidia-l40s"),
        ("nvidia-h100-sxm", "nvidia-h100-sxm"),
        ("Abacus", None),
        ("profiles/h100-at-half-power.yaml", None),
    ],
)
def test_hardware(name, expected):
    assert hardware_id(name) == expected


def test_engines():
    names = ("vllm", "vLLM TPU v0.12.0", "trtllm", "NVIDIA NIM 1.8.0 (TensorRT-LLM)", "SGLang", "llama.cpp CUDA")
    assert [engine_id(name) for name in names] == ["vllm", "vllm", "tensorrt-llm", "tensorrt-llm", "sglang", "generic"]


def test_four_bit_checkpoints_spare_what_their_makers_spared():
    kimi = served_precision("int4", "kimi-k2", "nvidia-h200-sxm", "vllm")
    assert kimi == {
        "weights": "bf16",
        "activations": "bf16",
        "expert_weights": "int4",
        "expert_activations": "bf16",
        "kv": "bf16",
    }
    deepseek = served_precision("fp4", "deepseek-r1", "nvidia-b200-sxm", "tensorrt-llm")
    assert (deepseek["weights"], deepseek["expert_weights"], deepseek["kv"]) == ("fp8", "fp4", "fp8")
    assert served_precision("fp4", "llama-3.1-70b", "nvidia-b200-sxm", "vllm")["weights"] == "fp4"


def test_gpt_oss_is_the_same_whatever_a_row_calls_it():
    stated = [served_precision(name, "gpt-oss-120b", "nvidia-b200-sxm", "vllm") for name in ("fp4", "fp8", "bf16")]
    assert {formats["expert_weights"] for formats in stated} == {"fp4"}
    assert {formats["weights"] for formats in stated} == {"bf16"}
    hopper = served_precision("fp4", "gpt-oss-120b", "nvidia-h100-sxm", "vllm")
    assert (stated[0]["expert_activations"], hopper["expert_activations"]) == ("fp8", "bf16")
    assert (stated[0]["kv"], hopper["kv"]) == ("fp8", "bf16")


def test_a_stated_cache_format_prevails_and_sixteen_bit_weights_keep_it():
    assert served_precision("fp8", "llama-3.1-70b", "nvidia-h200-sxm", "vllm", kv="bf16")["kv"] == "bf16"
    assert served_precision("bf16", "llama-3.1-70b", "nvidia-h200-sxm", "tensorrt-llm")["kv"] == "bf16"
