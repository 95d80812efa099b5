"""Names of chips, models and engines as measurements write them, and this project's ids for them."""

from __future__ import annotations

import functools
import re

from inferencesim.hardware.catalog import profile_names
from inferencesim.models.catalog import model_names

#: What a name must contain, in lower case, and the profile it means; the first that fits wins: longer ones first.
_HARDWARE: tuple[tuple[str, str], ...] = (
    ("rubin", "nvidia-rubin-nvl72"),
    ("gb300", "nvidia-gb300-nvl72"),
    ("gb200", "nvidia-gb200-nvl72"),
    ("gh200", "nvidia-gh200"),
    ("b300", "nvidia-b300-sxm"),
    ("b200", "nvidia-b200-sxm"),
    ("h200", "nvidia-h200-sxm"),
    ("h100 pcie", "nvidia-h100-pcie"),
    ("h100_pcie", "nvidia-h100-pcie"),
    ("h100", "nvidia-h100-sxm"),
    ("h800", "nvidia-h800-sxm"),
    ("h20", "nvidia-h20"),
    ("rtx a6000", "nvidia-rtx-a6000"),
    ("rtx 6000 ada", "nvidia-rtx-6000-ada"),
    ("rtx pro 6000", "nvidia-rtx-pro-6000-se"),
    ("rtx_pro_6000", "nvidia-rtx-pro-6000-se"),
    ("rtx6000pro", "nvidia-rtx-pro-6000-se"),
    ("rtx 5090", "nvidia-rtx-5090"),
    ("rtx 4090", "nvidia-rtx-4090"),
    ("rtx 3090", "nvidia-rtx-3090"),
    ("a100", "nvidia-a100-80gb-sxm"),
    ("l40s", "nvidia-l40s"),
    ("l4", "nvidia-l4"),
    ("dgx spark", "nvidia-dgx-spark-gb10"),
    ("gb10", "nvidia-dgx-spark-gb10"),
    ("thor", "nvidia-jetson-thor-t5000"),
    ("mi300x", "amd-mi300x"),
    ("mi325x", "amd-mi325x"),
    ("mi350x", "amd-mi350x"),
    ("mi355x", "amd-mi355x"),
    ("strix halo", "amd-ryzen-ai-max-395"),
    ("epyc 9965", "amd-epyc-9965"),
    ("gaudi 3", "intel-gaudi3"),
    ("gaudi3", "intel-gaudi3"),
    ("gaudi 2", "intel-gaudi2"),
    ("xeon 6980p", "intel-xeon-6980p"),
    ("arc pro b60", "intel-arc-pro-b60"),
    ("inferentia2", "aws-inferentia2"),
    ("trainium1", "aws-trainium1"),
    ("trainium2", "aws-trainium2"),
    ("trainium3", "aws-trainium3"),
    ("tpu v5e", "google-tpu-v5e"),
    ("tpu v6e", "google-tpu-v6e"),
    ("tpu7x", "google-tpu-v7x"),
    ("tpu v7x", "google-tpu-v7x"),
    ("m1 max", "apple-m1-max"),
    ("m2 ultra", "apple-m2-ultra"),
    ("m3 max", "apple-m3-max"),
    ("m3 ultra", "apple-m3-ultra"),
    ("m4 max", "apple-m4-max"),
    ("cs-3", "cerebras-cs3"),
    ("groq", "groq-lpu-v1"),
    ("sn40l", "sambanova-sn40l"),
    ("snapdragon x elite", "qualcomm-snapdragon-x-elite"),
)

_ENGINES: tuple[tuple[str, str], ...] = (
    ("vllm", "vllm"),
    ("sglang", "sglang"),
    ("trtllm", "tensorrt-llm"),
    ("trt-llm", "tensorrt-llm"),
    ("tensorrt", "tensorrt-llm"),
)

#: Parts of a checkpoint's name that say how it was tuned, stored or dated, not what its layers are.
_SUFFIX = re.compile(
    r"-(instruct|chat|it|hf|thinking|base|class|kv|block|dynamic|quantized|nvfp4|mxfp4|fp4|fp8|bf16|int4|int8|awq|gptq"
    r"|w4a16|w8a8|v2|v0\.1|0528|0324|2507|0905|2512|671b|16e|128e)$"
)

#: Models with the layers of another: only the weights' values differ, which costs no time.
_SAME_LAYERS: dict[str, str] = {
    "llama-3-8b": "llama-3.1-8b",
    "llama-3-70b": "llama-3.1-70b",
    "llama-3.3-70b": "llama-3.1-70b",
    "deepseek-r1-distill-llama-8b": "llama-3.1-8b",
    "deepseek-r1-distill-llama-70b": "llama-3.1-70b",
    "deepseek-r1-distill-14b": "deepseek-r1-distill-qwen-14b",
    "deepseek-v3.1": "deepseek-v3",
    "minimax-m2": "minimax-m2.5",
    "minimax-m2.1": "minimax-m2.5",
    "glm-4.7": "glm-4.6",
    "qwen2.5-coder-7b": "qwen2.5-7b",
    "qwen3-coder-30b-a3b": "qwen3-30b-a3b",
    "llama-4-scout-17b": "llama-4-scout",
    "llama-4-maverick-17b": "llama-4-maverick",
}


@functools.cache
def hardware_id(name: str) -> str | None:
    """Return the profile that a chip's or system's name means; nothing if it means none that is shipped.

    The path of a profile means that profile, whatever its file is called.
    """
    text = name.lower()
    if text.endswith((".yaml", ".yml")):
        return None
    if text in profile_names():
        return text
    found = next((profile for part, profile in _HARDWARE if part in text), None)
    return found if found in profile_names() else None


@functools.cache
def model_id(name: str) -> str | None:
    """Return the model that a checkpoint's name means; nothing if it means none that is shipped.

    The organisation before the last slash, letter case, number format, date and
    tuning are ignored: ``nvidia/Qwen3-32B-NVFP4`` is ``qwen3-32b``.
    """
    known = model_names()
    text = re.sub(r"\(.*\)", "", name.rsplit("/", 1)[-1]).strip().lower().replace(" ", "-").replace("_", "-")
    text = re.sub(r"^(meta-)?llama-?(?=\d)", "llama-", text)
    while text not in known:
        if text in _SAME_LAYERS and _SAME_LAYERS[text] in known:
            return _SAME_LAYERS[text]
        shorter = _SUFFIX.sub("", text)
        if shorter == text:
            return None
        text = shorter
    return text


def engine_id(name: str) -> str:
    """Return the engine that a framework's name means; ``generic`` for all but the three that are modelled."""
    text = name.lower()
    return next((engine for part, engine in _ENGINES if part in text), "generic")
