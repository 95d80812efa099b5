"""What a replica completes at most: the formula the routers use, against the fleet overloaded."""

from __future__ import annotations

import pytest
from deploying import deployed
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencesim.ledger.sink import MemorySink
from inferencesim.scenario.scenario import Scenario
from inferencesim.simulation.engine import Simulation
from inferencesim.simulation.plan import make_plan


def completed_per_s(pool: dict, prompt_tokens: int, output_tokens: int, lives: float) -> tuple[float, float]:
    """Return the predicted and the simulated rate of one replica offered far more than the former."""
    deployment = (
        make_plan(
            Scenario.model_validate({"name": "x", "horizon": 1, "pools": [pool]}),
        )
        .pools[0]
        .deployment
    )
    predicted = deployment.saturated_rate(prompt_tokens, output_tokens)
    life = deployment.saturated_batch(prompt_tokens, output_tokens) / predicted
    tree = {
        "name": "x",
        "horizon": lives * life,
        "warm_up": 2 * life,
        "drain": 0,
        "pools": [pool],
        "workload": [
            {
                "name": "c",
                "arrivals": {"process": "poisson", "rate": 2.5 * predicted},
                "prompt_tokens": prompt_tokens,
                # Equal lengths would march in step: everybody prefills together, then nobody.
                "output_tokens": {"distribution": "uniform", "low": output_tokens // 2, "high": output_tokens * 3 // 2},
                "models": [pool["model"]],
            }
        ],
    }
    result = Simulation(make_plan(Scenario.model_validate(tree)), MemorySink()).run()
    start, end = result.window
    return predicted, float((end.completed - start.completed)[0] / (end.at_s - start.at_s))


@pytest.mark.parametrize(
    ("pool", "prompt", "output"),
    [
        pytest.param({"hardware": "nvidia-h100-sxm"}, 500, 250, id="seats limit"),
        pytest.param({"hardware": "nvidia-l4"}, 2000, 400, id="cache limits"),
        pytest.param({"hardware": "nvidia-l4", "batching": {"kv": "reserve"}}, 2000, 400, id="cache limits, reserved"),
        pytest.param({"hardware": "nvidia-h100-sxm", "batching": {"max_sequences": 64, "token_budget": 512}}, 4000, 60, id="prefill limits"),  # noqa: E501
        pytest.param({"hardware": "nvidia-h100-sxm", "model": "llama-3.1-70b", "parallelism": {"pipeline": 4}}, 800, 200, id="pipeline"),  # noqa: E501
    ],
)  # fmt: skip
def test_the_saturated_rate_is_what_an_overloaded_replica_completes(pool, prompt, output):
    predicted, simulated = completed_per_s({"name": "p", "model": "llama-3.1-8b"} | pool, prompt, output, lives=8)
    assert simulated == pytest.approx(predicted, rel=0.15)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20_000), st.integers(1, 4000), st.integers(1, 4000))
def test_longer_requests_saturate_earlier(prompt, output, more):
    deployment = deployed("nvidia-h100-sxm", "llama-3.1-8b")
    rate = deployment.saturated_rate(prompt, output)
    assert rate > 0
    # One more output token is no work of its own where prefill limits: nearly equal rates may round either way.
    assert deployment.saturated_rate(prompt, output + more) <= rate * (1 + 1e-3)
    assert deployment.saturated_rate(prompt + more, output) <= rate * (1 + 1e-3)


def test_seats_and_cache_bound_the_batch():
    deployment = deployed("nvidia-l4", "llama-3.1-8b")
    assert deployment.saturated_batch(10, 10) == 256
    assert deployment.saturated_batch(2000, 400) == pytest.approx(deployment.memory.kv_tokens / 2200)
    reserved = deployed("nvidia-l4", "llama-3.1-8b", batching={"kv": "reserve"})
    assert reserved.saturated_batch(2000, 400) == pytest.approx(reserved.memory.kv_tokens / 2400)
    assert deployment.saturated_batch(10**6, 10) == 1.0
