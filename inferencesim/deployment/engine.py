"""Inference engines as data: what each adds per step and per sequence on the host."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from inferencesim.documents import read_yaml
from inferencesim.errors import InputError, did_you_mean
from inferencesim.hardware.quantity import Duration, Share


class Engine(BaseModel):
    """Host-side costs of an engine, and the share of memory it takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    name: str
    step: Duration
    sequence: Duration
    memory_share: Share


@functools.cache
def _engines() -> dict[str, Engine]:
    tree: Any = read_yaml(Path(__file__).parent / "engines.yaml", "engines.yaml")
    return {name: Engine.model_validate({"id": name, **fields}) for name, fields in tree.items()}


def engine_names() -> list[str]:
    """Return the ids of all engines."""
    return sorted(_engines())


def load_engine(name: str, where: str) -> Engine:
    """Return the engine called `name`.

    Raises
    ------
    InputError
        At `where`, if there is none.
    """
    engines = _engines()
    if name not in engines:
        raise InputError(where, f"unknown engine {name!r}", did_you_mean(name, engines))
    return engines[name]
