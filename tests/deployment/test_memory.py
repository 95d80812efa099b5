"""Where the bytes of a replica go, and what is said when they do not fit."""

from __future__ import annotations

import re

import pytest
from deploying import BYTES, changed, deployed, fitting, layer_matrices
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from inferencesim.deployment.engine import load_engine
from inferencesim.deployment.memory import engine_memory, kv_shards
from inferencesim.errors import InputError
from inferencesim.hardware.catalog import load_profile, profile_names
from inferencesim.models.catalog import load_model, model_names


def refused(*arguments, **options) -> InputError:
    with pytest.raises(InputError) as caught:
        deployed(*arguments, **options)
    return caught.value


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_weights_activations_and_cache_never_exceed_what_is_usable(data):
    hardware = data.draw(st.sampled_from(profile_names()))
    model = data.draw(st.sampled_from(model_names()))
    profile = load_profile(hardware, "here")
    activations = data.draw(st.sampled_from(sorted(profile.compute)))
    fit = fitting(hardware, model, activations, activations)
    assume(fit is not None)
    precision = {"weights": activations, "activations": activations, "kv": data.draw(st.sampled_from(["bf16", "fp8"]))}
    batching = {"block_size": data.draw(st.sampled_from([1, 16, 64])), "max_sequences": 64}
    deployment = deployed(
        hardware, model, precision, tensor=fit.tensor, pipeline=fit.pipeline, batching=batching
    )  # fmt: skip
    plan = deployment.memory
    block = plan.kv_bytes_per_token * plan.block_size
    used = plan.runtime_bytes + plan.weight_bytes + plan.activation_bytes + plan.kv_blocks * block
    assert used <= plan.usable_bytes <= profile.memory.capacity.si
    if deployment.model.causal_cache:
        assert used + block > plan.usable_bytes
    else:
        assert plan.kv_tokens >= 64 * deployment.model.max_context
    assert plan.kv_tokens == plan.kv_blocks * plan.block_size

    # All chips together hold at least one copy of every weight and of the cache.
    spec = deployment.model
    matrices = layer_matrices(spec)
    ends = spec.vocab * spec.hidden * (1 if spec.tied else 2)
    assert plan.weight_bytes * fit.chips >= ((matrices.always + matrices.experts) * BYTES[activations] + ends * 2.0) * (
        1 - 1e-12
    )
    cache = spec.kv_elements_per_token * BYTES[precision["kv"]]
    assert plan.kv_bytes_per_token * fit.chips >= cache * (1 - 1e-12)


@pytest.mark.parametrize(
    ("model", "bytes_per_token"),
    [
        ("llama-3.1-8b", 131_072),
        ("llama-3.1-70b", 327_680),
        ("llama-3.1-405b", 516_096),
        ("qwen3-32b", 262_144),
        ("mixtral-8x7b", 131_072),
        ("deepseek-v3", 70_272),  # 61 layers × (512 + 64) × 2 B: the compressed cache
    ],
)
def test_cache_per_token_in_sixteen_bits_is_the_published_one(model, bytes_per_token):
    fit = fitting("amd-epyc-9965", model, "int4", "bf16")
    assert fit is not None
    deployment = deployed("amd-epyc-9965", model, "int4", tensor=fit.tensor, pipeline=fit.pipeline)
    copies = fit.tensor / kv_shards(deployment.model, fit.tensor)
    total = deployment.memory.kv_bytes_per_token * fit.chips / copies
    assert total == pytest.approx(bytes_per_token)


def test_the_weights_of_an_h100_with_llama_8b_by_hand():
    """6.98e9 matrix parameters in FP8, embedding and head of 128256 × 4096 in sixteen bits."""
    plan = deployed("nvidia-h100-sxm", "llama-3.1-8b", "fp8").memory
    assert plan.weight_bytes == pytest.approx(6_979_321_856 + 2 * 2 * 128_256 * 4096)
    assert plan.usable_bytes == pytest.approx(0.9 * 80e9)
    assert plan.kv_bytes_per_token == 131_072
    room = plan.usable_bytes - plan.runtime_bytes - plan.weight_bytes - plan.activation_bytes
    assert plan.kv_blocks == int(room // (131_072 * 16))


def test_an_eight_bit_cache_holds_twice_the_tokens():
    wide = deployed("nvidia-h100-sxm", "llama-3.1-8b", {"weights": "fp8", "kv": "bf16"}).memory
    narrow = deployed("nvidia-h100-sxm", "llama-3.1-8b", {"weights": "fp8", "kv": "fp8"}).memory
    assert narrow.kv_tokens == pytest.approx(2 * wide.kv_tokens, rel=1e-3)


def test_tensor_groups_share_the_cache_until_each_chip_has_one_head():
    one, eight, sixteen = (
        deployed("nvidia-h200-sxm", "llama-3.1-70b", "fp8", tensor=n).memory for n in (1, 8, 16)
    )  # fmt: skip
    assert eight.kv_bytes_per_token == pytest.approx(one.kv_bytes_per_token / 8)
    assert sixteen.kv_bytes_per_token == eight.kv_bytes_per_token
    assert kv_shards(load_model("deepseek-v3", "here"), 8) == 1


def test_pipeline_stages_hold_equal_shares():
    one, four = (deployed("nvidia-h200-sxm", "llama-3.1-70b", "fp8", pipeline=n).memory for n in (1, 4))
    assert four.kv_bytes_per_token == pytest.approx(327_680 / 4)
    assert four.weight_bytes == pytest.approx(one.weight_bytes / 4)
    assert four.activation_bytes == pytest.approx(one.activation_bytes / 4)
    assert four.kv_tokens > 4 * one.kv_tokens


@pytest.mark.parametrize(
    "fewer",
    [
        {"memory_share": 0.6},
        {"batching": {"token_budget": 32768}},
        {"batching": {"max_sequences": 2048}},
    ],
)
def test_what_else_takes_memory_leaves_less_cache(fewer):
    plain = deployed("nvidia-h100-sxm", "llama-3.1-8b").memory
    assert deployed("nvidia-h100-sxm", "llama-3.1-8b", **fewer).memory.kv_blocks < plain.kv_blocks


def test_the_tighter_of_engine_and_profile_limits_memory():
    vllm = deployed("nvidia-h100-sxm", "llama-3.1-8b").memory
    sglang = deployed("nvidia-h100-sxm", "llama-3.1-8b", engine="sglang").memory
    assert sglang.usable_bytes == pytest.approx(0.88 * 80e9)
    assert vllm.usable_bytes == pytest.approx(0.9 * 80e9)
    tight = changed("nvidia-h100-sxm", "usable_memory", 0.5)
    assert deployed(tight, "llama-3.1-8b").memory.usable_bytes == pytest.approx(0.45 * 80e9)
    assert deployed(tight, "llama-3.1-8b", memory_share=0.7).memory.usable_bytes == pytest.approx(0.7 * 80e9)


def test_a_request_fits_if_context_and_cache_hold_it():
    small = deployed("nvidia-l4", "llama-3.1-8b")
    tokens = small.memory.kv_tokens
    # The last token is sampled and needs no cache.
    assert tokens - 99 + 100 <= small.context_limit
    assert not (tokens - 98 + 100 <= small.context_limit)
    roomy = deployed("nvidia-h200-sxm", "llama-3.1-8b")
    assert roomy.context_limit >= 131_072 - 100 + 100
    assert not (roomy.context_limit >= 131_072 - 99 + 100)


GIBIBYTE = 2**30

#: What engines reported of themselves: the memory the driver gave them, and the KV cache they made in it.
REPORTED = [
    # vLLM 0.19 on an RTX 4090 (github:casys-kaist/LLMServingSim, meta.json of its run): 2588 blocks of 16.
    pytest.param("nvidia-rtx-4090", "llama-3.1-8b", "bf16", "vllm", 0.9, 2048, 25_250_627_584, 41_408, id="rtx-4090"),
    # vLLM 0.6 (vllm-project/vllm#10511): 53.29 of 79.22 GiB for the cache; 32 layers × 2 × 8 heads × 128 × 2 B.
    pytest.param("nvidia-h100-sxm", "llama-3.1-8b", "bf16", "vllm", 0.9, 8192, 79.22 * GIBIBYTE,
                 53.29 * GIBIBYTE / 131_072, id="80 GB"),
    # vLLM 0.19 on an A100 (https://myoceane.fr/index.php/ai-vllm-a100-gemma-4): 36.56 GiB; 24 × 2 × 8 × 64 × 2 B.
    pytest.param("nvidia-a100-80gb-sxm", "gpt-oss-20b", {"weights": "bf16", "expert_weights": "int4"}, "vllm", 0.65,
                 2048, 79.25 * GIBIBYTE, 36.56 * GIBIBYTE / 49_152, id="gpt-oss"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("hardware", "model", "precision", "engine", "share", "budget", "memory_bytes", "kv_tokens"), REPORTED
)
def test_the_cache_is_as_large_as_engines_report(
    hardware, model, precision, engine, share, budget, memory_bytes, kv_tokens
):
    """Within 5 %, where the memory is the driver's: 80 GB on the box are 79.2 GiB."""
    own = load_profile(hardware, "here").memory.capacity.si
    profile = changed(hardware, "memory.capacity", memory_bytes / own)
    batching = {"max_sequences": 256, "token_budget": budget}
    plan = deployed(profile, model, precision, engine=engine, memory_share=share, batching=batching).memory
    assert plan.kv_tokens == pytest.approx(kv_tokens, rel=0.05)


def test_an_engines_runtime_takes_its_share_first_and_little_of_a_small_chip():
    vllm, generic = (
        deployed("nvidia-h100-sxm", "llama-3.1-8b", engine=name, memory_share=0.9).memory
        for name in ("vllm", "generic")
    )
    taken = load_engine("vllm", "here").runtime.si
    assert vllm.runtime_bytes == taken > 0 == generic.runtime_bytes
    lost = (generic.kv_tokens - vllm.kv_tokens) * vllm.kv_bytes_per_token
    assert lost == pytest.approx(taken, abs=16 * vllm.kv_bytes_per_token)
    lpu = load_profile("groq-lpu-v1", "here")
    assert engine_memory(lpu, load_engine("vllm", "here"), None).runtime_bytes == 0.05 * lpu.memory.capacity.si


# --- What does not work ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hardware", "model", "precision", "engine"),
    [
        ("nvidia-h100-sxm", "llama-3.1-70b", "bf16", "vllm"),
        ("nvidia-l4", "llama-3.1-70b", "fp8", "vllm"),
        ("groq-lpu-v1", "llama-3.1-70b", "int8", "compiled"),
        ("cerebras-cs3", "llama-3.1-405b", "bf16", "compiled"),
        ("nvidia-h200-sxm", "deepseek-v3", "fp8", "vllm"),
        ("nvidia-rtx-4090", "gemma-3-27b", "bf16", "vllm"),
        ("google-tpu-v5e", "qwen3-235b-a22b", "int8", "vllm"),
    ],
)
def test_what_does_not_fit_is_told_with_the_arithmetic_and_what_would(hardware, model, precision, engine):
    problem = refused(hardware, model, precision, engine=engine)
    assert problem.where == "pools[0]"
    profile = load_profile(hardware, "here")
    weights, activations, runtime, usable = (
        float(x) for x in re.findall(r"([0-9.]+) GB(?! ×| =|\))", problem.what)[:4]
    )
    assert weights + activations + runtime > usable * 0.99
    assert f"of {profile.memory.capacity.si / 1e9:g} GB" in problem.what
    told = re.findall(r"\{tensor: (\d+), pipeline: (\d+)\} \((\d+) chips\)", problem.remedy or "")
    assert told, problem.remedy
    for tensor, pipeline, chips in told:
        assert int(tensor) * int(pipeline) == int(chips)
        fitting_one = deployed(hardware, model, precision, engine=engine, tensor=int(tensor), pipeline=int(pipeline))
        assert fitting_one.memory.kv_tokens >= fitting_one.batching.token_budget
    # The first takes the fewest chips: with one stage, or one chip of a group, less, it is too small.
    tensor, pipeline, chips = (int(number) for number in told[0])
    assert all(chips <= int(others[2]) for others in told)
    for fewer in ((tensor, pipeline - 1), (tensor // 2, pipeline)):
        if min(fewer) > 0:
            assert not holds_a_step(hardware, model, precision, engine, *fewer)


def holds_a_step(hardware, model, precision, engine, tensor, pipeline):
    try:
        one = deployed(hardware, model, precision, engine=engine, tensor=tensor, pipeline=pipeline)
    except InputError:
        return False
    return one.memory.kv_tokens >= one.batching.token_budget


@pytest.mark.parametrize(
    ("hardware", "said"),
    [
        ("cerebras-cs3", "{tensor: 1, pipeline: 4} (4 chips) would, and so would {tensor: 8, pipeline: 1} (8 chips)."),
        ("nvidia-l4", "{tensor: 8, pipeline: 1} (8 chips) would."),
    ],
)
def test_the_fewest_chips_come_before_the_smallest_group(hardware, said):
    assert refused(hardware, "llama-3.1-70b").remedy == f"parallelism: {said}"


def test_where_nothing_would_do_the_error_says_so():
    problem = refused("groq-lpu-v1", "deepseek-v3", "int8", engine="compiled")
    assert "No tensor × pipeline up to 1024 chips would" in (problem.remedy or "")


@pytest.mark.parametrize(
    ("hardware", "model", "precision", "options", "where", "said"),
    [
        ("nvidia-a100-80gb-sxm", "llama-3.1-8b", "fp8", {}, "precision", ["no fp8", "bf16, int8"]),
        ("nvidia-h100-sxm", "llama-3.1-8b", "fp4", {}, "precision", ["no fp4", "weights: fp4, activations: bf16"]),
        ("nvidia-h100-sxm", "llama-3.1-8b", "bf16", {"tensor": 3}, "parallelism.tensor", ["3 does not divide", "32"]),
        ("nvidia-h100-sxm", "llama-3.1-8b", "bf16", {"tensor": 64}, "parallelism.tensor", ["64 does not", "1, 2, 4"]),
        ("nvidia-h100-sxm", "llama-3.1-8b", "bf16", {"pipeline": 33}, "parallelism.pipeline", ["33", "32 layers"]),
        ("nvidia-h100-sxm", "llama-3.1-8b", "bf16", {"tensor": 2, "expert": 2}, "parallelism.expert", ["no experts"]),
        ("nvidia-h200-sxm", "gpt-oss-20b", "bf16", {"tensor": 64, "expert": 64}, "parallelism.expert", ["32 experts"]),
    ],
)  # fmt: skip
def test_what_a_chip_or_a_model_cannot_do_is_refused_at_its_key(hardware, model, precision, options, where, said):
    problem = refused(hardware, model, precision, **options)
    assert problem.where == f"pools[0].{where}"
    for words in said:
        assert words in str(problem)


def test_four_bit_weights_run_on_any_chip_with_sixteen_bit_arithmetic():
    deployed("nvidia-a100-80gb-sxm", "llama-3.1-8b", {"weights": "fp4", "activations": "bf16"})
    deployed("nvidia-a100-80gb-sxm", "llama-3.1-8b", "int4")
