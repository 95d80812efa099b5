"""Classes to draw from."""

from __future__ import annotations

import pytest

from inferencesim.scenario.workload import WorkloadClass


@pytest.fixture(scope="session")
def make_class():
    """Return a maker of valid classes: what is not said is simple."""

    def make(name="chat", **said):
        plain = {
            "name": name,
            "arrivals": {"process": "poisson", "rate": 10.0},
            "prompt_tokens": {"distribution": "lognormal", "median": 1000, "sigma": 1.0},
            "output_tokens": {"distribution": "lognormal", "median": 200, "sigma": 0.8},
            "models": ["m"],
        }
        merged = plain | said
        if merged["arrivals"]["process"] == "trace":
            merged = {key: value for key, value in merged.items() if not key.endswith("_tokens")}
        return WorkloadClass.model_validate(merged)

    return make
