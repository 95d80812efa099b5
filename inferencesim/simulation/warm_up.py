"""Compile everything before it is needed: ``python -m inferencesim.simulation.warm_up``."""

from __future__ import annotations

import inferencesim.routing.policies  # noqa: F401 - files the built-in policies
from inferencesim.ledger.sink import MemorySink
from inferencesim.routing.policy import POLICIES, bind, bind_predictions
from inferencesim.scenario.scenario import Scenario
from inferencesim.simulation.compiling import COMPILING, compilation_watched
from inferencesim.simulation.engine import Simulation
from inferencesim.simulation.plan import make_plan


def warm_up() -> None:
    """Compile the kernel and every registered policy, or load them from the cache."""
    for name in POLICIES.names():
        bind(name, {}, "routing")
    bind_predictions()
    model, chip = "llama-3.1-8b", "nvidia-h100-sxm"
    smallest = {
        "name": "warm-up",
        "horizon": 1.0,
        "pools": [{"name": "only", "hardware": chip, "model": model, "replicas": 2}],
        "workload": [
            {
                "name": "any",
                "arrivals": {"process": "poisson", "rate": 20.0},
                "prompt_tokens": 100,
                "output_tokens": 10,
                "models": [model],
                "promise": {"slowdown": 5},
            }
        ],
    }
    Simulation(make_plan(Scenario.model_validate(smallest)), MemorySink()).run()


def _say_once(functions: int) -> None:
    if functions == 1:
        print(COMPILING, flush=True)


if __name__ == "__main__":
    with compilation_watched(_say_once):
        warm_up()
