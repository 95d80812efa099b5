"""Speculative decoding: what it gains, when it loses, what its draft costs in time, energy and memory."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from deploying import BYTES, deployed, layer_matrices, speed_of_light_s
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencesim.deployment.latency import decode_line, step_cost
from inferencesim.deployment.step_time import MixedStep, step_energy_j
from inferencesim.errors import InputError
from inferencesim.jit import plain
from inferencesim.models.catalog import load_model

if TYPE_CHECKING:
    from inferencesim.deployment.deployment import Deployment
    from inferencesim.deployment.step_time import StepCost


def speculating(
    drafts: int = 4,
    acceptance: float = 0.8,
    draft: dict[str, Any] | None = None,
    hardware: str = "nvidia-h100-sxm",
    model: str = "llama-3.1-8b",
    **options: Any,
) -> Deployment:
    said = {"drafts": drafts, "acceptance": acceptance, "draft": draft or {"model": "llama-3.2-1b"}}
    return deployed(hardware, model, speculation=said, **options)


def refused(**options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        speculating(**options)
    return caught.value


def speed_up(speculates: Deployment, alone: Deployment, batch: int, context: float) -> float:
    steps = alone.decode_s(batch, context) / speculates.decode_s(batch, context)
    return speculates.expected_tokens_per_step() * steps


def cost(deployment: Deployment, decoding: int, context: float, chunk: int = 0) -> StepCost:
    """Return the cost of a step, with one whole prompt of `chunk` tokens in it."""
    pairs = chunk * chunk / 2.0
    windowed = chunk * min(chunk / 2.0, deployment.coefficients.window)
    prompts = 1.0 if chunk else 0.0
    step = MixedStep(float(decoding), context, prompts, float(chunk), pairs, windowed, float(chunk), prompts)
    return step_cost(deployment.latency, step)


# --- What a step makes -------------------------------------------------------------------------------


@pytest.mark.parametrize(("drafts", "acceptance", "expected"), [
    (4, 0.0, 1.0), (4, 1.0, 5.0), (1, 0.5, 1.5), (4, 0.8, (1 - 0.8**5) / 0.2),
])  # fmt: skip
def test_tokens_per_step_by_hand(drafts, acceptance, expected):
    made = speculating(drafts)
    assert made.drafts == drafts
    assert made.expected_tokens_per_step(acceptance) == pytest.approx(expected)


def test_a_pool_states_what_classes_do_not():
    made = speculating(acceptance=0.6)
    assert made.expected_tokens_per_step() == made.expected_tokens_per_step(0.6)


def test_without_speculation_a_step_makes_one_token():
    alone = deployed("nvidia-h100-sxm", "llama-3.1-8b")
    assert (alone.drafts, alone.expected_tokens_per_step(), alone.expected_tokens_per_step(0.9)) == (0, 1.0, 1.0)
    assert alone.draft_coefficients is None
    assert alone.coefficients.verified == 1.0


# --- What it gains -----------------------------------------------------------------------------------


def test_a_lone_sequence_gains_and_a_large_batch_loses():
    alone, speculates = deployed("nvidia-h100-sxm", "llama-3.1-8b"), speculating()
    gains = [speed_up(speculates, alone, batch, 200.0) for batch in (1, 4, 16, 64, 256)]
    assert gains[0] > 1.5
    assert all(more > less for more, less in pairwise(gains))
    assert gains[-1] < 1.0


def test_long_contexts_are_read_once_for_all_drafts():
    """What makes speculation lose is compute; reading a long context outlasts it, once for all drafts."""
    alone, speculates = deployed("nvidia-h100-sxm", "llama-3.1-8b"), speculating(draft={"layers": 1})
    assert speed_up(speculates, alone, 64, 10_000.0) > 1.3 * speed_up(speculates, alone, 64, 100.0)


@given(st.floats(0.0, 0.99), st.floats(0.001, 0.5), st.integers(1, 300))
def test_a_better_draft_is_never_slower(acceptance, better, output):
    made = SHAPES[0]
    more = min(1.0, acceptance + better)
    assert made.expected_tokens_per_step(more) > made.expected_tokens_per_step(acceptance)
    assert made.alone_s(100, output, more) <= made.alone_s(100, output, acceptance)


def test_saturation_and_a_lone_request_know_of_it():
    alone, good, bad = deployed("nvidia-h100-sxm", "llama-3.1-8b"), speculating(), speculating(acceptance=0.0)
    assert good.alone_s(100, 400) < alone.alone_s(100, 400) < bad.alone_s(100, 400)
    assert good.lone_tokens_per_s(100) == pytest.approx(good.expected_tokens_per_step() / good.decode_s(1, 100))
    # Saturated, chat of short contexts is bound by compute.
    assert bad.saturated_rate(100, 400) < good.saturated_rate(100, 400) < alone.saturated_rate(100, 400)


def test_a_lone_request_takes_the_steps_its_drafts_let_expect():
    made = speculating(acceptance=1.0)
    steps = made.alone_s(100, 101) - made.alone_s(100, 1)
    assert 20 * made.decode_s(1, 100) < steps < 20 * made.decode_s(1, 205)


# --- What it costs -----------------------------------------------------------------------------------


SHAPES = (
    speculating(),
    speculating(16, draft={"layers": 1}),
    speculating(3, hardware="nvidia-h200-sxm", model="llama-3.1-70b", tensor=2, pipeline=2),
    speculating(2, draft={"layers": 1}, hardware="nvidia-b200-sxm", model="deepseek-v3", precision="fp8", tensor=8),
    speculating(4, draft={"layers": 2}, hardware="nvidia-h100-sxm", model="gpt-oss-20b"),
    speculating(4, draft={"model": "qwen3-0.6b"}, model="qwen3-8b"),
)
shapes = st.sampled_from(SHAPES)


@settings(max_examples=200, deadline=None)
@given(shapes, st.integers(1, 256), st.integers(1, 20_000))
def test_no_step_beats_its_speed_of_light(made, decoding, each):
    """Its work is that of as many queries per sequence, every weight and every key read once, and the draft's."""
    verified = made.drafts + 1
    floor = speed_of_light_s(made, decoding, each, verified=verified)
    taken = made.decode_s(decoding, each)
    draft = made.drafter.model
    matrices = layer_matrices(draft)
    streamed = made.drafts * BYTES[made.precision.weights] * matrices.always
    bandwidth = made.hardware.memory.bandwidth.si * made.parallelism.tensor
    assert taken >= floor + streamed / bandwidth


@settings(max_examples=100, deadline=None)
@given(shapes, st.integers(1, 256), st.integers(1, 20_000))
def test_the_line_is_the_step_without_prefill_up_to_the_nearest_window(made, decoding, each):
    context = float(decoding * each)
    line = decode_line(made.latency, float(decoding), context)
    for total in (context, min(line.limit, 2.0 * context)):
        step = cost(made, decoding, total)
        assert line.fixed_s + line.slope_s * total == pytest.approx(step.seconds, rel=1e-9)
        assert line.fixed_active_s + line.slope_active_s * total == pytest.approx(step.active_s, rel=1e-9)
    windows = (made.coefficients.window, made.draft_coefficients.window)
    assert line.limit == min((decoding * w for w in windows if context < decoding * w), default=math.inf)


@settings(max_examples=100, deadline=None)
@given(shapes, st.integers(0, 200), st.integers(1, 5000), st.integers(0, 4000))
def test_more_work_never_takes_less_time(made, decoding, each, chunk):
    taken = cost(made, decoding, float(decoding * each), chunk)
    more = cost(made, decoding + 1, float((decoding + 1) * each), chunk + 1)
    assert more.seconds >= taken.seconds
    assert step_energy_j(made.coefficients, more) >= step_energy_j(made.coefficients, taken)
    assert more.active_s <= more.seconds * (1 + 1e-12)


def test_the_draft_prefills_beside_its_target():
    alone, speculates, free = (
        deployed("nvidia-h100-sxm", "llama-3.1-8b"), speculating(), speculating(draft={"layers": 0}),
    )  # fmt: skip
    draft = deployed("nvidia-h100-sxm", "llama-3.2-1b")
    host = draft.coefficients.engine_step_s + draft.coefficients.engine_sequence_s
    assert free.prefill_s(4000) == pytest.approx(alone.prefill_s(4000))
    assert speculates.prefill_s(4000) == pytest.approx(alone.prefill_s(4000) + draft.prefill_s(4000) - host)


def test_the_draft_runs_once_per_guess_and_the_engine_schedules_once():
    draft = deployed("nvidia-h100-sxm", "llama-3.2-1b")
    host = draft.coefficients.engine_step_s + 8 * draft.coefficients.engine_sequence_s
    for drafts in (1, 5):
        beside = speculating(drafts).decode_s(8, 1000) - speculating(drafts, draft={"layers": 0}).decode_s(8, 1000)
        assert beside == pytest.approx(drafts * (draft.decode_s(8, 1000) - host))


def test_verifying_free_guesses_still_costs():
    alone, free = deployed("nvidia-h100-sxm", "llama-3.1-8b"), speculating(16, draft={"layers": 0})
    assert free.decode_s(128, 500) > 2 * alone.decode_s(128, 500)
    assert free.memory.weight_bytes == alone.memory.weight_bytes


def test_every_part_of_a_draft_shows_in_a_compiled_and_in_a_plain_step():
    made = SHAPES[0]
    step = MixedStep(8.0, 8000.0, 1.0, 500.0, 125_000.0, 125_000.0, 500.0, 1.0)
    assert plain(step_cost)(made.latency, step) == pytest.approx(step_cost(made.latency, step), rel=1e-12)


# --- Memory ------------------------------------------------------------------------------------------


def test_a_draft_takes_its_weights_and_its_cache_from_the_cache():
    alone, made = deployed("nvidia-h100-sxm", "llama-3.1-8b").memory, speculating().memory
    draft = load_model("llama-3.2-1b", "here")
    assert made.draft_bytes == 2 * draft.total_parameters
    assert made.weight_bytes == alone.weight_bytes + made.draft_bytes
    assert made.kv_bytes_per_token == alone.kv_bytes_per_token + 2 * draft.kv_elements_per_token
    assert made.kv_blocks < alone.kv_blocks


def test_a_head_shares_embedding_and_lm_head():
    made = speculating(draft={"layers": 2}).memory
    target = load_model("llama-3.1-8b", "here")
    assert made.draft_bytes == pytest.approx(2 * 2 * target.layer_parameters / target.layers)
    assert made.kv_bytes_per_token == pytest.approx(2 * target.kv_elements_per_token * 34 / 32)


def test_a_head_of_a_model_with_experts_has_experts():
    head = SHAPES[3].drafter.model
    assert (head.layers, head.moe.layers, head.dense_ffn) == (1, 1, None)
    assert SHAPES[4].drafter.model.windowed_layers == 0


def test_a_draft_sits_on_the_last_stage_of_a_pipeline():
    one, four = (speculating(model="llama-3.1-70b", hardware="nvidia-b200-sxm", pipeline=n) for n in (1, 4))
    assert four.memory.draft_bytes == one.memory.draft_bytes
    assert four.draft_coefficients.stages == 1.0


# --- What is refused ---------------------------------------------------------------------------------


def test_a_draft_that_does_not_fit_beside_its_target_is_in_the_arithmetic():
    options: dict[str, Any] = {"hardware": "nvidia-rtx-4090", "memory_share": 0.8}
    assert deployed("nvidia-rtx-4090", "llama-3.1-8b", memory_share=0.8).memory.kv_blocks > 0
    problem = refused(**options)
    assert "(2.47 GB of them the draft's)" in problem.what
    assert "would" in problem.remedy


def test_a_draft_has_its_targets_vocabulary():
    problem = refused(draft={"model": "qwen3-0.6b"})
    assert problem.where == "pools[0].speculation.draft.model"
    assert "151,936 tokens" in problem.what


def test_an_unknown_draft_is_named_with_the_nearest():
    problem = refused(draft={"model": "llama-3.2-1bb"})
    assert problem.where == "pools[0].speculation.draft.model"
    assert "llama-3.2-1b" in problem.remedy


def test_every_seat_can_verify_within_the_budget():
    problem = refused(drafts=8, batching={"max_sequences": 256, "token_budget": 2048})
    assert problem.where == "pools[0].speculation.drafts"
    assert "max_sequences: 227" in problem.remedy
    speculating(8, batching={"max_sequences": 227, "token_budget": 2048})
