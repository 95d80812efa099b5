"""Which policies decide, what they are told, and how old that is."""

from __future__ import annotations

from pydantic import model_validator

from inferencesim.scenario.base import Part, Time
from inferencesim.scenario.policies import Choice, PolicyChoice


class Routing(Part):
    """Placement over pools, balancing inside a pool, and the age of what both see."""

    placement: Choice = PolicyChoice(policy="least_normalised_load")
    balancing: Choice = PolicyChoice(policy="least_outstanding")
    snapshot_age: Time = 0.0

    @model_validator(mode="after")
    def _an_age_worth_the_name(self) -> Routing:
        if 0.0 < self.snapshot_age < 1e-4:
            msg = f"snapshot_age ({self.snapshot_age:g} s) must be 0, for live counts, or at least 0.1 ms"
            raise ValueError(msg)
        return self
