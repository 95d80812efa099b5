"""Documents a user may write: YAML or JSON text read into strict models, with errors that name the place.

Scenarios, hardware profiles, models and sites all go this way: one mapping, no
key twice, no unknown key, and an error that says which file, which key, what is
wrong there and which name would have been right.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from inferencesim.errors import InputError, RefusedError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_core import ErrorDetails

Document = TypeVar("Document", bound=BaseModel)


def read_text(path: Path, where: str) -> str:
    """Return the text of a user's file.

    Raises
    ------
    InputError
        At `where`, if there is no such file, or it is no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(where, f"there is no file {str(path)!r}", "Check the path.") from None
    except UnicodeDecodeError:
        raise InputError(where, f"{str(path)!r} is not UTF-8 text", "Give a YAML or JSON text file.") from None
    except OSError as problem:
        raise InputError(where, f"{str(path)!r} cannot be read ({problem.strerror})") from None


def read_yaml(path: Path, where: str) -> object:
    """Read one YAML document, refusing a key that is given twice.

    Raises
    ------
    InputError
        With file and line, if the text is no YAML.
    """
    return parse_yaml(read_text(path, where), str(path))


def parse_yaml(text: str, name: str) -> object:
    """Parse one YAML document; `name` is what errors call it. An alias is a copy: to change it changes no other."""
    try:
        return _unshared(yaml.load(text, Loader=_StrictLoader))
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        place = f"{name}, line {mark.line + 1}, column {mark.column + 1}" if mark else name
        what = problem.problem or "the text is not valid YAML"
        raise InputError(place, what, "Mend the YAML there, or on the line before.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        if isinstance(problem, ValueError):
            raise InputError(name, f"a value cannot be read ({problem})", "Put it into quotes.") from None
        raise InputError(name, "the file is not YAML text", "Give a text file in UTF-8.") from None


def _unshared(part: object) -> object:
    """Return a part of a document in which no two places are one object."""
    if isinstance(part, dict):
        return {key: _unshared(value) for key, value in part.items()}
    return [_unshared(each) for each in part] if isinstance(part, list) else part


def read_document(path: Path, model: type[Document], where: str) -> Document:
    """Read the YAML file `path` into `model`.

    Parameters
    ----------
    path : Path
    model : type of pydantic.BaseModel
    where : str
        The place that named the file, used when the file itself is missing.

    Raises
    ------
    InputError
        Naming file and key path of the first thing wrong, and the nearest valid key.
    """
    return validated(read_yaml(path, where), model, str(path))


def validated(data: object, model: type[Document], where: str) -> Document:
    """Return `data` as a `model`, or say at which key under `where` it is wrong."""
    if not isinstance(data, dict):
        raise InputError(where, "the document is not a mapping of keys to values", "Write it as 'key: value' lines.")
    try:
        return model.model_validate(data)
    except ValidationError as problem:
        raise _first_error(problem, data, model, where) from None


def canonical_json(document: BaseModel) -> str:
    """Return a document as JSON with sorted keys: the same text for the same content."""
    data = document.model_dump(mode="json", by_alias=True)
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def document_digest(document: BaseModel) -> str:
    """Return the SHA-256, in hexadecimal, of a document's canonical JSON."""
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


def format_path(location: Iterable[object]) -> str:
    """Write a location as users do: ``pools[2].hardware``, ``curves[llama-3.1-8b].ability``."""
    text = ""
    for part in location:
        if isinstance(part, int) or "." in str(part):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else str(part)
    return text


if TYPE_CHECKING:
    _SafeLoader = yaml.SafeLoader
else:
    # The loader over libyaml reads ten times as fast; PyYAML is also shipped without it.
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_SafeLoader):
    """The safe loader, which also refuses a key given twice: PyYAML would keep the last in silence."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    # Before merge keys (`<<`) are flattened: what a mapping merges in, it may override.
    seen: set[Hashable] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.MarkedYAMLError(problem="a key must be a plain word", problem_mark=key_node.start_mark)
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _first_error(problem: ValidationError, data: object, model: type[BaseModel], where: str) -> InputError:
    errors = problem.errors(include_url=False)
    # A misspelt key shows twice, as unknown and as missing; the misspelling is the cause, so it is told first.
    first = min(errors, key=lambda each: not _is_unknown_key(each))
    place = _place(first, data)
    if not _is_unknown_key(first):
        # A part that may be of several kinds is wrong as each of them: it was meant as the one it goes furthest as.
        within = [each for each in errors if _place(each, data)[: len(place)] == place]
        first = max(within, key=lambda each: len(_place(each, data)))
        place = _place(first, data)
    what, remedy = _explain(first, place, model)
    return InputError(f"{where}: {format_path(place)}" if place else where, what, remedy)


def _is_unknown_key(error: ErrorDetails) -> bool:
    return error["type"] == "extra_forbidden" or "[key]" in error["loc"]


def _place(error: ErrorDetails, data: object) -> list[int | str]:
    """Return where an error is in the file, without the names that pydantic adds for union members and the like."""
    place: list[int | str] = []
    location = error["loc"]
    for depth, part in enumerate(location):
        below = data if isinstance(data, dict) else dict(enumerate(data)) if isinstance(data, (list, tuple)) else {}
        if part in below or (error["type"] == "missing" and depth == len(location) - 1):
            place.append(part)
            data = below.get(part)
    return place


def _explain(error: ErrorDetails, place: Sequence[int | str], model: type[BaseModel]) -> tuple[str, str | None]:
    kind, given = error["type"], error.get("input")
    if _is_unknown_key(error):
        key = str(place[-1])
        location = error["loc"]
        end = location.index("[key]") if "[key]" in location else len(location)
        return f"unknown key {key!r}", did_you_mean(key, _keys_at(model, location[: end - 1]))
    if kind == "missing":
        return "this key is missing", "Add it."
    if kind == "literal_error":
        expected = re.findall(r"'([^']+)'|(\d+)", str(error.get("ctx", {}).get("expected", "")))
        names = [text or number for text, number in expected]
        return f"{given!r} is not one of {', '.join(names)}", did_you_mean(str(given), names)
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return f"{given!r} is not a mapping", "Write its keys below it, indented."
    reason = error.get("ctx", {}).get("error")
    told = reason.what if isinstance(reason, RefusedError) else error["msg"].removeprefix("Value error, ")
    message = told.rstrip(".")
    if isinstance(given, (str, int, float)) and repr(given) not in message and str(given) not in message:
        message += f" (got {given!r})"
    return message, reason.remedy if isinstance(reason, RefusedError) else None


def _keys_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Return the keys valid at a location, by walking the JSON Schema of the model."""
    schema = model.model_json_schema(by_alias=True)
    places = _options(schema, schema)
    for part in location:
        following: list[dict[str, Any]] = []
        for option in places:
            if isinstance(part, int) and "items" in option:
                following += _options(option["items"], schema)
            elif isinstance(part, str) and part in option.get("properties", {}):
                following += _options(option["properties"][part], schema)
            elif isinstance(part, str) and isinstance(option.get("additionalProperties"), dict):
                following += _options(option["additionalProperties"], schema)
        # A part that is no key of the schema is the tag of a union member, or of a validator: stay at the same place.
        places = following or [option for option in places if _is_tagged(option, str(part))] or places
    keys = {each for option in places for each in option.get("properties", {})}
    keys |= {each for option in places for each in _options_of_names(option, schema)}
    return sorted(keys)


def _is_tagged(option: dict[str, Any], part: str) -> bool:
    """Tell whether a union member goes by a tag: its model's name, or in brackets the key or name that it alone has."""
    tag = part.removeprefix("[").removesuffix("]")
    properties = option.get("properties", {})
    return (
        part == option.get("title")
        or tag in option.get("required", [])
        or any(each.get("const") == tag for each in properties.values())
    )


def _options_of_names(option: dict[str, Any], root: dict[str, Any]) -> list[str]:
    """Return the names a mapping with restricted keys allows."""
    names = option.get("propertyNames", {})
    if "$ref" in names:
        names = root["$defs"][names["$ref"].rsplit("/", 1)[-1]]
    return list(names.get("enum", []))


def _options(place: dict[str, Any], root: dict[str, Any]) -> list[dict[str, Any]]:
    """Resolve references and unions to the object schemas they may stand for."""
    if "$ref" in place:
        return _options(root["$defs"][place["$ref"].rsplit("/", 1)[-1]], root)
    found = [place] if {"properties", "items", "additionalProperties", "propertyNames"} & place.keys() else []
    for key in ("anyOf", "oneOf", "allOf"):
        for option in place.get(key, []):
            found += _options(option, root)
    return found
