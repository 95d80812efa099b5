"""A Hugging Face config.json becomes the same model as the shipped description of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from checkpoints import LLAMA, architecture, read, write

from inferencesim.errors import InputError
from inferencesim.models.catalog import load_model, model_digest, model_names
from inferencesim.models.huggingface import from_config

if TYPE_CHECKING:
    from pathlib import Path

LATENT = {
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}
DEEPSEEK = {
    "model_type": "deepseek_v3",
    "num_hidden_layers": 61,
    "hidden_size": 7168,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "moe_layer_freq": 1,
    "vocab_size": 129280,
    "max_position_embeddings": 163840,
    "tie_word_embeddings": False,
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]},
    **LATENT,
}
LLAMA4_TEXT = {
    "model_type": "llama4_text",
    "num_hidden_layers": 48,
    "hidden_size": 5120,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 8192,
    "intermediate_size_mlp": 16384,
    "num_experts_per_tok": 1,
    "attention_chunk_size": 8192,
    "vocab_size": 202048,
    "tie_word_embeddings": False,
}
GPT_OSS = {
    "model_type": "gpt_oss",
    "hidden_size": 2880,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "intermediate_size": 2880,
    "num_experts_per_tok": 4,
    "sliding_window": 128,
    "vocab_size": 201088,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "quantization_config": {"quant_method": "mxfp4"},
}
GLM = {
    "model_type": "glm4_moe",
    "num_attention_heads": 96,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_experts_per_tok": 8,
    "n_shared_experts": 1,
    "vocab_size": 151552,
    "tie_word_embeddings": False,
}
INDEXER = {"index_topk": 2048, "index_n_heads": 64, "index_head_dim": 128}
QWEN3_NEXT = {
    "model_type": "qwen3_next",
    "num_hidden_layers": 48,
    "hidden_size": 2048,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "intermediate_size": 5120,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
    "num_experts": 512,
    "num_experts_per_tok": 10,
    "full_attention_interval": 4,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 262144,
    "tie_word_embeddings": False,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama-3.1-8b": LLAMA,
    "qwen2.5-7b": {
        "model_type": "qwen2",
        "num_hidden_layers": 28,
        "hidden_size": 3584,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "intermediate_size": 18944,
        "vocab_size": 152064,
        "max_position_embeddings": 32768,
        "sliding_window": 4096,
        "use_sliding_window": False,
        "max_window_layers": 28,
    },
    "mixtral-8x7b": {
        **LLAMA,
        "model_type": "mixtral",
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "vocab_size": 32000,
        "max_position_embeddings": 32768,
        "sliding_window": None,
    },
    "qwen3-30b-a3b": {
        "model_type": "qwen3_moe",
        "num_hidden_layers": 48,
        "hidden_size": 2048,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "intermediate_size": 6144,
        "moe_intermediate_size": 768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
    },
    "deepseek-v3": DEEPSEEK,
    "kimi-k2": {
        **DEEPSEEK,
        "model_type": "kimi_k2",
        "num_attention_heads": 64,
        "num_key_value_heads": 64,
        "n_routed_experts": 384,
        "first_k_dense_replace": 1,
        "vocab_size": 163840,
        "max_position_embeddings": 131072,
    },
    "deepseek-v3.2": {**DEEPSEEK, **INDEXER, "model_type": "deepseek_v32"},
    "glm-5": {
        **DEEPSEEK,
        **INDEXER,
        "model_type": "glm_moe_dsa",
        "num_hidden_layers": 78,
        "hidden_size": 6144,
        "num_attention_heads": 64,
        "num_key_value_heads": 64,
        "head_dim": 64,
        "intermediate_size": 12288,
        "q_lora_rank": 2048,
        "qk_nope_head_dim": 192,
        "v_head_dim": 256,
        "index_n_heads": 32,
        "vocab_size": 154880,
        "max_position_embeddings": 202752,
        "quantization_config": None,
    },
    "qwen3.5-397b-a17b": {
        "model_type": "qwen3_5_moe",
        "tie_word_embeddings": False,
        "text_config": {
            **QWEN3_NEXT,
            "model_type": "qwen3_5_moe_text",
            "num_hidden_layers": 60,
            "hidden_size": 4096,
            "num_attention_heads": 32,
            "moe_intermediate_size": 1024,
            "shared_expert_intermediate_size": 1024,
            "linear_num_value_heads": 64,
            "layer_types": [*["linear_attention"] * 3, "full_attention"] * 15,
            "attn_output_gate": True,
            "vocab_size": 248320,
        },
        "vision_config": {"depth": 27, "hidden_size": 1152},
    },
    "kimi-k2.5": {
        "model_type": "kimi_k25",
        "text_config": {
            **DEEPSEEK,
            "model_type": "kimi_k2",
            "num_attention_heads": 64,
            "num_key_value_heads": 64,
            "n_routed_experts": 384,
            "first_k_dense_replace": 1,
            "vocab_size": 163840,
            "max_position_embeddings": 262144,
            "quantization_config": {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}}},
            },
        },
        "vision_config": {"vt_num_hidden_layers": 27},
    },
    "gpt-oss-20b": {
        **GPT_OSS,
        "num_hidden_layers": 24,
        "num_local_experts": 32,
        "layer_types": ["sliding_attention", "full_attention"] * 12,
    },
    "gpt-oss-120b": {**GPT_OSS, "num_hidden_layers": 36, "num_local_experts": 128},
    "glm-4.5-air": {
        **GLM,
        "num_hidden_layers": 46,
        "hidden_size": 4096,
        "intermediate_size": 10944,
        "moe_intermediate_size": 1408,
        "n_routed_experts": 128,
        "first_k_dense_replace": 1,
        "max_position_embeddings": 131072,
    },
    "glm-4.6": {
        **GLM,
        "num_hidden_layers": 92,
        "hidden_size": 5120,
        "intermediate_size": 12288,
        "moe_intermediate_size": 1536,
        "n_routed_experts": 160,
        "first_k_dense_replace": 3,
        "max_position_embeddings": 202752,
    },
    "llama-4-scout": {
        "model_type": "llama4",
        "text_config": {
            **LLAMA4_TEXT,
            "num_local_experts": 16,
            "interleave_moe_layer_step": 1,
            "max_position_embeddings": 10485760,
        },
    },
    "llama-4-maverick": {
        "model_type": "llama4",
        "text_config": {
            **LLAMA4_TEXT,
            "num_local_experts": 128,
            "interleave_moe_layer_step": 2,
            "max_position_embeddings": 1048576,
            "no_rope_layers": [1, 1, 1, 0] * 12,
        },
    },
    "gemma-3-27b": {
        "model_type": "gemma3",
        "text_config": {
            "model_type": "gemma3_text",
            "num_hidden_layers": 62,
            "hidden_size": 5376,
            "num_attention_heads": 32,
            "num_key_value_heads": 16,
            "head_dim": 128,
            "intermediate_size": 21504,
            "sliding_window": 1024,
            "vocab_size": 262144,
        },
        "vision_config": {"num_hidden_layers": 27, "hidden_size": 1152},
    },
    "phi-4": {
        "model_type": "phi3",
        "num_hidden_layers": 40,
        "hidden_size": 5120,
        "num_attention_heads": 40,
        "num_key_value_heads": 10,
        "intermediate_size": 17920,
        "vocab_size": 100352,
        "max_position_embeddings": 16384,
        "sliding_window": None,
        "tie_word_embeddings": False,
    },
    "minimax-m2.5": {
        "model_type": "minimax_m2",
        "num_hidden_layers": 62,
        "hidden_size": 3072,
        "num_attention_heads": 48,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 1536,
        "num_local_experts": 256,
        "num_experts_per_tok": 8,
        "vocab_size": 200064,
        "max_position_embeddings": 196608,
        "tie_word_embeddings": False,
        "quantization_config": {"quant_method": "fp8"},
    },
}


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_config_becomes_the_shipped_architecture(tmp_path: Path, name: str) -> None:
    assert architecture(read(tmp_path, CONFIGS[name])) == architecture(load_model(name, "here"))


def test_a_family_that_is_not_read_is_told_with_all_that_are_and_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, {**LLAMA, "model_type": "xlstm"})
    remedy = str(refused.value.remedy)
    assert remedy.startswith("Known: cohere, cohere2, deepseek_v2, ")
    assert "starcoder2. Any other architecture is described in a YAML file" in remedy
    assert "…" not in remedy


@pytest.mark.parametrize(
    "key",
    [
        "num_hidden_layers",
        "hidden_size",
        "num_attention_heads",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
    ],
)
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    config = {name: value for name, value in LLAMA.items() if name != key}
    with pytest.raises(InputError, match=rf"config\.json: {key}: the key '{key}' is missing"):
        read(tmp_path, config)


def test_one_of_several_names_of_a_key_is_enough_and_none_names_all(tmp_path: Path) -> None:
    config = {name: value for name, value in DEEPSEEK.items() if name != "n_routed_experts"}
    assert read(tmp_path, {**config, "num_local_experts": 256}).moe == load_model("deepseek-v3", "here").moe
    with pytest.raises(InputError, match="'n_routed_experts' or 'num_local_experts' or 'num_experts' is missing"):
        read(tmp_path, config)


def test_defaults_of_old_files(tmp_path: Path) -> None:
    config = {
        name: value for name, value in LLAMA.items() if name not in ("num_key_value_heads", "tie_word_embeddings")
    }
    model = read(tmp_path, config)
    assert model.kv_heads == model.heads
    assert model.head_dim == 128
    assert not model.tied


def test_a_head_that_does_not_divide_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json: head_dim: .*4096 hidden do not divide into 24 heads"):
        read(tmp_path, {**LLAMA, "num_attention_heads": 24})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"model_type": "llamma"},
            r"model_type: the model family 'llamma' is not supported\. Did you mean 'llama'",
        ),
        ({"model_type": None}, "the key 'model_type' is missing"),
        ({"hidden_size": "4096"}, r"hidden_size: '4096' is not a whole number"),
        ({"num_attention_heads": 0}, r"num_attention_heads: 0 is not a whole number from 1"),
        ({"num_key_value_heads": 5}, "32 heads cannot share 5 kv_heads evenly"),
        (
            {"quantization_config": {"quant_method": "magic"}},
            "quantization_config: .*'magic' is not understood",
        ),
        ({"sliding_window": 4096, "layer_types": "all"}, "layer_types: 'all' is not a list"),
    ],
)
def test_what_cannot_be_understood_is_refused(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        read(tmp_path, {**LLAMA, **changes})


def test_experts_must_make_sense(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="300 of 256 experts cannot be active"):
        read(tmp_path, {**DEEPSEEK, "num_experts_per_tok": 300})
    with pytest.raises(InputError, match="no layer of this 'deepseek_v3' model has experts"):
        read(tmp_path, {**DEEPSEEK, "first_k_dense_replace": 61})


def test_layers_with_experts_follow_the_rule_of_the_family(tmp_path: Path) -> None:
    qwen = CONFIGS["qwen3-30b-a3b"]
    assert read(tmp_path, {**qwen, "decoder_sparse_step": 2}).moe_layers == 24
    assert read(tmp_path, {**qwen, "mlp_only_layers": [0, 1, 47]}).moe_layers == 45
    maverick = CONFIGS["llama-4-maverick"]["text_config"]
    assert read(tmp_path, {**maverick, "moe_layers": [1, 3, 5]}).moe_layers == 3


def test_windows(tmp_path: Path) -> None:
    mistral = {**LLAMA, "model_type": "mistral", "sliding_window": 4096}
    assert read(tmp_path, mistral).windowed_layers == 32
    assert read(tmp_path, {**mistral, "sliding_window": 131072}).sliding_window is None
    qwen = {**CONFIGS["qwen2.5-7b"], "use_sliding_window": True, "max_window_layers": 20}
    assert read(tmp_path, qwen).windowed_layers == 8
    assert read(tmp_path, {**qwen, "use_sliding_window": None}).windowed_layers == 0


def test_qwen3_next_has_the_published_80_billion_parameters_of_which_3_are_active(tmp_path: Path) -> None:
    model = read(tmp_path, QWEN3_NEXT)
    assert model.total_parameters / 1e9 == pytest.approx(80, rel=0.01)
    # Published without the input embedding; 3.1 to 3.6 by what is counted.
    assert (model.active_parameters - model.embedding_parameters) / 1e9 == pytest.approx(3.3, abs=0.3)
    assert (model.linear_layers, model.full_layers) == (36, 12)
    assert model.output_gate


def test_linear_layers_are_told_by_kind_or_by_interval(tmp_path: Path) -> None:
    without = {name: value for name, value in QWEN3_NEXT.items() if name != "full_attention_interval"}
    assert read(tmp_path, without).linear_layers == 36
    assert read(tmp_path, {**QWEN3_NEXT, "full_attention_interval": 6}).linear_layers == 40
    kinds = ["linear_attention"] * 47 + ["full_attention"]
    assert read(tmp_path, {**QWEN3_NEXT, "layer_types": kinds}).linear_layers == 47
    assert read(tmp_path, {**QWEN3_NEXT, "layer_types": ["full_attention"] * 48}).linear_attention is None


def test_the_dense_models_of_a_hybrid_family(tmp_path: Path) -> None:
    model = read(tmp_path, {**QWEN3_NEXT, "model_type": "qwen3_5_text", "attn_output_gate": False})
    assert (model.moe, model.dense_ffn, model.linear_layers) == (None, 5120, 36)
    assert not model.output_gate


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({**LLAMA, "layer_types": ["mamba"] * 32}, r"layer_types: layers of the kind 'mamba' are not supported"),
        ({**LLAMA, "layer_types": ["full_attention"]}, "layer_types: there are 1 entries for 32 layers"),
        ({**QWEN3_NEXT, "linear_num_key_heads": None}, "linear_num_key_heads: the key 'linear_num_key_heads' is"),
        ({**QWEN3_NEXT, "shared_expert_intermediate_size": 600}, "600 is not a multiple of the 512"),
        ({**DEEPSEEK, "model_type": "deepseek_v32"}, "index_topk: the key 'index_topk' is missing"),
        ({**DEEPSEEK, **INDEXER, "index_n_heads": None}, "index_n_heads: the key 'index_n_heads' is missing"),
        ({**DEEPSEEK, **INDEXER, "index_topk_freq": 4}, "index_topk_freq: 4 layers share an indexer"),
    ],
)
def test_layers_that_cannot_be_described_are_refused(tmp_path: Path, config: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        read(tmp_path, config)


def test_a_wider_shared_expert_counts_as_several(tmp_path: Path) -> None:
    def shared(width: int) -> int:
        moe = read(tmp_path, {**QWEN3_NEXT, "shared_expert_intermediate_size": width}).moe
        assert moe is not None
        return moe.shared

    assert [shared(0), shared(512), shared(1024)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("quantization", "precision"),
    [
        (None, "bf16"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "fp4"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "awq", "bits": 4}, "int4"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}},
            },
            "fp8",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}}},
            },
            "int4",
        ),
    ],
)
def test_the_format_of_the_weights(tmp_path: Path, quantization: object, precision: str) -> None:
    assert read(tmp_path, {**LLAMA, "quantization_config": quantization}).native_precision == precision


def test_the_id_comes_from_the_checkpoint_or_its_folder(tmp_path: Path) -> None:
    assert from_config(write(tmp_path, LLAMA, "My_Llama 3.1--8B")).id == "my-llama-3.1-8b"
    assert from_config(write(tmp_path, {**LLAMA, "_name_or_path": "meta-llama/Llama-3.1-8B"})).id == "llama-3.1-8b"


def test_the_digest_does_not_depend_on_where_the_file_lies(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = load_model(write(tmp_path / "a", LLAMA), "here")
    second = load_model(write(tmp_path / "b", LLAMA), "here")
    assert model_digest(first) == model_digest(second)
    assert model_digest(first) != model_digest(load_model(write(tmp_path / "b", {**LLAMA, "vocab_size": 1}), "here"))


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"{", "line 1, column 2"), (b"[]", "not a JSON object"), (b"\xff\xfe", "not UTF-8 text")],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match=told):
        from_config(file)


def test_models_are_found_by_id_yaml_or_config(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"^pools\[1\]\.model: unknown model 'llama-8b'\. Did you mean 'llama-3\.1-8b'"
    ):
        load_model("llama-8b", "pools[1].model")
    with pytest.raises(InputError, match=r"^pools\[1\]\.model: there is no file 'nowhere\.json'"):
        load_model("nowhere.json", "pools[1].model")
    file = tmp_path / "mine.yaml"
    file.write_text("schema: 1\nid: mine\nlayer: 3\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.yaml: layer: unknown key 'layer'\. Did you mean 'layers'\?"):
        load_model(file, "pools[1].model")
    assert len({model_digest(load_model(name, "here")) for name in model_names()}) == len(model_names())
