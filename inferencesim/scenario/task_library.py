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

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from inferencesim.documents import read_document
from inferencesim.errors import InputError, did_you_mean
from inferencesim.package_data import shipped_names
from inferencesim.scenario.library import LibraryEntry, class_names, laid_over, process_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = Path(__file__).parent / "whole_tasks"

#: What a trace brings itself.
_TRACED = ("steps", "context", "max_context")

#: What an entry says of the library's steps, and no task has once it is complete.
_FITTING = ("models", "calls", "tools")


class LibraryTask(LibraryEntry):
    """A task of the library; `content` is without `models`, and in the file under ``task``."""

    content: dict[str, Any] = Field(alias="task")

    @property
    def calls(self) -> list[str]:
        """The classes of its calls, in the order of its steps."""
        return _named(self.content["steps"], "call")

    @property
    def tools(self) -> list[str]:
        """The pools of its tools, in the order of its steps."""
        return _named(self.content["steps"], "tool")


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
    if name not in task_names():
        raise InputError(where, f"unknown task {name!r}", did_you_mean(name, task_names()))
    return _read(name)


@functools.cache
def _read(name: str) -> LibraryTask:
    path = _FOLDER / f"{name}.yaml"
    return read_document(path, LibraryTask, str(path))


def with_library_task(entry: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a scenario's task with what it takes over from the library's task it is ``like``.

    What stands in the scenario wins, as :func:`.library.laid_over` says. Of the
    library's steps, `calls` names other classes and `tools` other pools; a tool
    whose pool is null is waited for. A trace replaces the steps. `models` stays, for :func:`classes_for`.

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


def lines_for(library: LibraryTask) -> str:
    """Return the lines a scenario needs to have a task of the library, as YAML; the models are to be filled in."""
    lines = ["tools:", *(f"  - {_pool(name)}" for name in library.tools)] if library.tools else []
    return "\n".join([*lines, "tasks:", f"  - like: {library.id}", f"    {_models_of(library.calls)}"])


def classes_for(entry: dict[str, Any], stated: dict[str, Any], where: str) -> dict[str, list[str]]:
    """Take `models` out of a task, and return the classes of the library that they complete it with.

    Parameters
    ----------
    entry : dict
        A task that has taken over what it is like.
    stated : dict
        By name, what of the workload there is without it.
    where : str
        Its path, for errors.

    Returns
    -------
    dict of str to list of str
        By class, the models that may serve it.

    Raises
    ------
    InputError
        If the task calls a class that neither the workload nor `models` speaks of, or both do.
    """
    models = entry.pop("models", None)
    if entry.get("like") is None:
        return {}
    lacking = [name for name in _named(entry.get("steps"), "call") if name not in stated]
    for name in lacking:
        if name not in class_names():
            known = [*stated, *class_names()]
            raise InputError(where, f"there is no class {name!r} to call", did_you_mean(name, known))
    if models is None:
        if lacking:
            raise InputError(where, f"no class of the workload is called {_listed(lacking)}", _remedy(lacking))
        return {}
    if not isinstance(models, dict):
        if not lacking:
            raise InputError(
                f"{where}.models", "all that this task calls has models of its own, in the workload", "Remove this key."
            )
        models = dict.fromkeys(lacking, models)
    for name in models:
        here = f"{where}.models.{name}"
        if name in stated:
            raise InputError(here, "the workload has this class, with models of its own", "Remove one of the two.")
        if name not in lacking:
            raise InputError(here, "the task calls no class of the library of this name", did_you_mean(name, lacking))
    forgotten = [name for name in lacking if name not in models]
    if forgotten:
        raise InputError(f"{where}.models", f"says nothing of {_listed(forgotten)}", f"Add {forgotten[0]}: [MODEL].")
    return {name: _model_names(each, f"{where}.models") for name, each in models.items()}


def require_tools(entry: dict[str, Any], pools: list[str], where: str) -> None:
    """Refuse a task that is like one of the library and whose tools run nowhere.

    Raises
    ------
    InputError
        With the lines that are missing.
    """
    if entry.get("like") is None:
        return
    for name in _named(entry.get("steps"), "tool"):
        if name not in pools:
            raise InputError(
                where,
                f"no tools are called {name!r}",
                f"Add tools: [{_pool(name)}] to the scenario, or to the task "
                f"tools: {{{name}: POOL}}, a pool of yours, or null for tools that are only waited for.",
            )


def _pool(name: str) -> str:
    return f"{{name: {name}, hardware: amd-epyc-9965, cores: 64}}"


def _model_names(value: object, where: str) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(where, f"{value!r} is no list of models", "Write [MODEL], as in [llama-3.1-8b].")
    return names


def _listed(names: list[str]) -> str:
    return " or ".join(repr(name) for name in names)


def _models_of(classes: list[str]) -> str:
    if len(classes) == 1:
        return "models: [MODEL]"
    return f"models: {{{', '.join(f'{name}: [MODEL]' for name in classes)}}}"


def _remedy(lacking: list[str]) -> str:
    return (
        f"Add {_models_of(lacking)} to the task, or to the workload "
        f"{{like: {lacking[0]}, arrivals: {{process: tasks}}, models: [MODEL]}}."
    )


def _fitted(entry: dict[str, Any], key: str, known: list[str], where: str) -> dict[str, Any]:
    """Return what an entry has in place of the calls or tools of the library's steps."""
    said = entry.get(key) or {}
    if not isinstance(said, dict):
        raise InputError(f"{where}.{key}", f"{said!r} is not a mapping", f"Write {{{known[0]}: NAME}}." if known else None)
    for name, other in said.items():
        if name not in known:
            raise InputError(f"{where}.{key}", f"{entry['like']} has no {name!r}", did_you_mean(str(name), known))
        if not isinstance(other, str) and not (other is None and key == "tools"):
            raise InputError(f"{where}.{key}.{name}", f"{other!r} is no name", None)
    return said


def _renamed(steps: list[dict[str, Any]], calls: dict[str, str], tools: dict[str, str | None]) -> list[dict[str, Any]]:
    """Return steps with other classes and pools; of a tool without a pool, the time it takes."""
    renamed = []
    for step in steps:
        if "call" in step:
            step = step | {"call": calls.get(step["call"], step["call"])}
        elif "tool" in step:
            pool = tools.get(step["tool"], step["tool"])
            waited = {("wait" if key == "time" else key): step[key] for key in ("time", "adds", "chance") if key in step}
            step = waited if pool is None else step | {"tool": pool}
        else:
            for kind in ("repeat", "fan_out"):
                if kind in step:
                    step = step | {kind: step[kind] | {"steps": _renamed(step[kind]["steps"], calls, tools)}}
        renamed.append(step)
    return renamed


def _named(steps: object, kind: str) -> list[str]:
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
