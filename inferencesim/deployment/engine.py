"""Inference engines as data: what each adds on the host, and how it schedules."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from inferencesim.documents import read_yaml
from inferencesim.errors import InputError, did_you_mean
from inferencesim.hardware.quantity import Duration, Reserve, Share


class Engine(BaseModel):
    """Host-side costs of an engine, how it forms its steps, and the share of memory it takes.

    Attributes
    ----------
    id, name : str
    step : Duration
        Seconds per step: scheduling, input preparation, synchronisation.
    sequence : Duration
        Seconds per sequence of a step: sampling, detokenisation.
    launch : Duration
        Seconds per plain layer that launching a step with prefill adds, which no captured graph covers; a layer with
        more than four matrices takes more in proportion.
    request : Duration
        Seconds per request between client and engine core, there and back: HTTP, tokenisation, streaming.
    batching : str
        Its batching policy.
    memory_share : Share
        Of a chip's memory, for all the engine holds: its runtime, weights, activations and KV cache.
    runtime : Reserve
        Bytes per chip of contexts, communication buffers and captured graphs.
    """

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    id: str
    name: str
    step: Duration
    sequence: Duration
    launch: Duration
    request: Duration
    batching: str
    memory_share: Share
    runtime: Reserve


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
