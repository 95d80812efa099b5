"""The library of workload classes, and what a scenario's class takes over from it.

A class of the library is written as in a scenario, but for the models that
may serve it, and says of each number where it is from::

    workload:
      - like: interactive_chat
        name: chat
        arrivals: {process: poisson, rate: 12/s}
        models: [llama-3.1-8b]

Whole tasks are kept in the same way; see :mod:`.task_library`.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

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

#: What those bring themselves who make the requests: a trace, and tasks.
_BROUGHT = {
    "trace": ("prompt_tokens", "output_tokens", "sessions", "shared_prefix", "conversation"),
    "tasks": ("sessions", "conversation", "cancellation"),
}

#: One key of a path, or one place of a list.
_KEY = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


class Source(Part):
    """Where a number is from, or several below one key."""

    provenance: Provenance
    source: str = Field(min_length=1)
    note: str | None = None


class LibraryEntry(Part):
    """Something that a scenario may be ``like``, with the sources of its numbers.

    Attributes
    ----------
    id : str
        What ``like`` names.
    description : str
        One line.
    content : dict
        What a scenario would write.
    sources : dict
        Where its numbers are from, by their path (as in ``steps[1].repeat.times``) or that of something they stand in.
    """

    schema_version: Literal[1] = Field(alias="schema")
    id: str = Field(pattern=r"^[a-z]+(_[a-z]+)*$")
    description: str = Field(min_length=1)
    content: dict[str, Any]
    sources: dict[str, Source]

    @model_validator(mode="after")
    def _every_number_has_a_source(self) -> LibraryEntry:
        for path in self.sources:
            self.at(path)
        for path, value in self.unsourced():
            if not isinstance(value, bool) and any(character.isdigit() for character in str(value)):
                refuse(f"nothing says where {path} ({value}) is from: add it to sources")
        return self

    def at(self, path: str) -> Any:
        """Return what stands at a path of the content."""
        value: Any = self.content
        for key, index in _KEY.findall(path):
            try:
                value = value[int(index) if index else key]
            except (LookupError, TypeError):
                refuse(f"there is no {path} in {self.id}")
        return value

    def unsourced(self) -> Iterator[tuple[str, Any]]:
        """Yield the path and value of what needs no source: kinds, tags, names of what is called."""
        for path, value in _leaves(self.content):
            if not any(path == stated or path.startswith((f"{stated}.", f"{stated}[")) for stated in self.sources):
                yield path, value


E = TypeVar("E", bound=LibraryEntry)


class LibraryClass(LibraryEntry):
    """A class of the library; `content` is without `models`, and in the file under ``class``."""

    content: dict[str, Any] = Field(alias="class")


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
    return load_entry(LibraryClass, _FOLDER, name, where, "workload class")


def load_entry(kind: type[E], folder: Path, name: str, where: str, called: str) -> E:
    """Return the entry called `name` that lies in a folder of the library; `called` is what errors call such entries.

    Raises
    ------
    InputError
        At `where`, if there is none, with the nearest name that exists.
    """
    known = shipped_names(folder)
    if name not in known:
        raise InputError(where, f"unknown {called} {name!r}", did_you_mean(name, known))
    return cast("E", _read(kind, folder / f"{name}.yaml"))


@functools.cache
def _read(kind: type[LibraryEntry], path: Path) -> LibraryEntry:
    return read_document(path, kind, str(path))


def with_library(entry: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a scenario's class with what it takes over from the library's class it is ``like``.

    What stands in the scenario wins, as :func:`laid_over` says. A trace replaces
    the lengths, and what prompts share; tasks say themselves which calls belong together.

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
    brought = _BROUGHT.get(process_of(entry), ())
    inherited = {key: value for key, value in library.content.items() if key not in brought}
    return {"name": library.id, **laid_over(inherited, entry, where)}


def process_of(entry: dict[str, Any]) -> str:
    """Return the arrival process that an entry of a scenario names; empty if it names none."""
    arrivals = entry.get("arrivals")
    return str(arrivals.get("process", "")) if isinstance(arrivals, dict) else ""


def laid_over(below: dict[str, Any], above: dict[str, Any], where: str) -> dict[str, Any]:
    """Return what the library says with what a scenario says laid over it.

    The scenario wins, key by key; null takes a key away. A distribution,
    arrival process or rate profile that names its kind replaces the library's
    whole, as does a list. Of a list, ``{1: …}`` changes the entry at that place, counted from 0.

    Raises
    ------
    InputError
        Under `where`, if a list has no entry at a place that is to be changed.
    """
    merged = dict(below)
    for key, value in above.items():
        under, here = below.get(key), f"{where}.{key}"
        if not isinstance(value, dict) or _NAMES_ITS_KIND & value.keys():
            merged[key] = value
        elif isinstance(under, dict):
            merged[key] = laid_over(under, value, here)
        elif isinstance(under, list) and value and all(str(place).isdigit() for place in value):
            merged[key] = _laid_over_list(under, {int(place): each for place, each in value.items()}, here)
        else:
            merged[key] = value
    return merged


def _laid_over_list(below: list[Any], above: dict[int, Any], where: str) -> list[Any]:
    """Return a list with some of its entries changed, and without those that are null."""
    for place in above:
        if place >= len(below):
            raise InputError(
                f"{where}[{place}]", "the library has no such entry", f"It has {len(below)}, counted from 0."
            )
    merged: list[Any] = []
    for place, under in enumerate(below):
        value = above.get(place, under)
        if isinstance(value, dict) and isinstance(under, dict):
            merged.append(laid_over(under, value, f"{where}[{place}]"))
        elif value is not None:
            merged.append(value)
    return merged


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and value of everything that is neither mapping nor list of mappings."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for place, each in enumerate(value):
            yield from _leaves(each, f"{path}[{place}]")
    else:
        yield path, value
