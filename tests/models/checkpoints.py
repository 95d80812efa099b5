"""Folders of checkpoints with a ``config.json``, and what is read from them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from inferencesim.models.huggingface import from_config

if TYPE_CHECKING:
    from pathlib import Path

    from inferencesim.models.spec import ModelSpec

LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}


def write(folder: Path, config: dict[str, Any], name: str = "checkpoint") -> Path:
    (folder / name).mkdir(exist_ok=True)
    file = folder / name / "config.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    return file


def read(folder: Path, config: dict[str, Any]) -> ModelSpec:
    return from_config(write(folder, config))


def architecture(model: ModelSpec) -> dict[str, Any]:
    return model.model_dump(exclude={"id", "name", "source", "sources", "notes"})
