"""The shipped models, and a user's own, by name or path."""

from __future__ import annotations

import functools
from pathlib import Path

from inferencesim.documents import document_digest, read_document
from inferencesim.errors import InputError, did_you_mean
from inferencesim.models.huggingface import from_config
from inferencesim.models.spec import ModelSpec
from inferencesim.package_data import shipped_names

_FOLDER = Path(__file__).parent / "data"


def model_names() -> list[str]:
    """Return the ids of the shipped models, sorted."""
    return shipped_names(_FOLDER)


def load_model(name_or_path: str | Path, where: str) -> ModelSpec:
    """Return a model.

    Parameters
    ----------
    name_or_path : str or Path
        The id of a shipped model (``llama-3.1-8b``), the path of a Hugging Face
        ``config.json``, or of a YAML file of the shipped form.
    where : str
        The place that asked, named in errors (``fleet.pools[2].model``).

    Raises
    ------
    InputError
        If there is no such model or file, or what is in it is wrong; then file and key are named.
    """
    text = str(name_or_path)
    if text.endswith(".json"):
        return from_config(text, where)
    if text.endswith((".yaml", ".yml")):
        return read_document(Path(text), ModelSpec, where)
    names = model_names()
    if text not in names:
        remedy = (
            f"{did_you_mean(text, names)} A model of your own is given as the path of its Hugging Face "
            "config.json, or of a .yaml file."
        )
        raise InputError(where, f"unknown model {text!r}", remedy)
    return _shipped(text)


def model_digest(model: ModelSpec) -> str:
    """Return the SHA-256 of the model's canonical JSON."""
    return document_digest(model)


@functools.cache
def _shipped(name: str) -> ModelSpec:
    """Read a shipped model, once: a sweep asks for it at every point."""
    path = _FOLDER / f"{name}.yaml"
    return read_document(path, ModelSpec, str(path))
