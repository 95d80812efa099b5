"""The work of a replica: FLOPs and bytes by hand, and no utilisation above one."""

from __future__ import annotations

import pytest
from deploying import counted, deployed, layer_matrices, utilisation
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencesim.deployment.work import COUNTS, Counts, peak_rates, streaming, work

#: Every kind of layer, spread in every way, with and without a draft.
CASES = (
    deployed("nvidia-h100-sxm", "llama-3.1-8b", "fp8"),
    deployed("nvidia-h200-sxm", "gpt-oss-120b", "fp8", tensor=2),
    deployed("nvidia-b200-sxm", "deepseek-v3.2", {"weights": "fp8", "expert_weights": "fp4"}, tensor=8,
             expert=8, attention_data=8),
    deployed("nvidia-h200-sxm", "qwen3.5-397b-a17b", "fp8", tensor=8),
    deployed("nvidia-h200-sxm", "llama-3.1-70b", "fp8", tensor=2, pipeline=4),
    deployed("nvidia-h100-sxm", "whisper-large-v3", batching={"max_sequences": 64}),
    deployed("nvidia-h100-sxm", "llama-3.1-8b",
             speculation={"drafts": 4, "acceptance": 0.7, "draft": {"model": "llama-3.2-1b"}}),
    deployed("nvidia-b200-sxm", "deepseek-v3", "fp8", tensor=8,
             speculation={"drafts": 2, "acceptance": 0.7, "draft": {"layers": 1}}),
)  # fmt: skip


def test_a_prompt_of_llama_8b_by_hand():
    """2 FLOPs per parameter of the layers and token, 4 · 4096 per pair and layer, the head once."""
    made = CASES[0]
    done = work(made, counted(made, 0, 0, ((0, 1000),), 1))
    layers = 6_979_321_856
    assert done.flops == 2 * layers * 1000 + 2 * 128_256 * 4096 + 32 * 4 * 4096 * 1000 * 500
    # Weights in one byte, the head in two, and the cache of 1,000 tokens in two.
    assert done.bytes == layers + 2 * 128_256 * 4096 + 1000 * 131_072


def test_decode_steps_of_llama_8b_by_hand():
    made = CASES[0]
    done = work(made, counted(made, 10, 2000))
    layers = 6_979_321_856
    assert done.flops == 10 * (2 * layers + 2 * 128_256 * 4096 + 32 * 4 * 4096 * 2000)
    assert done.bytes == layers + 2 * 128_256 * 4096 + 10 * 2000 * 131_072


def test_drafts_are_verified_with_one_reading_and_their_model_runs_once_for_each():
    made = CASES[6]
    alone, small = (deployed("nvidia-h100-sxm", name) for name in ("llama-3.1-8b", "llama-3.2-1b"))
    done = work(made, counted(made, 10, 2000))
    target, draft = (work(each, counted(each, 10, 2000)) for each in (alone, small))
    assert done.flops == pytest.approx(5 * target.flops + 4 * draft.flops)
    assert done.bytes == pytest.approx(target.bytes + 4 * draft.bytes)


def test_counts_add_up():
    """The work of two steps is that of their summed counts: nothing in it is bent."""
    for made in CASES:
        first, second = counted(made, 7, 300), counted(made, 3, 5000, ((0, 700), (64, 100)), 1)
        both = Counts(*(a + b for a, b in zip(first, second, strict=True)))
        parts = [work(made, each) for each in (first, second)]
        assert work(made, both).flops == pytest.approx(sum(part.flops for part in parts))
        assert work(made, both).bytes == pytest.approx(sum(part.bytes for part in parts))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(CASES), st.integers(1, 256), st.integers(1, 50_000))
def test_no_decode_step_does_more_than_the_hardware(made, decoding, each):
    mfu, mbu = utilisation(made, made.decode_s(decoding, each), decoding, each)
    assert 0.0 < mfu <= 1.0
    assert 0.0 < mbu <= 1.0


def test_what_moves_utilisation():
    made = CASES[0]
    one, many = (utilisation(made, made.decode_s(n, 500), n, 500) for n in (1, 128))
    assert many[0] > 20 * one[0]
    assert one[1] > 0.5
    prefill = utilisation(made, made.prefill_s(8000), 0, 0, ((0, 8000),), 1)
    assert 0.35 < prefill[0] < 0.7
    assert prefill[1] < 0.1


def test_every_count_is_work():
    encoding = deployed("nvidia-h100-sxm", "qwen2.5-vl-7b")
    for name in Counts._fields:
        counts = Counts(**{name: 10.0})
        done = [work(made, counts) for made in (*CASES, encoding)]
        assert any(each.flops + each.bytes > 0.0 for each in done), name
    assert work(encoding, Counts(media_units=2.0)).flops == 2 * encoding.model.encoder.flops


def test_the_table_of_counts_has_every_count():
    assert COUNTS.names == Counts._fields


def test_experts_touched_by_hand():
    made = CASES[7]
    passed = streaming(made.latency, 1.0, 0.0)
    # Three tokens of the target: a token leaves out each expert with probability 31 / 32.
    assert passed.passes == 1.0
    assert passed.expert_passes == pytest.approx(1.0 - (31 / 32) ** 3)
    assert (passed.draft_passes, passed.draft_expert_passes) == (2.0, pytest.approx(2 / 32))
    prompt = streaming(made.latency, 0.0, 1.0)
    assert (prompt.draft_passes, prompt.draft_expert_passes) == (1.0, pytest.approx(1 / 32))
    assert work(made, Counts(expert_passes=1.0)).bytes == layer_matrices(made.model).experts


def test_the_peak_is_that_of_the_fastest_format():
    assert peak_rates(CASES[0]).flops == pytest.approx(1979e12)
    assert peak_rates(deployed("nvidia-h100-sxm", "llama-3.1-8b", "int4")).flops == pytest.approx(989e12)
    assert peak_rates(CASES[4]).bytes == pytest.approx(8 * 4800e9, rel=0.01)
