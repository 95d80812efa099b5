"""Number formats of a serving benchmark, from the few words in which a row states them.

A row says "fp4"; which layers of the checkpoint that means, and how the KV cache
was stored, follows from the model, the engine and the chip:

* **gpt-oss** ships MXFP4 experts; all else stays bf16. On Blackwell the experts'
  activations are MXFP8 (``VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8`` and TensorRT-LLM's
  TRTLLM backend in the InferenceX scripts), elsewhere bf16 (Marlin, Triton).
* **DeepSeek-R1/V3, fp4**: nvidia/DeepSeek-R1-0528-FP4-v2 quantises the FFNs and, of
  the attention, the output projection (its model card). That is 117 of the 187 M
  attention weights of a layer at 4.5 bits, the rest at 16: 8.8 bits on average,
  which ``fp8`` stands for.
* **Other MoE checkpoints, fp4 or int4**: the experts only (Kimi K2 and later are int4
  by quantisation-aware training; nvidia's NVFP4 of Kimi, GLM, MiniMax and Qwen3.5
  keep attention in bf16). Qwen3 MoE and dense models are quantised throughout.
* int4 and int8 are weight formats: activations stay bf16.

KV cache, after the launch scripts of the public nightly benchmark
(SemiAnalysisAI/InferenceX, ``benchmarks/``), for quantised weights; else bf16:

* TensorRT-LLM: fp8, but bf16 for gpt-oss on Hopper (``dtype: auto`` there).
* SGLang: fp8 on Blackwell and for Qwen3.5 everywhere, bf16 otherwise.
* vLLM: fp8 for Llama, and for gpt-oss on Blackwell; bf16 otherwise (``auto``).
"""

from __future__ import annotations

#: Parts of the hardware ids of one generation.
BLACKWELL = ("b200", "b300", "gb200", "gb300", "gb10", "dgx-spark", "rtx-pro-6000", "rtx-5090", "thor")
#: Models whose four-bit checkpoints quantise the experts and leave attention alone.
_EXPERTS_ONLY = ("deepseek", "kimi", "glm", "minimax", "qwen3.5")
_FOUR_BITS = ("fp4", "int4")


def served_precision(weights: str, model: str, hardware: str, engine: str, kv: str | None = None) -> dict[str, str]:
    """Return ``weights``, ``activations``, ``kv`` and, where they differ, those of the experts.

    Parameters
    ----------
    weights : str
        Format of the checkpoint as stated: ``bf16``, ``fp8``, ``fp4``, ``int8`` or ``int4``.
    model, hardware, engine : str
        This project's ids.
    kv : str, optional
        Format of the KV cache, where it is stated.
    """
    blackwell = any(name in hardware for name in BLACKWELL)
    formats = {"weights": weights, "activations": _activations(weights)}
    if model.startswith("gpt-oss"):
        formats = {"weights": "bf16", "activations": "bf16", "expert_weights": "fp4"}
        formats["expert_activations"] = "fp8" if blackwell and engine != "generic" else "bf16"
    elif weights in _FOUR_BITS and model.startswith(_EXPERTS_ONLY):
        rest = "fp8" if model.startswith("deepseek") and weights == "fp4" else "bf16"
        formats = {"weights": rest, "activations": rest}
        formats |= {"expert_weights": weights, "expert_activations": _activations(weights)}
    return {**formats, "kv": kv or _kv(weights, model, engine, blackwell)}


def _activations(weights: str) -> str:
    return weights if weights in ("fp8", "fp4") else "bf16"


def _kv(weights: str, model: str, engine: str, blackwell: bool) -> str:
    eight_bits = {
        "tensorrt-llm": blackwell or not model.startswith("gpt-oss"),
        "sglang": blackwell or model.startswith("qwen3.5"),
        "vllm": model.startswith("llama") or (blackwell and model.startswith("gpt-oss")),
    }
    return "fp8" if weights in ("fp8", "fp4") and eight_bits.get(engine, False) else "bf16"
