"""Every system a planner asks for has a profile, deploys a shipped model, and serves requests in a simulated fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from inferencesim.api import simulate
from inferencesim.hardware.catalog import load_profile, profile_names
from inferencesim.scenario.loading import load_scenario
from inferencesim.scenario.scenario import Scenario
from inferencesim.simulation.plan import make_plan

if TYPE_CHECKING:
    from inferencesim.results.run import Run


BATCHING = {"max_sequences": 16, "token_budget": 512}


class Serving(NamedTuple):
    """One replica that a system can hold."""

    hardware: str
    model: str
    precision: str
    tensor: int = 1
    pipeline: int = 1
    expert: int = 1
    engine: str = "vllm"

    def pool(self) -> dict[str, Any]:
        """Return it as a pool of one replica, named after the chip."""
        return {
            "name": self.hardware,
            "hardware": self.hardware,
            "model": self.model,
            "precision": self.precision,
            "parallelism": {"tensor": self.tensor, "pipeline": self.pipeline, "expert": self.expert},
            "engine": self.engine,
            "batching": BATCHING,
        }


#: Systems that a planner asks for, each with a model it holds.
SYSTEMS = {
    "H100": Serving("nvidia-h100-sxm", "llama-3.1-70b", "fp8", tensor=2),
    "H200": Serving("nvidia-h200-sxm", "llama-3.1-70b", "fp8"),
    "B200": Serving("nvidia-b200-sxm", "llama-3.1-70b", "fp4"),
    "B300": Serving("nvidia-b300-sxm", "llama-3.1-405b", "fp8", tensor=2),
    "GB200 NVL72": Serving("nvidia-gb200-nvl72", "deepseek-r1", "fp4", tensor=8, expert=8),
    "GB300 NVL72": Serving("nvidia-gb300-nvl72", "deepseek-r1", "fp4", tensor=4, expert=4),
    "Rubin": Serving("nvidia-rubin-nvl72", "kimi-k2", "fp4", tensor=8, expert=8),
    "MI300X": Serving("amd-mi300x", "llama-3.1-70b", "fp8"),
    "MI325X": Serving("amd-mi325x", "llama-3.1-70b", "bf16"),
    "MI355X": Serving("amd-mi355x", "gpt-oss-120b", "fp4"),
    "MI455X Helios": Serving("amd-mi455x-helios", "deepseek-r1", "fp8", tensor=4, expert=4),
    "Maia 100": Serving("microsoft-maia-100", "llama-3.1-70b", "fp8", tensor=2),
    "Maia 200": Serving("microsoft-maia-200", "llama-3.1-70b", "fp4"),
    "Gaudi 3": Serving("intel-gaudi3", "llama-3.1-70b", "fp8"),
    "Crescent Island": Serving("intel-crescent-island", "llama-3.1-70b", "fp8"),
    "TPU v5e": Serving("google-tpu-v5e", "llama-3.1-8b", "int8"),
    "TPU v6e": Serving("google-tpu-v6e", "llama-3.1-70b", "int8", tensor=4),
    "TPU v7x": Serving("google-tpu-v7x", "qwen3-32b", "fp8"),
    "Inferentia2": Serving("aws-inferentia2", "llama-3.1-8b", "bf16"),
    "Trainium1": Serving("aws-trainium1", "llama-3.1-70b", "bf16", tensor=8),
    "Trainium2": Serving("aws-trainium2", "llama-3.1-70b", "fp8"),
    "Trainium3": Serving("aws-trainium3", "qwen3-235b-a22b", "fp8", tensor=4, expert=4),
    "Cerebras CS-3": Serving("cerebras-cs3", "llama-3.1-70b", "bf16", pipeline=4, engine="compiled"),
    "Groq LPU": Serving("groq-lpu-v1", "llama-3.1-70b", "int8", tensor=8, pipeline=72, engine="compiled"),
    "SambaNova SN40L": Serving("sambanova-sn40l", "llama-3.1-70b", "bf16", tensor=16),
    "Cloud AI 100": Serving("qualcomm-ai100-ultra", "llama-3.1-8b", "int8"),
    "AI200": Serving("qualcomm-ai200", "llama-3.1-70b", "fp8"),
    "L4": Serving("nvidia-l4", "llama-3.1-8b", "fp8"),
    "L40S": Serving("nvidia-l40s", "qwen3-32b", "fp8"),
    "RTX PRO 6000": Serving("nvidia-rtx-pro-6000-se", "qwen3-32b", "bf16", tensor=2),
    "DGX Spark": Serving("nvidia-dgx-spark-gb10", "gpt-oss-20b", "fp4"),
    "EPYC 9965": Serving("amd-epyc-9965", "llama-3.1-8b", "int8"),
    "EPYC Venice": Serving("amd-epyc-venice", "llama-3.1-8b", "int8"),
    "Xeon 6980P": Serving("intel-xeon-6980p", "llama-3.1-8b", "bf16"),
    "Grace": Serving("nvidia-grace", "qwen3-30b-a3b", "int8"),
    "Apple M2 Ultra": Serving("apple-m2-ultra", "llama-3.1-70b", "int4"),
    "Apple M3 Ultra": Serving("apple-m3-ultra", "gpt-oss-120b", "int4"),
    "Apple M4 Max": Serving("apple-m4-max", "llama-3.1-8b", "bf16"),
    "Apple Neural Engine": Serving("apple-ane-m-series", "llama-3.1-8b", "int4"),
    "Snapdragon X": Serving("qualcomm-snapdragon-x-elite", "llama-3.1-8b", "int8"),
    "Jetson Thor": Serving("nvidia-jetson-thor-t5000", "qwen3-30b-a3b", "fp4"),
}

#: The smallest number of requests that each pool of the common fleet is given.
TURNS = 3


def fleet(systems: dict[str, Serving]) -> Scenario:
    """Return a fleet of one replica per system, visited in turn by short requests that any of their models serves."""
    rate_hz = 2.0
    visitor = {
        "name": "visitor",
        "arrivals": {"process": "poisson", "rate": rate_hz},
        "prompt_tokens": 100,
        "output_tokens": 8,
        "models": sorted({served.model for served in systems.values()}),
    }
    # A quarter more time than the visits take on average: Poisson arrivals are not punctual.
    horizon_s = 1.25 * TURNS * len(systems) / rate_hz
    return Scenario.model_validate(
        {
            "name": "every-system",
            "horizon": horizon_s,
            "drain": "5min",
            "pools": [served.pool() for served in systems.values()],
            "workload": [visitor],
            "routing": {"placement": "round_robin"},
        }
    )


@pytest.fixture(scope="module")
def common_run() -> Run:
    return simulate(fleet(SYSTEMS))


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_listed_system_has_a_profile_that_holds_a_shipped_model(system: str) -> None:
    served = SYSTEMS[system]
    (pool,) = make_plan(fleet({system: served})).pools
    deployment = pool.deployment
    assert deployment.hardware.id == served.hardware
    assert deployment.memory.weight_bytes > 0
    assert deployment.context_limit >= 2048
    assert 0 < deployment.decode_s(1, 1024) <= deployment.decode_s(8, 1024) < deployment.prefill_s(16 * 1024)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_listed_system_answers_requests_in_a_fleet_of_all(system: str, common_run: Run) -> None:
    visits = common_run.requests[common_run.requests["pool"] == SYSTEMS[system].hardware]
    assert len(visits) >= TURNS
    assert (visits["outcome"] == "completed").all()
    assert (visits["generated_tokens"] == visits["output_tokens"]).all()
    assert (visits["ttft_s"] > 0).all()
    assert (visits["energy_j"] > 0).all()


def test_chips_of_one_fleet_differ_as_their_numbers_say(common_run: Run) -> None:
    """Llama 3.1 70B in eight bits: an SRAM pipeline writes faster than HBM, and HBM faster than LPDDR."""
    tpot_s = common_run.requests.groupby("pool")["tpot_s"].median()
    assert tpot_s["groq-lpu-v1"] < tpot_s["nvidia-h200-sxm"] < tpot_s["intel-crescent-island"]
    assert tpot_s["amd-epyc-venice"] < tpot_s["amd-epyc-9965"]


def test_the_shipped_scenario_of_every_chip_holds_every_listed_system() -> None:
    described = load_scenario("every_chip")
    make_plan(described)
    assert {served.hardware for served in SYSTEMS.values()} <= {pool.hardware for pool in described.pools}


@pytest.mark.parametrize("name", [name for name in profile_names() if load_profile(name, name).status == "announced"])
def test_an_announced_chip_says_which_of_its_numbers_are_assumptions(name: str) -> None:
    profile = load_profile(name, name)
    assert profile.price.per_chip.provenance == "assumption"
    assert "Assumptions: " in profile.notes
