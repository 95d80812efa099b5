"""Every chip with every model in every format it computes in: laws that no combination may break.

A full grid, also with the shipped calibrations: whatever a fit says, no step
beats the speed of light, and more work never takes less time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from deploying import chunk_cost, deployed, speed_of_light_s, utilisation

from inferencesim.deployment.engine import load_engine
from inferencesim.deployment.memory import engine_memory, smallest_fit
from inferencesim.hardware.catalog import load_profile, profile_names
from inferencesim.models.catalog import load_model, model_names
from inferencesim.scenario.fleet import Batching, Precision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inferencesim.deployment.deployment import Deployment
    from inferencesim.hardware.profile import HardwareProfile
    from inferencesim.models.spec import ModelSpec

#: Steps, each with no less work than the one before it: decoding sequences, context tokens of each, chunks.
GROWING: dict[str, list[tuple[int, int, tuple[tuple[int, int], ...]]]] = {
    "decodes": [(1, 1000, ()), (300, 1000, ()), (300, 50_000, ())],
    "prompts": [(0, 0, ((0, 1),)), (0, 0, ((0, 8000),)), (0, 0, ((50_000, 8000),))],
    "both": [(8, 1000, ((0, 600),)), (64, 1000, ((0, 600),) * 3)],
}


def shapes(model: ModelSpec) -> str:
    return model.model_dump_json(exclude={"id", "name", "source", "sources", "notes", "native_precision"})


#: One of each shape: fine-tuned models have that of their base.
MODELS = tuple({shapes(model): model for model in (load_model(name, "here") for name in model_names())}.values())


def formats_of(profile: HardwareProfile, model: ModelSpec) -> Iterator[dict[str, Any]]:
    """Give every format the chip multiplies, weights packed in four bits, and experts packed alone."""
    for activations in profile.compute:
        yield {"weights": activations, "activations": activations, "kv": "bf16"}
    yield {"weights": "int4", "activations": "bf16", "kv": "fp8"}
    if model.moe is not None:
        yield {"weights": "bf16", "activations": "bf16", "kv": "bf16", "expert_weights": "int4"}


def deployments_on(profile: HardwareProfile) -> Iterator[Deployment]:
    """Deploy every model in every format on the fewest chips that hold it, as far as any number does."""
    taken = engine_memory(profile, load_engine("vllm", "here"), None)
    for model in MODELS:
        for formats in formats_of(profile, model):
            precision = Precision.model_validate(formats)
            fit = smallest_fit(profile, model, precision, Batching(), taken)
            if fit is not None:
                shape = {"tensor": fit.tensor, "pipeline": fit.pipeline}
                yield deployed(profile, model, formats, **shape, calibration="shipped")


@pytest.mark.parametrize("hardware", profile_names())
def test_no_chip_beats_the_speed_of_light_and_none_is_faster_with_more_work(hardware: str) -> None:
    count = 0
    for deployment in deployments_on(load_profile(hardware, "here")):
        count += 1
        name = (deployment.model.id, deployment.precision.weights, deployment.parallelism.chips)
        for what, steps in GROWING.items():
            before = 0.0
            for decoding, context, chunks in steps:
                taken = chunk_cost(deployment, decoding, decoding * context, chunks, len(chunks)).seconds
                floor = speed_of_light_s(deployment, decoding, context, chunks, len(chunks))
                assert taken >= floor * (1 - 1e-12), (name, what)
                assert taken >= before * (1 - 1e-12), (name, what)
                assert max(utilisation(deployment, taken, decoding, context, chunks, len(chunks))) <= 1.0, (name, what)
                if not chunks:
                    assert deployment.decode_s(decoding, context) == pytest.approx(taken, rel=1e-9), (name, what)
                before = taken
    assert count > 30
