"""Operators of one layer, timed alone, become the steps of a whole model."""

from __future__ import annotations

import pytest
from oracle.operator_profile import ATTENTION, DENSE, write_operator_profile
from oracle.small import model

from inferencesim.errors import InputError
from inferencesim.measurements.operators import Link, read_operators
from inferencesim.models.catalog import load_model

SMALL = load_model(model(), "model")  # two layers, hidden 64
NO_LINK = Link(1.0, 0.0)


@pytest.fixture
def profile(tmp_path):
    return write_operator_profile(tmp_path)


def test_a_step_runs_each_layer_and_two_norms_of_it(profile):
    table = read_operators(profile, "small-chip", SMALL, 1, NO_LINK)
    # Embedding and last norm once; per layer two norms and the projection.
    assert table.tokens.at == (1.0, 8.0)
    assert table.tokens.ms == pytest.approx((0.13 + 2 * (0.02 + 1.0), 0.24 + 2 * (0.04 + 3.0)))
    assert table.sequences.ms == pytest.approx((0.55, 0.67))
    assert table.engine == "vllm 0.19.0"


def test_attention_is_taken_apart_into_decode_and_prefill(profile):
    table = read_operators(profile, "small-chip", SMALL, 1, NO_LINK)
    assert table.decode.batch == (1.0, 4.0)
    assert table.decode.ms == (pytest.approx((0.02, 0.04)), pytest.approx((0.06, 0.12)))
    # The chunk of 6 was not profiled behind 32 tokens, and mixed rows hold both parts at once.
    assert table.prefill.chunk == (4.0, 8.0)
    assert table.prefill.ms == (pytest.approx((0.01, 0.012)), pytest.approx((0.018, 0.024)))


def test_a_tensor_group_reduces_after_the_embedding_and_twice_per_layer(profile):
    alone = read_operators(profile, "small-chip", SMALL, 1, NO_LINK)
    pair = read_operators(profile, "small-chip", SMALL, 2, Link(bytes_per_s=1e6, latency_s=1e-4))
    for tokens, one, two in zip(alone.tokens.at, alone.tokens.ms, pair.tokens.ms, strict=True):
        each_s = tokens * 64 * 2 / 1e6 + 2 * 1e-4
        assert two - one == pytest.approx(5 * each_s * 1e3)


def test_noise_that_makes_more_work_cheaper_is_smoothed(profile):
    path = profile / "tp1" / "per_sequence.csv"
    path.write_text("layer,sequences,time_us\nlm_head,1,500\nlm_head,2,540\nlm_head,3,520\nlm_head,4,600\n")
    table = read_operators(profile, "small-chip", SMALL, 1, NO_LINK)
    assert table.sequences.ms == pytest.approx((0.5, 0.53, 0.53, 0.6))


def test_experts_are_taken_at_the_number_a_batch_touches(profile):
    spec = load_model("qwen3-30b-a3b", "model")
    assert spec.moe is not None
    plain = read_operators(profile, "small-chip", spec.model_copy(update={"moe": None}), 1, NO_LINK)
    # A microsecond per distinct expert: of 128, one token picks 8, eight tokens 51.6 on average.
    rows = [f"{tokens},{experts},{experts}" for tokens in (1, 8) for experts in (8, 16, 32, 64, 128)]
    (profile / "tp1" / "moe.csv").write_text("tokens,activated_experts,time_us\n" + "\n".join(rows))
    table = read_operators(profile, "small-chip", spec, 1, NO_LINK)
    touched = [after - before for before, after in zip(plain.tokens.ms, table.tokens.ms, strict=True)]
    assert touched == pytest.approx([48 * 0.008, 48 * 128 * (1 - (120 / 128) ** 8) * 1e-3])


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("tp1/dense.csv", None, "there is no such file"),
        ("tp1/dense.csv", "", "is not a CSV table"),
        ("tp1/attention.csv", "chunk,time_us\n1,2\n", "has no column 'prefill_chunk'"),
        ("tp1/attention.csv", ATTENTION.replace("80", "slow"), "column 'time_us' holds more than numbers"),
        ("tp1/dense.csv", DENSE + "qkv_proj,8,3100\n", "line 10: times again"),
        ("tp1/per_sequence.csv", "layer,sequences,time_us\nlm_head,1,500\n", "sequences.at"),
        ("meta.yaml", None, "there is no file"),
    ],
)
def test_what_is_missing_is_named(profile, file, text, said):
    (profile / file).unlink()
    if text is not None:
        (profile / file).write_text(text)
    with pytest.raises(InputError) as refused:
        read_operators(profile, "small-chip", SMALL, 1, NO_LINK)
    assert said in str(refused.value)
    assert file.split("/")[0] in str(refused.value)


def test_a_degree_that_was_not_profiled_is_refused(profile):
    with pytest.raises(InputError, match=r"tensor degree 4 was not profiled. Profiled: 1, 2"):
        read_operators(profile, "small-chip", SMALL, 4, NO_LINK)
