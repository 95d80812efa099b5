"""Parameters, FLOPs and cache elements follow from the architecture, and agree with what was published."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from inferencesim.models.catalog import load_model, model_names
from inferencesim.models.spec import ModelSpec

#: id → total and active parameters in 10⁹, bytes cached per token in 16 bit.
PUBLISHED = {
    "bge-large-en-v1.5": (0.3332, 0.3332, 0),  # 335 M with its table of positions and its pooler
    "bge-reranker-v2-m3": (0.558, 0.558, 0),  # 568 M, likewise
    "deepseek-r1": (671.03, 37.55, 70272),
    "deepseek-v3": (671.03, 37.55, 70272),
    "deepseek-r1-distill-qwen-14b": (14.77, 14.77, 196608),
    "deepseek-v3.2": (671.88, 38.4, 85888),
    "flux.1-dev": (11.85, 6.455, 0),
    "gemma-3-27b": (27.01, 27.01, 507904),
    "glm-4.5-air": (106.85, 13.42, 188416),
    "glm-4.6": (352.8, 33.63, 376832),
    "glm-5": (744.0, 41.78, 109824),
    "gpt-oss-120b": (116.79, 5.71, 73728),
    "gpt-oss-20b": (20.91, 4.19, 49152),
    "gte-qwen2-7b": (7.61, 7.61, 57344),
    "kimi-k2": (1026.41, 32.86, 70272),
    "kimi-k2.5": (1026.41, 32.86, 70272),
    "llama-2-13b": (13.02, 13.02, 819200),
    "llama-2-70b": (68.98, 68.98, 327680),
    "llama-2-7b": (6.74, 6.74, 524288),
    "llama-3.1-405b": (405.85, 405.85, 516096),
    "llama-3.1-70b": (70.55, 70.55, 327680),
    "llama-3.1-8b": (8.03, 8.03, 131072),
    "llama-3.2-1b": (1.236, 1.236, 32768),
    "llama-3.2-3b": (3.213, 3.213, 114688),
    "llama-4-maverick": (400.71, 17.18, 196608),
    "llama-4-scout": (107.77, 17.17, 196608),
    "llama-guard-3-8b": (8.03, 8.03, 131072),
    "minimax-m2.5": (228.69, 11.03, 253952),
    "mixtral-8x7b": (46.7, 12.88, 131072),
    "moshi-7b": (7.69, 6.839, 524288),
    "phi-4": (14.66, 14.66, 204800),
    "qwen2.5-vl-7b": (8.29, 7.615, 57344),
    "qwen2.5-7b": (7.62, 7.62, 57344),
    "qwen3-0.6b": (0.596, 0.596, 114688),
    "qwen3-235b-a22b": (235.09, 22.19, 192512),
    "qwen3-coder-480b-a35b": (480.15, 35.47, 253952),
    "qwen3-30b-a3b": (30.53, 3.35, 98304),
    "qwen3-32b": (32.76, 32.76, 262144),
    "qwen3-8b": (8.19, 8.19, 147456),
    "whisper-large-v3": (1.543, 0.8, 163840),
    "qwen3.5-397b-a17b": (397.0, 17.3, 30720),
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_totals_agree_with_the_published_ones(name: str) -> None:
    total, active, kv_bytes = PUBLISHED[name]
    model = load_model(name, "here")
    assert model.total_parameters / 1e9 == pytest.approx(total, rel=0.005)
    assert model.active_parameters / 1e9 == pytest.approx(active, rel=0.005)
    assert 2 * model.kv_elements_per_token == kv_bytes


def test_every_shipped_model_is_checked_above() -> None:
    assert set(PUBLISHED) == set(model_names())


@pytest.fixture(params=model_names())
def model(request: pytest.FixtureRequest) -> ModelSpec:
    return load_model(request.param, "here")


def test_only_experts_and_what_is_beside_the_layers_make_fewer_parameters_active_than_there_are(
    model: ModelSpec,
) -> None:
    beside = model.other_parameters + (model.encoder.parameters if model.encoder else 0)
    assert 0 < model.active_parameters <= model.total_parameters - beside
    assert (model.active_parameters < model.total_parameters - beside) == (model.kind == "moe")


def test_linear_flops_are_twice_the_active_parameters_outside_embedding_and_head(model: ModelSpec) -> None:
    outside = model.embedding_parameters * (1 if model.tied else 2)
    assert model.linear_flops_per_token == 2 * (model.active_parameters - outside)
    assert model.head_flops_per_token == (2 * model.vocab * model.hidden if model.generates else 0)


def test_the_cache_grows_with_context_and_a_window_only_saves(model: ModelSpec) -> None:
    lengths = [0, 1, 100, 5_000, 50_000]
    elements = [model.kv_elements(length) for length in lengths]
    assert elements[0] == 0
    assert elements[1] == model.kv_elements_per_token
    assert all(now < then for now, then in pairwise(elements)) == model.causal_cache
    for length, cached in zip(lengths, elements, strict=True):
        assert cached <= length * model.kv_elements_per_token


def test_a_model_is_hashable_and_survives_its_own_dump(model: ModelSpec) -> None:
    again = ModelSpec.model_validate(model.model_dump(by_alias=True))
    assert again == model
    assert hash(again) == hash(model)


def test_llama_8b_by_hand() -> None:
    model = load_model("llama-3.1-8b", "here")
    assert model.attention_parameters == 4096 * (4096 + 1024 + 1024 + 4096)
    assert model.dense_ffn_parameters == 3 * 4096 * 14336
    assert (model.expert_parameters, model.shared_expert_parameters, model.router_parameters) == (0, 0, 0)
    assert (model.dense_layers, model.moe_layers) == (32, 0)
    assert model.attention_flops_decode == model.attention_flops_prefill == 4 * 32 * 128


def test_deepseek_v3_by_hand() -> None:
    model = load_model("deepseek-v3", "here")
    query = 7168 * 1536 + 1536 * 128 * 192
    key_value = 7168 * 576 + 512 * 128 * 256
    assert model.attention_parameters == query + key_value + 128 * 128 * 7168
    assert model.expert_parameters == 3 * 7168 * 2048
    assert model.shared_expert_parameters == model.expert_parameters
    assert model.router_parameters == 7168 * 256
    assert (model.dense_layers, model.moe_layers) == (3, 58)
    assert model.kv_elements_per_token_per_layer == 512 + 64
    assert model.attention_flops_decode == 2 * 128 * (2 * 512 + 64)
    assert model.attention_flops_prefill == 2 * 128 * (128 + 64 + 128)


def test_half_the_layers_of_gpt_oss_forget() -> None:
    model = load_model("gpt-oss-20b", "here")
    per_layer = model.kv_elements_per_token_per_layer
    assert model.kv_elements(10_000) == per_layer * (12 * 10_000 + 12 * 128)


def test_every_layer_mixes_tokens_in_one_way(model: ModelSpec) -> None:
    assert model.full_layers + model.windowed_layers + model.linear_layers == model.layers
    assert model.attention_layers == model.full_layers + model.windowed_layers > 0


def test_gemms_are_all_parameters_of_the_layers_but_the_routed_experts(model: ModelSpec) -> None:
    names = [matrix.name for matrix in model.gemms + model.expert_gemms]
    assert len(set(names)) == len(names)
    routed = model.moe_layers * (model.moe.experts if model.moe else 0) * model.expert_parameters
    layer_by_layer = (
        model.attention_layers * model.attention_parameters
        + model.linear_layers * model.linear_attention_parameters
        + model.dense_layers * model.dense_ffn_parameters
        + model.moe_layers * (model.router_parameters + model.shared_expert_parameters)
    )
    assert sum(matrix.parameters for matrix in model.gemms) == layer_by_layer == model.layer_parameters - routed
    assert sum(matrix.parameters for matrix in model.expert_gemms) == model.moe_layers * model.expert_parameters


def shapes(model: ModelSpec) -> dict[str, tuple[int, int, int]]:
    return {matrix.name: (matrix.layers, matrix.inputs, matrix.outputs) for matrix in model.gemms}


def test_the_shapes_of_llama_8b() -> None:
    assert shapes(load_model("llama-3.1-8b", "here")) == {
        "qkv": (32, 4096, 4096 + 2 * 1024),
        "attention_output": (32, 4096, 4096),
        "gate_up": (32, 4096, 2 * 14336),
        "down": (32, 14336, 4096),
    }


def test_the_shapes_of_deepseek_v3_2() -> None:
    assert shapes(load_model("deepseek-v3.2", "here")) == {
        "q_a": (61, 7168, 1536),
        "q_b": (61, 1536, 128 * 192),
        "kv_a": (61, 7168, 512 + 64),
        "kv_b": (61, 512, 128 * 256),
        "attention_output": (61, 128 * 128, 7168),
        "index_q": (61, 1536, 64 * 128),
        "index_k": (61, 7168, 128),
        "index_weights": (61, 7168, 64),
        "gate_up": (3, 7168, 2 * 18432),
        "down": (3, 18432, 7168),
        "router": (58, 7168, 256),
        "shared_gate_up": (58, 7168, 2 * 2048),
        "shared_down": (58, 2048, 7168),
    }


def test_the_shapes_of_qwen3_5() -> None:
    assert shapes(load_model("qwen3.5-397b-a17b", "here")) == {
        "qkv": (15, 4096, 2 * 32 * 256 + 2 * 2 * 256),
        "attention_output": (15, 32 * 256, 4096),
        "linear_qkvz": (45, 4096, 2 * 16 * 128 + 2 * 64 * 128),
        "linear_ba": (45, 4096, 2 * 64),
        "linear_output": (45, 64 * 128, 4096),
        "router": (60, 4096, 512),
        "shared_gate_up": (60, 4096, 2 * 1024),
        "shared_down": (60, 1024, 4096),
    }


def test_only_every_fourth_layer_of_qwen3_5_has_a_cache() -> None:
    model = load_model("qwen3.5-397b-a17b", "here")
    assert (model.linear_layers, model.full_layers, model.windowed_layers) == (45, 15, 0)
    assert model.kv_elements(10_000) == 15 * 10_000 * 2 * 2 * 256
    assert model.state_elements == 45 * 64 * 128 * 128
    # In bytes (32 bit against 16) the state of one sequence is worth the cache of 6,144 tokens.
    assert 4 * model.state_elements == 6144 * 2 * model.kv_elements_per_token


def test_the_recurrence_of_a_linear_layer_operation_by_operation() -> None:
    model = spec(linear_attention=LINEAR)
    decay, read, write, query = 1, 2, 2, 2
    per_head = (decay + read + write + query) * 3 * 5
    assert model.state_flops_per_token == 1 * 4 * per_head


def test_sparse_attention_caches_an_index_key_and_reads_few_tokens() -> None:
    plain, sparse = load_model("deepseek-v3", "here"), load_model("deepseek-v3.2", "here")
    assert (plain.index_elements_per_token_per_layer, plain.indexer_flops) == (0, 0)
    assert plain.attention_span == math.inf
    assert sparse.attention_span == 2048
    assert sparse.kv_elements_per_token_per_layer == plain.kv_elements_per_token_per_layer
    assert sparse.kv_elements(100) - plain.kv_elements(100) == 61 * 100 * 128
    assert sparse.indexer_flops == 64 * (2 * 128 + 2)
    assert sparse.attention_flops_prefill == sparse.attention_flops_decode == plain.attention_flops_decode
    # At 128 k tokens of context, indexer and attention together are a small part of dense attention.
    context = 131_072
    dense = plain.attention_flops_decode * context
    assert sparse.indexer_flops * context + sparse.attention_flops_decode * 2048 < 0.1 * dense


DENSE: dict[str, Any] = {
    "schema": 1,
    "id": "toy",
    "name": "Toy",
    "kind": "dense",
    "source": "a test",
    "layers": 2,
    "hidden": 8,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 2,
    "vocab": 16,
    "max_context": 128,
    "tied": False,
    "dense_ffn": 32,
    "native_precision": "bf16",
}
EXPERTS = {"experts": 4, "active": 2, "shared": 1, "ffn": 16, "layers": 1}
ENCODER = {"unit": "image", "parameters": 100, "layers": 2, "hidden": 8, "positions": 6, "tokens": 3}
LATENT = {"q_lora_rank": 4, "kv_lora_rank": 4, "nope": 2, "rope": 1, "v": 2}
LINEAR = {"layers": 1, "key_heads": 2, "value_heads": 4, "key_dim": 3, "value_dim": 5}
SPARSE = {"top_k": 8, "index_heads": 2, "index_dim": 4}


def spec(**changes: Any) -> ModelSpec:
    return ModelSpec.model_validate({**DENSE, **changes})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "moe"}, "kind must be 'moe' exactly if there is a moe block"),
        ({"moe": EXPERTS}, "kind must be 'moe' exactly if there is a moe block"),
        ({"kind": "moe", "moe": {**EXPERTS, "layers": 3}}, "moe.layers is 3, of only 2 layers"),
        ({"kind": "moe", "moe": {**EXPERTS, "active": 5}}, "5 experts are active, but there are only 4"),
        ({"kind": "moe", "moe": {**EXPERTS, "layers": 2}}, "no layer is dense"),
        ({"dense_ffn": None}, "dense_ffn is missing"),
        ({"head_dim": None}, "head_dim is missing"),
        ({"causal_cache": False}, "capabilities generate need a causal_cache"),
        ({"encoder": {**ENCODER, "window": 4}}, "full_layers and window belong together"),
        ({"encoder": {**ENCODER, "window": 4, "full_layers": 3}}, "full_layers is 3, of only 2 layers"),
        ({"encoder": {**ENCODER, "cross_attention": True}, "mla": LATENT, "head_dim": None}, "it excludes mla"),
        ({"mla": LATENT}, "head_dim is given beside mla"),
        ({"kv_heads": 3}, "4 heads cannot share 3 kv_heads evenly"),
        ({"sliding_window": 8}, "sliding_window and windowed_layers belong together"),
        ({"windowed_layers": 1}, "sliding_window and windowed_layers belong together"),
        ({"sliding_window": 8, "windowed_layers": 3}, "windowed_layers exceeds the 2 layers"),
        ({"linear_attention": {**LINEAR, "layers": 3}}, "linear_attention.layers is 3, of only 2 layers"),
        ({"linear_attention": {**LINEAR, "key_heads": 3}}, "4 value_heads cannot share 3 key_heads evenly"),
        (
            {"linear_attention": LINEAR, "sliding_window": 8, "windowed_layers": 2},
            "windowed_layers exceeds the 1 layers with attention",
        ),
        ({"sparse_attention": SPARSE}, "sparse_attention needs mla"),
        (
            {"head_dim": None, "mla": LATENT, "sparse_attention": SPARSE, "sliding_window": 8, "windowed_layers": 1},
            "sparse_attention and windowed_layers exclude each other",
        ),
        ({"head_dim": None, "mla": LATENT, "output_gate": True}, "output_gate is given beside mla"),
        ({"sources": {"colour": "x"}}, "sources names a field that does not exist"),
        ({"layers": 0}, "greater than 0"),
    ],
)
def test_an_inconsistent_architecture_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        spec(**changes)


def test_every_number_of_the_architecture_changes_a_result() -> None:
    def results(model: ModelSpec) -> tuple[float, ...]:
        return (
            model.total_parameters,
            model.active_parameters,
            model.linear_flops_per_token,
            model.head_flops_per_token,
            model.attention_flops_decode,
            model.attention_flops_prefill,
            model.kv_elements(100),
            model.state_flops_per_token,
            model.indexer_flops,
            model.attention_span,
        )

    dense = results(spec())
    for change in (
        {"layers": 3},
        {"hidden": 9},
        {"heads": 6},
        {"kv_heads": 4},
        {"head_dim": 3},
        {"output_gate": True},
        {"vocab": 17},
        {"tied": True},
        {"dense_ffn": 33},
        {"ffn_matrices": 2},
        {"sliding_window": 8, "windowed_layers": 1},
        {"sliding_window": 9, "windowed_layers": 2},
    ):
        assert results(spec(**change)) != dense, change
    experts = results(spec(kind="moe", moe=EXPERTS))
    for key in EXPERTS:
        other = {"layers": {"dense_ffn": None}}.get(key, {})
        assert results(spec(kind="moe", moe={**EXPERTS, key: EXPERTS[key] + 1}, **other)) != experts, key
    latent = results(spec(head_dim=None, mla=LATENT))
    for key in LATENT:
        assert results(spec(head_dim=None, mla={**LATENT, key: LATENT[key] + 1})) != latent, key
    assert results(spec(head_dim=None, mla={**LATENT, "q_lora_rank": None})) != latent
    hybrid = results(spec(linear_attention=LINEAR))
    for change in ({"layers": 2}, {"key_heads": 4}, {"value_heads": 6}, {"key_dim": 4}, {"value_dim": 4}):
        assert results(spec(linear_attention={**LINEAR, **change})) != hybrid, change
    sparse = results(spec(head_dim=None, mla=LATENT, sparse_attention=SPARSE))
    for key in SPARSE:
        more = {**SPARSE, key: SPARSE[key] + 1}
        assert results(spec(head_dim=None, mla=LATENT, sparse_attention=more)) != sparse, key


@given(
    experts=st.integers(2, 64),
    active=st.integers(1, 64),
    shared=st.integers(0, 3),
    moe_layers=st.integers(1, 8),
    dense_layers=st.integers(0, 4),
    linear_layers=st.integers(0, 8),
)
def test_parameters_add_up_layer_by_layer(
    experts: int, active: int, shared: int, moe_layers: int, dense_layers: int, linear_layers: int
) -> None:
    active = min(active, experts)
    linear_layers = min(linear_layers, moe_layers + dense_layers)
    model = spec(
        kind="moe",
        layers=moe_layers + dense_layers,
        dense_ffn=32 if dense_layers else None,
        moe={"experts": experts, "active": active, "shared": shared, "ffn": 16, "layers": moe_layers},
        linear_attention={**LINEAR, "layers": linear_layers} if linear_layers else None,
    )
    total = model.embedding_parameters + model.head_parameters
    for layer in range(model.layers):
        # By hand: query and key, value, gate and output, strength and decay; or query, output, key, value.
        total += 8 * (2 * 2 * 3 + 3 * 4 * 5 + 2 * 4) if layer < linear_layers else 8 * 2 * (2 * 4 + 2 * 2)
        if layer < dense_layers:
            total += model.dense_ffn_parameters
        else:
            total += model.router_parameters + (experts + shared) * model.expert_parameters
    assert model.total_parameters == total
    idle_experts = moe_layers * (experts - active) * model.expert_parameters
    assert model.active_parameters == total - idle_experts


def test_an_encoder_by_hand() -> None:
    encoder = spec(encoder={**ENCODER, "full_layers": 1, "window": 4}).encoder
    assert encoder is not None
    assert encoder.flops == 2 * 100 * 6 + 4 * 8 * 6 * (6 + 4)


def test_cross_attention_keeps_the_encoders_positions_beside_the_cache() -> None:
    plain, crossing = spec(), spec(encoder={**ENCODER, "cross_attention": True})
    assert plain.cross_elements == spec(encoder=ENCODER).cross_elements == 0
    assert crossing.cross_elements == 2 * 6 * 2 * 2 * 2  # layers, positions, key and value, kv_heads, head_dim
    assert crossing.attention_parameters == plain.attention_parameters + 2 * 8 * 8
    assert crossing.total_parameters == plain.total_parameters + 2 * 2 * 8 * 8 + 100


def test_what_samples_nothing_has_no_head_to_compute_and_may_have_no_cache() -> None:
    embedding = spec(capabilities=["embed"], causal_cache=False)
    assert (embedding.generates, embedding.head_parameters, embedding.kv_elements(100)) == (False, 0, 0)
    assert embedding.pairs_per_causal_pair == 2 * spec().pairs_per_causal_pair
    assert embedding.total_parameters == spec().total_parameters
