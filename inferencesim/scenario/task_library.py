"""The library of whole tasks, and what a scenario takes over from it.

A task of the library is written as in a scenario, with the sources of its
numbers. Its calls are of classes of the library, its tools run in a pool called
``sandboxes``; what it leaves open is the models::

    tools:
      - {name: sandboxes, hardware: amd-epyc-9965, cores: 64}
    tasks:
      - like: research_agent
        arrivals: {process: poisson, rate: 40/h}
        models: [llama-3.1-70b]
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from inferencesim.errors import InputError, did_you_mean
from inferencesim.package_data import shipped_names
from inferencesim.scenario.library import LibraryEntry, laid_over, load_entry, process_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = Path(__file__).parent / "whole_tasks"

#: What a trace brings itself.
_TRACED = ("steps", "context", "max_context")


class LibraryTask(LibraryEntry):
    """A task of the library; `content` is without `models`, and in the file under ``task``."""

    content: dict[str, Any] = Field(alias="task")

    @property
    def calls(self) -> list[str]:
        """The classes of its calls, in the order of its steps."""
        return named(self.content["steps"], "call")

    @property
    def tools(self) -> list[str]:
        """The pools of its tools, in the order of its steps."""
        return named(self.content["steps"], "tool")


def task_names() -> list[str]:
    """Return the ids of the library's tasks, sorted."""
    return shipped_names(_FOLDER)


def load_task(name: str, where: str) -> LibraryTask:
    """Return the library's task called `name`.

    Raises
    ------
    InputError
        At `where`, if there is none, with the nearest name that exists.
    """
    return load_entry(LibraryTask, _FOLDER, name, where, "task")


def with_library_task(entry: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a scenario's task with what it takes over from the library's task it is ``like``.

    What stands in the scenario wins, as :func:`.library.laid_over` says. Of the
    library's steps, `calls` names other classes and `tools` other pools; a tool
    whose pool is null is waited for. A trace replaces the steps. `models` stays, for :mod:`.task_needs`.

    Parameters
    ----------
    entry : dict
        As the scenario's file has it; unchanged if it is like none.
    where : str
        Its path, for errors.

    Raises
    ------
    InputError
        If the library has no such task, or its steps no such calls or tools.
    """
    like = entry.get("like")
    if like is None:
        if "models" in entry:
            raise InputError(
                f"{where}.models", "only a task of the library has models", "Name the models in the classes it calls."
            )
        return entry
    library = load_task(str(like), f"{where}.like")
    if process_of(entry) == "trace":
        inherited = {key: value for key, value in library.content.items() if key not in _TRACED}
        return {"name": library.id, **laid_over(inherited, entry, where)}
    calls = _fitted(entry, "calls", library.calls, where)
    tools = _fitted(entry, "tools", library.tools, where)
    said = {key: value for key, value in entry.items() if key not in ("calls", "tools")}
    inherited = library.content | {"steps": _renamed(library.content["steps"], calls, tools)}
    return {"name": library.id, **laid_over(inherited, said, where)}


def _fitted(entry: dict[str, Any], key: str, known: list[str], where: str) -> dict[str, Any]:
    """Return what an entry has in place of the calls or tools of the library's steps."""
    said = entry.get(key) or {}
    if not isinstance(said, dict):
        example = known[0] if known else "NAME"
        raise InputError(f"{where}.{key}", f"{said!r} is not a mapping", f"Write {{{example}: OTHER}}.")
    for name, other in said.items():
        if name not in known:
            raise InputError(f"{where}.{key}", f"{entry['like']} has no {name!r}", did_you_mean(str(name), known))
        if not isinstance(other, str) and not (other is None and key == "tools"):
            raise InputError(f"{where}.{key}.{name}", f"{other!r} is no name", "Write that of one of yours.")
    return said


def _renamed(steps: list[dict[str, Any]], calls: dict[str, str], tools: dict[str, str | None]) -> list[dict[str, Any]]:
    """Return steps with other classes and pools; of a tool without a pool, the time it takes."""
    renamed = []
    for step in steps:
        if "call" in step:
            step = step | {"call": calls.get(step["call"], step["call"])}
        elif "tool" in step:
            pool = tools.get(step["tool"], step["tool"])
            step = _waited(step) if pool is None else step | {"tool": pool}
        else:
            for kind in ("repeat", "fan_out"):
                if kind in step:
                    step = step | {kind: step[kind] | {"steps": _renamed(step[kind]["steps"], calls, tools)}}
        renamed.append(step)
    return renamed


def _waited(tool: dict[str, Any]) -> dict[str, Any]:
    """Return the wait that takes as long as a tool, and adds as much."""
    kept = {key: value for key, value in tool.items() if key not in ("tool", "time", "cores")}
    return kept | {"wait": tool["time"]}


def named(steps: object, kind: str) -> list[str]:
    """Return the classes or pools that steps name, each once; of what is no step, nothing."""
    return list(dict.fromkeys(_names(steps, kind)))


def _names(steps: object, kind: str) -> Iterator[str]:
    for step in steps if isinstance(steps, list) else []:
        if not isinstance(step, dict):
            continue
        if isinstance(step.get(kind), str):
            yield step[kind]
        for inner in ("repeat", "fan_out"):
            if isinstance(step.get(inner), dict):
                yield from _names(step[inner].get("steps"), kind)
