"""What tasks of the library need of the rest of a scenario: classes for their calls, pools for their tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inferencesim.errors import InputError, did_you_mean
from inferencesim.scenario.library import class_names, with_library
from inferencesim.scenario.task_library import named

if TYPE_CHECKING:
    from inferencesim.scenario.task_library import LibraryTask


def lines_for(library: LibraryTask) -> str:
    """Return the lines a scenario needs to have a task of the library, as YAML; the models are to be filled in."""
    lines = ["tools:", *(f"  - {_pool(name)}" for name in library.tools)] if library.tools else []
    return "\n".join([*lines, "tasks:", f"  - like: {library.id}", f"    {_models_of(library.calls)}"])


def complete_workload(workload: object, tasks: list[Any], file: str) -> list[Any]:
    """Return the classes of a scenario, and after them those of the library that its tasks call and name models for.

    Parameters
    ----------
    workload, tasks : list
        As the scenario's file has them, complete with what they are like; `models` is taken out of the tasks. The
        workload may be missing.
    file : str
        The file, for errors.

    Raises
    ------
    InputError
        If a task that is like one of the library calls a class that neither the workload nor its `models` speaks of,
        or of which both do.
    """
    if workload is not None and not isinstance(workload, list):
        raise InputError(
            f"{file}: workload",
            "is no list of classes",
            "Write each as an entry, a class that models of a task add as well where it is to be changed: "
            "- {like: NAME, arrivals: {process: tasks}, models: [MODEL]}.",
        )
    stated = _names(workload)
    found: dict[str, list[str]] = {}
    for index, entry in enumerate(tasks):
        if not isinstance(entry, dict):
            continue
        where = f"{file}: tasks[{index}]"
        for name, models in _classes_for(entry, stated, where).items():
            if found.setdefault(name, models) != models:
                raise InputError(
                    f"{where}.models",
                    f"another task asks other models of {name!r}",
                    "Give the workload a class for each, and name it in calls.",
                )
    called = {"process": "tasks"}
    added = [{"like": name, "arrivals": called, "models": models} for name, models in found.items()]
    return [*(workload or []), *(with_library(entry, file) for entry in added)]


def require_tools(tasks: list[Any], tools: object, file: str) -> None:
    """Refuse a task that is like one of the library and whose tools run nowhere.

    Raises
    ------
    InputError
        With the line that is missing.
    """
    pools = _names(tools)
    for index, entry in enumerate(tasks):
        if not isinstance(entry, dict) or entry.get("like") is None:
            continue
        for name in named(entry.get("steps"), "tool"):
            if name not in pools:
                raise InputError(
                    f"{file}: tasks[{index}]",
                    f"no tools are called {name!r}",
                    f"Add tools: [{_pool(name)}] to the scenario, or to the task tools: {{{name}: POOL}}, a pool of "
                    "yours, or null for tools that are only waited for.",
                )


def _classes_for(entry: dict[str, Any], stated: set[str], where: str) -> dict[str, list[str]]:
    """Take `models` out of a task, and return them by the classes that the workload has not."""
    models = entry.pop("models", None)
    if entry.get("like") is None:
        return {}
    lacking = [name for name in named(entry.get("steps"), "call") if name not in stated]
    for name in lacking:
        if name not in class_names():
            raise InputError(
                where, f"there is no class {name!r} to call", did_you_mean(name, stated | {*class_names()})
            )
    if models is None and lacking:
        missing = " or ".join(repr(name) for name in lacking)
        raise InputError(where, f"no class of the workload is called {missing}", _remedy(lacking))
    if models is None:
        return {}
    if isinstance(models, dict):
        return _by_class(models, lacking, stated, f"{where}.models")
    if not lacking:
        what = "all that this task calls has models of its own, in the workload"
        raise InputError(f"{where}.models", what, "Remove this key.")
    return dict.fromkeys(lacking, _model_names(models, f"{where}.models"))


def _by_class(models: dict[str, Any], lacking: list[str], stated: set[str], where: str) -> dict[str, list[str]]:
    """Return the models of each class that the workload has not."""
    for name in models:
        if name in stated:
            what = "the workload has this class, with models of its own"
            raise InputError(f"{where}.{name}", what, "Remove one of the two.")
        if name not in lacking:
            what = "the task calls no class of the library of this name"
            raise InputError(f"{where}.{name}", what, did_you_mean(str(name), lacking))
    for name in lacking:
        if name not in models:
            raise InputError(where, f"says nothing of {name!r}", f"Add {name}: [MODEL].")
    return {name: _model_names(each, f"{where}.{name}") for name, each in models.items()}


def _model_names(value: object, where: str) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(where, f"{value!r} is no list of models", "Write [MODEL], as in [llama-3.1-8b].")
    return names


def _names(entries: object) -> set[str]:
    listed = entries if isinstance(entries, list) else []
    return {str(entry.get("name")) for entry in listed if isinstance(entry, dict)}


def _pool(name: str) -> str:
    return f"{{name: {name}, hardware: amd-epyc-9965, cores: 64}}"


def _models_of(classes: list[str]) -> str:
    if len(classes) == 1:
        return "models: [MODEL]"
    return f"models: {{{', '.join(f'{name}: [MODEL]' for name in classes)}}}"


def _remedy(lacking: list[str]) -> str:
    return (
        f"Add {_models_of(lacking)} to the task, or to the workload "
        f"{{like: {lacking[0]}, arrivals: {{process: tasks}}, models: [MODEL]}}."
    )
