"""Read a Hugging Face ``config.json`` into a model.

The keys are those of the families' configuration classes in the transformers
library; where a family leaves a key out of its files, its documented default
stands in, and nothing else is guessed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferencesim.documents import read_text, validated
from inferencesim.errors import InputError, did_you_mean
from inferencesim.models import families
from inferencesim.models.blocks import LatentAttention, LinearAttention, MixtureOfExperts, SparseAttention
from inferencesim.models.spec import ModelSpec, NativePrecision

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What `layer_types` may hold.
_WINDOWED_KINDS = frozenset({"sliding_attention", "chunked_attention"})
_LAYER_KINDS = frozenset({"full_attention", "linear_attention"}) | _WINDOWED_KINDS


def from_config(path: str | Path, where: str | None = None) -> ModelSpec:
    """Return the model that a Hugging Face ``config.json`` describes.

    Parameters
    ----------
    path : str or Path
        The file. Its folder gives the id, unless the file itself names the model.
    where : str, optional
        The place that named the file; the path itself when left out.

    Raises
    ------
    InputError
        If the file is missing or no JSON, if the family is unknown, or a key that it needs is missing; the
        key is named.
    """
    path = Path(path)
    text = read_text(path, where or str(path))
    try:
        data = json.loads(text)
    except json.JSONDecodeError as problem:
        place = f"{path}, line {problem.lineno}, column {problem.colno}"
        raise InputError(place, problem.msg, "Give the config.json of a Hugging Face checkpoint.") from None
    if not isinstance(data, dict):
        raise InputError(str(path), "the document is not a JSON object", "Give the config.json of a checkpoint.")
    # Multimodal checkpoints keep the language model in a block of its own, and the quantization outside it.
    inner = data.get("text_config")
    values = {**data, **inner} if isinstance(inner, dict) else data
    family = str(values.get("model_type") or data.get("model_type") or "")
    if family not in families.KNOWN:
        what = f"the model family {family!r} is not supported" if family else "the key 'model_type' is missing"
        remedy = (
            f"{did_you_mean(family, families.KNOWN, limit=len(families.KNOWN))} Any other architecture is described in "
            "a YAML file like those of inferencesim/models/data, and named by its path."
        )
        raise InputError(f"{path}: model_type", what, remedy)
    return _spec(_Config(str(path), family, families.completed(family, values)), _identifier(path, data))


@dataclass(frozen=True)
class _Config:
    """The keys of one config, read with errors that name file and key."""

    path: str
    family: str
    values: Mapping[str, Any]

    def integer(self, *names: str, default: int | None = None, lowest: int = 1) -> int:
        """Return the first of `names` that is given."""
        for name in names:
            value = self.values.get(name)
            if value is not None:
                if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                    where, what = f"{self.path}: {name}", f"{value!r} is not a whole number from {lowest}"
                    raise InputError(where, what)
                return value
        if default is not None:
            return default
        wanted = " or ".join(repr(name) for name in names)
        where, what = f"{self.path}: {names[0]}", f"the key {wanted} is missing"
        raise InputError(where, what, f"A model of type {self.family!r} needs it.")

    def optional(self, name: str) -> int | None:
        """Return `name`, or None where it is absent or null."""
        return None if self.values.get(name) is None else self.integer(name)

    def items(self, name: str) -> list[Any]:
        """Return the list `name`; empty where it is absent or null."""
        value = self.values.get(name) or []
        if not isinstance(value, list):
            where, what = f"{self.path}: {name}", f"{value!r} is not a list"
            raise InputError(where, what)
        return value


def _spec(config: _Config, identifier: str) -> ModelSpec:
    layers = config.integer("num_hidden_layers")
    hidden = config.integer("hidden_size")
    heads = config.integer("num_attention_heads")
    context = config.integer("max_position_embeddings")
    moe = _experts(config, layers)
    mla = _latent_attention(config)
    kinds = _layer_kinds(config, layers)
    window, windowed_layers = _windows(config, layers, context, kinds)
    return validated(
        {
            "schema": 1,
            "id": identifier,
            "name": str(config.values.get("_name_or_path") or identifier),
            "kind": "moe" if moe else "dense",
            # No path here: the same checkpoint has the same digest wherever it lies.
            "source": f"Hugging Face config.json, model_type {config.family}",
            "layers": layers,
            "hidden": hidden,
            "heads": heads,
            "kv_heads": config.integer("num_key_value_heads", default=heads),
            "head_dim": None if mla else _head_dim(config, hidden, heads),
            "output_gate": bool(config.values.get("attn_output_gate", config.family in families.HYBRID)),
            "vocab": config.integer("vocab_size"),
            "max_context": context,
            "tied": _tied(config),
            "dense_ffn": _dense_ffn(config, layers, moe),
            "ffn_matrices": 2 if config.family in families.PLAIN_FFN else 3,
            "moe": moe,
            "mla": mla,
            "linear_attention": _linear_attention(config, layers, kinds),
            "sparse_attention": _sparse_attention(config),
            "sliding_window": window,
            "windowed_layers": windowed_layers,
            "native_precision": _native_precision(config),
        },
        ModelSpec,
        config.path,
    )


def _head_dim(config: _Config, hidden: int, heads: int) -> int:
    given = config.optional("head_dim")
    if given is not None:
        return given
    if hidden % heads:
        where = f"{config.path}: head_dim"
        what = f"the key 'head_dim' is missing, and {hidden} hidden do not divide into {heads} heads"
        raise InputError(where, what, "Add it.")
    return hidden // heads


def _tied(config: _Config) -> bool:
    value = config.values.get("tie_word_embeddings")
    return bool(value) if value is not None else config.family in families.TIED_BY_DEFAULT


def _latent_attention(config: _Config) -> LatentAttention | None:
    if config.optional("kv_lora_rank") is None:
        return None
    return LatentAttention(
        q_lora_rank=config.optional("q_lora_rank"),
        kv_lora_rank=config.integer("kv_lora_rank"),
        nope=config.integer("qk_nope_head_dim"),
        rope=config.integer("qk_rope_head_dim"),
        v=config.integer("v_head_dim"),
    )


def _layer_kinds(config: _Config, layers: int) -> list[Any]:
    """Return `layer_types`, one entry per layer; empty where the file leaves it out."""
    kinds = config.items("layer_types")
    where = f"{config.path}: layer_types"
    for kind in kinds:
        if kind not in _LAYER_KINDS:
            what = f"layers of the kind {kind!r} are not supported"
            raise InputError(where, what, did_you_mean(str(kind), _LAYER_KINDS))
    if kinds and len(kinds) != layers:
        raise InputError(where, f"there are {len(kinds)} entries for {layers} layers", "Give one per layer.")
    return kinds


def _linear_attention(config: _Config, layers: int, kinds: list[Any]) -> LinearAttention | None:
    if kinds:
        linear = kinds.count("linear_attention")
    elif config.family in families.HYBRID:
        linear = layers - layers // config.integer("full_attention_interval", default=4)
    else:
        linear = 0
    if linear == 0:
        return None
    return LinearAttention(
        layers=linear,
        key_heads=config.integer("linear_num_key_heads"),
        value_heads=config.integer("linear_num_value_heads"),
        key_dim=config.integer("linear_key_head_dim"),
        value_dim=config.integer("linear_value_head_dim"),
    )


def _sparse_attention(config: _Config) -> SparseAttention | None:
    if config.family not in families.SPARSE and config.optional("index_topk") is None:
        return None
    every = config.integer("index_topk_freq", default=1)
    if every > 1:
        where, what = f"{config.path}: index_topk_freq", f"{every} layers share an indexer, which is not supported"
        raise InputError(where, what, "Only models with an indexer in every layer can be described.")
    return SparseAttention(
        top_k=config.integer("index_topk"),
        index_heads=config.integer("index_n_heads"),
        index_dim=config.integer("index_head_dim"),
    )


def _experts(config: _Config, layers: int) -> MixtureOfExperts | None:
    if config.family not in families.EXPERTS:
        return None
    experts = config.integer("n_routed_experts", "num_local_experts", "num_experts")
    active = config.integer("num_experts_per_tok", "experts_per_token")
    if active > experts:
        where, what = f"{config.path}: num_experts_per_tok", f"{active} of {experts} experts cannot be active"
        raise InputError(where, what)
    ffn = config.integer("moe_intermediate_size", "intermediate_size")
    with_experts = _expert_layers(config, layers)
    if with_experts == 0:
        what = f"no layer of this {config.family!r} model has experts"
        raise InputError(config.path, what, "Check the keys that say which layers have them.")
    return MixtureOfExperts(
        experts=experts,
        active=active,
        shared=_shared_experts(config, ffn),
        ffn=ffn,
        layers=with_experts,
    )


def _shared_experts(config: _Config, ffn: int) -> int:
    """Count the shared experts of a layer in experts of the width `ffn`."""
    if config.family in families.WIDE_SHARED_EXPERT:
        width = config.integer("shared_expert_intermediate_size", lowest=0)
        if width % ffn:
            where = f"{config.path}: shared_expert_intermediate_size"
            raise InputError(where, f"{width} is not a multiple of the {ffn} of a routed expert")
        return width // ffn
    # Llama 4 has one shared expert in every expert layer, which its config does not mention.
    default = 1 if config.family.startswith("llama4") else 0
    return config.integer("n_shared_experts", "num_shared_experts", default=default, lowest=0)


def _expert_layers(config: _Config, layers: int) -> int:
    """Count the layers with experts, by the rule of each family's modelling code."""
    explicit = config.items("moe_layers") if config.family.startswith("llama4") else []
    if explicit:
        return len(explicit)
    dense = set(config.items("mlp_only_layers"))
    first = config.integer("first_k_dense_replace", default=0, lowest=0)
    every = config.integer("moe_layer_freq", default=1)
    step = config.integer("interleave_moe_layer_step", "decoder_sparse_step", default=1)
    return sum(
        1
        for layer in range(layers)
        if layer not in dense and layer >= first and layer % every == 0 and (layer + 1) % step == 0
    )


def _dense_ffn(config: _Config, layers: int, moe: MixtureOfExperts | None) -> int | None:
    if moe is not None and moe.layers == layers:
        return None
    # In Llama 4, intermediate_size is the width of an expert.
    llama4 = config.family.startswith("llama4")
    return config.integer("intermediate_size_mlp" if llama4 else "intermediate_size")


def _windows(config: _Config, layers: int, context: int, kinds: list[Any]) -> tuple[int | None, int]:
    """Return the window and the number of layers that have it; a window as long as the context is none."""
    window = config.optional("sliding_window") or config.optional("attention_chunk_size")
    if window is None or window >= context:
        return None, 0
    # Qwen files carry a window, which counts only where they switch it on.
    if config.family.startswith("qwen") and not config.values.get("use_sliding_window"):
        return None, 0
    if kinds:
        windowed = sum(1 for kind in kinds if kind in _WINDOWED_KINDS)
    elif config.family in {"gemma2", "gpt_oss"}:
        windowed = (layers + 1) // 2
    elif config.family.startswith(("gemma3", "cohere2")):
        windowed = layers - layers // config.integer("sliding_window_pattern")
    elif config.family.startswith("llama4"):
        # Layers without rotary embedding see everything; the default is every fourth.
        rotary = config.items("no_rope_layers")
        windowed = sum(1 for flag in rotary if flag) if rotary else layers - layers // 4
    elif config.family.startswith("qwen"):
        windowed = max(0, layers - config.integer("max_window_layers", default=layers, lowest=0))
    else:
        windowed = layers
    return (window, windowed) if windowed else (None, 0)


def _native_precision(config: _Config) -> NativePrecision:
    """Read the format of the weights from the quantization block, if there is one."""
    block = config.values.get("quantization_config") or config.values.get("compression_config")
    if not isinstance(block, dict):
        return "bf16"
    text = json.dumps(block).lower()
    method = str(block.get("quant_method", "")).lower()
    if method == "mxfp4" or "nvfp4" in text:
        return "fp4"
    if method == "fp8" or str(block.get("quant_algo", "")).lower() == "fp8":
        return "fp8"
    bits = re.search(r'"(?:num_)?(?:bits|w_bit)":\s*(\d+)', text)
    if bits and int(bits.group(1)) == 4:
        return "fp4" if '"type": "float"' in text else "int4"
    if bits and int(bits.group(1)) == 8:
        return "fp8" if '"type": "float"' in text else "int8"
    where = f"{config.path}: quantization_config"
    raise InputError(where, f"the quantization method {method!r} is not understood", "Describe the model in YAML.")


def _identifier(path: Path, data: Mapping[str, Any]) -> str:
    """Make an id of the checkpoint's own name, its folder or its file."""
    name = str(data.get("_name_or_path") or "").rstrip("/").rsplit("/", 1)[-1]
    name = name or (path.resolve().parent.name if path.name == "config.json" else path.stem)
    return "-".join(re.findall(r"[a-z0-9]+(?:\.[a-z0-9]+)*", name.lower())) or "model"
