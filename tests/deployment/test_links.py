"""What moves over links: weights that are swapped, KV blocks between replicas and their hosts."""

from __future__ import annotations

import pytest
from deploying import changed, deployed


def test_weights_come_over_each_chips_own_link():
    one, two = (deployed("nvidia-h100-sxm", "llama-3.1-8b", tensor=n) for n in (1, 2))
    assert one.load_s == pytest.approx(10e-6 + one.memory.weight_bytes / 64e9)
    assert two.load_s == pytest.approx(one.load_s / 2, rel=1e-3)
    assert deployed("nvidia-h100-sxm", "llama-3.1-8b", "fp8").load_s < 0.6 * one.load_s


def test_a_faster_host_link_loads_faster():
    slow = deployed(changed("nvidia-h100-sxm", "host_link.bandwidth", 0.5), "llama-3.1-8b")
    assert slow.load_s == pytest.approx(2 * deployed("nvidia-h100-sxm", "llama-3.1-8b").load_s, rel=1e-3)
    assert slow.host_link.bandwidth == 32e9


def test_a_block_by_hand():
    """16 tokens of 131,072 bytes; of 70B 327,680, whichever way it is divided."""
    assert deployed("nvidia-h100-sxm", "llama-3.1-8b").kv_block_bytes == 16 * 131_072
    for shape in ({"tensor": 4}, {"tensor": 2, "pipeline": 2}, {"pipeline": 4}):
        assert deployed("nvidia-h100-sxm", "llama-3.1-70b", **shape).kv_block_bytes == pytest.approx(16 * 327_680)


def test_copies_are_moved_too_and_ranks_hold_blocks_of_their_own():
    latent = 70_272  # bytes of a token of DeepSeek-V3, on each chip of a rank
    options = {"precision": "fp8", "tensor": 8}
    assert deployed("nvidia-b200-sxm", "deepseek-v3", **options).kv_block_bytes == 16 * 8 * latent
    ranks = deployed("nvidia-b200-sxm", "deepseek-v3", **options, expert=8, attention_data=8)
    assert ranks.kv_block_bytes == 16 * latent


def test_a_draft_moves_its_cache_too():
    said = {"drafts": 2, "acceptance": 0.7, "draft": {"model": "llama-3.2-1b"}}
    for pipeline in (1, 2):
        made = deployed("nvidia-h200-sxm", "llama-3.1-70b", tensor=2, pipeline=pipeline, speculation=said)
        assert made.kv_block_bytes == pytest.approx(16 * (327_680 + 32_768))


def test_blocks_go_over_the_network_of_all_chips_unless_the_pool_says_otherwise():
    made = deployed("nvidia-h100-sxm", "llama-3.1-70b", tensor=8)
    assert (made.kv_link.bandwidth, made.kv_link.latency) == (8 * 50e9, pytest.approx(10e-6))
    chosen = deployed("nvidia-h100-sxm", "llama-3.1-8b", kv_link={"bandwidth": "5 GB/s", "latency": "1ms"})
    assert (chosen.kv_link.bandwidth, chosen.kv_link.latency) == (5e9, 1e-3)


def test_a_model_without_a_cache_moves_nothing():
    assert deployed("nvidia-l4", "bge-large-en-v1.5").kv_block_bytes == 0.0
