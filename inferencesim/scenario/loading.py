"""From YAML text and ``--set`` overrides to a frozen :class:`Scenario`."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ValidationError

from inferencesim.errors import InputError, did_you_mean
from inferencesim.package_data import data_folder
from inferencesim.scenario.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic_core import ErrorDetails

try:  # the C loader reads a large file ten times faster; the pure one is always there
    from yaml import CSafeLoader as _BaseLoader
except ImportError:  # pragma: no cover - depends on how PyYAML was built
    from yaml import SafeLoader as _BaseLoader  # type: ignore[assignment]


class _UniqueKeyLoader(_BaseLoader):
    """A YAML loader that refuses a key given twice, where the last would silently win."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", key_node.start_mark)
            if isinstance(key, str):
                seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def scenario_names() -> list[str]:
    """Return the names of the scenarios shipped with the package."""
    return sorted(path.stem for path in data_folder("scenarios").glob("*.yaml"))


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
    raise InputError(name, "no such scenario file, and no shipped scenario of that name", did_you_mean(name, scenario_names()))


def read_yaml(path: Path) -> Any:
    """Read one YAML document.

    Raises
    ------
    InputError
        If the file cannot be read, is binary, or is not YAML; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise InputError(
            str(path), f"is not text (byte {problem.start} is no UTF-8)", "Give a YAML file."
        ) from problem
    except OSError as problem:
        raise InputError(str(path), f"cannot be read ({problem.strerror})") from problem
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - derived from a safe loader
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        what = getattr(problem, "problem", None) or str(problem).splitlines()[0]
        raise InputError(f"{path}{line}", f"is not valid YAML ({what})") from problem


def load_scenario(name: str | Path, overrides: Sequence[str] = (), seed: int | None = None) -> Scenario:
    """Read, override and validate a scenario.

    Parameters
    ----------
    name : str or Path
        A file, or the name of a shipped scenario.
    overrides : sequence of str
        ``path=value`` each, as in ``pools[0].replicas=8`` or ``pools.premium.replicas=8``
        (an entry of a list may be named by its ``name``); values are YAML.
    seed : int, optional
        Replaces the scenario's own.

    Raises
    ------
    InputError
        For the first thing that is wrong, with its path in the YAML.
    """
    path = find_scenario(str(name))
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise InputError(str(path), "holds no scenario", "A scenario is a mapping with name, horizon, pools and workload.")
    for override in overrides:
        _apply(tree, override)
    if seed is not None:
        tree["seed"] = seed
    return validate_tree(Scenario, _with_absolute_traces(tree, path.resolve().parent), str(path))


def _with_absolute_traces(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Resolve trace files against the scenario's folder, so that a run does not depend on where it is started."""
    for entry in tree.get("workload") or []:
        arrivals = entry.get("arrivals") if isinstance(entry, dict) else None
        if isinstance(arrivals, dict) and isinstance(arrivals.get("file"), str):
            arrivals["file"] = str((folder / Path(arrivals["file"]).expanduser()).resolve())
    return tree


def canonical_json(model: BaseModel) -> str:
    """Return the model as JSON with sorted keys: the same text for the same content."""
    return json.dumps(model.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"))


def digest(model: BaseModel) -> str:
    """Return the SHA-256 of a model's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(model).encode()).hexdigest()


_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one ``path=value`` in the tree, creating the last key but no part of the way to it."""
    path, separator, text = override.partition("=")
    where = f"--set {path}"
    if not separator or not path:
        raise InputError(f"--set {override}", "is not of the form path=value", "Write for instance --set pools[0].replicas=8.")
    try:
        value = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - derived from a safe loader
    except yaml.YAMLError as problem:
        raise InputError(where, f"the value {text!r} is not valid YAML") from problem
    steps: list[str | int] = [int(index) if index else key for key, index in _STEP.findall(path)]
    place: Any = tree
    for depth, step in enumerate(steps[:-1]):
        place = _descend(place, step, where)
        following = steps[depth + 1]
        if isinstance(place, str) and isinstance(following, str):
            raise InputError(where, f"{step!r} is a single value here, it has no {following!r}")
    last = steps[-1]
    if isinstance(place, list):
        index = _index(place, last, where)
        place[index] = value
    elif isinstance(place, dict):
        place[str(last)] = value
    else:
        raise InputError(where, "leads to nothing that can be set")


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
    names = [str(item.get("name")) if isinstance(item, dict) else "" for item in items]
    if step in names:
        return names.index(step)
    raise InputError(where, f"no entry is named {step!r}", did_you_mean(step, [name for name in names if name]))


def validate_tree(model: type[Any], tree: Any, source: str) -> Any:
    """Validate a tree against a pydantic model, turning its first error into an :class:`InputError`."""
    try:
        return model.model_validate(tree)
    except ValidationError as problem:
        raise _first_error(problem, model, source) from None


def _first_error(problem: ValidationError, model: type[BaseModel], source: str) -> InputError:
    """Turn pydantic's first error into one that names the path and the remedy."""
    errors = problem.errors()
    # A misspelt key shows twice, as unknown and as missing; the unknown one is what the user wrote.
    error = min(errors, key=lambda each: each["type"] != "extra_forbidden")
    location = [part for part in error["loc"] if not _is_tag(part)]
    where = f"{source}: {format_path(location)}" if location else source
    rest = f" ({len(errors) - 1} more problem{'s' if len(errors) > 2 else ''} after this one)" if len(errors) > 1 else ""
    what, remedy = _explain(error, model)
    return InputError(where, what + rest, remedy)


def _is_tag(part: object) -> bool:
    """Tell the names pydantic adds for validators and union members from keys of the file."""
    return isinstance(part, str) and ("[" in part or part in {"constrained-str", "constrained-int"})


def format_path(location: Iterable[object]) -> str:
    """Write a location as users do: ``pools[2].hardware``."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else str(part)
    return text


def _explain(error: ErrorDetails, model: type[BaseModel]) -> tuple[str, str | None]:
    kind = error["type"]
    if kind == "extra_forbidden":
        key = str(error["loc"][-1])
        known = _keys_at(model, error["loc"][:-1])
        return f"unknown key {key!r}", did_you_mean(key, known) if known else "Remove it."
    if kind == "missing":
        return "is missing", "Add it; `inferencesim new scenario` writes a commented example."
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    shown = error.get("input")
    if kind == "literal_error":
        expected = re.findall(r"'([^']+)'", message)
        return f"{shown!r} is not one of {', '.join(expected)}", did_you_mean(str(shown), expected)
    if isinstance(shown, (str, int, float)) and kind not in {"quantity", "value_error"}:
        message = f"{message[0].lower()}{message[1:]}, not {shown!r}"
    return message, None


def _keys_at(model: type[BaseModel], location: Sequence[object]) -> list[str]:
    """Return the keys valid at a location, by walking the JSON Schema of the model."""
    schema = model.model_json_schema(by_alias=True)
    places = [schema]
    for part in location:
        following: list[dict[str, Any]] = []
        for place in places:
            for option in _options(place, schema):
                if isinstance(part, int) and "items" in option:
                    following.append(option["items"])
                elif isinstance(part, str) and part in option.get("properties", {}):
                    following.append(option["properties"][part])
        # A part that is no key of the schema is the tag of a union member; stay where we are.
        places = following or places
    return sorted({key for place in places for option in _options(place, schema) for key in option.get("properties", {})})


def _options(place: dict[str, Any], root: dict[str, Any]) -> list[dict[str, Any]]:
    """Resolve references and unions to the object schemas they may stand for."""
    if "$ref" in place:
        return _options(root["$defs"][place["$ref"].rsplit("/", 1)[-1]], root)
    found = [place] if "properties" in place or "items" in place else []
    for key in ("anyOf", "oneOf", "allOf"):
        for option in place.get(key, []):
            found += _options(option, root)
    return found
