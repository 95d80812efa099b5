"""Families of models whose ``config.json`` leaves to their code what others write down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from checkpoints import architecture, read

if TYPE_CHECKING:
    from pathlib import Path


def described(family: str, layers: int, hidden: int, heads: int, ffn: int, vocab: int, **said: Any) -> dict[str, Any]:
    return {
        "model_type": family,
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "intermediate_size": ffn,
        "vocab_size": vocab,
        "max_position_embeddings": 8192,
        **said,
    }


GEMMA2 = described(
    "gemma2", 42, 3584, 16, 14336, 256000, num_key_value_heads=8, head_dim=256, sliding_window=4096
)  # fmt: skip
FALCON_7B = {
    "model_type": "falcon",
    "num_hidden_layers": 32,
    "hidden_size": 4544,
    "num_attention_heads": 71,
    "num_kv_heads": 71,
    "multi_query": True,
    "new_decoder_architecture": False,
    "vocab_size": 65024,
}
GPT2 = {
    "model_type": "gpt2",
    "n_layer": 12,
    "n_head": 12,
    "n_embd": 768,
    "n_inner": None,
    "n_positions": 1024,
    "vocab_size": 50257,
}
#: Keys of checkpoints, and the parameters that their weight files hold, a tied head counted once.
PUBLISHED = {
    "gemma-2b": (described("gemma", 18, 2048, 8, 16384, 256000, num_key_value_heads=1, head_dim=256), 2_506_172_416),
    "gemma-7b": (described("gemma", 28, 3072, 16, 24576, 256000, num_key_value_heads=16), 8_537_680_896),
    "gemma-2-9b": (GEMMA2, 9_241_705_984),
    "olmo-2-7b": (described("olmo2", 32, 4096, 32, 11008, 100352, num_key_value_heads=32), 7_298_617_344),
    "command-r": (
        described("cohere", 40, 8192, 64, 22528, 256000, num_key_value_heads=64, model_max_length=131072),
        34_980_831_232,
    ),
    "command-r7b": (
        described("cohere2", 32, 4096, 32, 14336, 256000, num_key_value_heads=8, sliding_window=4096),
        8_027_901_952,
    ),
    "granite-3.1-8b": (
        described("granite", 40, 4096, 32, 12800, 49155, num_key_value_heads=8, tie_word_embeddings=True),
        8_170_848_256,
    ),
    "starcoder2-3b": (
        described("starcoder2", 30, 3072, 24, 12288, 49152, num_key_value_heads=2, sliding_window=4096),
        3_030_371_328,
    ),
    "starcoder2-15b": (
        described("starcoder2", 40, 6144, 48, 24576, 49152, num_key_value_heads=4, tie_word_embeddings=False),
        15_957_889_024,
    ),
    "qwen1.5-moe-a2.7b": (
        described(
            "qwen2_moe", 24, 2048, 16, 5632, 151936, num_key_value_heads=16, num_experts=60, num_experts_per_tok=4,
            moe_intermediate_size=1408, shared_expert_intermediate_size=5632,
        ),
        14_315_784_192,
    ),
    "falcon-7b": (FALCON_7B, 6_921_720_704),
    "minitron-4b": (
        described("nemotron", 32, 3072, 24, 9216, 256000, num_key_value_heads=8, head_dim=128), 4_190_000_000
    ),
    "gpt2": (GPT2, 124_439_808),
    "pythia-12b": (described("gpt_neox", 36, 5120, 40, 20480, 50688), 11_846_072_320),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_other_families_have_their_published_parameters(tmp_path: Path, name: str) -> None:
    config, parameters = PUBLISHED[name]
    # GPT-2 has a table of positions, and is so small that it counts.
    assert read(tmp_path, config).total_parameters == pytest.approx(parameters, rel=0.01 if name == "gpt2" else 0.001)


def test_what_sets_families_apart(tmp_path: Path) -> None:
    gemma = read(tmp_path, GEMMA2)
    assert (gemma.sliding_window, gemma.windowed_layers, gemma.ffn_matrices, gemma.tied) == (4096, 21, 3, True)
    command = read(tmp_path, PUBLISHED["command-r7b"][0])
    assert (command.windowed_layers, command.full_layers) == (24, 8)
    assert read(tmp_path, PUBLISHED["command-r"][0]).max_context == 131072
    coder = read(tmp_path, PUBLISHED["starcoder2-3b"][0])
    assert (coder.windowed_layers, coder.ffn_matrices, coder.tied) == (30, 2, True)
    qwen = read(tmp_path, PUBLISHED["qwen1.5-moe-a2.7b"][0])
    assert qwen.moe is not None
    assert (qwen.moe.shared, qwen.dense_ffn, qwen.tied) == (4, None, False)
    assert qwen.active_parameters == pytest.approx(2.7e9, rel=0.01)


def test_falcon_has_one_head_of_keys_and_values_or_those_of_its_newer_decoder(tmp_path: Path) -> None:
    old = read(tmp_path, FALCON_7B)
    assert (old.kv_heads, old.head_dim, old.dense_ffn, old.ffn_matrices, old.max_context) == (1, 64, 18176, 2, 2048)
    newer = {"new_decoder_architecture": True, "num_attention_heads": 64, "hidden_size": 4096, "num_kv_heads": 8}
    assert read(tmp_path, {**FALCON_7B, **newer}).kv_heads == 8
    first = {"model_type": "falcon", "n_layer": 32, "n_head": 71, "hidden_size": 4544, "vocab_size": 65024}
    assert architecture(read(tmp_path, first)) == architecture(old)
