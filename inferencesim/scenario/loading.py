"""From YAML text and ``--set`` overrides to a frozen :class:`Scenario`."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferencesim.documents import parse_yaml, read_yaml, validated
from inferencesim.errors import InputError, did_you_mean
from inferencesim.package_data import data_folder, shipped_names
from inferencesim.scenario.library import with_library
from inferencesim.scenario.planning import Planning
from inferencesim.scenario.scenario import Scenario
from inferencesim.scenario.task_library import with_library_task
from inferencesim.scenario.task_needs import complete_workload, require_tools
from inferencesim.scenario.tasks import TaskClass
from inferencesim.scenario.workload import WorkloadClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


def scenario_names() -> list[str]:
    """Return the names of the scenarios shipped with the package."""
    return shipped_names(data_folder("scenarios"))


def find_scenario(name: str) -> Path:
    """Return the file of a scenario: a path that exists, or the name of a shipped one.

    Raises
    ------
    InputError
        If it is neither.
    """
    path = Path(name)
    if path.is_dir():
        raise InputError(name, "is a folder, not a scenario file", "Name the YAML file inside it.")
    if path.exists():
        return path
    shipped = data_folder("scenarios") / f"{name}.yaml"
    if re.fullmatch(r"[\w\-]+", name) and shipped.exists():
        return shipped
    raise InputError(
        name,
        "no such scenario file, and no shipped scenario of that name",
        did_you_mean(name, scenario_names()),
    )


def variant_names(name: str | Path) -> list[str]:
    """Return the variants a scenario describes, in its order.

    Raises
    ------
    InputError
        If there is no such scenario, or its variants are no mapping.
    """
    path = find_scenario(str(name))
    return list(_variants(_tree(path), str(path)))


def load_scenario(
    name: str | Path | dict[str, Any],
    overrides: Sequence[str] = (),
    seed: int | None = None,
    variant: str | None = None,
) -> Scenario:
    """Read, override and validate a scenario.

    Parameters
    ----------
    name : str, Path or dict
        A file, the name of a shipped scenario, or what a file in the working folder would hold.
    overrides : sequence of str
        ``path=value`` each, as in ``pools[0].replicas=8`` or ``pools.premium.replicas=8``
        (an entry of a list may be named by its ``name``); a name with dots is written in brackets, as in
        ``curves[llama-3.1-8b].ability``. Values are YAML, null leaves an entry of a list out.
    seed : int, optional
        Replaces the scenario's own.
    variant : str, optional
        One of those that the scenario describes under ``variants``: by name, paths and their values. It is applied
        first.

    Raises
    ------
    InputError
        For the first thing that is wrong, with its path in the YAML.
    """
    tree, path = _source(name)
    return _completed(_overridden(tree, path, overrides, seed, variant), path)


def load_planning(
    name: str | Path, overrides: Sequence[str] = (), variant: str | None = None, options: Path | None = None
) -> Planning:
    """Read what a planner may change: the block ``planning`` of a scenario, or the file `options` in its place.

    Raises
    ------
    InputError
        For the first thing that is wrong, with its path.
    """
    tree, path = _source(name)
    tree = _overridden(tree, path, overrides, None, variant)
    block, where = tree.get("planning"), f"{path}: planning"
    if options is not None:
        path, where = options, str(options)
        block = read_yaml(options, "--options")
        if isinstance(block, dict) and set(block) == {"planning"}:
            block = block["planning"]
    if block is None:
        return Planning()
    if isinstance(block, dict) and isinstance(block.get("pools"), dict):
        for entry in block["pools"].values():
            if isinstance(entry, dict) and isinstance(entry.get("hardware"), list):
                entry["hardware"] = [_absolute(each, path.resolve().parent) for each in entry["hardware"]]
    return validated(block, Planning, where)


def load_varied(
    name: str | Path | Scenario | dict[str, Any],
    settings: Iterable[Mapping[str, Any]],
    overrides: Sequence[str] = (),
    seed: int | None = None,
    variant: str | None = None,
) -> list[Scenario]:
    """Return a scenario many times, each with other values set.

    Parameters
    ----------
    name : str, Path, Scenario or dict
        As for :func:`load_scenario`; or a scenario, which has no variants.
    settings : iterable of mapping
        One per scenario: path, as in ``pools.premium.replicas``, to its value.
    overrides, seed, variant
        As for :func:`load_scenario`; they are applied first.

    Raises
    ------
    InputError
        For the first thing that is wrong.
    """
    source = name.model_dump(mode="json", by_alias=True, exclude_unset=True) if isinstance(name, Scenario) else name
    tree, path = _source(source)
    tree = _overridden(tree, path, overrides, seed, variant)
    return [_completed(_with_values(tree, values), path) for values in settings]


def _source(name: str | Path | dict[str, Any]) -> tuple[dict[str, Any], Path]:
    """Return what a scenario's file holds, ready to be changed, and the file."""
    if isinstance(name, dict):
        return copy.deepcopy(name), Path("scenario")
    path = find_scenario(str(name))
    return _tree(path), path


def _overridden(
    tree: dict[str, Any], path: Path, overrides: Sequence[str], seed: int | None, variant: str | None
) -> dict[str, Any]:
    """Apply to a scenario what it is to be changed by; its classes are not complete yet."""
    variants = _variants(tree, str(path))
    if variant is not None:
        if variant not in variants:
            raise InputError(str(path), f"describes no variant {variant!r}", did_you_mean(variant, variants))
        for place, value in variants[variant].items():
            _set(tree, str(place), value, f"{path}: variants.{variant}: {place}")
        tree["variant"] = variant
    for override in overrides:
        _apply(tree, override)
    if seed is not None:
        tree["seed"] = seed
    return tree


def _with_values(tree: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    tree = copy.deepcopy(tree)
    for place, value in values.items():
        _set(tree, place, value, f"--vary {place}")
    return tree


def _completed(tree: dict[str, Any], path: Path) -> Scenario:
    """Validate what a file holds once it is changed; what a planner may change is read by :func:`load_planning`."""
    tree.pop("planning", None)
    _take_over(tree, str(path))
    return validated(_with_absolute_files(tree, path.resolve().parent), Scenario, str(path))


def _tree(path: Path) -> dict[str, Any]:
    tree = read_yaml(path, str(path))
    if not isinstance(tree, dict):
        raise InputError(
            str(path), "holds no scenario", "A scenario is a mapping with name, horizon, pools and workload."
        )
    return tree


def _variants(tree: dict[str, Any], file: str) -> dict[str, dict[str, Any]]:
    """Take the variants out of a scenario, which itself knows nothing of them."""
    variants = tree.pop("variants", None) or {}
    if not isinstance(variants, dict) or not all(isinstance(changes, dict) for changes in variants.values()):
        raise InputError(
            f"{file}: variants", "is no mapping of names to changes", "Write name: {pools.premium.replicas: 4, …}."
        )
    return {str(name): changes for name, changes in variants.items()}


def library_class(name: str) -> WorkloadClass:
    """Return a class of the library as a scenario that says no more has it; of models, it names none that exists.

    Raises
    ------
    InputError
        If there is no such class.
    """
    entry = with_library({"like": name, "models": ["any"]}, "class")
    return validated(entry, WorkloadClass, name)


def library_task(name: str) -> TaskClass:
    """Return a task of the library as a scenario that says no more has it.

    Raises
    ------
    InputError
        If there is no such task.
    """
    return validated(with_library_task({"like": name}, "task"), TaskClass, name)


def _take_over(tree: dict[str, Any], file: str) -> None:
    """Complete the classes of the workload, and the tasks, that are like one of the library."""
    workload, tasks, tools = (tree.get(key) for key in ("workload", "tasks", "tools"))
    if isinstance(workload, list):
        for index, entry in enumerate(workload):
            if isinstance(entry, dict):
                workload[index] = with_library(entry, f"{file}: workload[{index}]")
    if isinstance(tasks, list):
        for index, entry in enumerate(tasks):
            if isinstance(entry, dict):
                tasks[index] = with_library_task(entry, f"{file}: tasks[{index}]")
        if any(isinstance(entry, dict) and entry.get("like") is not None for entry in tasks):
            tree["workload"] = complete_workload(workload, tasks, file)
            require_tools(tasks, tools, file)


def _with_absolute_files(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Resolve the files a scenario names against its own folder: a run must not depend on where it is started."""
    for entry in _mappings(tree.get("workload")) + _mappings(tree.get("tasks")):
        arrivals = entry.get("arrivals")
        if isinstance(arrivals, dict) and isinstance(arrivals.get("file"), str):
            arrivals["file"] = str((folder / Path(arrivals["file"]).expanduser()).resolve())
    for entry in _mappings(tree.get("pools")):
        for key in ("hardware", "model", "calibration"):
            if key in entry:
                entry[key] = _absolute(entry[key], folder)
        latency = entry.get("latency")
        if isinstance(latency, dict) and isinstance(latency.get("table"), str):
            latency["table"] = str((folder / Path(latency["table"]).expanduser()).resolve())
    for entry in _mappings(tree.get("tools")):
        if "hardware" in entry:
            entry["hardware"] = _absolute(entry["hardware"], folder)
    return tree


def _absolute(name: object, folder: Path) -> object:
    """Return a name as it is, and a file's as a path that holds everywhere."""
    if isinstance(name, str) and name.endswith((".yaml", ".yml", ".json")):
        return str((folder / Path(name).expanduser()).resolve())
    return name


def _mappings(entries: object) -> list[dict[str, Any]]:
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


_STEP = re.compile(r"([^.\[\]]+)|\[([^\[\]]+)\]")


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one ``path=value`` in the tree."""
    path, separator, text = override.partition("=")
    if not separator or not _STEP.search(path):
        raise InputError(
            f"--set {override}",
            "is not of the form path=value",
            "Write for instance --set pools[0].replicas=8.",
        )
    _set(tree, path, parse_yaml(text, f"--set {path}"), f"--set {path}")


def _set(tree: dict[str, Any], path: str, value: Any, where: str) -> None:
    """Set what stands at a path of the tree, creating the last key but no part of the way to it."""
    _require_brackets(tree, path, where)
    steps = [int(inside) if inside.isdigit() else key or inside for key, inside in _STEP.findall(path)]
    if not steps:
        raise InputError(where, "names nothing that can be set")
    place: Any = tree
    for depth, step in enumerate(steps[:-1]):
        place = _descend(place, step, where)
        following = steps[depth + 1]
        if isinstance(place, str) and isinstance(following, str):
            raise InputError(where, f"{step!r} is a single value here, it has no {following!r}")
    last = steps[-1]
    if isinstance(place, list):
        index = _index(place, last, where)
        place[index : index + 1] = [] if value is None else [value]
    elif isinstance(place, dict):
        place[str(last)] = value
    else:
        raise InputError(where, "leads to nothing that can be set")


def _require_brackets(tree: dict[str, Any], path: str, where: str) -> None:
    """Refuse a path in which a name with dots, as the scenario has it, would be taken apart."""
    for name in _dotted(tree):
        if f".{name}." in f".{path}.".replace("[", ".["):
            raise InputError(
                where,
                f"the name {name!r} has dots, which part a path",
                f"Write {path.replace(f'.{name}', f'[{name}]')}.",
            )


def _dotted(part: object) -> Iterator[str]:
    """Yield all keys and texts with dots of a part of a scenario."""
    if isinstance(part, str) and "." in part:
        yield part
    elif isinstance(part, dict):
        yield from _dotted(list(part))
        yield from _dotted(list(part.values()))
    elif isinstance(part, list):
        for each in part:
            yield from _dotted(each)


def _descend(place: Any, step: str | int, where: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, step, where)]
    if isinstance(place, dict):
        if step not in place:
            place[step] = {}
        return place[step]
    raise InputError(where, f"there is nothing below {step!r}")


def _index(items: list[Any], step: str | int, where: str) -> int:
    if isinstance(step, int) or step.isdigit():
        if int(step) < len(items):
            return int(step)
        raise InputError(where, f"index {step} is out of range", f"The list has {len(items)} entries, counted from 0.")
    # A class of the workload goes by the name of the library's class it is like, where it has none of its own.
    names = [str(item.get("name", item.get("like"))) if isinstance(item, dict) else "" for item in items]
    if step in names:
        return names.index(step)
    raise InputError(where, f"no entry is named {step!r}", did_you_mean(step, [name for name in names if name]))
