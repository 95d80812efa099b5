"""The library of workload classes, and what a scenario's class takes over from it.

A class of the library is written as in a scenario, but for the models that
may serve it, and says of each number where it is from::

    workload:
      - like: interactive_chat
        name: chat
        arrivals: {process: poisson, rate: 12/s}
        models: [llama-3.1-8b]
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from inferencesim.documents import read_document
from inferencesim.errors import InputError, did_you_mean
from inferencesim.package_data import shipped_names
from inferencesim.scenario.base import Part, Provenance
from inferencesim.scenario.unions import refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = Path(__file__).parent / "classes"

#: Keys that say of which kind a part is. What names its kind stands for itself and takes over nothing.
_NAMES_ITS_KIND = frozenset({"distribution", "process", "shape"})

#: What a trace brings itself.
_TRACED = ("prompt_tokens", "output_tokens", "sessions", "shared_prefix", "conversation")


class Source(Part):
    """Where a number is from, or several below one key."""

    provenance: Provenance
    source: str = Field(min_length=1)
    note: str | None = None


class LibraryClass(Part):
    """A class of the library.

    Attributes
    ----------
    id : str
        What ``like`` names.
    description : str
        One line.
    content : dict
        The class as a scenario would write it, without `models`; in the file under ``class``.
    sources : dict
        Where its numbers are from, by their dotted path or that of something they stand in.
    """

    schema_version: Literal[1] = Field(alias="schema")
    id: str = Field(pattern=r"^[a-z]+(_[a-z]+)*$")
    description: str = Field(min_length=1)
    content: dict[str, Any] = Field(alias="class")
    sources: dict[str, Source]

    @model_validator(mode="after")
    def _every_number_has_a_source(self) -> LibraryClass:
        for path in self.sources:
            self.at(path)
        for path, value in _leaves(self.content):
            is_number = not isinstance(value, bool) and any(character.isdigit() for character in str(value))
            if is_number and not any(f"{path}.".startswith(f"{stated}.") for stated in self.sources):
                refuse(f"nothing says where {path} ({value}) is from: add it to sources")
        return self

    def at(self, path: str) -> Any:
        """Return what stands at a dotted path of the class."""
        value: Any = self.content
        for key in path.split("."):
            if not isinstance(value, dict) or key not in value:
                refuse(f"there is no {path} in the class")
            value = value[key]
        return value

    def unsourced(self) -> Iterator[tuple[str, Any]]:
        """Yield the path and value of what needs no source: its kind, its tags."""
        for path, value in _leaves(self.content):
            if not any(f"{path}.".startswith(f"{stated}.") for stated in self.sources):
                yield path, value


def class_names() -> list[str]:
    """Return the ids of the library's classes, sorted."""
    return shipped_names(_FOLDER)


def load_class(name: str, where: str) -> LibraryClass:
    """Return the library's class called `name`.

    Raises
    ------
    InputError
        At `where`, if there is none, with the nearest name that exists.
    """
    if name not in class_names():
        raise InputError(where, f"unknown workload class {name!r}", did_you_mean(name, class_names()))
    return _read(name)


@functools.cache
def _read(name: str) -> LibraryClass:
    path = _FOLDER / f"{name}.yaml"
    return read_document(path, LibraryClass, str(path))


def with_library(entry: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a scenario's class with what it takes over from the library's class it is ``like``.

    What stands in the scenario wins, key by key; null takes a key away. A
    distribution, arrival process or rate profile that names its kind replaces
    the library's whole. A trace replaces the lengths, and what prompts share.

    Parameters
    ----------
    entry : dict
        As the scenario's file has it; unchanged if it is like none.
    where : str
        Its path, for errors.

    Raises
    ------
    InputError
        If the library has no such class.
    """
    like = entry.get("like")
    if like is None:
        return entry
    library = load_class(str(like), f"{where}.like")
    inherited = library.content
    arrivals = entry.get("arrivals")
    if isinstance(arrivals, dict) and arrivals.get("process") == "trace":
        inherited = {key: value for key, value in inherited.items() if key not in _TRACED}
    return {"name": library.id, **_merged(inherited, entry)}


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return a mapping with another laid over it."""
    merged = dict(below)
    for key, value in above.items():
        under = below.get(key)
        if isinstance(value, dict) and isinstance(under, dict) and not _NAMES_ITS_KIND & value.keys():
            merged[key] = _merged(under, value)
        else:
            merged[key] = value
    return merged


def _leaves(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and value of everything that is no mapping."""
    for key, each in value.items():
        if isinstance(each, dict):
            yield from _leaves(each, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", each
