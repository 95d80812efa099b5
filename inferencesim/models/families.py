"""What the families of Hugging Face configs are, and what their files leave out.

Family is what a ``config.json`` calls ``model_type``. Defaults are those of the
family's configuration class in the transformers library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DENSE = frozenset(
    {
        "cohere",
        "cohere2",
        "falcon",
        "gemma",
        "gemma2",
        "gemma3",
        "gemma3_text",
        "gpt2",
        "gpt_neox",
        "granite",
        "llama",
        "mistral",
        "nemotron",
        "olmo",
        "olmo2",
        "phi3",
        "qwen2",
        "qwen3",
        "qwen3_5",
        "qwen3_5_text",
        "starcoder2",
    }
)
EXPERTS = frozenset(
    {
        "deepseek_v2",
        "deepseek_v3",
        "deepseek_v32",
        "glm4_moe",
        "glm_moe_dsa",
        "gpt_oss",
        "kimi_k2",
        "kimi_k25",
        "llama4",
        "llama4_text",
        "minimax_m2",
        "mixtral",
        "qwen2_moe",
        "qwen3_5_moe",
        "qwen3_5_moe_text",
        "qwen3_moe",
        "qwen3_next",
    }
)
KNOWN = DENSE | EXPERTS

#: Linear attention with a layer of full attention after every few; its output is gated.
HYBRID = frozenset({"qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"})
#: Attention that reads only the tokens an indexer picks.
SPARSE = frozenset({"deepseek_v32", "glm_moe_dsa"})
#: One shared expert, whose width is a key of its own.
WIDE_SHARED_EXPERT = HYBRID | {"qwen2_moe"}
#: Feed-forward networks of two matrices, without a gate.
PLAIN_FFN = frozenset({"falcon", "gpt2", "gpt_neox", "nemotron", "starcoder2"})
#: The LM head is tied unless the file says otherwise.
TIED_BY_DEFAULT = frozenset(
    {"cohere", "cohere2", "falcon", "gemma", "gemma2", "gemma3", "gemma3_text", "gpt2", "starcoder2"}
)

_GEMMA3: Mapping[str, Any] = {
    "vocab_size": 262208,
    "max_position_embeddings": 131072,
    "head_dim": 256,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "sliding_window_pattern": 6,
}
_LEFT_OUT: Mapping[str, Mapping[str, Any]] = {
    "cohere2": {"sliding_window_pattern": 4},
    "falcon": {"max_position_embeddings": 2048},
    "gemma": {"head_dim": 256},
    "gemma2": {"head_dim": 256, "sliding_window": 4096},
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
}
#: Older names of keys, by family.
_RENAMED: Mapping[str, Mapping[str, str]] = {
    "falcon": {
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_head_kv": "num_kv_heads",
        "ffn_hidden_size": "intermediate_size",
    },
    "gpt2": {
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_embd": "hidden_size",
        "n_inner": "intermediate_size",
        "n_positions": "max_position_embeddings",
    },
    # Trained on shorter contexts than it takes.
    "cohere": {"model_max_length": "max_position_embeddings"},
    "cohere2": {"model_max_length": "max_position_embeddings"},
}
#: Inner width of a feed-forward network in widths of the model, where a file may leave it out.
_FFN_WIDTHS: Mapping[str, int] = {"falcon": 4, "gpt2": 4}


def completed(family: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a config by their usual names, with what the family's files leave out."""
    complete = {**_LEFT_OUT.get(family, {}), **values}
    for old, usual in _RENAMED.get(family, {}).items():
        if values.get(old) is not None:
            complete[usual] = values[old]
    width = complete.get("hidden_size")
    if family in _FFN_WIDTHS and complete.get("intermediate_size") is None and isinstance(width, int):
        complete["intermediate_size"] = _FFN_WIDTHS[family] * width
    if family == "falcon":
        complete["num_key_value_heads"] = _key_value_heads_of_falcon(complete)
    return complete


def _key_value_heads_of_falcon(values: Mapping[str, Any]) -> Any:
    """Return the key-value heads: one with ``multi_query``, which the newer decoder does not read."""
    if values.get("multi_query", True) and not values.get("new_decoder_architecture"):
        return 1
    return values.get("num_kv_heads") or values.get("num_attention_heads")
