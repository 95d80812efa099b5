"""Models beside language models: encoders in front, passes without a cache, cross-attention."""

from __future__ import annotations

import pytest
from deploying import chunk_cost, deployed

from inferencesim.deployment.step_time import encoder_cost
from inferencesim.errors import InputError
from inferencesim.hardware.catalog import load_profile
from inferencesim.models.catalog import load_model


def test_an_image_by_hand():
    """5,184 patches through 676 M parameters; 28 layers see 64 patches, 4 see all."""
    encoder = load_model("qwen2.5-vl-7b", "here").encoder
    assert encoder.matrix_flops == 2 * encoder.parameters * 5184
    assert encoder.attention_flops == 4 * 1280 * 5184 * (28 * 64 + 4 * 5184)
    profile = load_profile("nvidia-h100-sxm", "here")
    rates = profile.efficiency
    expected = encoder.matrix_flops * (1 + rates.half_rows.si / 5184) / rates.compute.si
    expected = (expected + encoder.attention_flops / rates.attention.si) / 989e12
    assert deployed(profile, "qwen2.5-vl-7b").coefficients.encoder_s_per_unit == pytest.approx(expected)


def test_an_encoder_is_divided_over_the_chips_of_one_stage():
    one, two, stages = (
        deployed("nvidia-h100-sxm", "qwen2.5-vl-7b", **shape) for shape in ({}, {"tensor": 2}, {"pipeline": 2})
    )
    assert two.coefficients.encoder_s_per_unit == pytest.approx(one.coefficients.encoder_s_per_unit / 2)
    assert stages.coefficients.encoder_s_per_unit == one.coefficients.encoder_s_per_unit
    assert stages.memory.encoder_bytes == one.memory.encoder_bytes == 2 * two.memory.encoder_bytes


def test_an_encoder_takes_time_energy_and_memory():
    made, without = (deployed("nvidia-h100-sxm", name) for name in ("qwen2.5-vl-7b", "qwen2.5-7b"))
    c = made.coefficients
    cost = encoder_cost(c, 3.0)
    assert cost.seconds == 3 * c.encoder_s_per_unit
    assert cost.active_s == pytest.approx(cost.seconds * min(1.0, c.busy_activity + c.compute_activity))
    assert encoder_cost(without.coefficients, 3.0).seconds == 0.0
    assert made.memory.encoder_bytes == 2 * made.model.encoder.parameters
    assert made.memory.weight_bytes == without.memory.weight_bytes + made.memory.encoder_bytes
    assert made.memory.kv_blocks < without.memory.kv_blocks


def test_a_model_without_a_cache_is_bound_by_its_seats_alone():
    made = deployed("nvidia-l4", "bge-large-en-v1.5", batching={"max_sequences": 32})
    assert made.memory.kv_bytes_per_token == 0.0
    assert made.memory.kv_tokens == 32 * 512
    # What it answers is one token that needs no place of its own.
    assert made.context_limit == 512 + 1
    assert made.saturated_batch(500, 1) == 32
    assert made.saturated_rate(200, 1) > 0.0


def test_a_model_that_does_not_fit_has_no_blocks_either_way():
    with pytest.raises(InputError, match="does not fit"):
        deployed("nvidia-l4", "flux.1-dev")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("prefix_cache", True),
        ("kv_tiers", [{"name": "host", "capacity": "1 GB", "bandwidth": "1 GB/s"}]),
        ("prefill_in", {"pool": "other"}),
        ("speculation", {"drafts": 2, "acceptance": 0.5, "draft": {"layers": 0}}),
    ],
)
def test_what_needs_a_cache_is_refused_without_one(name, said):
    with pytest.raises(InputError) as caught:
        deployed("nvidia-l4", "bge-large-en-v1.5", **{name: said})
    assert caught.value.where == f"pools[0].{name}"
    assert "bge-large-en-v1.5" in caught.value.what


def test_tokens_that_attend_both_ways_have_twice_the_pairs():
    made = deployed("nvidia-h100-sxm", "bge-reranker-v2-m3")
    model = made.model
    rate = made.hardware.compute["bf16"].si * made.hardware.efficiency.attention.si
    assert made.coefficients.prefill_compute_s * rate == 24 * 2 * 4 * 1024 == 24 * 2 * model.attention_flops_prefill
    assert made.coefficients.prefill_window_compute_s == 0.0


def test_a_model_that_samples_nothing_computes_no_head():
    made = deployed("nvidia-h100-sxm", "gte-qwen2-7b")
    assert (made.coefficients.head_s_per_output, made.coefficients.head_weight_s) == (0.0, 0.0)
    # Its checkpoint still has one.
    assert made.memory.weight_bytes == 2 * made.model.total_parameters


def test_passes_of_a_diffusion_model_do_not_see_each_other():
    """Twice the passes take twice the time, each token attending to the 4,608 of its own pass."""
    made = deployed("nvidia-h100-sxm", "flux.1-dev")
    one, two = (made.prefill_s(passes * 4608) for passes in (14, 28))
    assert two / one == pytest.approx(2.0, rel=0.02)
    # 28 passes: 2 · 6.4 G parameters per token, and pairs with 4,608 tokens in 57 layers.
    flops = 28 * 4608 * (2 * 57 * 12 * 3072**2 + 57 * 4 * 3072 * 4608)
    assert 0.4 < flops / 989e12 / two < 0.7


def test_keys_and_values_of_the_audio_are_kept_and_read_by_every_sequence():
    few, many = (deployed("nvidia-h100-sxm", "whisper-large-v3", batching={"max_sequences": n}) for n in (16, 64))
    each = 2 * 32 * 1500 * 2 * 1280
    logits = 4 * 51_866
    assert many.memory.activation_bytes - few.memory.activation_bytes == pytest.approx(48 * (each + logits))
    read = each / (3350e9 * few.hardware.efficiency.cache.si)
    assert few.coefficients.state_s_per_sequence == pytest.approx(read)
    slower = chunk_cost(few, 16, 16 * 100).seconds - chunk_cost(few, 1, 100).seconds
    assert slower > 15 * read


def test_thirty_seconds_of_audio_are_transcribed_much_faster_than_spoken():
    made = deployed("nvidia-h100-sxm", "whisper-large-v3", batching={"max_sequences": 64})
    taken = encoder_cost(made.coefficients, 1.0).seconds + made.alone_s(4, 100)
    assert 0.1 < taken < 1.5


def test_a_frame_of_speech_is_made_faster_than_it_lasts():
    made = deployed("nvidia-h100-sxm", "moshi-7b")
    assert made.model.tokens_per_second == 12.5
    assert made.decode_s(8, 1000) < 1 / 12.5
