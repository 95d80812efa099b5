"""How a scenario names a policy."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from inferencesim.scenario.base import Part


class PolicyChoice(Part):
    """A policy by its id, with its parameters; a bare id takes the defaults."""

    policy: Annotated[str, Field(min_length=1)]
    parameters: dict[str, float] = Field(default_factory=dict)


def _choice(value: Any) -> Any:
    return {"policy": value} if isinstance(value, str) else value


Choice = Annotated[PolicyChoice, BeforeValidator(_choice, json_schema_input_type=PolicyChoice | str)]
